#!/usr/bin/env bash
# pip-audit: "No known vulnerabilities found", status 0, although it looked up nothing.
#
# pip-audit 2.10.1. A requirement that its service does not know (a private package, a name of an internal registry, or every
# package where the network answers "not found" for the service's address) is skipped: a table of skipped ones is
# printed below the sentence "No known vulnerabilities found", and the status is 0, as after a clean audit. `--strict`
# makes it a failure. So a job in a closed network passes for ever. What was audited is told by `--format json` alone:
# entries with `skip_reason` were not.
#
# Source: pip-audit's README ("--strict: fail the entire audit if dependency collection fails on any dependency"); that the
# status is 0 and the sentence stands there where all are skipped was observed here.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq pip-audit==2.10.1
# A name that no registry has, with the hash of nothing: it is neither resolved nor installed.
hash=$(printf '' | sha256sum | cut -d' ' -f1)
echo "a-package-of-our-own-that-no-registry-has==1.0 --hash=sha256:$hash" >"$work/requirements.txt"
audit() { "$work/venv/bin/pip-audit" -r "$work/requirements.txt" --require-hashes --disable-pip --progress-spinner off "$@"; }
status=0 && audit >"$work/out" 2>&1 || status=$?
cat "$work/out"
strict=0 && audit --strict >/dev/null 2>&1 || strict=$?
echo "status $status; with --strict $strict"
grep -q "No known vulnerabilities found" "$work/out" && grep -q "could not be audited" "$work/out"
[ "$status" = 0 ] && [ "$strict" != 0 ]

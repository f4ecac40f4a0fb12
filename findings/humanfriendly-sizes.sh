#!/usr/bin/env bash
# humanfriendly's parse_size looks at the first letter of a unit: "1 mebi" is a million bytes, "1 gibberish" a billion.
#
# humanfriendly 10.0. Units that are spelled in full, "MiB" and "mebibyte", are what they say; any other word counts by
# its first letter, as a decimal unit: "1 mebi" is 10^6 bytes, "64 blocks" 64 bytes, "1 GB 2" is refused and
# "1 GB x" is not. Digits of other scripts pass as well. A bare letter is decimal, "1G" = 10^9, where most programs that
# take a memory limit so mean 2^30; `binary=True` makes all units binary, "1GB" too.
#
# Source: the documentation of humanfriendly names the units and `binary=`, and says nothing of the rest; observed here.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq humanfriendly==10.0
"$work/venv/bin/python" - <<'PY'
from humanfriendly import parse_size

texts = ("1 MiB", "1 mebi", "1 gibberish", "64 blocks", "1 GB x", "\u0661 GiB", "1G")
sizes = {text: parse_size(text) for text in texts}
for text, size in sizes.items():
    print(f"{text!a}: {size}")
assert sizes["1 MiB"] == 2**20 and sizes["1 mebi"] == 10**6
assert sizes["1 gibberish"] == sizes["1 GB x"] == sizes["1G"] == 10**9
assert sizes["64 blocks"] == 64 and sizes["\u0661 GiB"] == 2**30 == parse_size("1GB", binary=True)
PY

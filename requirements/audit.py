"""`make audit-deps`: known vulnerabilities of the pinned requirements, by pip-audit, where the registry answers.

pip-audit counts what it could not look up as skipped, says "No known vulnerabilities found" and ends with status 0. So
this says how many packages were looked up, and says it aloud where that is none; the status is 1 where one is
vulnerable.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOOL = "pip-audit==2.10.1"
ALL = Path(__file__).with_name("test.txt")  # run.txt is part of it, at the same versions
SHOWN = 5


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="svdflow-audit-") as folder:
        python = Path(folder, "bin", "python")
        made = _run(sys.executable, "-m", "venv", folder)
        if made.returncode == 0:
            made = _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL)
        if made.returncode:
            return _said(f"{TOOL} cannot be installed ({_last(made.stderr)})")
        # Hashed and complete: nothing is resolved, and nothing of what is audited is installed or run.
        options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        found = _run(str(python), "-m", "pip_audit", "-r", str(ALL), *options)
        status, words = judged(ALL.name, found.stdout, found.stderr)
        print(words, flush=True)
        return status


def judged(name: str, output: str, complaint: str = "") -> tuple[int, str]:
    """Status and words for what pip-audit printed as JSON of one file of requirements."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, f"NOT AUDITED: {name}: no answer ({_last(complaint)})"
    known = [package for package in packages if "skip_reason" not in package]
    bad = [package for package in known if package["vulns"]]
    lines = [
        f"VULNERABLE: {package['name']} {package['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability.get('fix_versions') or ['no version yet'])}"
        for package in bad
        for vulnerability in package["vulns"]
    ]
    missed = [package["name"] for package in packages if "skip_reason" in package]
    if missed:
        more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
        lines.append(
            f"NOT AUDITED: {name}: {len(missed)} of {len(packages)} packages, of which the registry knows no "
            f"vulnerabilities, good or bad: {', '.join(missed[:SHOWN])}{more}"
        )
    lines.append(f"{name}: {len(known)} packages looked up, {len(bad)} vulnerable")
    return int(bool(bad)), "\n".join(lines)


def _said(why: str) -> int:
    print(f"NOT AUDITED: {why}", flush=True)
    return 0


def _run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["without a word"])[-1][:300]


if __name__ == "__main__":
    sys.exit(main())

"""Run ``snakemake --lint`` and fail on any finding that is not accepted by name.

Snakemake 9.27 prints text whatever format is asked for, so the findings are read off the text.
"""

import argparse
import re
import subprocess
import sys

FINDING = re.compile(r"^    \* (?P<title>.+?):?$", re.MULTILINE)


def unaccepted(report: str, accepted: set[str]) -> list[str]:
    """Titles of the findings in a lint report that are not among the accepted ones."""
    return [title for title in FINDING.findall(report) if title not in accepted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="append", default=[], metavar="TITLE")
    accepted = set(parser.parse_args().accept)
    lint = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True)
    report = lint.stdout + lint.stderr
    # Snakemake exits 1 on findings and on errors alike: an error is an exit without any finding.
    if unaccepted(report, accepted) or (lint.returncode and not FINDING.search(report)):
        print(report, file=sys.stderr)
        return 1
    print(f"snakemake --lint: nothing beyond {len(FINDING.findall(report))} accepted findings")
    return 0


if __name__ == "__main__":
    sys.exit(main())

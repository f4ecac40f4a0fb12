"""Commands that examine: audits by name, stored arrays and functions of a user's own."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from svdflow.command_line.argument_types import seed
from svdflow.command_line.command import Command, option
from svdflow.escaping import visible

if TYPE_CHECKING:
    from svdflow.audit.records import Record

WORST = 10  # records that are repeated below the table with how to reproduce them; chosen


def audit(args: argparse.Namespace) -> int:
    """Repeat audits by name, or audit stored arrays (FILE.h5:/path) and functions of your own (FILE.py:name)."""
    from svdflow.audit.records import Record, worst_first
    from svdflow.selfcheck.by_name import audit_by_name

    records = sorted(audit_by_name(args.names or None, seed=args.seed), key=worst_first)
    print(Record.HEAD)
    for record in records:
        print(visible(record))
    return _worst(records)


def selfcheck(args: argparse.Namespace) -> int:
    """Examine this installation, once in its environment: solvers, laws, arithmetic, derivatives, planted faults."""
    from svdflow.audit.records import worst_first
    from svdflow.report.findings import verdict_words
    from svdflow.selfcheck import run

    records = sorted(run(seed=args.seed, cache=not args.no_cache), key=worst_first)
    for family in sorted({record.family for record in records}):
        verdicts = Counter(str(record.verdict) for record in records if record.family == family)
        print(f"{family:<14} {verdict_words(verdicts)}")
    return _worst(records)


def _worst(records: "Sequence[Record]") -> int:
    """Name the worst records and how to repeat them; the exit status is 1 where one fails."""
    worst = [record for record in records if record.verdict != "PASS"][:WORST]
    if worst and len(records) > 1:
        print("\nThe worst, and how to repeat them:")
        for record in worst:
            print(visible(f"{record.verdict:<12} {record.audit} {record.subject}: {record.reproduce}"))
    return int(any(record.verdict in ("FAIL", "ERROR") for record in records))


NAMES = option(
    "names",
    nargs="*",
    help="audits, families, FILE.h5:/array or FILE.py:function; all that need no data where none is named",
)
SEED = option("--seed", type=seed, default=42)
CACHE = option("--no-cache", action="store_true", help="run everything, and keep nothing of it")
COMMANDS = [Command(audit, [NAMES, SEED]), Command(selfcheck, [SEED, CACHE])]

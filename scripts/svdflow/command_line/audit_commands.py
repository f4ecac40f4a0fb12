"""Commands that examine: audits by name, stored arrays and functions of a user's own."""

import argparse

from svdflow.command_line.argument_types import seed
from svdflow.command_line.command import Command
from svdflow.escaping import visible

WORST = 10  # records that are repeated below the table with how to reproduce them; chosen


def audit(args: argparse.Namespace) -> int:
    """Repeat audits by name, or audit stored arrays (FILE.h5:/path) and functions of your own (FILE.py:name)."""
    from svdflow.audit.records import Record, worst_first
    from svdflow.selfcheck.catalogue import run_catalogue

    records = sorted(run_catalogue(args.names or None, seed=args.seed), key=worst_first)
    print(Record.HEAD)
    for record in records:
        print(visible(record))
    worst = [record for record in records if record.verdict != "PASS"][:WORST]
    if worst and len(records) > 1:
        print("\nThe worst, and how to repeat them:")
        for record in worst:
            print(visible(f"{record.verdict:<12} {record.audit} {record.subject}: {record.reproduce}"))
    return int(any(record.verdict in ("FAIL", "ERROR") for record in records))


def _chosen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        help="audits, families, FILE.h5:/array or FILE.py:function; all that need no data where none is named",
    )
    parser.add_argument("--seed", type=seed, default=42)


COMMANDS = [Command(audit, [_chosen])]

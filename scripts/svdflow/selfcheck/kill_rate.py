"""The share of the planted faults that was caught, from the rows of all of them; it plants none, so it imports none."""

from collections.abc import Iterable, Iterator

from svdflow.audit.records import Judge, Record
from svdflow.selfcheck.findings import Limits

FAMILY = "mutants"  # of the audits that plant faults: a page of the report


def audit_kill_rate(seed: int, limits: Limits, *, rows: Iterable[Record]) -> Iterator[Record]:
    """The share of the mutants that survived, from the rows of `audit_mutants`; nothing planted is nothing shown."""
    rows = list(rows)
    killed = sum(row.value == 0 for row in rows)
    judge = Judge(FAMILY, FAMILY, seed, limits)
    share = 1 - killed / max(len(rows), 1)
    yield judge("kill_rate", "all mutants", share, 0.0, f"{killed} of {len(rows)} killed")

"""What changed in the audits since an earlier run."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import pandas as pd

from svdflow.report.findings import VERDICTS
from svdflow.report.table_rows import records

KEYS = ["family", "audit", "subject", "dataset", "item", "plane"]
MOVED = 2.0  # factor by which a value has to grow to be listed: rounding differs by less between machines


def drift(audit: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """What changed since a baseline: other verdicts, values that grew, audits that came or went.

    Parameters
    ----------
    audit, baseline : DataFrame
        Tables ``audit`` of this run and of an earlier one.

    Returns
    -------
    changes : DataFrame
        The key of the audit, ``change`` in words, and verdict and value before and now.
    """
    figures = ["verdict", "value", "fail"]
    before, now = (table.drop_duplicates(KEYS).set_index(KEYS)[figures] for table in (baseline, audit))
    both = before.merge(
        now, how="outer", left_index=True, right_index=True, suffixes=("_before", "_now")
    ).reset_index()
    changes = [_change(row) for row in records(both)]
    columns = [*KEYS, "verdict_before", "verdict_now", "value_before", "value_now"]
    return both[columns].assign(change=changes)[[bool(change) for change in changes]].reset_index(drop=True)


def _change(row: Mapping[str, Any]) -> str:
    before, now = row["verdict_before"], row["verdict_now"]
    if pd.isna(before):
        return "new"
    if pd.isna(now):
        return "gone"
    if before != now:
        return "better" if VERDICTS.index(now) > VERDICTS.index(before) else "worse"
    judged = isfinite(row["fail_now"]) and isfinite(row["value_before"]) and isfinite(row["value_now"])
    if judged and abs(row["value_now"]) > MOVED * abs(row["value_before"]) and _near(row):
        return "value grew"
    return ""


def _near(row: Mapping[str, Any]) -> bool:
    """A hundredth of the limit and more: below that, growth is that of rounding errors."""
    return abs(row["value_now"]) > 0.01 * abs(row["fail_now"])

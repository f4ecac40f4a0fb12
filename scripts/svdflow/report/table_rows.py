"""Data frames as plain rows and groups, typed for what the schema of the tables promises."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

Tables = dict[str, pd.DataFrame]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def listed(compress: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table compress that were measured at a listed rank, as asked.

    Ranks that a plane does not have, or that reproduce it whole, say nothing of compression: a small plane
    would appear at its own full rank among the larger ones.
    """
    side = compress[["m", "n"]].min(axis=1)
    asked = (compress["rule"] == "rank") & compress["reached"] & (compress["rank"] == compress["target"])
    return compress[asked & (compress["rank"] < side)]


def groups(frame: pd.DataFrame, by: str | Sequence[str]) -> list[tuple[Any, pd.DataFrame]]:
    """Keys and rows of each group, in the order of the keys."""
    return list(frame.groupby(by if isinstance(by, str) else list(by), sort=True))


def largest(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """The row where `column` is largest, the first of equal ones."""
    return records(frame.sort_values(column, ascending=False, kind="stable").head(1))[0]

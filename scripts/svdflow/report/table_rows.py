"""Data frames as plain rows and groups, typed for what the schema of the tables promises."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from svdflow.registry.tables import Table

Tables = dict[str, pd.DataFrame]
STATISTICS = ("median", "min", "max")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def groups(frame: pd.DataFrame, by: str | Sequence[str]) -> list[tuple[Any, pd.DataFrame]]:
    """Keys and rows of each group, in the order of the keys."""
    return list(frame.groupby(by if isinstance(by, str) else list(by), sort=True))


def largest(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """The row where `column` is largest, the first of equal ones."""
    return records(frame.sort_values(column, ascending=False, kind="stable").head(1))[0]


def summarize(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Group the rows of a table by its keys: n, then median, min and max of each of its figures, missing ones left out.

    Its flag is counted behind n, and where the data range of each group comes from stands behind the range.
    """
    columns = [*table.keys, "n", *([table.flag] if table.flag else [])]
    for figure in table.figures:
        columns += [f"{figure}_{statistic}" for statistic in STATISTICS]
        columns += ["data_range_source"] if figure == "data_range" else []
    if rows.empty:
        return pd.DataFrame(columns=columns)
    grouped = rows.groupby(list(table.keys), sort=True, dropna=False)
    found = {"n": grouped.size()}
    found |= {f"{figure}_{s}": grouped[figure].agg(s) for figure in table.figures for s in STATISTICS}
    if table.flag:
        found[table.flag] = grouped[table.flag].sum()
    if "data_range" in table.figures:
        found["data_range_source"] = grouped["data_range_source"].agg(sources)
    return pd.DataFrame(found).reset_index()[columns]


def sources(ranges: pd.Series) -> str:
    """Where the ranges of a group come from."""
    return "; ".join(sorted(set(ranges)))

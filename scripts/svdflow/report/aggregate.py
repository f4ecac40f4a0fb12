"""Gather the tables of every stage file into one metrics file."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import StoreError
from svdflow.registry import TASKS
from svdflow.report.table_rows import Tables, records
from svdflow.store import open_published, publish, write_table
from svdflow.store.schema import columns, tables
from svdflow.store.tables import table_in


def tables_of_kinds() -> dict[str, list[str]]:
    """Which tables a file of each kind brings. A metrics file brings all, so that gathering works in two levels."""
    of_tasks = {task.place: [table.name for table in task.tables] for task in TASKS.values()}
    found = {"matrices": [], "factors": ["factorize"], **of_tasks, "audit": ["audit", "curves"]}
    return {**{kind: [*names, "errors"] for kind, names in found.items()}, "metrics": list(tables())}


def aggregate(
    parts: Sequence[str | Path],
    out: str | Path,
    *,
    seed: int | None = None,
    config_digest: str = "",
    runtime: Runtime = ALONE,
) -> None:
    """Gather the tables of `parts` into the metrics file `out`.

    Parameters
    ----------
    parts : sequence of path
        Published files of matrices, factors, a task, audits or metrics, in any order: rows are sorted by all their
        columns, keys first, so the order of the parts does not change the result.
    out : path
        The metrics file: every table, empty where nothing was measured.
    seed, config_digest : int, str, optional
        Of the study; they stand in the settings of the provenance, and change nothing else.
    runtime : Runtime
        Its provenance becomes the root attributes of `out`.

    Raises
    ------
    StoreError
        A part is missing, unfinished, of an unknown kind or lacks its table; the message names it.
    """
    gathered: dict[str, list[pd.DataFrame]] = {name: [] for name in tables()}
    for part in parts:
        for name, table in _tables_of(part).items():
            gathered[name].append(table)
    with publish(out, "metrics", runtime.provenance) as file:
        for name, found in gathered.items():
            write_table(file, name, records(_in_order(name, found)))


def read_tables(metrics: str | Path) -> Tables:
    """All tables of a metrics file, by name."""
    with open_published(metrics, "metrics") as file:
        return {name: table_in(file, name) for name in tables()}


def _tables_of(part: str | Path) -> Tables:
    with open_published(part) as file:
        kind, known = str(file.attrs["kind"]), tables_of_kinds()
        if kind not in known:
            raise StoreError(f"{part}: kind {kind!r} holds no tables; gather only {', '.join(known)}")
        if missing := [name for name in known[kind] if name not in file]:
            raise StoreError(
                f"{part}: no table {missing[0]!r}, which a {kind} file has; delete it and run again"
            )
        return {name: table_in(file, name) for name in known[kind]}


def _in_order(name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    names = [column.name for column in columns(name)]
    filled = [table for table in parts if len(table)]
    if not filled:
        return pd.DataFrame(columns=names)
    return pd.concat(filled, ignore_index=True).sort_values(names, kind="stable", ignore_index=True)

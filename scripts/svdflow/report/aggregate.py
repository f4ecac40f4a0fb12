"""Gather the tables of every stage file into one metrics file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from svdflow.report.table_rows import Tables, records
from svdflow.store import StoreError, open_published, publish, read_table, write_table
from svdflow.store.schema import TABLES

# Which tables a file of each kind brings. A metrics file brings all, so that gathering works in two levels.
TABLES_OF_KIND = {
    "matrices": ("errors",),
    "factors": ("factorize", "errors"),
    "compress": ("compress", "errors"),
    "denoise": ("denoise", "errors"),
    "encode": ("rates", "errors"),
    "audit": ("audit", "curves", "errors"),
    "metrics": tuple(TABLES),
}


def aggregate(parts: Sequence[str | Path], out: str | Path, provenance: dict[str, Any] | None = None) -> None:
    """Gather the tables of `parts` into the metrics file `out`.

    Parameters
    ----------
    parts : sequence of path
        Published files of kind matrices, factors, compress, denoise, audit or metrics, in any order: rows
        are sorted by all their columns, keys first, so the order of the parts does not change the result.
    out : path
        The metrics file: tables factorize, compress, denoise, audit and errors, empty where nothing was
        measured.
    provenance : dict, optional
        Root attributes of `out`.

    Raises
    ------
    StoreError
        A part is missing, unfinished, of an unknown kind or lacks its table; the message names it.
    """
    gathered: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for part in parts:
        for name, table in _tables_of(part).items():
            gathered[name].append(table)
    with publish(out, "metrics", provenance) as file:
        for name, tables in gathered.items():
            write_table(file, name, records(_in_order(name, tables)))


def read_tables(metrics: str | Path) -> Tables:
    """All tables of a metrics file, by name."""
    with open_published(metrics, "metrics"):
        pass
    return {name: read_table(metrics, name) for name in TABLES}


def _tables_of(part: str | Path) -> Tables:
    with open_published(part) as file:
        kind = str(file.attrs["kind"])
        present = [name for name in TABLES if name in file]
    if kind not in TABLES_OF_KIND:
        raise StoreError(f"{part}: kind {kind!r} holds no tables; gather only {', '.join(TABLES_OF_KIND)}")
    if missing := [name for name in TABLES_OF_KIND[kind] if name not in present]:
        raise StoreError(f"{part}: no table {missing[0]!r}, which a {kind} file has; delete it and run again")
    return {name: read_table(part, name) for name in TABLES_OF_KIND[kind]}


def _in_order(name: str, tables: list[pd.DataFrame]) -> pd.DataFrame:
    columns = [column.name for column in TABLES[name]]
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame(columns=columns)
    return pd.concat(filled, ignore_index=True).sort_values(columns, kind="stable", ignore_index=True)

"""Gather the tables of every stage file into one metrics file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise, takewhile
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import StoreError
from svdflow.registry import TASKS
from svdflow.report.table_rows import Tables
from svdflow.store import StoredArray, open_published, publish
from svdflow.store.reading import StoredFile
from svdflow.store.schema import columns, tables
from svdflow.store.tables import TableWriter, stored_table, table_in

KEYS = 2  # dataset and shard, by which rows are gathered
AT_ONCE = 2**16  # rows of a part that are looked at together: some ten MB. Chosen


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
        columns, keys first, so the order of the parts does not change the result. Of each no more is held at a time
        than the rows of one shard.
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
    gathered = {name: _Gathered(name) for name in tables()}
    for part in parts:
        with _opened(part) as (file, names):
            for name in names:
                gathered[name].survey(part, stored_table(file, name))
    with publish(out, "metrics", runtime.provenance) as file:
        for table in gathered.values():
            table.write(file)


class _Piece(NamedTuple):
    """Neighbouring rows of a part that belong to one shard."""

    key: tuple[Any, ...]
    part: str
    start: int
    stop: int


class _Gathered:
    """One table: where its rows are, by dataset and shard, its first columns, and how wide its texts are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys = [c.name for c in takewhile(lambda c: c.kind in ("text", "int"), columns(name)[:KEYS])]
        self._texts = [c.name for c in columns(name) if c.kind == "text"]
        self._widths = dict.fromkeys(self._texts, 1)
        self._pieces: list[_Piece] = []
        self._count = 0

    def survey(self, part: str | Path, table: StoredArray) -> None:
        """Take note of the rows of a part."""
        if not len(table):
            return
        self._count += len(table)
        for name in self._texts:
            self._widths[name] = max(self._widths[name], table.dtype[name].itemsize)
        for start in range(0, len(table), AT_ONCE):
            keys = table.rows(start, start + AT_ONCE)[self._keys]
            edges = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(keys)]
            self._pieces += [
                _Piece(tuple(keys[a].item()), str(part), start + a, start + b) for a, b in pairwise(edges)
            ]

    def write(self, file: h5py.File) -> None:
        """The table of all parts, in order."""
        names = [column.name for column in columns(self._name)]
        with TableWriter(file, self._name, self._count, self._widths) as table:
            for _, pieces in groupby(sorted(self._pieces), key=attrgetter("key")):
                rows = np.concatenate([self._rows(piece, table.dtype) for piece in pieces])
                table.append(rows[np.lexsort([rows[name] for name in reversed(names)])])

    def _rows(self, piece: _Piece, dtype: np.dtype) -> np.ndarray:
        with open_published(piece.part) as file:
            found = file[self._name].rows(piece.start, piece.stop)
        rows = np.empty(len(found), dtype)
        for name in dtype.names or ():
            rows[name] = found[name]
        return rows


@contextmanager
def _opened(part: str | Path) -> Iterator[tuple[StoredFile, list[str]]]:
    """A part, and the names of its tables."""
    with open_published(part) as file:
        kind, known = str(file.attrs["kind"]), tables_of_kinds()
        if kind not in known:
            raise StoreError(f"{part}: kind {kind!r} holds no tables; gather only {', '.join(known)}")
        if missing := [name for name in known[kind] if name not in file]:
            raise StoreError(
                f"{part}: no table {missing[0]!r}, which a {kind} file has; delete it and run again"
            )
        yield file, known[kind]


def read_tables(metrics: str | Path) -> Tables:
    """All tables of a metrics file, by name."""
    with open_published(metrics, "metrics") as file:
        return {name: table_in(file, name) for name in tables()}

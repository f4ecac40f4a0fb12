"""Tables: one 1-D compound dataset each, fixed columns, text as fixed-width UTF-8."""

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from svdflow.errors import StoreError
from svdflow.registry.tables import Column
from svdflow.store.arrays import BAND_BYTES, create_array
from svdflow.store.files import open_published
from svdflow.store.reading import StoredArray, StoredFile, read_array
from svdflow.store.schema import columns, tables

if TYPE_CHECKING:
    import pandas

_TYPES = {"int": np.dtype("i8"), "float": np.dtype("f8"), "bool": np.dtype("?")}


class TableWriter:
    """Write the table of a stage in parts, in order; a context manager.

    A table of up to `BAND_BYTES` is one piece with one checksum, a larger one stands in bands, each with its own.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    stage : str
        Whose table it is.
    count : int
        Rows of all parts together.
    widths : mapping
        Of each column of text the bytes of its longest value.
    """

    def __init__(self, file: h5py.File, stage: str, count: int, widths: Mapping[str, int]) -> None:
        self._file, self._stage = file, stage
        self.dtype = np.dtype([(c.name, _type(c, widths.get(c.name, 1))) for c in columns(stage)])
        self._rows = 0
        self._whole = np.zeros(count, self.dtype) if count * self.dtype.itemsize <= BAND_BYTES else None
        self._bands = None if self._whole is not None else create_array(file, stage, (count,), self.dtype)

    def append(self, rows: np.ndarray) -> None:
        """More rows: a structured array with the columns of the table, in any order."""
        part = np.zeros(len(rows), self.dtype)
        for name in self.dtype.names or ():
            part[name] = rows[name]
        if self._whole is not None:
            self._whole[self._rows : self._rows + len(part)] = part
        elif self._bands is not None:
            self._bands.write(self._rows, part)
        self._rows += len(part)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._close()

    def _close(self) -> None:
        if self._bands is not None:
            dataset = self._bands.close()
        elif self._whole is not None:
            dataset = self._file.create_dataset(self._stage, data=self._whole, track_times=False)
            dataset.attrs["crc32"] = zlib.crc32(self._whole.tobytes())
        for column in columns(self._stage):
            dataset.attrs[f"{column.name}.unit"] = column.unit
            dataset.attrs[f"{column.name}.description"] = column.description


def write_table(file: h5py.File, stage: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Store `rows` as the table of `stage`.

    Raises
    ------
    ValueError
        A row lacks a column of the schema or has one too many; the message names it.
    """
    asked = columns(stage)
    names = {c.name for c in asked}
    rows = list(rows)
    for row in rows:
        if wrong := names ^ row.keys():
            raise ValueError(f"table {stage!r}: columns missing or unknown: {', '.join(sorted(wrong))}")
    encoded = {column.name: _encode(column, rows) for column in asked}
    widths = {name: values.itemsize for name, values in encoded.items()}
    with TableWriter(file, stage, len(rows), widths) as table:
        whole = np.zeros(len(rows), table.dtype)
        for name, values in encoded.items():
            whole[name] = values
        table.append(whole)


def read_table(path: str | Path, stage: str) -> "pandas.DataFrame":
    """One table of a published file as a data frame.

    Parameters
    ----------
    path : path
        ``metrics.h5`` or the result of one stage.
    stage : str
        ``factorize``, ``errors``, or one that a task declares: docs/schema.md has them all.

    Returns
    -------
    frame : pandas.DataFrame
        One row per measurement; text as str, integers int64, figures float64, flags bool.

    Raises
    ------
    StoreError
        The file is unfinished or holds no such table.
    """
    with open_published(path) as file:
        return table_in(file, stage)


def table_in(file: StoredFile, stage: str) -> "pandas.DataFrame":
    """`read_table` of an open file."""
    import pandas

    data = read_array(stored_table(file, stage))
    frame = {}
    for column in columns(stage):
        values = data[column.name]
        text = column.kind == "text"
        frame[column.name] = pandas.Series([v.decode() for v in values], dtype="str") if text else values
    return pandas.DataFrame(frame, columns=[c.name for c in columns(stage)])


def stored_table(file: StoredFile, stage: str) -> StoredArray:
    """The table of a stage as it is stored, with all columns that the schema asks for; raises as `read_table`."""
    path = file.filename
    if stage not in file:
        known = ", ".join(name for name in tables() if name in file) or "none"
        raise StoreError(f"{path}: no table {stage!r} (tables here: {known})")
    table: StoredArray = file[stage]
    if missing := [c.name for c in columns(stage) if c.name not in (table.dtype.names or ())]:
        raise StoreError(
            f"{path}: table {stage!r} has no column {missing[0]!r}; another version of svdflow made it: run again"
        )
    return table


def _encode(column: Column, rows: list[Mapping[str, Any]]) -> np.ndarray:
    values = [row[column.name] for row in rows]
    if column.kind != "text":
        return np.array(values, _TYPES[column.kind])
    encoded = [str(v).encode("utf-8", "replace").replace(b"\0", b"?") for v in values]
    return np.array(encoded, f"S{max([1, *map(len, encoded)])}")


def _type(column: Column, width: int) -> np.dtype:
    """As it is stored: byte strings are declared as UTF-8."""
    return h5py.string_dtype("utf-8", width) if column.kind == "text" else _TYPES[column.kind]

"""Tables: one 1-D compound dataset each, fixed columns, text as fixed-width UTF-8."""

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from svdflow.errors import StoreError
from svdflow.registry.tables import Column
from svdflow.store.files import open_published
from svdflow.store.reading import StoredFile, read_array
from svdflow.store.schema import columns, tables

if TYPE_CHECKING:
    import pandas

_TYPES = {"int": np.dtype("i8"), "float": np.dtype("f8"), "bool": np.dtype("?")}


def write_table(file: h5py.File, stage: str, rows: Iterable[Mapping[str, Any]]) -> h5py.Dataset:
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
    encoded = [_encode(column, rows) for column in asked]
    fields = [(c.name, _stored(values.dtype)) for c, values in zip(asked, encoded, strict=True)]
    table = np.zeros(len(rows), fields)
    for column, values in zip(asked, encoded, strict=True):
        table[column.name] = values
    dataset = file.create_dataset(stage, data=table, track_times=False)
    dataset.attrs["crc32"] = zlib.crc32(table.tobytes())
    for column in asked:
        dataset.attrs[f"{column.name}.unit"] = column.unit
        dataset.attrs[f"{column.name}.description"] = column.description
    return dataset


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

    path = file.filename
    if stage not in file:
        known = ", ".join(name for name in tables() if name in file) or "none"
        raise StoreError(f"{path}: no table {stage!r} (tables here: {known})")
    data = read_array(file, stage)
    if missing := [c.name for c in columns(stage) if c.name not in (data.dtype.names or ())]:
        raise StoreError(
            f"{path}: table {stage!r} has no column {missing[0]!r}; another version of svdflow made it: run again"
        )
    frame = {}
    for column in columns(stage):
        values = data[column.name]
        text = column.kind == "text"
        frame[column.name] = pandas.Series([v.decode() for v in values], dtype="str") if text else values
    return pandas.DataFrame(frame, columns=[c.name for c in columns(stage)])


def _encode(column: Column, rows: list[Mapping[str, Any]]) -> np.ndarray:
    values = [row[column.name] for row in rows]
    if column.kind != "text":
        return np.array(values, _TYPES[column.kind])
    encoded = [str(v).encode("utf-8", "replace").replace(b"\0", b"?") for v in values]
    return np.array(encoded, f"S{max([1, *map(len, encoded)])}")


def _stored(dtype: np.dtype) -> np.dtype:
    """Byte strings are declared as UTF-8."""
    return h5py.string_dtype("utf-8", dtype.itemsize) if dtype.kind == "S" else dtype

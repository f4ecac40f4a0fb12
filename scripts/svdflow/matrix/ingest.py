"""Ingest of matrix files: each is checked and linked, never copied."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.matrix.extent import ValueRange, bits_of
from svdflow.matrix.files import open_matrix
from svdflow.matrix.sources import MatrixSource
from svdflow.store import ItemError, add_item, add_observation, discard_item, error_row, publish, write_table

REMEDY = "A matrix file holds a 2-D array of numbers; images and stacks of them go into a row of kind images"
# A linked file is scanned for its range and for NaN only where that costs less than a second or so.
SCAN_BYTES = 256 * 2**20


def ingest_matrix(
    files: Sequence[Mapping[str, Any]],
    out: str | Path,
    *,
    dataset: str,
    shard: str,
    grid: Sequence[int] = (),
    provenance: dict[str, Any] | None = None,
) -> None:
    """Link matrix files: check that each can be read and is a numeric matrix, and record where it lies.

    Parameters
    ----------
    files : sequence of mappings
        ``index``, ``path``, ``name`` and optionally ``dataset`` (path within HDF5 or Zarr, npz member);
        see `open_matrix` for what can be read.
    out : path
        The matrices file to publish. Nothing of the matrices is copied.
    dataset, shard : str
        Named in errors.
    grid : sequence of int
        Spatial shape of a series whose voxels are the rows; an attribute of each item. A matrix with another
        number of rows becomes a row of ``/errors``.

    Notes
    -----
    Files up to 256 MB are read once, for their range and for NaN or infinity. Larger ones are not,
    because that would cost as much as a read of the factorization: their range is NaN.
    """
    errors = []
    with publish(out, "matrices", provenance) as file:
        for entry in files:
            index, name = entry["index"], entry["name"]
            try:
                _link_matrix(file, index, name, entry["path"], entry.get("dataset") or None, grid)
            except MemoryError:
                raise
            except Exception as exc:
                discard_item(file, index)
                errors.append(error_row(dataset, index, name, "ingest", exc))
        write_table(file, "errors", errors)


def _link_matrix(
    file: h5py.File, index: int, name: str, path: str, dataset: str | None, grid: Sequence[int]
) -> None:
    link = Path(path)
    if link.is_file() and link.stat().st_size == 0:
        raise ItemError("empty", f"{link}: the file has no bytes")
    source = _open(link, dataset)
    rows, columns = source.shape
    if grid and math.prod(grid) != rows:
        raise ItemError("grid", f"{link}: {rows} rows are not the {'x'.join(map(str, grid))} of its grid")
    seen = _scan(source) if rows * columns * source.itemsize <= SCAN_BYTES else ValueRange()
    described = {"m": int(rows), "n": int(columns), "dtype": source.dtype.name, "size": _size(link)}
    attrs = {"source": str(path), "bits": bits_of(source.dtype), "colour": "-", **described, **seen.attrs()}
    if grid:
        attrs["grid"] = list(grid)
    item = add_item(file, index, name, "matrix", attrs)
    observation = add_observation(item, 0, 0.0)
    inside = dataset or getattr(source, "dataset", "")
    for key, value in {"link_path": str(link), "link_dataset": inside, **described}.items():
        observation.attrs[key] = value


def _open(path: Path, dataset: str | None) -> MatrixSource:
    try:
        return open_matrix(path, dataset)
    except FileNotFoundError as error:
        raise ItemError("missing", str(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise ItemError("unreadable", f"{where}{error}. {REMEDY}") from error


def _scan(source: MatrixSource) -> ValueRange:
    seen = ValueRange()
    for start, stop in source.bounds():
        rows = source.read(start, stop)
        if source.sparse:
            if rows.nnz < math.prod(rows.shape):
                seen.see(np.zeros(1), start)
            rows = rows.data
        seen.see(np.asarray(rows), start)
    return seen


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder (Zarr)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

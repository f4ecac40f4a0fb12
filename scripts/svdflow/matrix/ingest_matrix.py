"""Ingest of matrix files: each is checked and linked, never copied."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import ItemError
from svdflow.matrix.checked import guarded
from svdflow.matrix.linked import described, link_attrs
from svdflow.matrix.opening import open_matrix
from svdflow.matrix.sources import MatrixSource
from svdflow.matrix.stored_values import StoredRange, bits_of
from svdflow.store import publish, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.shards import add_item, add_observation, discard_item
from svdflow.study.located import file_state, files_of_shard

REMEDY = "A matrix file holds a 2-D array of numbers; images and stacks of them go into a row of kind images"
# Bytes of a linked matrix up to which it is scanned for its range and for NaN: a second or so. The range of a larger
# one is NaN, and its figures then have no PSNR. Chosen.
SCAN_BYTES = 256 * 2**20


def ingest_matrix_shard(
    out: str | Path,
    *,
    folder: str,
    first: int,
    names: Sequence[str | None],
    files: Sequence[str],
    inner: str,
    **options: Any,
) -> None:
    """Stage: link the slice of a manifest that a job names, of each file the dataset `inner`; see `ingest_matrix`."""
    suffix = f":{inner}" if inner else ""
    entries = files_of_shard(folder, first, names, files)
    named = [{**entry, "dataset": inner, "name": entry["name"] + suffix} for entry in entries]
    ingest_matrix(named, out, **options)


def ingest_matrix(
    files: Sequence[Mapping[str, Any]],
    out: str | Path,
    *,
    dataset: str,
    shard: str,
    grid: Sequence[int] = (),
    fill: float | None = None,
    allow_links: bool = False,
    runtime: Runtime = ALONE,
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
    fill, allow_links
        As of `open_matrix`; kept with the link.

    Notes
    -----
    Files up to 256 MB are read once, for their range and for NaN or infinity. Larger ones are not,
    because that would cost as much as a read of the factorization: their range is NaN. Size, time of change, shape and
    type stand with the link, and `open_linked` compares them.
    """
    errors = []
    with publish(out, "matrices", runtime.provenance) as file:
        for entry in files:
            index, name = entry["index"], entry["name"]
            try:
                opening = {"fill": fill, "allow_links": allow_links}
                _link_matrix(file, index, name, entry["path"], entry.get("dataset") or None, grid, opening)
            except MemoryError:
                raise
            except Exception as exc:
                discard_item(file, index)
                errors.append(error_row(dataset, index, name, "ingest", exc))
        write_table(file, "errors", errors)


def _link_matrix(
    file: h5py.File,
    index: int,
    name: str,
    path: str,
    dataset: str | None,
    grid: Sequence[int],
    opening: Mapping[str, Any],
) -> None:
    link = Path(path)
    if link.is_file() and link.stat().st_size == 0:
        raise ItemError("empty", f"{link}: the file has no bytes")
    before = file_state(link) if link.exists() else None
    source = _open(link, dataset, opening)
    rows, columns = source.shape
    if grid and math.prod(grid) != rows:
        raise ItemError("grid", f"{link}: {rows} rows are not the {'x'.join(map(str, grid))} of its grid")
    seen = _scan(guarded(source)) if rows * columns * source.itemsize <= SCAN_BYTES else StoredRange()
    if before != file_state(link):
        raise ItemError("changed", f"{link}: was written to while it was read; run again when it is finished")
    inside = str(dataset or getattr(source, "dataset", ""))
    known = {**described(source), "size": file_state(link)[0]}
    attrs = {"source": str(path), "bits": bits_of(source.dtype), "colour": "-", **known, **seen.attrs()}
    if grid:
        attrs["grid"] = list(grid)
    item = add_item(file, index, name, "matrix", attrs)
    observation = add_observation(item, 0, 0.0)
    for key, value in link_attrs(source, link, inside, **opening).items():
        observation.attrs[key] = value


def _open(path: Path, dataset: str | None, opening: Mapping[str, Any]) -> MatrixSource:
    try:
        return open_matrix(path, dataset, **opening)
    except FileNotFoundError as error:
        raise ItemError("missing", str(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        where = "" if str(path) in str(error) else f"{path}: "
        code = getattr(error, "code", None)
        raise ItemError(code or "unreadable", f"{where}{error}" + ("" if code else f". {REMEDY}")) from error


def _scan(source: MatrixSource) -> StoredRange:
    seen = StoredRange()
    for start, stop in source.bounds():
        rows = source.read(start, stop)
        if source.sparse:
            if rows.nnz < math.prod(rows.shape):
                seen.see(np.zeros(1), start)
            rows = rows.data
        seen.see(np.asarray(rows), start)
    return seen

"""Ingest of matrices: synthetic ones are written panel by panel, matrix files are checked and linked."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.matrix.files import open_matrix
from svdflow.matrix.generators import GeneratedMatrix, GeneratedSparseMatrix, derive_seed, generate
from svdflow.matrix.sources import MatrixSource
from svdflow.plan.families import parse_parameters
from svdflow.store import (
    ItemError,
    add_item,
    add_observation,
    create_array,
    error_row,
    publish,
    write_array,
    write_table,
)

PLANE = "matrix"
REMEDY = "A matrix file holds a 2-D array of numbers; images and stacks of them go into a row of kind images"
# A linked file is scanned for its range and for NaN only where that costs less than a second or so.
SCAN_BYTES = 256 * 2**20


@dataclass
class _Range:
    """Least and largest entry seen, by magnitude where entries are complex; refuses NaN and infinity."""

    low: float = math.inf
    high: float = -math.inf

    def see(self, values: np.ndarray, start_row: int) -> None:
        if not values.size:
            return
        values = np.abs(values) if values.dtype.kind == "c" else values
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low) or not math.isfinite(high):
            raise ItemError(
                "not_finite",
                f"NaN or infinity in the panel that begins at row {start_row}; replace or drop such entries",
            )
        self.low, self.high = min(self.low, low), max(self.high, high)

    def attrs(self) -> dict[str, float]:
        known = self.low <= self.high
        low, high = (self.low, self.high) if known else (math.nan, math.nan)
        return {"data_min": low, "data_max": high, "data_range": high - low}


def ingest_synthetic(
    out: str | Path,
    *,
    dataset: str,
    shard: str,
    family: str,
    parameters: Mapping[str, Any],
    replicates: Sequence[int],
    seed: int,
    with_clean: bool,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a shard of synthetic matrices, panel by panel, with what is known of their spectra.

    Parameters
    ----------
    out : path
        The matrices file to publish.
    dataset, shard : str
        Named in errors; the dataset's name is part of every item's seed.
    family : str
    parameters : mapping
        Over the family's defaults (`svdflow.plan.families`).
    replicates : sequence of int
        Item indices. Each item has its own seed, derived from (seed, dataset, index).
    seed : int
    with_clean : bool
        Store the noise-free reference too, where the family adds noise.

    Raises
    ------
    FamilyError
        Unknown family or parameter. What fails for one item becomes a row of ``/errors``.

    Notes
    -----
    Memory: a few panels of 8 MB, (m + n) times a small number, and 128 MB where LAPACK computes the spectrum.
    """
    params = parse_parameters(family, parameters)
    errors = []
    with publish(out, "matrices", provenance) as file:
        for index in replicates:
            name = f"{family}_{index}"
            try:
                own_seed = derive_seed(seed, dataset, index)
                matrix = generate(family, params, own_seed)
                attrs = _synthetic_attrs(matrix, family, params, own_seed)
                item = add_item(file, index, name, "matrix", attrs)
                _write_matrix(item, matrix, with_clean)
            except (MemoryError, OSError):  # nothing is read here: a full disk, say, is not the item's fault
                raise
            except Exception as exc:
                errors.append(_drop(file, index, error_row(dataset, index, name, "ingest", exc)))
        write_table(file, "errors", errors)


def ingest_matrix(
    files: Sequence[Mapping[str, Any]],
    out: str | Path,
    *,
    dataset: str,
    shard: str,
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
                _link_matrix(file, index, name, entry["path"], entry.get("dataset") or None)
            except MemoryError:
                raise
            except Exception as exc:
                errors.append(_drop(file, index, error_row(dataset, index, name, "ingest", exc)))
        write_table(file, "errors", errors)


def _write_matrix(
    item: h5py.Group, matrix: GeneratedMatrix | GeneratedSparseMatrix, with_clean: bool
) -> None:
    observation = add_observation(item, 0, matrix.noise)
    if isinstance(matrix, GeneratedSparseMatrix):
        seen = _write_sparse(observation, matrix)
    else:
        seen = _write_dense(item, observation, matrix, with_clean and matrix.noise > 0)
    for key, value in seen.attrs().items():
        item.attrs[key] = value
    truth = matrix.truth()
    if truth is not None:
        stored = write_array(item, "singular_values", truth.values)
        stored.attrs["label"] = truth.label
        stored.attrs["note"] = truth.note


def _write_dense(
    item: h5py.Group, observation: h5py.Group, matrix: GeneratedMatrix, with_clean: bool
) -> _Range:
    seen = _Range()
    observed_writer = create_array(observation, PLANE, matrix.shape, matrix.dtype)
    clean_group = item.create_group("clean") if with_clean else None
    clean_writer = (
        create_array(clean_group, PLANE, matrix.shape, matrix.dtype) if clean_group is not None else None
    )
    for start, observed, clean in matrix.panels(with_clean=with_clean):
        seen.see(observed, start)
        observed_writer.write(start, observed)
        if clean_writer is not None and clean is not None:
            clean_writer.write(start, clean)
    observed_writer.close()
    if clean_writer is not None:
        clean_writer.close()
    return seen


def _write_sparse(observation: h5py.Group, matrix: GeneratedSparseMatrix) -> _Range:
    group = observation.create_group(PLANE)
    group.attrs["format"] = "csr"
    group.attrs["shape"] = matrix.shape
    seen = _Range()
    if matrix.entries < math.prod(matrix.shape):
        seen.see(np.zeros(1), 0)
    data = create_array(group, "data", (matrix.entries,), matrix.dtype)
    indices = create_array(group, "indices", (matrix.entries,), matrix.index_dtype)
    indptr = create_array(group, "indptr", (matrix.shape[0] + 1,), matrix.index_dtype)
    indptr.write(0, np.zeros(1, matrix.index_dtype))
    written = 0
    for start, rows in matrix.panels():
        seen.see(rows.data, start)
        data.write(written, rows.data)
        indices.write(written, rows.indices)
        indptr.write(start + 1, written + rows.indptr[1:].astype(matrix.index_dtype))
        written += rows.nnz
    for writer in (data, indices, indptr):
        writer.close()
    return seen


def _link_matrix(file: h5py.File, index: int, name: str, path: str, dataset: str | None) -> None:
    link = Path(os.path.abspath(path))
    if link.is_file() and link.stat().st_size == 0:
        raise ItemError("empty", f"{link}: the file has no bytes")
    source = _open(link, dataset)
    rows, columns = source.shape
    seen = _scan(source) if rows * columns * source.itemsize <= SCAN_BYTES else _Range()
    described = {"m": int(rows), "n": int(columns), "dtype": source.dtype.name, "size": _size(link)}
    attrs = {"source": str(path), "bits": _bits(source.dtype), "colour": "-", **described, **seen.attrs()}
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


def _scan(source: MatrixSource) -> _Range:
    seen = _Range()
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


def _synthetic_attrs(
    matrix: GeneratedMatrix | GeneratedSparseMatrix, family: str, params: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    return {
        "source": family,
        "family": family,
        "parameters": json.dumps(params),
        "seed": seed,
        "sigma": matrix.noise,
        "m": matrix.shape[0],
        "n": matrix.shape[1],
        "dtype": matrix.dtype.name,
        "bits": _bits(matrix.dtype),
        "colour": "-",
    }


def _bits(dtype: np.dtype) -> int:
    """Bits of one real number of the type."""
    return 8 * dtype.itemsize // (2 if dtype.kind == "c" else 1)


def _drop(file: h5py.File, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """Remove what a failed item left behind; gives its error row back."""
    key = f"items/{index:06d}"
    if key in file:
        del file[key]
    return row

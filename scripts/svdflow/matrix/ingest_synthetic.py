"""Ingest of synthetic matrices: written panel by panel, with what is known of their spectra."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.matrix.generators import GeneratedMatrix, GeneratedSparseMatrix, derive_seed, generate
from svdflow.matrix.stored_values import PLANE, StoredRange, bits_of
from svdflow.store import create_array, publish, write_array, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.shards import add_item, add_observation, discard_item
from svdflow.study.families import grid_of, parse_parameters
from svdflow.study.value_range import SPAN


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
    runtime: Runtime = ALONE,
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
        Over the family's defaults (`svdflow.study.families`).
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

    Figures of all replicates refer to one ``data_range``: largest less smallest value of the first one, without noise.
    """
    params = parse_parameters(family, parameters)
    errors = []
    peak: dict[str, Any] = {}
    with publish(out, "matrices", runtime.provenance) as file:
        for index in replicates:
            name = f"{family}_{index}"
            try:
                own_seed = derive_seed(seed, dataset, index)
                matrix = generate(family, params, own_seed)
                attrs = _synthetic_attrs(matrix, family, params, own_seed)
                item = add_item(file, index, name, "matrix", attrs)
                _write_matrix(item, matrix, with_clean)
                peak = peak or _range_of_first(family, params, derive_seed(seed, dataset, 0))
                item.attrs.update(peak)
            except (MemoryError, OSError):  # nothing is read here: a full disk, say, is not the item's fault
                raise
            except Exception as exc:
                discard_item(file, index)
                errors.append(error_row(dataset, index, name, "ingest", exc))
        write_table(file, "errors", errors)


def _range_of_first(family: str, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The range of all replicates, so that it depends on no other job and on no noise."""
    matrix, seen = generate(family, params, seed), StoredRange()
    if isinstance(matrix, GeneratedSparseMatrix):
        seen.see(np.zeros(1 if matrix.entries < math.prod(matrix.shape) else 0), 0)
        for start, rows in matrix.panels():
            seen.see(rows.data, start)
    else:
        for start, clean, _ in replace(matrix, noise=0.0).panels():
            seen.see(clean, start)
    return {
        "data_range": seen.attrs()["data_range"],
        "data_range_source": f"{SPAN} of replicate 0, noise-free",
    }


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
) -> StoredRange:
    seen = StoredRange()
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


def _write_sparse(observation: h5py.Group, matrix: GeneratedSparseMatrix) -> StoredRange:
    group = observation.create_group(PLANE)
    group.attrs["format"] = "csr"
    group.attrs["shape"] = matrix.shape
    seen = StoredRange()
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


def _synthetic_attrs(
    matrix: GeneratedMatrix | GeneratedSparseMatrix, family: str, params: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    grid = grid_of(family, params)
    return ({"grid": grid} if grid else {}) | {
        "source": family,
        "family": family,
        "parameters": json.dumps(params),
        "seed": seed,
        "sigma": matrix.noise,
        "m": matrix.shape[0],
        "n": matrix.shape[1],
        "dtype": matrix.dtype.name,
        "bits": bits_of(matrix.dtype),
        "colour": "-",
    }

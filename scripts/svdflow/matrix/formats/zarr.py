"""Matrices in Zarr arrays, versions 2 and 3, and in sparse groups as AnnData writes them."""

import math
import os
from typing import Any

import numpy as np

from svdflow.errors import UnwrittenError
from svdflow.matrix.bounded import refuse_unfit
from svdflow.matrix.decoded import DecodedSource
from svdflow.matrix.file_errors import naming
from svdflow.matrix.formats.conventions import coding_of
from svdflow.matrix.formats.zarr_chunks import ChunkGuard
from svdflow.matrix.links import refuse_links_of_store
from svdflow.matrix.sources import CHEAP_COLUMNS, MatrixSource, SparseSource, _check_matrix, listed
from svdflow.matrix.sparse import compressed

ENCODINGS = {"csr_matrix": "csr", "csc_matrix": "csc"}


class ZarrSource(MatrixSource):
    """A Zarr array of two dimensions, its numbers as zarr gives them."""

    column_access = True
    keeps_promises = True

    def __init__(self, array: Any, name: str) -> None:
        _check_matrix(array.shape, array.dtype, name)
        self._array, self.name = array, name
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.row_bands, self.column_bands = array.chunks
        self.column_access = array.chunks[1] * self.shape[0] * self.dtype.itemsize <= CHEAP_COLUMNS
        refuse_unwritten(array, name)
        self._guard = ChunkGuard(array, name)

    @naming
    def read(self, start: int, stop: int) -> np.ndarray:
        self._guard.see((start, stop), (0, self.shape[1]))
        return np.asarray(self._array[start:stop])

    @naming
    def read_columns(self, start: int, stop: int) -> np.ndarray:
        self._guard.see((0, self.shape[0]), (start, stop))
        return np.asarray(self._array[:, start:stop])


def open_zarr(
    path: str, dataset: str | None, *, fill: float | None = None, allow_links: bool = False
) -> MatrixSource:
    """A matrix of a Zarr store in a folder; arguments as of `open_matrix`."""
    try:
        import zarr
    except ImportError:
        raise ValueError(f"{path}: is a directory; reading it as Zarr needs the package zarr") from None
    if not allow_links:
        refuse_links_of_store(path)
    try:
        node: Any = zarr.open(path, mode="r")
        node = node[dataset.strip("/")] if dataset and dataset.strip("/") else node
    except (KeyError, FileNotFoundError):
        inside = f" {dataset!r}" if dataset else ""
        raise ValueError(f"{path}: no Zarr array{inside} in this folder") from None
    except (
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ):  # of zarr's parsers, which repeat what they read
        raise ValueError(f"{path}: its Zarr metadata are damaged or of a kind that is not read") from None
    name = f"{path}:{dataset}" if dataset else path
    if hasattr(node, "chunks"):
        return source_of_zarr(node, name, fill)
    if _is_sparse(node):
        return SparseSource(_read_sparse(node, name), name)
    known = [key for key, _ in node.arrays()] + [key for key, group in node.groups() if _is_sparse(group)]
    raise ValueError(f"{path}: a Zarr group; name one of {listed(known)}")


def source_of_zarr(array: Any, name: str, fill: float | None = None) -> MatrixSource:
    """A source of a Zarr array, decoded as its attributes say.

    xarray means a missing value by the fill value of its arrays of version 2, which have ``_ARRAY_DIMENSIONS``, and
    writes ``_FillValue`` beside version 3; other writers take the fill value for a number.
    """
    source = ZarrSource(array, name)
    attrs = dict(array.attrs)
    missing = None
    if array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attrs:
        missing = array.fill_value
    coding = coding_of(attrs, source.dtype, name, fill=missing)
    return source if coding.trivial else DecodedSource(source, coding, fill)


def refuse_unwritten(array: Any, name: str) -> None:
    """Raise UnwrittenError where no chunk is stored, or chunks are missing that no fill value stands for.

    Zarr leaves out chunks that hold nothing but the fill value, so a missing one is a value where there is one.
    """
    root = getattr(array.store, "root", None)
    if root is None:
        return
    if not _holds_chunk(os.path.join(root, array.path)):
        raise UnwrittenError(f"{name}: no chunk of it is stored: it was created and never written")
    if array.fill_value is None and (missing := array.nchunks - array.nchunks_initialized) > 0:
        raise UnwrittenError(f"{name}: {missing} of its {array.nchunks} chunks were never written")


def _holds_chunk(folder: str) -> bool:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if _holds_chunk(entry.path):
                    return True
            elif not entry.name.startswith(".") and entry.name != "zarr.json":
                return True
    return False


def _is_sparse(group: Any) -> bool:
    parts = all(part in group for part in ("data", "indices", "indptr"))
    return parts and group.attrs.get("encoding-type") in ENCODINGS and "shape" in group.attrs


def _read_sparse(group: Any, name: str) -> Any:
    data, indices, indptr = (_vector(group[part], f"{name}/{part}") for part in ("data", "indices", "indptr"))
    return compressed(
        ENCODINGS[group.attrs["encoding-type"]], data, indices, indptr, group.attrs["shape"], name
    )


def _vector(array: Any, name: str) -> np.ndarray:
    if len(array.shape) != 1:
        raise ValueError(f"{name}: is no array of one dimension, as its sparse matrix needs")
    if not array.shape[0]:
        return np.zeros(0, array.dtype)
    refuse_unwritten(array, name)
    refuse_unfit(2 * math.prod(array.shape) * np.dtype(array.dtype).itemsize, name)
    ChunkGuard(array, name).see((0, array.shape[0]))
    return np.asarray(array[...])

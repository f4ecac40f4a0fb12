"""Matrices in Zarr arrays, versions 2 and 3."""

from typing import Any

import numpy as np

from svdflow.matrix.sources import CHEAP_COLUMNS, MatrixSource, _check_matrix, listed


class ZarrSource(MatrixSource):
    """A Zarr array of two dimensions."""

    column_access = True

    def __init__(self, array: Any, name: str) -> None:
        _check_matrix(array.shape, array.dtype, name)
        self._array, self.name = array, name
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.row_bands, self.column_bands = array.chunks
        self.column_access = array.chunks[1] * self.shape[0] * self.dtype.itemsize <= CHEAP_COLUMNS

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self._array[start:stop])

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self._array[:, start:stop])


def open_zarr(path: str, dataset: str | None) -> MatrixSource:
    try:
        import zarr
    except ImportError:
        raise ValueError(f"{path}: is a directory; reading it as Zarr needs the package zarr") from None
    node: Any = zarr.open(path, mode="r")
    node = node[dataset] if dataset else node
    if not hasattr(node, "chunks"):
        raise ValueError(f"{path}: a Zarr group; name one of {listed([key for key, _ in node.arrays()])}")
    return ZarrSource(node, path)

"""Whatever holds a matrix as a source: files of any format, arrays in memory, and what only gives rows."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.matrix.checked import guarded
from svdflow.matrix.file_errors import named
from svdflow.matrix.formats.hdf5 import source_of_h5
from svdflow.matrix.formats.zarr import source_of_zarr
from svdflow.matrix.masks import unmasked
from svdflow.matrix.operators import OperatorSource, is_operator
from svdflow.matrix.sources import ArraySource, DaskSource, MatrixSource, SparseSource, _check_matrix
from svdflow.registry import MATRIX_FORMATS, MatrixFormat
from svdflow.store.reading import StoredArray, StoredGroup, read_array
from svdflow.store.stacks import StackedArray

# Files that hold matrices and are not read, by how they begin: what to do with each.
KNOWN_STARTS = {
    b"CDF\x01": "a netCDF file of the classic format: convert it with nccopy -k nc4",
    b"CDF\x02": "a netCDF file of the classic format: convert it with nccopy -k nc4",
    b"CDF\x05": "a netCDF file of the classic format: convert it with nccopy -k nc4",
    b"\x0e\x03\x13\x01": "an HDF4 file: convert it with h4toh5, minding its scale and offset",
    b"MATLAB 5.0 MAT": "a MATLAB file of version 7 or older: save it with -v7.3",
}


def open_matrix(
    path: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    fill: float | None = None,
    allow_links: bool = False,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    offset: int = 0,
    order: str = "C",
) -> MatrixSource:
    """Open a matrix file for reading in panels.

    Parameters
    ----------
    path : path
        HDF5 (also .h5ad, .nc, MATLAB 7.3), .npy, .npz (a SciPy sparse matrix or one array), Matrix Market (.mtx,
        .mtx.gz), a Zarr directory, or raw binary entries (.raw, .bin, .dat, or any file when `shape` is given).
        ``file.h5:/group/name`` names file and dataset at once.
    dataset : str, optional
        Dataset within an HDF5 or Zarr file, or group of a sparse matrix; may be left out where there is only one
        matrix.
    fill : float, optional
        Stands for values that an HDF5 or Zarr file declares missing (``_FillValue``, ``missing_value``,
        ``valid_range``); without it a matrix that has any is refused (`MaskedError`) when it is read.
    allow_links : bool
        Follow references of an HDF5 or Zarr file to files beyond its own folder: external links, virtual datasets, raw
        data outside, symbolic links in a Zarr store.
    shape, dtype : (m, n) and data type
        Of a raw binary file, which does not say them; ``dtype=">f4"`` for big-endian entries.
    offset : int
        Bytes before the first entry of a raw binary file.
    order : "C" or "F"
        Whether a raw binary file holds row after row, or column after column.

    Returns
    -------
    MatrixSource
        shape, dtype, ``read(start, stop)``, ``panel_height``. HDF5, npy, raw and Zarr are read panel by panel,
        by plain reads and not by memory maps, whose pages would count as memory of this process; npz and
        Matrix Market are held in memory. Values are those that the file's own readers give: packed numbers of
        netCDF, xarray and HDF5 are unpacked, MATLAB's and Octave's arrays come the right way round.

    Raises
    ------
    FileNotFoundError
        No such file; the nearest name in its folder is given.
    ValueError
        The file holds no such matrix, is damaged, was never written, declares more than it holds, or refers to files
        that are missing or beyond its folder; candidates are listed. A raw binary file came without
        shape or dtype, or is of another length than these say.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and ":" in path:
        path, _, dataset = path.rpartition(":") if dataset is None else (path, "", dataset)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file{_nearest(Path(path))}")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise ValueError(f"{path}: is no regular file; only files and folders are read")
    given = {
        "dataset": dataset, "fill": fill, "allow_links": allow_links,
        "shape": shape, "dtype": dtype, "offset": offset, "order": order,
    }  # fmt: skip
    raw = shape is not None or dtype is not None or offset != 0 or order != "C"
    with named(path):
        form = MATRIX_FORMATS["raw"] if raw else _format_of(path)
    if dataset and "dataset" not in form.takes:
        raise ValueError(f"{path}: a file of format {form.title} has no dataset {dataset!r}; leave it out")
    with named(path):
        source: MatrixSource = form.code()(path, **{key: given[key] for key in form.takes})
    return source


def _format_of(path: str) -> MatrixFormat:
    """The format of a file or folder, by signature, then by suffix.

    Raises
    ------
    ValueError
        It is none; the message says what it is, where that is known, or names the formats.
    """
    folder = os.path.isdir(path)
    kinds = [form for form in MATRIX_FORMATS.values() if form.folder == folder]
    if not folder and (found := next((form for form in kinds if form.recognizes(path)), None)):
        return found
    named_so = next((form for form in kinds if path.lower().endswith(tuple(form.suffixes))), None)
    if folder:
        return named_so or kinds[0]
    if named_so is not None and not named_so.signature:
        return named_so
    if known := _known(path):
        raise ValueError(f"{path}: is {known}")
    if named_so is not None:
        raise ValueError(f"{path}: is not an {named_so.title} file, or is damaged at its start")
    titles = ", ".join(form.title + (" folders" if form.folder else "") for form in MATRIX_FORMATS.values())
    raise ValueError(f"{path}: unknown kind of matrix file; known are {titles} (raw with shape= and dtype=)")


def _known(path: str) -> str:
    with open(path, "rb") as file:
        start = file.read(16)
    return next((words for magic, words in KNOWN_STARTS.items() if start.startswith(magic)), "")


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (its folder {path.parent} does not exist)"
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    return f" (nearest name: {path.parent / near[0]})" if near else ""


class _AdaptedSource(MatrixSource):
    """Any object with shape, dtype and read(start, stop)."""

    def __init__(self, matrix: Any) -> None:
        name = getattr(matrix, "name", type(matrix).__name__)
        _check_matrix(matrix.shape, matrix.dtype, name)
        self.shape, self.dtype, self.name = tuple(matrix.shape), np.dtype(matrix.dtype), str(name)
        self.sparse = bool(getattr(matrix, "sparse", False))
        self.density = float(getattr(matrix, "density", 1.0))
        band = getattr(matrix, "panel_height", None)
        self.row_bands = int(band) if band else None
        self._matrix = matrix

    def read(self, start: int, stop: int) -> Any:
        return self._matrix.read(start, stop)


def as_source(A: Any, name: str | None = None) -> MatrixSource:
    """A `MatrixSource` of whatever holds a matrix.

    Parameters
    ----------
    A : ndarray, CuPy array, SciPy sparse matrix or LinearOperator, dask array, h5py.Dataset or CSR h5py.Group, path, or
        MatrixSource. Two dimensions; integers, floats, complex or bool. A path may carry a dataset,
        ``data.h5:/group/name``.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        It is not a matrix of numbers, has masked values (`MaskedError`), or is a sparse one with indices that do not
        fit.

    Notes
    -----
    What a source that is not svdflow's own gives is checked as it is read; so are 64-bit integers, which are refused
    (`LossyIntegerError`) where float64 does not hold them.
    """
    return guarded(_source_of(A, name))


def _source_of(A: Any, name: str | None) -> MatrixSource:
    if isinstance(A, MatrixSource):
        return A
    if isinstance(A, str) or hasattr(A, "__fspath__"):
        return open_matrix(A)
    if sp.issparse(A):
        return SparseSource(A, name or "sparse matrix")
    kind = type(A).__module__.split(".")[0]
    if kind == "dask" and hasattr(A, "chunks"):
        return DaskSource(A, name or "dask array")
    if isinstance(A, StackedArray):
        return ArraySource(read_array(A), f"{A.path}:{A.name}")
    if kind == "h5py" or isinstance(A, StoredArray | StoredGroup):
        return source_of_h5(A)
    if kind == "zarr":
        return source_of_zarr(A, name or "Zarr array")
    A = unmasked(A, name or "array")
    if isinstance(A, np.ndarray) or kind == "cupy":
        return ArraySource(np.asarray(A) if isinstance(A, np.ndarray) else A, name or "array")
    if is_operator(A):
        return OperatorSource.of(A, name=name)
    if callable(getattr(A, "read", None)) and hasattr(A, "shape") and hasattr(A, "dtype"):
        return _AdaptedSource(A)
    if isinstance(A, (list, tuple)) or hasattr(A, "__array__"):
        return ArraySource(np.asarray(A), name or "array")
    raise TypeError(f"cannot read a matrix from {type(A).__module__}.{type(A).__qualname__}")

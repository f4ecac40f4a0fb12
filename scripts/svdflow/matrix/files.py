"""Files of matrices, whatever their format."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse as sp

from svdflow.matrix.hdf5 import HDF5_SUFFIXES, open_hdf5
from svdflow.matrix.raw import RAW_SUFFIXES, NpySource, open_raw
from svdflow.matrix.sources import ArraySource, MatrixSource, SparseSource, listed
from svdflow.matrix.zarr import open_zarr


def open_matrix(
    path: str | os.PathLike,
    dataset: str | None = None,
    *,
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
        Dataset within an HDF5 or Zarr file, or CSR group; may be left out where there is only one matrix.
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
        Matrix Market are held in memory.

    Raises
    ------
    FileNotFoundError
        No such file; the nearest name in its folder is given.
    ValueError
        The file holds no such matrix, or is damaged; candidates are listed. A raw binary file came without
        shape or dtype, or is of another length than these say.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and ":" in path:
        path, _, dataset = path.rpartition(":") if dataset is None else (path, "", dataset)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file{_nearest(Path(path))}")
    suffixes = Path(path).suffixes
    raw = shape is not None or dtype is not None or offset != 0 or order != "C"
    try:
        if raw:
            return open_raw(path, shape, dtype, offset, order)
        if os.path.isdir(path):
            return open_zarr(path, dataset)
        if h5py.is_hdf5(path):
            return open_hdf5(path, dataset)
        if suffixes[-1:] == [".npy"]:
            return NpySource(path)
        if suffixes[-1:] == [".npz"]:
            return _open_npz(path, dataset)
        if ".mtx" in suffixes or ".mm" in suffixes:
            return _in_memory(scipy.io.mmread(path), path)
        if suffixes[-1:] and suffixes[-1].lower() in RAW_SUFFIXES:
            return open_raw(path, shape, dtype, offset, order)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if suffixes[-1:] and suffixes[-1] in HDF5_SUFFIXES:
        raise ValueError(f"{path}: is not an HDF5 file, or is damaged at its start")
    raise ValueError(
        f"{path}: unknown kind of matrix file; known are HDF5, .npy, .npz, .mtx, Zarr directories, and raw "
        "binary files with shape= and dtype="
    )


def _open_npz(path: str, dataset: str | None) -> MatrixSource:
    with np.load(path) as archive:
        names = list(archive.files)
        if "indptr" in names or "row" in names:
            return SparseSource(sp.load_npz(path), path)
        if dataset is None and len(names) == 1:
            dataset = names[0]
        if dataset not in names:
            raise ValueError(f"{path}: no array {dataset!r}; there is {listed(names)}")
        return ArraySource(archive[dataset], f"{path}:{dataset}")


def _in_memory(matrix: Any, path: str) -> MatrixSource:
    return SparseSource(matrix, path) if sp.issparse(matrix) else ArraySource(matrix, path)


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (its folder {path.parent} does not exist)"
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    return f" (nearest name: {path.parent / near[0]})" if near else ""

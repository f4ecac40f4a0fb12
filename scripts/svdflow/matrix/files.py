"""Matrices in files, never mapped whole: each panel is read into a fresh buffer.

A mapped page counts as resident memory of the process, so a memory map of a file larger than the memory
limit would break it; plain reads do not.
"""

import difflib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse as sp

from svdflow.matrix.sources import NUMERIC, ArraySource, MatrixSource, SparseSource, _check_matrix
from svdflow.store import open_published, read_array, read_rows

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".nc", ".mat")
CRC_SUFFIX = ".crc32"
CHEAP_COLUMNS = 64 * 2**20  # bytes of the stored chunks under one band of columns that may be read at a time


class FileSource(MatrixSource):
    """A matrix at a byte offset of a file, entries in rows (or in columns: Fortran order)."""

    column_access = True

    def __init__(
        self, path: str | os.PathLike, offset: int, shape: Sequence[int], dtype: Any, fortran: bool = False
    ):
        _check_matrix(shape, dtype, str(path))
        self.path, self.name = os.fspath(path), str(path)
        self.shape, self.dtype = (int(shape[0]), int(shape[1])), np.dtype(dtype)
        self._offset, self._fortran = int(offset), fortran
        needed = self._offset + self.shape[0] * self.shape[1] * self.dtype.itemsize
        if os.path.getsize(path) < needed:
            raise ValueError(f"{path}: truncated: {needed} bytes expected, {os.path.getsize(path)} found")

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._strided(start, stop).T if self._fortran else self._band(start, stop)

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        return self._band(start, stop).T if self._fortran else self._strided(start, stop)

    def _band(self, start: int, stop: int) -> np.ndarray:
        """Consecutive stored lines, in one read."""
        length = self.shape[0] if self._fortran else self.shape[1]
        block = np.empty((stop - start, length), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            _read_into(file, self._offset + start * length * self.dtype.itemsize, block, self.name)
        return block

    def _strided(self, start: int, stop: int) -> np.ndarray:
        """The same stretch of every stored line, one read a line."""
        lines, length = self.shape[::-1] if self._fortran else self.shape
        block = np.empty((lines, stop - start), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            for line in range(lines):
                _read_into(
                    file, self._offset + (line * length + start) * self.dtype.itemsize, block[line], self.name
                )
        return block


class NpySource(FileSource):
    """A .npy file."""

    def __init__(self, path: str | os.PathLike) -> None:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(file)
            offset = file.tell()
        super().__init__(path, offset, shape, dtype, fortran)


class HDF5Source(MatrixSource):
    """A dataset of an HDF5 file, contiguous or chunked.

    A plain contiguous dataset is read at its offset without the HDF5 library, whose lock would keep threads from
    reading side by side. svdflow's own arrays are verified against the checksums beside them.
    """

    def __init__(self, path: str | os.PathLike, dataset: str) -> None:
        self.path, self.dataset = os.fspath(path), dataset
        self.name = f"{self.path}:{dataset}"
        self._handle: h5py.Dataset | None = None
        self._opening = threading.Lock()
        stored = self._open()
        _check_matrix(stored.shape, stored.dtype, self.name)
        self.shape, self.dtype = stored.shape, stored.dtype
        self._plain: FileSource | None = None
        self._checked = stored.name + CRC_SUFFIX in stored.file
        self._set_layout(stored)

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "HDF5Source":
        """Of an open dataset; its handle is used here, and workers elsewhere open the file anew."""
        source = cls.__new__(cls)
        source.path, source.dataset = dataset.file.filename, dataset.name
        source.name = f"{source.path}:{dataset.name}"
        source._handle, source._opening, source._plain = dataset, threading.Lock(), None
        _check_matrix(dataset.shape, dataset.dtype, source.name)
        source.shape, source.dtype = dataset.shape, dataset.dtype
        source._checked = dataset.name + CRC_SUFFIX in dataset.file
        if dataset.file.mode == "r":
            source._set_layout(dataset)
        else:  # unflushed rows live in the library only
            source.row_bands = dataset.chunks[0] if dataset.chunks else None
        return source

    def _set_layout(self, stored: h5py.Dataset) -> None:
        if stored.chunks:
            height, width = stored.chunks
            self.row_bands = height
            filtered = stored.id.get_create_plist().get_nfilters() > 0
            # Without a filter HDF5 reads the selected part of a large chunk; with one, the chunk whole.
            self.column_bands = width if width < self.shape[1] else None
            self.column_access = not filtered or width * self.shape[0] * self.dtype.itemsize <= CHEAP_COLUMNS
            return
        self.column_access = True
        offset = stored.id.get_offset()
        if (
            offset is not None
            and stored.dtype.isnative
            and stored.dtype.kind in "iufc"
            and not stored.external
        ):
            self._plain = FileSource(self.path, offset, stored.shape, stored.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._plain is not None:
            return self._plain.read(start, stop)
        stored = self._open()
        return read_rows(stored, start, stop) if self._checked else stored[start:stop]

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        return (
            self._plain.read_columns(start, stop) if self._plain is not None else self._open()[:, start:stop]
        )

    def _open(self) -> h5py.Dataset:
        with self._opening:
            if self._handle is None or not self._handle:
                self._handle = open_for_reading(self.path)[self.dataset]
            return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_opening": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _opening=threading.Lock())


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


def open_matrix(path: str | os.PathLike, dataset: str | None = None) -> MatrixSource:
    """Open a matrix file for reading in panels.

    Parameters
    ----------
    path : path
        HDF5 (also .h5ad, .nc, MATLAB 7.3), .npy, .npz (a SciPy sparse matrix or one array), Matrix Market (.mtx,
        .mtx.gz) or a Zarr directory. ``file.h5:/group/name`` names file and dataset at once.
    dataset : str, optional
        Dataset within an HDF5 or Zarr file, or CSR group; may be left out where there is only one matrix.

    Returns
    -------
    MatrixSource
        shape, dtype, ``read(start, stop)``, ``panel_height``. HDF5, npy and Zarr are read panel by panel;
        npz and Matrix Market are held in memory.

    Raises
    ------
    FileNotFoundError
        No such file; the nearest name in its folder is given.
    ValueError
        The file holds no such matrix, or is damaged; candidates are listed.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and ":" in path:
        path, _, dataset = path.rpartition(":") if dataset is None else (path, "", dataset)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file{_nearest(Path(path))}")
    suffixes = Path(path).suffixes
    try:
        if os.path.isdir(path):
            return _open_zarr(path, dataset)
        if h5py.is_hdf5(path):
            return _open_hdf5(path, dataset)
        if suffixes[-1:] == [".npy"]:
            return NpySource(path)
        if suffixes[-1:] == [".npz"]:
            return _open_npz(path, dataset)
        if ".mtx" in suffixes or ".mm" in suffixes:
            return _in_memory(scipy.io.mmread(path), path)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if suffixes[-1:] and suffixes[-1] in HDF5_SUFFIXES:
        raise ValueError(f"{path}: is not an HDF5 file, or is damaged at its start")
    raise ValueError(
        f"{path}: unknown kind of matrix file; known are HDF5, .npy, .npz, .mtx and Zarr directories"
    )


def source_of_h5(node: Any) -> MatrixSource:
    """A source of an open h5py dataset, or of a group that holds a CSR matrix (data, indices, indptr, shape)."""
    if isinstance(node, h5py.Dataset):
        return HDF5Source.of(node)
    if isinstance(node, h5py.Group) and _is_csr(node):
        return SparseSource(_read_csr(node), f"{node.file.filename}:{node.name}")
    raise ValueError(
        f"{getattr(node, 'name', node)}: neither a dataset nor a CSR group (data, indices, indptr)"
    )


def _open_hdf5(path: str, dataset: str | None) -> MatrixSource:
    with _opened(path) as file:
        if dataset is None:
            names = _matrices(file)
            if len(names) != 1:
                raise ValueError(f"{path}: {len(names)} matrices inside; name one of {_listed(names)}")
            dataset = names[0]
        if dataset not in file:
            raise ValueError(f"{path}: no dataset {dataset!r}; there is {_listed(_matrices(file))}")
        node = file[dataset]
        if isinstance(node, h5py.Group):
            if not _is_csr(node):
                raise ValueError(f"{path}: {dataset!r} is a group; there is {_listed(_matrices(file))}")
            return source_of_h5(node)
    return HDF5Source(path, dataset)


def _opened(path: str) -> h5py.File:
    """svdflow's own files must be complete; anyone else's must open."""
    with open_for_reading(path) as file:
        ours = "schema_version" in file.attrs and "kind" in file.attrs
    return open_published(path) if ours else open_for_reading(path)


def open_for_reading(path: str) -> h5py.File:
    """Open without a lock, which some file systems do not have.

    HDF5 insists that a process opens one file in one way only, so where the caller holds it with a lock, so do we.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking" not in str(error):
            raise
        return h5py.File(path, "r")


def _matrices(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) == 2 and node.dtype.kind in NUMERIC:
            found.append("/" + name)
        if isinstance(node, h5py.Group) and _is_csr(node):
            found.append("/" + name)

    file.visititems(visit)
    return found


def _is_csr(group: h5py.Group) -> bool:
    return "shape" in group.attrs and all(part in group for part in ("data", "indices", "indptr"))


def _read_csr(group: h5py.Group) -> sp.csr_array:
    parts = tuple(read_array(group, part) for part in ("data", "indices", "indptr"))
    return sp.csr_array(parts, shape=tuple(int(side) for side in group.attrs["shape"]))


def _open_npz(path: str, dataset: str | None) -> MatrixSource:
    with np.load(path) as archive:
        names = list(archive.files)
        if "indptr" in names or "row" in names:
            return SparseSource(sp.load_npz(path), path)
        if dataset is None and len(names) == 1:
            dataset = names[0]
        if dataset not in names:
            raise ValueError(f"{path}: no array {dataset!r}; there is {_listed(names)}")
        return ArraySource(archive[dataset], f"{path}:{dataset}")


def _open_zarr(path: str, dataset: str | None) -> MatrixSource:
    try:
        import zarr
    except ImportError:
        raise ValueError(f"{path}: is a directory; reading it as Zarr needs the package zarr") from None
    node: Any = zarr.open(path, mode="r")
    node = node[dataset] if dataset else node
    if not hasattr(node, "chunks"):
        raise ValueError(f"{path}: a Zarr group; name one of {_listed([key for key, _ in node.arrays()])}")
    return ZarrSource(node, path)


def _in_memory(matrix: Any, path: str) -> MatrixSource:
    return SparseSource(matrix, path) if sp.issparse(matrix) else ArraySource(matrix, path)


def _read_into(file: Any, offset: int, block: np.ndarray, name: str) -> None:
    view = memoryview(
        block.reshape(-1).view(np.uint8)
    )  # not cast(): it refuses complex and byte-swapped entries
    file.seek(offset)
    while view.nbytes:
        got = file.readinto(view)
        if not got:
            raise ValueError(f"{name}: truncated: the file ends at byte {file.tell()}")
        view = view[got:]


def _listed(names: list[str], shown: int = 8) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > shown else ""
    return (", ".join(repr(name) for name in names[:shown]) + more) or "no matrix in it"


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (its folder {path.parent} does not exist)"
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    return f" (nearest name: {path.parent / near[0]})" if near else ""

"""Matrices in HDF5 files."""

import threading
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

from svdflow.matrix.chunks import ChunkReader, chunks_of, filters_of, open_for_reading, readable
from svdflow.matrix.raw import FileSource, StoredFile
from svdflow.matrix.sources import CHEAP_COLUMNS, NUMERIC, MatrixSource, SparseSource, _check_matrix, listed
from svdflow.store import open_published, read_array, read_rows
from svdflow.store.arrays import SUFFIX

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".nc", ".mat")


class HDF5Source(MatrixSource):
    """A dataset of an HDF5 file, contiguous or chunked.

    Plain numbers are read at their offsets without the HDF5 library, whose lock would keep threads from reading
    side by side: contiguous ones, and chunks without a filter or with gzip, shuffle and fletcher32. Anything else
    (other filters, virtual and external datasets, files open for writing) goes through the library.

    svdflow's own arrays are verified against the checksums beside them: each band when this process first reads a
    part of it, and again after the file was written to (its inode, size or time of change differ). A read from memory
    takes a fifth of the time of its crc32 (benchmarks/reading.py), so unchanged files are not verified every time.
    """

    def __init__(self, path: str, dataset: str) -> None:
        self.path, self.dataset = path, dataset
        self.name = f"{path}:{dataset}"
        self._handle: h5py.Dataset | None = None
        self._opening = threading.Lock()
        self._set_layout(self._open())
        if self._plain is not None or self._file is not None:
            self._handle = None  # closed, so that the file may be opened in other ways

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "HDF5Source":
        """Of an open dataset; its handle is used here, and workers elsewhere open the file anew."""
        source = cls.__new__(cls)
        source.path, source.dataset = dataset.file.filename, dataset.name
        source.name = f"{source.path}:{dataset.name}"
        source._handle, source._opening = dataset, threading.Lock()
        source._set_layout(dataset)
        return source

    def _set_layout(self, stored: h5py.Dataset) -> None:
        _check_matrix(stored.shape, stored.dtype, self.name)
        self.shape, self.dtype = stored.shape, stored.dtype
        self._checked = stored.name + SUFFIX in stored.file
        self._plain: FileSource | None = None
        self._file: StoredFile | None = None
        self._reading: tuple[tuple[int, ...], ChunkReader] | None = None  # as of a state of the file
        if stored.chunks:
            height, width = stored.chunks
            self.row_bands = height
            # Without a filter the selected part of a large chunk is read; with one, the chunk whole.
            self.column_bands = width if width < self.shape[1] else None
            cheap = width * self.shape[0] * self.dtype.itemsize <= CHEAP_COLUMNS
            self.column_access = cheap or not filters_of(stored)
        else:
            self.column_access = True
        if not readable(stored):
            return
        # Where the name is an external link, the bytes are in another file.
        self._stored_path, self._stored_name = stored.file.filename, stored.name
        if stored.chunks:
            self._file = StoredFile(self._stored_path)
            self._reader()  # the index is read here, once
        elif (offset := stored.id.get_offset()) is not None:
            self._plain = FileSource(self._stored_path, offset, stored.shape, stored.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._plain is None and self._file is None:
            stored = self._open()
            return read_rows(stored, start, stop) if self._checked else stored[start:stop]
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        self.read_into(start, stop, out)
        return out

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        if not (out.flags.c_contiguous and out.dtype == self.dtype):
            super().read_into(start, stop, out)
        elif self._plain is not None:
            self._plain.read_into(start, stop, out)
        elif self._file is not None:
            self._reader().read_rows(start, stop, out)
        else:
            super().read_into(start, stop, out)

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        if self._plain is not None:
            return self._plain.read_columns(start, stop)
        if self._file is None:
            return self._open()[:, start:stop]
        out = np.empty((self.shape[0], stop - start), self.dtype)
        self._reader().read_columns(start, stop, out)
        return out

    def _reader(self) -> ChunkReader:
        assert self._file is not None
        state = self._file.state
        if self._reading is None or self._reading[0] != state:
            chunks = chunks_of(self._stored_path, self._stored_name, state)
            if chunks.shape != self.shape or chunks.dtype != self.dtype:
                raise ValueError(f"{self.name}: was replaced by another matrix since it was opened")
            self._reading = state, ChunkReader(self._file, chunks, self.name, self._open)
        return self._reading[1]

    def _open(self) -> h5py.Dataset:
        with self._opening:
            if self._handle is None or not self._handle:
                self._handle = open_for_reading(self.path)[self.dataset]
            return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_opening": None, "_reading": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _opening=threading.Lock())


def source_of_h5(node: Any) -> MatrixSource:
    """A source of an open h5py dataset, or of a group that holds a CSR matrix (data, indices, indptr, shape)."""
    if isinstance(node, h5py.Dataset):
        return HDF5Source.of(node)
    if isinstance(node, h5py.Group) and _is_csr(node):
        return SparseSource(_read_csr(node), f"{node.file.filename}:{node.name}")
    raise ValueError(
        f"{getattr(node, 'name', node)}: neither a dataset nor a CSR group (data, indices, indptr)"
    )


def open_hdf5(path: str, dataset: str | None) -> MatrixSource:
    with _opened(path) as file:
        if dataset is None:
            names = _matrices(file)
            if len(names) != 1:
                raise ValueError(f"{path}: {len(names)} matrices inside; name one of {listed(names)}")
            dataset = names[0]
        if dataset not in file:
            raise ValueError(f"{path}: no dataset {dataset!r}; there is {listed(_matrices(file))}")
        node = file[dataset]
        if isinstance(node, h5py.Group):
            if not _is_csr(node):
                raise ValueError(f"{path}: {dataset!r} is a group; there is {listed(_matrices(file))}")
            return source_of_h5(node)
    return HDF5Source(path, dataset)


def _opened(path: str) -> h5py.File:
    """svdflow's own files must be complete; anyone else's must open."""
    with open_for_reading(path) as file:
        ours = "schema_version" in file.attrs and "kind" in file.attrs
    return open_published(path) if ours else open_for_reading(path)


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

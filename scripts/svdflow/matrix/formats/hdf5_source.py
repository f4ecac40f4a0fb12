"""A dataset of an HDF5 file as a source, read at its offsets where that is possible."""

import os
import threading
from typing import Any

import h5py
import numpy as np

from svdflow.errors import LinkError
from svdflow.matrix.bounded import refuse_bloated
from svdflow.matrix.file_errors import naming
from svdflow.matrix.formats.hdf5_chunks import ChunkReader, chunks_of, filters_of, open_for_reading, readable
from svdflow.matrix.formats.hdf5_written import refuse_unwritten
from svdflow.matrix.formats.raw import FileSource, RawFile
from svdflow.matrix.links import referred
from svdflow.matrix.sources import CHEAP_COLUMNS, MatrixSource, _check_matrix
from svdflow.store import read_rows
from svdflow.store.arrays import SUFFIX


class HDF5Source(MatrixSource):
    """A dataset of an HDF5 file, contiguous or chunked.

    Plain numbers are read at their offsets without the HDF5 library, whose lock would keep threads from reading
    side by side: contiguous ones, and chunks without a filter or with gzip, shuffle and fletcher32. Anything else
    (other filters, virtual and external datasets, files open for writing) goes through the library.

    svdflow's own arrays are verified against the checksums beside them: each band when this process first reads a
    part of it, and again after the file was written to (its inode, size or time of change differ). A read from memory
    takes a fifth of the time of its crc32 (benchmarks/reading.py), so unchanged files are not verified every time.
    """

    keeps_promises = True

    def __init__(self, path: str, dataset: str, *, allow_links: bool = False) -> None:
        self._allow_links = allow_links
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
        source._allow_links = False
        source._handle, source._opening = dataset, threading.Lock()
        source._set_layout(dataset)
        return source

    def _set_layout(self, stored: h5py.Dataset) -> None:
        pairs = complex_of(stored.dtype)
        self._records = pairs is not None
        self.dtype = stored.dtype if pairs is None else pairs
        _check_matrix(stored.shape, self.dtype, self.name)
        refuse_unwritten(stored, self.path, self._allow_links)
        refuse_bloated(stored, self.name)
        self.shape = stored.shape
        self._checked = stored.name + SUFFIX in stored.file
        self._plain: FileSource | None = None
        self._file: RawFile | None = None
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
        if stored.external and not all(os.path.isabs(part[0]) for part in stored.external):
            self._plain = self._raw_beside(stored)
        if self._records or not readable(stored):
            return
        # Where the name is an external link, the bytes are in another file.
        self._stored_path, self._stored_name = stored.file.filename, stored.name
        if stored.chunks:
            self._file = RawFile(self._stored_path)
            self._reader()  # the index is read here, once
        elif (offset := stored.id.get_offset()) is not None:
            self._plain = FileSource(self._stored_path, offset, stored.shape, stored.dtype)

    @naming
    def read(self, start: int, stop: int) -> np.ndarray:
        if self._plain is None and self._file is None:
            stored = self._open()
            return self._numbers(read_rows(stored, start, stop) if self._checked else stored[start:stop])
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        self.read_into(start, stop, out)
        return out

    @naming
    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        if not (out.flags.c_contiguous and out.dtype == self.dtype):
            super().read_into(start, stop, out)
        elif self._plain is not None:
            self._plain.read_into(start, stop, out)
        elif self._file is not None:
            self._reader().read_rows(start, stop, out)
        else:
            super().read_into(start, stop, out)

    @naming
    def read_columns(self, start: int, stop: int) -> np.ndarray:
        if self._plain is not None:
            return self._plain.read_columns(start, stop)
        if self._file is None:
            return self._numbers(self._open()[:, start:stop])
        out = np.empty((self.shape[0], stop - start), self.dtype)
        self._reader().read_columns(start, stop, out)
        return out

    def _raw_beside(self, stored: h5py.Dataset) -> FileSource:
        """Raw data in a file that is named without its folder: the library looks for it in the working directory."""
        ((name, offset, _),) = stored.external if len(stored.external) == 1 else [(None, 0, 0)]
        if (
            name is None
            or self._records
            or not stored.id.get_type().equal(h5py.h5t.py_create(stored.dtype, logical=True))
        ):
            raise LinkError(
                f"{self.name}: has its raw data in several files; copy them into one HDF5 file (h5repack)"
            )
        where = referred(self.path, name, "external raw data", self._allow_links)
        return FileSource(where, offset, stored.shape, stored.dtype)

    @property
    def verified_by_svdflow(self) -> bool:
        """Whether svdflow wrote it, with checksums beside it."""
        return self._checked

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        return rows.view(self.dtype) if self._records else rows

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


def complex_of(dtype: np.dtype) -> np.dtype | None:
    """The complex type of records of two floats, as MATLAB stores complex numbers; None for any other type."""
    if dtype.names != ("real", "imag") or dtype["real"] != dtype["imag"] or dtype["real"].kind != "f":
        return None
    part = dtype["real"]
    if part.itemsize not in (4, 8) or dtype.itemsize != 2 * part.itemsize:
        return None
    return np.dtype(f"{part.byteorder}c{dtype.itemsize}")

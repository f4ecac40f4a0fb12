"""Matrices that lie in a file as they lie in memory: .npy and raw binary files.

They are read at their offset into buffers, never mapped: a mapped page counts as resident memory of the process,
so a map of a file larger than the memory limit would break it, and its page faults cost more than the copy.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from tokenize import TokenError
from typing import Any

import numpy as np

from svdflow.matrix.sources import MatrixSource, _check_matrix

# Bytes of one call. Behind a larger one at a new place Linux fills the page cache in single 4 KiB pages, and files that
# were read so are read again at 5 GB/s instead of 22; behind a small one its readahead takes over with larger pages.
CALL_BYTES = 2**20


class RawFile:
    """A file read at offsets by any number of threads. It pickles as its path."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._descriptor: int | None = None
        self._opening = threading.Lock()

    def read_into(self, offset: int, block: np.ndarray, name: str) -> None:
        """Fill a contiguous `block` with the bytes from `offset` on; ValueError where the file ends before."""
        view, descriptor = as_bytes(block), self.descriptor
        while view.nbytes:
            got = os.preadv(descriptor, [view[:CALL_BYTES]], offset)
            if not got:
                raise ValueError(f"{name}: truncated: the file ends at byte {offset}")
            view, offset = view[got:], offset + got

    @property
    def state(self) -> tuple[int, int, int, int]:
        """Device, inode, size in bytes and time of the last change in ns: equal for a file nobody wrote to."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    @property
    def descriptor(self) -> int:
        """Kept open, because the kernel's readahead belongs to it; closed with this object."""
        with self._opening:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
                weakref.finalize(self, os.close, self._descriptor)
            return self._descriptor

    def __reduce__(self) -> tuple[type["RawFile"], tuple[str]]:
        return RawFile, (self.path,)


class FileSource(MatrixSource):
    """A matrix at a byte offset of a file, entries in rows (or in columns: Fortran order)."""

    column_access = True
    keeps_promises = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        offset: int,
        shape: Sequence[int],
        dtype: Any,
        fortran: bool = False,
    ) -> None:
        _check_matrix(shape, dtype, str(path))
        self.path, self.name = os.fspath(path), str(path)
        self.shape, self.dtype = (int(shape[0]), int(shape[1])), np.dtype(dtype)
        self._file = RawFile(path)
        self._offset, self._fortran = int(offset), fortran
        needed = self._offset + self.shape[0] * self.shape[1] * self.dtype.itemsize
        if os.path.getsize(path) < needed:
            raise ValueError(f"{path}: truncated: {needed} bytes expected, {os.path.getsize(path)} found")

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._strided(start, stop).T if self._fortran else self._band(start, stop)

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        if not self._fortran and out.flags.c_contiguous and out.dtype == self.dtype:
            self._file.read_into(self._place(start), out, self.name)
        else:
            super().read_into(start, stop, out)

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        return self._band(start, stop).T if self._fortran else self._strided(start, stop)

    def _place(self, line: int) -> int:
        length = self.shape[0] if self._fortran else self.shape[1]
        return self._offset + line * length * self.dtype.itemsize

    def _band(self, start: int, stop: int) -> np.ndarray:
        """Consecutive stored lines, in one read."""
        block = np.empty((stop - start, self.shape[0] if self._fortran else self.shape[1]), self.dtype)
        self._file.read_into(self._place(start), block, self.name)
        return block

    def _strided(self, start: int, stop: int) -> np.ndarray:
        """The same stretch of every stored line, one read a line."""
        block = np.empty((self.shape[1 if self._fortran else 0], stop - start), self.dtype)
        for line, stretch in enumerate(block):
            self._file.read_into(self._place(line) + start * self.dtype.itemsize, stretch, self.name)
        return block


class NpySource(FileSource):
    """A .npy file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with open(path, "rb") as file:
            shape, fortran, dtype = npy_header(file, os.fspath(path))
            offset = file.tell()
        super().__init__(path, offset, shape, dtype, fortran)


def npy_header(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype from the header of a .npy file; ValueError without a word of its content."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError:
        raise ValueError(f"{name}: is not a .npy file, or is damaged at its start") from None
    if version not in readers:
        raise ValueError(f"{name}: .npy version {version[0]}.{version[1]} holds records; save a plain array")
    try:
        return readers[version](stream)
    except (ValueError, TypeError, SyntaxError, OverflowError, TokenError):
        raise ValueError(f"{name}: its .npy header is damaged or truncated") from None


def open_raw(path: str, shape: Sequence[int] | None, dtype: Any, offset: int, order: str) -> FileSource:
    """A file of nothing but entries behind `offset` bytes; its length must be what shape and dtype say."""
    missing = [word for word, value in (("shape", shape), ("dtype", dtype)) if value is None]
    if shape is None or dtype is None:
        raise ValueError(
            f"{path}: a raw binary file does not say its {' and '.join(missing)}; "
            'open it with open_matrix(path, shape=(m, n), dtype="float32")'
        )
    if order not in ("C", "F"):
        raise ValueError(f'{path}: order must be "C" (rows) or "F" (columns), not {order!r}')
    if offset < 0:
        raise ValueError(f"{path}: offset must not be negative, it is {offset}")
    source = FileSource(path, offset, shape, dtype, order == "F")
    needed = offset + source.shape[0] * source.shape[1] * source.dtype.itemsize
    if os.path.getsize(path) != needed:
        raise ValueError(
            f"{path}: {os.path.getsize(path)} bytes, where offset {offset}, shape {source.shape} and dtype "
            f"{source.dtype} make {needed}; check these"
        )
    return source


def as_bytes(block: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, writable where it is."""
    return memoryview(block.reshape(-1).view(np.uint8))  # not cast(): it refuses complex and swapped entries

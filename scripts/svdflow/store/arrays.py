"""Arrays in row bands of 4-16 MB, each with a crc32, so that a panel is one sequential read.

An array ``name`` is stored chunked along its first axis; the checksums of its bands stand in the
attribute-sized dataset ``name.crc32`` beside it. Nothing is compressed: working matrices are read many times.
`svdflow.store.reading` reads them.
"""

import zlib
from math import prod
from typing import Any

import h5py
import numpy as np

from svdflow.errors import StoreError

# Bytes of a chunk, a band of whole rows: HDF5 reads bands of 4 to 16 MB at the speed of the disk, and a panel of some
# hundred MB still consists of many. It is part of the layout of stored files: another value changes them and no result.
BAND_BYTES = 8 * 2**20
SUFFIX = ".crc32"
CRC = "crc32"  # attribute of a table or an archive: of all its bytes


class ArrayWriter:
    """Write an array row by row, in order; bands are flushed and checksummed as they fill.

    Use as a context manager, or call `close`, which refuses an array with missing rows.
    """

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        dtype = np.dtype(dtype)
        band = band_height(shape, dtype)
        chunks = (band, *shape[1:]) if prod(shape) else None
        self.dataset = group.create_dataset(name, shape, dtype, chunks=chunks, track_times=False)
        self._group, self._name, self._band = group, name, band
        self._buffer = np.empty((min(band, shape[0]), *shape[1:]), dtype)
        self._filled = 0
        self._row = 0
        self._checksums: list[int] = []
        self._closed = False

    def write(self, start_row: int, rows: np.ndarray) -> None:
        """Append `rows`, which begin at `start_row`."""
        if start_row != self._row + self._filled:
            raise ValueError(f"{self._name}: rows {start_row} came where {self._row + self._filled} was due")
        if start_row + len(rows) > self.dataset.shape[0]:
            raise ValueError(f"{self._name}: rows past the end of shape {self.dataset.shape}")
        taken = 0
        while taken < len(rows):
            step = min(len(rows) - taken, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + step] = rows[taken : taken + step]
            self._filled += step
            taken += step
            if self._filled == len(self._buffer):
                self._flush()

    def close(self) -> h5py.Dataset:
        """Flush the last band, store the checksums and return the dataset."""
        if self._closed:
            return self.dataset
        if self._filled:
            self._flush()
        if self.dataset.shape and self._row != self.dataset.shape[0]:
            raise ValueError(f"{self._name}: {self._row} of {self.dataset.shape[0]} rows written")
        self.dataset.flush()  # a last, part-full band gets its place now, not when Python lets go of the dataset
        self._group.create_dataset(
            self._name + SUFFIX, data=np.array(self._checksums, np.uint32), track_times=False
        )
        self._closed = True
        return self.dataset

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def _flush(self) -> None:
        band = self._buffer[: self._filled]
        self.dataset[self._row : self._row + self._filled] = band
        self._checksums.append(zlib.crc32(band.data))
        self._row += self._filled
        self._filled = 0


def band_height(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Rows of one band: as many as fit 8 MB, at least one, at most all."""
    row_bytes = max(1, prod(shape[1:]) * dtype.itemsize)
    return max(1, min(shape[0], BAND_BYTES // row_bytes)) if shape else 1


def create_array(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> ArrayWriter:
    """Begin an array that is written in order, panel by panel."""
    return ArrayWriter(group, name, shape, dtype)


def write_array(group: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
    """Store a whole array of one or more dimensions."""
    array = np.ascontiguousarray(array)
    with create_array(group, name, array.shape, array.dtype) as writer:
        writer.write(0, array)
    return writer.dataset


def checked_rows(dataset: h5py.Dataset, checksums: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """Rows ``start:stop`` of a dataset, each band that they touch compared with its crc32.

    Raises
    ------
    StoreError
        A band does not match its checksum, or there are none.
    """
    if checksums is None:
        raise StoreError("has no checksums, so it cannot be believed")
    if dataset.chunks is None:  # nothing was written
        return dataset[start:stop]
    band = dataset.chunks[0]
    first, last = start // band, -(-stop // band)
    low, high = first * band, min(last * band, dataset.shape[0])
    if len(checksums) != -(-dataset.shape[0] // band):
        raise StoreError(f"{len(checksums)} checksums for {-(-dataset.shape[0] // band)} bands")
    rows = dataset[low:high]
    for index in range(first, last):
        piece = rows[index * band - low : min((index + 1) * band, high) - low]
        if zlib.crc32(np.ascontiguousarray(piece).data) != checksums[index]:
            raise StoreError(f"rows {index * band} to {index * band + len(piece) - 1} are damaged")
    return rows[start - low : stop - low]


def band_checksums(dataset: h5py.Dataset) -> np.ndarray | None:
    """crc32 of each band, where svdflow wrote the dataset."""
    name = dataset.name + SUFFIX
    return dataset.file[name][...] if name in dataset.file else None

"""Chunked HDF5 datasets read at the byte offsets of their chunks, outside the HDF5 library.

The library holds one lock for the whole process, so threads that read through it wait for each other. Here the
index of chunks is taken over once, and bytes are read, decompressed and verified by each thread on its own.
What the filters and layouts below do not cover is left to the library.

Of the speed of a plain read, bands of 8 MB reach 0.89 where h5py reaches 0.30, tiles of 256 x 256 0.42 and 0.26
(``python benchmarks/reading.py --gigabytes 0.3 --clock cpu``, warm, one thread).

Source: HDF5 File Format Specification 3.0, chapters III (raw data) and IV.A.2.l (filter pipeline).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import h5py
import numpy as np

from svdflow.errors import FilterError, StoreError
from svdflow.matrix.formats.raw import RawFile, as_bytes
from svdflow.store.arrays import SUFFIX
from svdflow.store.heaps import endless_heap

DEFLATE, SHUFFLE, FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32
KNOWN_FILTERS = {DEFLATE, SHUFFLE, FLETCHER32}
MISSING = -1  # offset of a chunk that was never written
# Bytes of a row beyond the columns asked for, above which each row is read by itself: more of them cost more than one
# more call. It moves the time of reading few columns and nothing else.
LINE_BYTES = 32 * 2**10
WORDS = {2: np.uint16, 4: np.uint32, 8: np.uint64}  # entries that imagecodecs puts together, by their bytes


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of a dataset lie, and how they are encoded.

    Attributes
    ----------
    shape, chunk : (m, n), (h, w)
    offsets : int64 array, shape (ceil(m / h), ceil(n / w))
        In bytes; `MISSING` for a chunk that was never written.
    sizes, masks : uint32 arrays of that shape
        Stored bytes; bit i of the mask says that filter i was left out.
    filters : sequence of int
        HDF5's numbers, in the order in which they were applied.
    fill : scalar
        Entries of missing chunks.
    checksums : uint32 array or None
        crc32 of each band of rows, where svdflow wrote the dataset.
    verified : bool array
        Bands whose checksum this process has compared; filled as they are read.
    """

    shape: tuple[int, int]
    chunk: tuple[int, int]
    dtype: np.dtype
    offsets: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray
    filters: tuple[int, ...]
    fill: np.generic
    checksums: np.ndarray | None
    verified: np.ndarray

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "Chunks":
        (m, n), (h, w) = dataset.shape, dataset.chunks
        grid = (-(-m // h), -(-n // w))
        offsets = np.full(grid, MISSING, np.int64)
        sizes, masks = np.zeros(grid, np.uint32), np.zeros(grid, np.uint32)

        def visit(stored: h5py.h5d.StoreInfo) -> None:
            place = stored.chunk_offset[0] // h, stored.chunk_offset[1] // w
            if not (place[0] < grid[0] and place[1] < grid[1]):
                raise ValueError(f"{dataset.name}: damaged: a chunk lies beyond its matrix")
            offsets[place], sizes[place] = stored.byte_offset, stored.size
            masks[place] = stored.filter_mask

        dataset.id.chunk_iter(visit)
        beside = dataset.name + SUFFIX
        checksums = dataset.file[beside][...] if beside in dataset.file else None
        return cls(
            (m, n),
            (h, w),
            dataset.dtype,
            offsets,
            sizes,
            masks,
            filters_of(dataset),
            dataset.fillvalue,
            checksums,
            np.full(grid[0], checksums is None),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of one decoded chunk. Chunks at the edge are stored whole."""
        return self.chunk[0] * self.chunk[1] * self.dtype.itemsize

    def rows_of(self, band: int) -> tuple[int, int]:
        """First and last-plus-one row of a band."""
        return band * self.chunk[0], min((band + 1) * self.chunk[0], self.shape[0])


def open_for_reading(path: str) -> h5py.File:
    """Open without a lock, which some file systems do not have.

    HDF5 insists that a process opens one file in one way only, so where the caller holds it with a lock, so do we.
    """
    if (place := endless_heap(path)) is not None:
        raise OSError(f"damaged at byte {place}, among its texts")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking" not in str(error):
            raise
        return h5py.File(path, "r")


def filters_of(dataset: h5py.Dataset) -> tuple[int, ...]:
    properties = dataset.id.get_create_plist()
    return tuple(properties.get_filter(i)[0] for i in range(properties.get_nfilters()))


def readable(dataset: h5py.Dataset) -> bool:
    """Whether the bytes of a dataset may be read without the library: plain numbers in this one, unchanging file."""
    file, stored = dataset.file, dataset.id.get_type()
    return bool(
        file.mode == "r"
        and not file.swmr_mode
        and file.driver == "sec2"
        and not dataset.is_virtual
        and not dataset.external
        and stored.equal(h5py.h5t.py_create(dataset.dtype, logical=True))
        # Offsets of chunks did not count the user block before HDF5 2.0.
        and (dataset.chunks is None or file.userblock_size == 0)
        and KNOWN_FILTERS.issuperset(filters_of(dataset))
    )


@lru_cache(maxsize=16)
def chunks_of(path: str, dataset: str, state: tuple[int, ...]) -> Chunks:
    """The index of a dataset, built once a process for each state of the file."""
    with open_for_reading(path) as file:
        return Chunks.of(file[dataset])


@dataclass(frozen=True)
class ChunkReader:
    """Reads parts of a chunked dataset into C-contiguous arrays.

    `library` opens the dataset, for chunks that only the library knows how to read.
    """

    file: RawFile
    chunks: Chunks
    name: str
    library: Callable[[], h5py.Dataset]

    def read_rows(self, start: int, stop: int, out: np.ndarray) -> None:
        """Rows ``start:stop`` into `out`, shape (stop - start, n). Bands not yet verified are, as a whole."""
        chunks = self.chunks
        for band in range(start // chunks.chunk[0], -(-stop // chunks.chunk[0])):
            low, high = chunks.rows_of(band)
            first, last = max(start, low), min(stop, high)
            part = out[first - start : last - start]
            if chunks.verified[band]:
                self._fill(band, first - low, last - low, 0, chunks.shape[1], part)
                continue
            whole = (
                part if part.shape[0] == high - low else np.empty((high - low, chunks.shape[1]), chunks.dtype)
            )
            self._fill(band, 0, high - low, 0, chunks.shape[1], whole)
            self._verify(band, whole)
            if whole is not part:
                part[...] = whole[first - low : last - low]

    def read_columns(self, start: int, stop: int, out: np.ndarray) -> None:
        """Columns ``start:stop`` into `out`, shape (m, stop - start)."""
        for band in range(len(self.chunks.offsets)):
            low, high = self.chunks.rows_of(band)
            if self.chunks.verified[band]:
                self._fill(band, 0, high - low, start, stop, out[low:high])
            else:
                whole = np.empty((high - low, self.chunks.shape[1]), self.chunks.dtype)
                self.read_rows(low, high, whole)
                out[low:high] = whole[:, start:stop]

    def _verify(self, band: int, rows: np.ndarray) -> None:
        low, high = self.chunks.rows_of(band)
        assert self.chunks.checksums is not None
        if zlib.crc32(as_bytes(np.ascontiguousarray(rows))) != self.chunks.checksums[band]:
            raise StoreError(f"{self.name}: rows {low} to {high - 1} are damaged")
        self.chunks.verified[band] = True

    def _fill(self, band: int, first: int, last: int, left: int, right: int, out: np.ndarray) -> None:
        """Rows ``first:last`` of one band, columns ``left:right``, into `out` of that shape."""
        width = self.chunks.chunk[1]
        for column in range(left // width, -(-right // width)):
            a, b = max(left, column * width), min(right, (column + 1) * width)
            self._tile(
                band, column, first, last, a - column * width, b - column * width, out[:, a - left : b - left]
            )

    def _tile(self, i: int, j: int, first: int, last: int, a: int, b: int, out: np.ndarray) -> None:
        """Rows ``first:last`` and columns ``a:b`` of one chunk."""
        chunks, width = self.chunks, self.chunks.chunk[1]
        offset, itemsize = int(chunks.offsets[i, j]), chunks.dtype.itemsize
        if offset == MISSING:
            out[...] = chunks.fill
        elif chunks.filters:
            tile = self._decoded(i, j)
            if tile is None:
                top, side = i * chunks.chunk[0], j * width
                out[...] = self.library()[top + first : top + last, side + a : side + b]
            else:
                out[...] = tile[first:last, a:b]
        elif (width - (b - a)) * itemsize > LINE_BYTES:
            for row, line in enumerate(out, first):
                self.file.read_into(offset + (row * width + a) * itemsize, line, self.name)
        else:
            whole = b - a == width and out.flags.c_contiguous
            tile = out if whole else np.empty((last - first, width), chunks.dtype)
            self.file.read_into(offset + first * width * itemsize, tile, self.name)
            if not whole:
                out[...] = tile[:, a:b]

    def _decoded(self, i: int, j: int) -> np.ndarray | None:
        """A filtered chunk as it was before its filters, or None where only the library knows."""
        chunks = self.chunks
        (h, w), size, mask = chunks.chunk, int(chunks.sizes[i, j]), int(chunks.masks[i, j])
        edge = (i + 1) * h > chunks.shape[0] or (j + 1) * w > chunks.shape[1]
        if edge and size == chunks.nbytes and not mask:
            return None  # an edge chunk may have been left unfiltered, which the index does not say
        stored = np.empty(size, np.uint8)
        self.file.read_into(int(chunks.offsets[i, j]), stored, self.name)
        try:
            data = decode(stored, chunks.filters, mask, chunks.nbytes, chunks.dtype.itemsize)
        except FilterError as error:
            raise ValueError(
                f"{self.name}: the chunk at row {i * h}, column {j * w} is damaged ({error})"
            ) from error
        return data.view(chunks.dtype).reshape(h, w)


def read_vector(dataset: h5py.Dataset, name: str) -> np.ndarray:
    """A dataset of one dimension in memory; its chunks are unpacked to the length that they declare and no further."""
    filters = filters_of(dataset)
    plain = dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype, logical=True))
    if not dataset.chunks or DEFLATE not in filters or not KNOWN_FILTERS.issuperset(filters) or not plain:
        return np.asarray(dataset[...])
    out = np.full(dataset.shape, dataset.fillvalue, dataset.dtype)
    length, itemsize = dataset.chunks[0], dataset.dtype.itemsize

    def visit(stored: h5py.h5d.StoreInfo) -> None:
        start = stored.chunk_offset[0]
        part = out[start : start + length]
        mask, raw = dataset.id.read_direct_chunk((start,))
        if len(part) < length and len(raw) == length * itemsize and not mask:
            part[...] = dataset[start : start + length]  # perhaps left unfiltered
            return
        try:
            data = decode(np.frombuffer(raw, np.uint8), filters, mask, length * itemsize, itemsize)
        except FilterError as error:
            raise ValueError(f"{name}: the chunk at {start} is damaged ({error})") from error
        part[...] = data.view(dataset.dtype)[: len(part)]

    places: list[h5py.h5d.StoreInfo] = []
    dataset.id.chunk_iter(places.append)
    for place in places:
        visit(place)
    return out


def decode(stored: np.ndarray, filters: tuple[int, ...], mask: int, nbytes: int, itemsize: int) -> np.ndarray:
    """Undo the filters of one chunk, last one first.

    Parameters
    ----------
    stored : uint8 array
    filters : sequence of int
        `DEFLATE`, `SHUFFLE`, `FLETCHER32` in the order in which they were applied.
    mask : int
        Bit i is set where filter i was left out.
    nbytes, itemsize : int
        Bytes of the decoded chunk and of one entry.

    Returns
    -------
    uint8 array of `nbytes` entries

    Raises
    ------
    FilterError
        The checksum differs, or the compressed stream is damaged or of another length.
    """
    for place in reversed(range(len(filters))):
        if mask >> place & 1:
            continue
        if filters[place] == FLETCHER32:
            stored, checksum = stored[:-4], stored[-4:]
            if fletcher32(stored) != int.from_bytes(checksum.tobytes(), "little"):
                raise FilterError("its Fletcher checksum differs")
        elif filters[place] == DEFLATE:
            stored = inflate(stored, nbytes + (4 if FLETCHER32 in filters[:place] else 0))
        else:
            stored = unshuffle(stored, itemsize)
    if len(stored) != nbytes:
        raise FilterError(f"{len(stored)} bytes where {nbytes} belong")
    return stored


def inflate(stored: np.ndarray, most: int) -> np.ndarray:
    """Decompress a zlib stream of at most so many bytes; libdeflate takes a third of zlib's time."""
    codecs = _codecs()
    try:
        return np.asarray(codecs.deflate_decode(stored, out=np.empty(most, np.uint8)))
    except codecs.DeflateError as error:
        raise FilterError(str(error)) from error


def unshuffle(stored: np.ndarray, itemsize: int) -> np.ndarray:
    """Put the bytes of each entry together again; what is left over at the end was not shuffled."""
    entries = len(stored) // itemsize
    if itemsize == 1 or entries < 2:
        return stored
    whole = stored[: entries * itemsize]
    if itemsize in WORDS:
        together = _codecs().byteshuffle_decode(whole.view(WORDS[itemsize])).view(np.uint8)
    else:  # complex numbers, which imagecodecs does not take
        together = whole.reshape(itemsize, entries).T.ravel()
    return together if len(together) == len(stored) else np.append(together, stored[len(together) :])


def fletcher32(stored: np.ndarray) -> int:
    """HDF5's Fletcher-32 of bytes, taken as big-endian 16-bit words, modulo 65535 with 65535 for zero.

    Fletcher, "An arithmetic checksum for serial transmissions", IEEE Trans. Comm. 30 (1982).
    """
    return int(_codecs().h5checksum_fletcher32(stored))


def _codecs() -> Any:
    import imagecodecs  # on use: it takes 0.1 s to import

    return imagecodecs  # its annotations leave out arrays

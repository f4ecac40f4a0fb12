"""The file: a description and the streams after it, as one array of bytes (docs/archives.md)."""

import json
import lzma
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from math import inf, isfinite, prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np

from svdflow.codec.quantize import Coded, Reader
from svdflow.codec.streams import pack, unpack
from svdflow.errors import StoreError
from svdflow.registry import ARCHIVE_FORMS
from svdflow.store import StoredArray, StoredFile, open_published, publish
from svdflow.store.reading import unwrapped

KIND = "archive"
# Versions of the layout; a reader refuses a later one than it knows (docs/archives.md).
LAYOUT = 1
MASKED_LAYOUT = 2  # with a mask: readers of layout 1 would take what stands under it for values
BLOCK_LAYOUT = 3  # a picture in squares, each with codes of its own
# What a stream may declare before memory is taken for it.
SLACK = 128  # codes beyond those of the padded array: the bases of tiles are 16 x 8
PADDED = 8  # values that a side is continued by at most, to a multiple of the side of a tile
DESCRIPTION = 2**28  # bytes that a description may unpack to: a million streams of 200 bytes each
# What h5py, zlib, LZMA, JSON and arithmetic on fields of a description raise where bytes are not what they were.
DAMAGE = (
    OSError, LookupError, RuntimeError, zlib.error, lzma.LZMAError, ValueError, TypeError, AttributeError,
    ArithmeticError, MemoryError,
)  # fmt: skip
LENGTH = 4  # bytes of the length of the description, unsigned, little-endian


class InPlace(np.bytes_):  # type: ignore[misc]  # plain bytes go to the heap as well
    """Text that HDF5 keeps where it stands, and that equals its str.

    A string of variable length goes to a heap of four kilobytes: more than a small archive has in all.
    """

    def __eq__(self, other: object) -> bool:
        return self.decode() == (other.decode() if isinstance(other, bytes) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = np.bytes_.__hash__


@contextmanager
def published(path: str | Path, *, force: bool = False) -> Iterator[h5py.File]:
    """`svdflow.store.publish` for an archive."""
    kind: Any = InPlace(KIND.encode())
    with publish(path, kind, force=force) as file:
        yield file


def sealed(coded: Coded, attributes: Mapping[str, Any]) -> np.ndarray:
    """The bytes of an archive: length of the description, description, streams; uint8.

    The description is JSON under zlib: the attributes, and of every stream its coder, bytes, shape and crc32.
    """
    parts, index = [], []
    for number, codes in enumerate(coded.streams):
        coder, part = pack(codes.astype(np.int64, copy=False), smooth=number in coded.smooth)
        parts.append(part)
        index.append([coder, len(part), *codes.shape, zlib.crc32(part)])
    text = json.dumps({**attributes, "streams": index}, default=_plain, separators=(",", ":"))
    description = zlib.compress(text.encode(), 9)
    head = len(description).to_bytes(LENGTH, "little")
    return np.frombuffer(b"".join([head, description, *parts]), np.uint8)


def write(file: h5py.File, content: np.ndarray) -> None:
    """Put the bytes of an archive into an open HDF5 file."""
    # Contiguous, with one attribute: bands and their checksums (`store.write_array`) take two kilobytes more.
    dataset = file.create_dataset("archive", data=content, track_times=False)
    dataset.attrs["crc32"] = np.uint32(zlib.crc32(content))


def size_of(content: np.ndarray) -> int:
    """Bytes of the file that these bytes make."""
    return _overhead() + len(content)


@lru_cache
def _overhead() -> int:
    """What HDF5 takes beside the bytes, measured on a small file: it does not depend on their number."""
    with TemporaryDirectory() as folder:
        path, content = Path(folder) / "archive.h5", np.zeros(1, np.uint8)
        with published(path) as file:
            write(file, content)
        return path.stat().st_size - len(content)


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[dict[str, Any], Reader]]:
    """The attributes of a published archive, and what decodes its streams one by one.

    Raises
    ------
    StoreError
        Not an archive, unfinished, damaged, or of a later layout.
    """
    try:
        with open_published(path, KIND) as file:
            layout = layout_of(file)
            yield layout, reader_of(file, layout)
    except StoreError:
        raise
    except DAMAGE as error:
        raise StoreError(f"{path}: the archive is damaged ({error}); take another copy") from error


def layout_of(file: StoredFile | h5py.File) -> dict[str, Any]:
    """The description of an archive; ``start`` is where its streams begin."""
    dataset = _content(file)
    start = LENGTH + int.from_bytes(dataset[:LENGTH].tobytes(), "little")
    inflate = zlib.decompressobj()
    text = inflate.decompress(dataset[LENGTH:start].tobytes(), DESCRIPTION)
    if not inflate.eof:
        raise StoreError(f"{file.filename}: the description is damaged; take another copy")
    layout = json.loads(text)
    if layout["layout"] > BLOCK_LAYOUT:
        raise StoreError(
            f"{file.filename}: layout {layout['layout']} is later than {BLOCK_LAYOUT}; use a newer svdflow"
        )
    if layout["form"] not in ARCHIVE_FORMS:
        raise StoreError(
            f"{file.filename}: form {layout['form']!r} is not known here (there are {', '.join(ARCHIVE_FORMS)}); "
            "decode it with the svdflow, or the package beside it, that wrote it"
        )
    _check(layout)
    return {**layout, "start": start}


def _check(layout: Mapping[str, Any]) -> None:
    """Refuse a description that no encoder wrote, before anything is made of it."""
    dtype, shape = np.dtype(layout["dtype"]), layout["shape"]
    sound = dtype.kind in "fiub" and dtype.itemsize <= 8
    sound = sound and shape and all(isinstance(n, int) and n > 0 for n in shape)
    parts = layout.get("blocks", [layout])
    if "blocks" in layout:  # counted, not listed: a few bytes may ask for any number of squares
        counts = [-(-side // layout["block"]) for side in shape]
        sound = sound and layout["block"] > 0 and len(shape) == 2 and len(parts) == prod(counts)
    if not (sound and all(isfinite(part["offset"]) for part in parts) and 0 < layout["step"] < inf):
        raise ValueError("its description is not one of an archive")


def masked(coded: Coded, mask: np.ndarray | None) -> Coded:
    """Codes with a last stream that is 1 where a value is missing."""
    if mask is None:
        return coded
    missing = (~mask).astype(np.int8).reshape(mask.shape[0], -1)
    return replace(coded, streams=[*coded.streams, missing])


def mask_layout(mask: np.ndarray | None) -> dict[str, int]:
    """What the description of an archive with a mask says beside: its layout, and the number of missing values."""
    return {} if mask is None else {"layout": MASKED_LAYOUT, "masked": int(mask.size - mask.sum())}


def mask_of(
    layout: Mapping[str, Any], read: Reader, rows: tuple[int, int] | None = None
) -> np.ndarray | None:
    """True where a value of an archive is valid, or None where all are."""
    if not layout.get("masked"):
        return None
    shape = tuple(int(n) for n in layout["shape"])
    start, stop = (0, shape[0]) if rows is None else rows
    return (read(len(layout["streams"]) - 1) == 0)[start:stop].reshape(stop - start, *shape[1:])


def check_memory(shape: tuple[int, ...], rows: int) -> None:
    """Refuse to decode rows of an array of this shape where the memory of this machine cannot hold them.

    Raises
    ------
    ValueError
        Naming the bytes, and rows as the way to decode a part.
    """
    needed, there = 8 * rows * prod(shape[1:]), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ValueError(
            f"{rows} rows of shape {shape} take {needed:,} bytes while they are decoded, and this machine has "
            f"{there:,}; decode fewer: rows=(start, stop)"
        )


def reader_of(file: StoredFile | h5py.File, layout: Mapping[str, Any]) -> Reader:
    """Decode a stream of an open archive by its number, after its crc32."""
    index = layout["streams"]
    most = prod(int(n) + PADDED for n in layout["shape"]) + SLACK
    ends = layout["start"] + np.cumsum([entry[1] for entry in index], dtype=np.int64)

    def read(number: int) -> np.ndarray:
        coder, length, p, q, checksum = index[number]
        # No form has more codes in a stream than the array has values, so memory is bounded before it is taken.
        if min(length, p, q) < 0 or p * q > most:
            raise StoreError(f"{file.filename}: stream {number} declares {p} x {q} codes; take another copy")
        part = _content(file)[ends[number] - length : ends[number]].tobytes()
        if zlib.crc32(part) != checksum:
            raise StoreError(f"{file.filename}: stream {number} is damaged; take another copy")
        return unpack(coder, part, (p, q))

    return read


def _content(file: StoredFile | h5py.File) -> h5py.Dataset:
    """The bytes, which are read in parts: zlib checks the description, and each stream has its crc32."""
    stored = file["archive"]
    return unwrapped(stored) if isinstance(stored, StoredArray) else stored


def restored(
    layout: Mapping[str, Any],
    read: Reader,
    rank: int | None = None,
    rows: tuple[int, int] | None = None,
) -> np.ndarray:
    """The array that codes stand for, in its own dtype."""
    if "blocks" in layout:
        return _from_blocks(layout, read, rank, rows)
    shape = tuple(int(n) for n in layout["shape"])
    start, stop = (0, shape[0]) if rows is None else rows
    stored = int(layout["rank"])
    kept = stored if rank is None else min(rank, stored)
    wide = shape if len(shape) > 1 else (*shape, 1)
    form = ARCHIVE_FORMS[layout["form"]].code()
    values = form.restore(layout, wide, float(layout["step"]), read, kept, (start, stop))
    values += float(layout["offset"])
    return as_dtype(values.reshape(stop - start, *shape[1:]), np.dtype(layout["dtype"]))


def _from_blocks(
    layout: Mapping[str, Any], read: Reader, rank: int | None, rows: tuple[int, int] | None
) -> np.ndarray:
    """As `restored`, of a picture in squares; those that hold none of the rows are not read."""
    start, stop = (0, int(layout["shape"][0])) if rows is None else rows
    out = np.empty((stop - start, int(layout["shape"][1])), np.dtype(layout["dtype"]))
    common = {key: layout[key] for key in ("form", "dtype", "step")}
    first = 0
    for (down, across), own in zip(squares(layout["shape"], layout["block"]), layout["blocks"], strict=True):
        low, high = max(start, down.start), min(stop, down.stop)
        if low < high:
            part = {**common, **own, "shape": [down.stop - down.start, across.stop - across.start]}
            inside = (low - down.start, high - down.start)
            out[low - start : high - start, across] = restored(
                part, partial(_shifted, read, first), rank, inside
            )
        first += int(own["count"])
    return out


def _shifted(read: Reader, first: int, number: int) -> np.ndarray:
    return read(first + number)


def squares(shape: Sequence[int], block: int) -> list[tuple[slice, slice]]:
    """Places of the squares of a picture, row by row."""
    down, across = ([slice(low, min(low + block, side)) for low in range(0, side, block)] for side in shape)
    return [(rows, columns) for rows in down for columns in across]


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values clipped to what their type holds, and those of integers rounded."""
    if dtype.kind == "f":
        largest = np.finfo(dtype).max  # a value near it may decode to one beyond
        return np.clip(values, -largest, largest).astype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high).astype(dtype)


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as JSON has them."""
    return value.tolist()

"""The file: a description and the streams after it, as one array of bytes (docs/archives.md)."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from svdflow.images.codec import matrix, tiles, tucker
from svdflow.images.codec.quantize import Coded, Reader
from svdflow.images.codec.streams import pack, unpack
from svdflow.store import StoreError, open_published, publish

KIND = "archive"
LAYOUT = 1
RESTORE: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {"svd": matrix.restore, "tucker": tucker.restore, "tiles": tiles.restore}
)
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
def published(path: str | Path) -> Iterator[h5py.File]:
    """`svdflow.store.publish` for an archive."""
    kind: Any = InPlace(KIND.encode())
    with publish(path, kind) as file:
        yield file


def sealed(coded: Coded, attributes: Mapping[str, Any]) -> np.ndarray:
    """The bytes of an archive: length of the description, description, streams; uint8.

    The description is JSON under zlib: the attributes, and of every stream its coder, bytes, shape and crc32.
    """
    parts, index = [], []
    for number, codes in enumerate(coded.streams):
        coder, part = pack(codes, smooth=number in coded.smooth)
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
    except (OSError, KeyError, RuntimeError, zlib.error, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: the archive is damaged ({error}); take another copy") from error


def layout_of(file: h5py.File) -> dict[str, Any]:
    """The description of an archive; ``start`` is where its streams begin."""
    dataset = file["archive"]
    start = LENGTH + int.from_bytes(dataset[:LENGTH].tobytes(), "little")
    layout = json.loads(zlib.decompress(dataset[LENGTH:start].tobytes()))
    if layout["layout"] > LAYOUT:
        raise StoreError(
            f"{file.filename}: layout {layout['layout']} is later than {LAYOUT}; use a newer svdflow"
        )
    return {**layout, "start": start}


def reader_of(file: h5py.File, layout: Mapping[str, Any]) -> Reader:
    """Decode a stream of an open archive by its number, after its crc32."""
    index = layout["streams"]
    ends = layout["start"] + np.cumsum([entry[1] for entry in index], dtype=np.int64)

    def read(number: int) -> np.ndarray:
        coder, length, p, q, checksum = index[number]
        part = file["archive"][ends[number] - length : ends[number]].tobytes()
        if zlib.crc32(part) != checksum:
            raise StoreError(f"{file.filename}: stream {number} is damaged; take another copy")
        return unpack(coder, part, (p, q))

    return read


def restored(
    layout: Mapping[str, Any],
    read: Reader,
    rank: int | None = None,
    rows: tuple[int, int] | None = None,
) -> np.ndarray:
    """The array that codes stand for, in its own dtype."""
    shape = tuple(int(n) for n in layout["shape"])
    start, stop = (0, shape[0]) if rows is None else rows
    stored = int(layout["rank"])
    kept = stored if rank is None else min(rank, stored)
    wide = shape if len(shape) > 1 else (*shape, 1)
    values = RESTORE[layout["form"]](layout, wide, float(layout["step"]), read, kept, (start, stop))
    values += float(layout["offset"])
    return as_dtype(values.reshape(stop - start, *shape[1:]), np.dtype(layout["dtype"]))


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats as they are; integers rounded and clipped to what their type holds."""
    if dtype.kind == "f":
        return values.astype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high).astype(dtype)


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as JSON has them."""
    return value.tolist()

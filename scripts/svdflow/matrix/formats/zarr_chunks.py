"""Chunks of Zarr stores that would unpack to far more than their array declares are refused before they are unpacked.

zarr hands a chunk to its codec, which allocates what the chunk's own header asks for. So that header is read first;
streams without one (zlib, gzip) are unpacked as far as the array declares and no further.
"""

import os
import zlib
from itertools import product
from typing import Any

import numpy as np

from svdflow.errors import DeclaredSizeError
from svdflow.matrix.bounded import DEFLATE_RATIO, refuse_unfit

# What a chunk may unpack to before it is refused as damaged; chosen, far above what writers do.
ALLOWED = 16  # times the declared size: filters may widen the numbers
FREE = 2**20  # bytes that any chunk may unpack to
HEAD = 32  # bytes that hold every header below
HARMLESS = 256 * 2**20  # a stream that cannot unpack to more is not tried
SHARDS = "sharding_indexed"


class ChunkGuard:
    """Looks at the stored chunks of an array in a local folder before zarr does."""

    def __init__(self, array: Any, name: str) -> None:
        self.name = name
        self.chunks = tuple(array.shards or array.chunks)
        declared = np.dtype(array.dtype).itemsize
        for side in self.chunks:
            declared *= int(side)
        refuse_unfit(declared, f"{name}: one chunk")
        self.most = ALLOWED * declared + FREE
        self.codec = _codec(array.metadata)
        root = getattr(array.store, "root", None)
        self.folder = None if root is None else os.path.join(str(root), array.path)
        self._key = array.metadata.encode_chunk_key

    def see(self, *bands: tuple[int, int]) -> None:
        """Raise DeclaredSizeError for a chunk under these bands of indices that unpacks to too much."""
        if self.folder is None or self.codec is None:
            return
        ranges = (range(a // side, -(-b // side)) for (a, b), side in zip(bands, self.chunks))
        for place in product(*ranges):
            path = os.path.join(self.folder, self._key(place))
            if os.path.exists(path):
                self._look(path, place)

    def _look(self, path: str, place: tuple[int, ...]) -> None:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            if self.codec in ("zlib", "gzip"):
                stored = os.path.getsize(path)
                if stored * DEFLATE_RATIO <= max(self.most, HARMLESS):
                    return
                stream = zlib.decompressobj(47)  # zlib or gzip, by its header
                size = len(stream.decompress(head + file.read(), self.most + 1))
            else:
                size = _declared(self.codec, head)
        if size > self.most:
            raise DeclaredSizeError(
                f"{self.name}: its chunk {place} unpacks to {size} bytes or more, where the array declares "
                f"{(self.most - FREE) // ALLOWED}; it is damaged"
            )


def _codec(metadata: Any) -> str | None:
    """The name of the outermost compressor; None where there is none that is looked at."""
    if metadata.zarr_format == 2:
        compressor = metadata.compressor
        return None if compressor is None else str(getattr(compressor, "codec_id", "") or _name(compressor))
    last = metadata.codecs[-1] if metadata.codecs else None
    return None if last is None else _name(last)


def _name(codec: Any) -> str:
    return type(codec).__name__.removesuffix("Codec").lower()


def _declared(codec: str | None, head: bytes) -> int:
    """Bytes that a chunk unpacks to by its own header; 0 where it says nothing."""
    if codec == "blosc" and len(head) >= 16:
        return int.from_bytes(head[4:8], "little")
    if codec == "lz4" and len(head) >= 4:
        return int.from_bytes(head[:4], "little")
    if codec == "zstd":
        return _zstd_size(head)
    return 0


def _zstd_size(head: bytes) -> int:
    """The content size in a Zstandard frame header (RFC 8878, section 3.1.1.1)."""
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 14:
        return 0
    flags = head[4]
    single, width = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    if not width and single:
        width = 1
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)

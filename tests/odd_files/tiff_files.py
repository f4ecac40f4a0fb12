"""TIFF files from tifffile, and from the specification where tifffile would not write them."""

import io
import struct
from typing import Any

import numpy as np
import tifffile

LONG, SHORT, ASCII, BYTES = 4, 3, 2, 7


def tiff(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def pages(*writes: tuple[np.ndarray, dict[str, Any]], **how: Any) -> bytes:
    """A file of several directories."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **how) as file:
        for array, options in writes:
            file.write(array, **{"metadata": None, **options})
    return buffer.getvalue()


def marked(data: bytes, kind: int) -> bytes:
    """The file with the kind of its page of kind 2 (NewSubfileType) set, which tifffile would not write."""
    old, new = (struct.pack("<HHII", 254, LONG, 1, value) for value in (2, kind))
    assert data.count(old) == 1
    return data.replace(old, new)


def raw(tags: dict[int, tuple[int, Any]], body: bytes, *, order: str = "<", following: int = 0) -> bytes:
    """One directory from the specification: tag -> (type, value or values); the strip stands at byte 8."""
    extra, entries, at = b"", b"", 8 + len(body)
    formats = {LONG: "I", SHORT: "H", BYTES: "B", ASCII: "B"}
    start = at + 2 + 12 * len(tags) + 4
    for code, (kind, values) in sorted(tags.items()):
        values = list(values) if isinstance(values, (bytes, tuple, list)) else [values]
        packed = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", start + len(extra))
            extra += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", code, kind, len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return (
        head
        + body
        + struct.pack(order + "H", len(tags))
        + entries
        + struct.pack(order + "I", following)
        + extra
    )


def plain(width: int, length: int, body: bytes, **changed: tuple[int, Any]) -> bytes:
    """Eight-bit grey in one strip; ``t259=(SHORT, 5)`` sets or, with None, drops a tag."""
    tags = {
        256: (LONG, width),
        257: (LONG, length),
        258: (SHORT, 8),
        259: (SHORT, 1),
        262: (SHORT, 1),
        273: (LONG, 8),
        277: (SHORT, 1),
        278: (LONG, length),
        279: (LONG, len(body)),
    }
    for name, value in changed.items():
        tags[int(name[1:])] = value
    return raw({code: value for code, value in tags.items() if value is not None}, body)

"""A look at the heaps of an HDF5 file before the library sees them.

Texts of variable length lie in global heaps (HDF5 file format 3.0, section III.E): collections of objects, each with
its size, and a last one for the free space. Whoever reads them goes from object to object by these sizes, so they are
checked against the format first: on damage there the library may not come back, and no signal would end it.
"""

import mmap
import os
import struct
from pathlib import Path

SIGNATURE = b"GCOL\x01\0\0\0"
HEADER = 16  # bytes of the head of a collection, and of an object (HDF5 file format 3.0, section III.E)
# A file of up to WHOLE bytes is looked through, of a larger one the first START: svdflow's own texts, the attributes at
# the root, stand there. Damage further on is left to the checksums. Chosen
WHOLE = 64 * 2**20
START = 4 * 2**20


def endless_heap(path: str | Path) -> int | None:
    """The byte at which an object of a heap has no size, None where there is none.

    A collection is known by its signature, version and reserved bytes, eight in all, and its size; numbers that look so
    by chance are one in 2^64.
    """
    size = os.path.getsize(path)
    if not size:
        return None
    length = size if size <= WHOLE else START
    with open(path, "rb") as file, mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as content:
        place = content.find(SIGNATURE)
        while place >= 0:
            if (found := _endless(content, place)) is not None:
                return found
            place = content.find(SIGNATURE, place + len(SIGNATURE))
    return None


def _endless(content: mmap.mmap, start: int) -> int | None:
    """The object of the collection at `start` that does not lead on."""
    if start + HEADER > len(content):
        return None
    (size,) = struct.unpack_from("<Q", content, start + 8)
    place, end = start + HEADER, min(start + size, len(content))
    while place + HEADER <= end:
        index, length = struct.unpack_from("<H6xQ", content, place)
        if index == 0:
            return place if length < HEADER else None  # the free space is the last one
        place += HEADER + (length + 7) // 8 * 8
    return None

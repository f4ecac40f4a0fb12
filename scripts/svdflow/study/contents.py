"""What the files of a dataset hold, as far as the range of its values depends on it (`svdflow.study.value_range`).

8-bit pictures are told by their headers. Others are decoded once, in child processes, and the manifest keeps what
was found as long as the file stays the same: that is what a rule carries in its parameters, so that a new image reruns
the judging of its dataset where, and only where, it changes the range.
"""

import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

EIGHT_BITS = "uint8 8 0.0 255.0"
UNKNOWN = "-"  # a file that cannot be read, which ingest will report
# Bytes that tell the format and its bit depth: a PNG's stands at byte 24 (PNG specification, 11.2.2)
FIRST = 32
# A TIFF of more pages or more samples a pixel is measured in a child process like one that is not of 8 bits: slower,
# to the same result. Chosen, above the stacks and cubes that are common as 8-bit files.
PAGES, BANDS = 1000, 64
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def measured(paths: Sequence[str | Path], pixel_limit: int, channels: bool = False) -> list[str]:
    """The extent of each image file: ``dtype bits smallest largest``, or ``-`` where it is not known.

    Parameters
    ----------
    paths : sequence of str or path
    pixel_limit : int
        Files that declare more pixels are not decoded.
    channels : bool
        Every band is a plane, as `svdflow.images.io.read_image` has it.
    """
    found = [EIGHT_BITS if eight_bits(path) else "" for path in paths]
    deeper = [place for place, text in enumerate(found) if not text]
    workers = max(1, min(len(deeper), len(os.sched_getaffinity(0))))
    parts = [deeper[start::workers] for start in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(
            lambda part: _decoded([paths[place] for place in part], pixel_limit, channels), parts
        )
        for part, texts in zip(parts, answers, strict=True):
            for place, text in zip(part, texts, strict=True):
                found[place] = text
    return found


def eight_bits(path: str | Path) -> bool:
    """Whether its headers tell that a picture has unsigned samples of 8 bits or fewer; arrays are left to the child."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb", buffering=0) as file:
            head = file.read(FIRST) or b""
            if head[:4] in _ORDERS:
                return all(_eight_bit_pages(BufferedReader(file), _ORDERS[head[:4]]))
    except (OSError, ValueError, struct.error):
        return False
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return len(head) > 24 and head[24] <= 8  # bit depth (PNG specification, 11.2.2)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((b"\xff\xd8\xff", b"GIF8", b"BM"))


def _eight_bit_pages(file: BinaryIO, order: str) -> Iterator[bool]:
    """For each page of a TIFF whether BitsPerSample and SampleFormat say so (TIFF 6.0, section 2)."""
    file.seek(4)
    (place,) = struct.unpack(order + "I", file.read(4))
    seen: set[int] = set()
    while place and place not in seen and len(seen) < PAGES:
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(order + "H", file.read(2))
        content = file.read(12 * count + 4)
        tags = {tag: rest for tag, *rest in struct.iter_unpack(order + "HHII", content[:-4])}
        bits = _shorts(file, order, content, tags, 258, 1)
        formats = _shorts(file, order, content, tags, 339, 1)
        yield max(bits) <= 8 and set(formats) == {1}
        (place,) = struct.unpack(order + "I", content[-4:])
    yield bool(seen) and not place


def _shorts(
    file: BinaryIO, order: str, content: bytes, tags: Mapping[int, Sequence[int]], tag: int, default: int
) -> tuple[int, ...]:
    """The values of a tag of 16-bit numbers, those of up to two stand in its place."""
    if tag not in tags:
        return (default,)
    _, count, place = tags[tag]
    if not 0 < count <= BANDS:
        return (99,)
    if count <= 2:
        at = 12 * list(tags).index(tag) + 8
        return struct.unpack(f"{order}{count}H", content[at : at + 2 * count])
    file.seek(place)
    return struct.unpack(f"{order}{count}H", file.read(2 * count))


def _decoded(paths: Sequence[str | Path], pixel_limit: int, channels: bool) -> list[str]:
    """Extents by a child process, by another one where a file was the end of it."""
    found: list[str] = []
    while len(found) < len(paths):
        rest = [os.fspath(path) for path in paths[len(found) :]]
        asked = {"pixel_limit": pixel_limit, "channels": channels, "paths": rest}
        child = subprocess.run(
            [sys.executable, "-m", "svdflow.images.inspection"],
            input=json.dumps(asked),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *_path()])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        found += [
            _text(json.loads(line)) for line in child.stdout.splitlines() if line.endswith(("]", "null"))
        ]
        if len(found) < len(paths):
            found.append(UNKNOWN)
    return found


def _path() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _text(extent: list[object] | None) -> str:
    return UNKNOWN if extent is None else " ".join(map(str, extent))

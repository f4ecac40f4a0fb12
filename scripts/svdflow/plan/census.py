"""What the files of a dataset hold, as far as the range of its values depends on it: `svdflow.plan.ranges` says how.

8-bit pictures are told by their first bytes. Others are decoded once, in child processes, and the manifest keeps what
was found as long as the file stays the same: that is what a rule carries in its parameters, so that a new image reruns
the judging of its dataset where, and only where, it changes the range.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EIGHT_BITS = "uint8 8 0.0 255.0"
UNKNOWN = "-"  # a file that cannot be read, which ingest will report
FIRST = 32


def measured(paths: Sequence[Path], pixel_limit: int, channels: bool = False) -> list[str]:
    """The extent of each image file: ``dtype bits smallest largest``, or ``-`` where it is not known.

    Parameters
    ----------
    paths : sequence of Path
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


def eight_bits(path: Path) -> bool:
    """Whether the first bytes tell that a picture has samples of 8 bits or fewer: all but deep PNG, TIFF and arrays."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(FIRST)
    except OSError:
        return False
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return len(head) > 24 and head[24] <= 8  # bit depth (PNG specification, 11.2.2)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((b"\xff\xd8\xff", b"GIF8", b"BM"))


def _decoded(paths: Sequence[Path], pixel_limit: int, channels: bool) -> list[str]:
    """Extents by a child process, by another one where a file was the end of it."""
    found: list[str] = []
    while len(found) < len(paths):
        rest = [os.fspath(path) for path in paths[len(found) :]]
        asked = {"pixel_limit": pixel_limit, "channels": channels, "paths": rest}
        child = subprocess.run(
            [sys.executable, "-m", "svdflow.images.census"],
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

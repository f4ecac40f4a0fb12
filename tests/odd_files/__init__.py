"""Files that are bad or odd, made by code: what each must give when it is read as an image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)
y, x = np.mgrid[0:48, 0:64]
SMOOTH = np.dstack([2 * x + y, 255 - 3 * y, 4 * np.abs(x - 30)]).astype(np.uint8)  # what JPEG likes
NOISE = RNG.integers(0, 256, (96, 128, 3), dtype=np.uint8)  # what makes long files

Make = bytes | Callable[[Path], Any]


@dataclass(frozen=True)
class Odd:
    """A file, and what reading it must give: the code of a refusal, or the values.

    Attributes
    ----------
    data : bytes or function of a path
        The content, or what writes it.
    code : str
        Of the refusal; "" where the file is sound; ``a|b`` where decoders may notice one or the other first.
    pages : sequence of ndarray
        The values of a sound file.
    alpha, mask : ndarray or None
        Of its first page.
    within : int
        Levels by which values may differ, where two sound decoders do.
    inside : str
        A dataset of the file.
    options : dict
        Of `read_image`.
    words : str
        Part of the message.
    """

    name: str
    data: Make
    code: str = ""
    pages: Any = ()
    alpha: np.ndarray | None = None
    mask: np.ndarray | None = None
    within: int = 0
    inside: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    words: str = ""

    def write(self, folder: Path) -> Path:
        """Make the file; returns the path to read."""
        path = folder / self.name
        if callable(self.data):
            self.data(path)
        else:
            path.write_bytes(self.data)
        return Path(f"{path}:{self.inside}") if self.inside else path


def cut(name: str, data: bytes, *shares: float) -> list[Odd]:
    """The file, ending after these shares of its bytes."""
    stem, _, suffix = name.rpartition(".")
    return [Odd(f"{stem}-cut-{s}.{suffix}", data[: int(len(data) * s)], "truncated") for s in shares]

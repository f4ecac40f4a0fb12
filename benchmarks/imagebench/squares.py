"""A large picture in squares: what their side costs in bytes and in time."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as samples

from svdflow.codec import encode

NAME = "squares"
TITLE = "Pictures in squares"

SAMPLES = ("camera", "astronaut", "coffee", "chelsea")
SIDES = (256, 512, 1024)
PSNR = 35.0


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Bytes at equal PSNR and CPU seconds a million pixels, by form and side of the squares.

    Parameters
    ----------
    small : bool
        A picture of 256 pixels a side in place of 2,048.
    data : Path, optional
        Not used.
    say : callable
        Prints progress.
    """
    quarter = 64 if small else 512
    A = mosaic(quarter)
    rows = []
    with TemporaryDirectory() as folder:
        for form in ("svd", "tiles"):
            for side in (None, *(side // (8 if small else 1) for side in SIDES)):
                start = time.process_time()
                info = encode(A, Path(folder) / "a.h5", form=form, psnr=PSNR, block=side, force=True)
                seconds = (time.process_time() - start) / (A.size / 1e6)
                rows.append({"form": form, "side": side, "bytes": info.bytes, "seconds_a_megapixel": seconds})
                say(f"squares: {form}, {side or 'whole'}")
    return {"facts": {"psnr": PSNR, "side": len(A)}, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """One row a form and side."""
    lines = ["| form | side | bytes | CPU seconds a million pixels |", "| --- | --- | --- | --- |"]
    for row in result["rows"]:
        side = row["side"] or "whole"
        lines.append(f"| {row['form']} | {side} | {row['bytes']:,} | {row['seconds_a_megapixel']:.2f} |")
    facts = result["facts"]
    lines += [
        "",
        f"A mosaic of sample photographs, {facts['side']} pixels a side, at {facts['psnr']:g} dB. Squares of 1,024 "
        "pixels take two per cent more bytes in tiles than the whole picture does, and fewer as factors, in the time a "
        "pixel of a picture of a million pixels.",
    ]
    return "\n".join(lines) + "\n"


def mosaic(quarter: int) -> np.ndarray:
    """Grey photographs of `quarter` pixels a side, four by four, each turned another way: uint8."""
    tiles = []
    for name in SAMPLES:
        grey = Image.fromarray(getattr(samples, name)()).convert("L").resize((quarter, quarter))
        tiles.append(np.asarray(grey))
    return np.block([[np.rot90(tiles[(row + column) % 4], row) for column in range(4)] for row in range(4)])

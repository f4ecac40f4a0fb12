"""Fields of floats that oscillate, in the form of tiles beside ZFP, SZ3 and factors of the whole field."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import data as samples

from svdflow.codec import rate_curve
from svdflow.codec.comparison import at_error
from svdflow.codec.other_codecs import curve, point
from svdflow.registry import CODECS

NAME = "oscillations"
TITLE = "Fields of floats that oscillate"

ERRORS = (0.1, 0.05, 0.02, 0.01, 0.003)
# Powers of two for ZFP, whose tolerance has no other steps.
LADDERS = {
    "zfp": tuple(2.0**-k for k in range(-8, 10)),
    "sz3": tuple(float(x) for x in np.geomspace(4, 2e-3, 20)),
}
FORMS = ("tiles", "svd")


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Bits a value at equal relative error.

    Parameters
    ----------
    small : bool
        Fields of 64 points a side.
    data : Path, optional
        Not used.
    say : callable
        Prints progress.
    """
    rows: list[dict[str, Any]] = []
    blind: dict[str, Any] = {"data_range": float("nan"), "with_ssim": False}
    for name, A in fields(64 if small else 256):
        curves = {
            key: curve(replace(CODECS[key], ladder=ladder), A, **blind) for key, ladder in LADDERS.items()
        }
        for form in FORMS:
            points = rate_curve(A, form, count=12)
            curves[form] = [point(form, "", p.bytes, A, p.decoded, **blind) for p in points]
        for error in ERRORS:
            bits = {key: at_error(points, error) for key, points in curves.items()}
            rows.append({"field": name, "error": error, **bits})
        say(f"oscillations: {name}")
    return {"facts": {"errors": list(ERRORS)}, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """One row a field and error; what tiles save beside the best of the others."""
    codecs = (*FORMS, *LADDERS)
    lines = [_line("field", "relative error", *codecs, "tiles beside the best other, %")]
    lines.append(_line(*["---"] * (3 + len(codecs))))
    for row in result["rows"]:
        best = np.nanmin([row[key] for key in codecs if key != "tiles"])
        figures = [f"{row[key]:.2f}" if row[key] == row[key] else "-" for key in codecs]
        saved = 100 * (row["tiles"] / best - 1)
        lines.append(
            _line(row["field"], f"{row['error']:g}", *figures, f"{saved:+.0f}" if saved == saved else "-")
        )
    lines += [
        "",
        "Bits a value at equal relative error, float32; below zero, tiles take fewer. Predictors from neighbours, as "
        "SZ3 has, find little in what oscillates within a few pixels, and factors of the whole field find it in no "
        "separable direction. A photograph of bricks in linear light is the one natural texture that comes near; on "
        "photographs and smooth fields SZ3 takes fewer bits.",
    ]
    return "\n".join(lines) + "\n"


def fields(n: int) -> Iterator[tuple[str, np.ndarray]]:
    """Interference fringes with two per cent of noise, band-limited noise as of speckle or seismic sections, bricks."""
    draws = np.random.Generator(np.random.Philox(0))
    y, x = np.mgrid[0:n, 0:n] / 256
    fringes = np.cos(2 * np.pi * (20 * x + 30 * y + 8 * np.sin(3 * x + 2 * y)))
    yield "fringes", (fringes + 0.02 * draws.standard_normal((n, n))).astype(np.float32)
    noise = draws.standard_normal((n, n))
    band = ndimage.gaussian_filter(noise, 1.0) - ndimage.gaussian_filter(noise, 1.6)
    yield "band-limited noise", band.astype(np.float32)
    grey = samples.brick()[100 : 100 + n, 100 : 100 + n] / 255
    linear = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    yield "bricks, linear light", linear.astype(np.float32)


def _line(*cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

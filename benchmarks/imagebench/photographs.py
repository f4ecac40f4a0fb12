"""Photographs at equal rates: archives beside JPEG, JPEG 2000, WebP and AVIF, every byte of the files counted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as samples

from svdflow.codec import encode, rate_curve
from svdflow.codec.comparison import at_rate, verdict
from svdflow.codec.other_codecs import CodecPoint, curve, point, refusal
from svdflow.metrics import bd_rate, psnr
from svdflow.registry import CODECS

NAME = "photographs"
TITLE = "Rate and distortion of photographs"

RATES = (0.25, 0.5, 1.0, 2.0)  # bits a pixel
OURS = ("svd", "tiles")
# Ladders finer than those of reports, so that every rate lies between two settings.
LADDERS = {
    "jpeg": (1, 2, 4, 7, 11, 17, 25, 38, 55, 72, 84, 91, 95),
    "jpeg2000": (20, 23, 26, 29, 32, 35, 38, 42, 46, 50, 56),
    "webp": (0, 1, 3, 8, 20, 40, 65, 82, 90, 95, 98),
    "avif": (2, 8, 20, 35, 50, 62, 72, 80, 88, 94, 97, 99),
}
SAMPLES = ("camera", "astronaut", "coffee", "chelsea", "moon", "coins")
FACTORS = "svd, float32 factors"


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """PSNR of every codec at the rates of RATES on the luma of each photograph, and BD-rates against JPEG.

    Parameters
    ----------
    small : bool
        One crop of 128 pixels.
    data : Path, optional
        Folder of photographs to take in place of those of scikit-image.
    say : callable
        Prints progress.
    """
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, str] = {}
    for name, luma in _photographs(small, data):
        curves = _curves(luma)
        fixed = {form: _archived(luma, form) for form in OURS} | {FACTORS: _float_factors(luma)}
        jpeg = curves["jpeg"]
        for codec in (*OURS, FACTORS, *LADDERS):
            found = fixed.get(codec) or {rate: at_rate(curves[codec], rate) for rate in RATES}
            row = {"image": name, "codec": codec} | {f"psnr_{rate:g}": found[rate] for rate in RATES}
            row["bd_rate"] = _bd_rate(jpeg, curves[codec]) if codec in curves else float("nan")
            rows.append(row)
        size, _ = CODECS["png"].code()(luma, CODECS["png"].ladder[0])
        rows.append({"image": name, "codec": "png (lossless)", "bits_per_pixel": 8 * size / luma.size})
        verdicts[name] = verdict(curves, OURS, "photographs")
        say(f"photographs: {name}")
    return {"facts": {"data_range": 255, "verdicts": verdicts}, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """Means over the photographs, then each of them."""
    lossy = [row for row in result["rows"] if "bd_rate" in row]
    lossless = [row["bits_per_pixel"] for row in result["rows"] if "bits_per_pixel" in row]
    heads = [f"{rate:g} bpp" for rate in RATES]
    count = len(lossless)
    lines = [_line("codec", *heads, "BD-rate, %"), _line(*["---"] * (len(RATES) + 2))]
    for codec in dict.fromkeys(row["codec"] for row in lossy):
        of_codec = [row for row in lossy if row["codec"] == codec]
        means = [_mean([row[f"psnr_{rate:g}"] for row in of_codec], 2) for rate in RATES]
        lines.append(_line(codec, *means, _mean([row["bd_rate"] for row in of_codec], 1)))
    lines += [
        "",
        f"Mean PSNR in dB of the luma of {count} photographs (range 255) at equal bits a pixel, and mean BD-rate "
        "against JPEG: less is better. A number in brackets says how many photographs a mean is of where a codec "
        f"has no setting for all of them. PNG, lossless, takes {np.mean(lossless):.2f} bits a pixel. Archives are "
        "encoded to the very size; the others are interpolated between two settings.",
        "",
        "Factors of the whole picture do not make a codec for photographs, at any quantization. Tiles in their own "
        "basis do better than JPEG, mostly by a better entropy coder, and stay behind JPEG 2000 and AVIF: for "
        "photographs use these.",
        "",
        _line("image", "codec", *heads, "BD-rate, %"),
        _line(*["---"] * (len(RATES) + 3)),
    ]
    for row in lossy:
        cells = [_mean([row[f"psnr_{rate:g}"]], 2) for rate in RATES]
        lines.append(_line(row["image"], row["codec"], *cells, _mean([row["bd_rate"]], 1)))
    return "\n".join(lines) + "\n"


def _photographs(small: bool, data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and luma, uint8, of each photograph."""
    if small:
        yield "camera 128", np.ascontiguousarray(samples.camera()[128:256, 192:320])
    elif data is not None:
        for path in sorted(path for path in data.iterdir() if path.suffix in (".png", ".tif", ".tiff")):
            yield path.stem, np.asarray(Image.open(path).convert("L"))
    else:
        for name in SAMPLES:
            yield name, np.asarray(Image.fromarray(getattr(samples, name)()).convert("L"))


def _curves(luma: np.ndarray) -> dict[str, list[CodecPoint]]:
    """Points of every codec, ours among them."""
    measured: dict[str, Any] = {"data_range": 255.0, "with_ssim": False}
    curves = {
        form: [
            point(form, f"{p.step:g}", p.bytes, luma, p.decoded, **measured)
            for p in rate_curve(luma, form, count=8, data_range=255)
        ]
        for form in OURS
    }
    for key, ladder in LADDERS.items():
        peer = CODECS[key]
        curves[key] = [] if refusal(peer, luma) else curve(replace(peer, ladder=ladder), luma, **measured)
    return curves


def _archived(luma: np.ndarray, form: str) -> dict[float, float]:
    """PSNR of archives of just the size that a rate allows; NaN where none is so small."""
    found = {}
    with TemporaryDirectory() as folder:
        for rate in RATES:
            size = int(rate * luma.size / 8)
            try:
                found[rate] = encode(luma, Path(folder) / "a.h5", form=form, bytes=size).psnr
            except ValueError:
                found[rate] = float("nan")
    return found


def _float_factors(luma: np.ndarray) -> dict[float, float]:
    """PSNR of the truncated SVD whose k (m + n + 1) float32 numbers a rate allows."""
    U, s, Vt = np.linalg.svd(luma.astype(np.float64), full_matrices=False)
    found = {}
    for rate in RATES:
        k = int(rate * luma.size / 8 / (4 * (sum(luma.shape) + 1)))
        decoded = np.clip(np.rint((U[:, :k] * s[:k]) @ Vt[:k]), 0, 255)
        found[rate] = psnr(luma, decoded, data_range=255)
    return found


def _bd_rate(reference: list[CodecPoint], points: list[CodecPoint]) -> float:
    return bd_rate(
        [p.bytes for p in reference],
        [p.psnr for p in reference],
        [p.bytes for p in points],
        [p.psnr for p in points],
    )


def _mean(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return "-"
    missing = "" if len(known) == len(values) else f" ({len(known)})"
    return f"{np.mean(known):.{digits}f}{missing}"


def _line(*cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"

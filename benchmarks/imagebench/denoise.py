"""Denoising of photographs: peak signal to noise ratio and time beside BM3D and the methods of scikit-image.

BM3D is the ``bm3d`` package, for non-commercial use: a peer of this benchmark, never a dependency. Noise is white,
not clipped, seeded by image. Without it, its rows say so.
"""

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from skimage import data as samples
from skimage import io

from svdflow.denoisers.methods.patch_svd import patch_svd
from svdflow.denoisers.methods.wnnm import wnnm
from svdflow.denoisers.scikit_image import nl_means, tv, wavelet

NAME = "denoise"
TITLE = "Denoising of photographs"

SIGMAS = (15, 25, 50)
GREY = ("camera", "astronaut", "coffee", "chelsea", "brick", "grass", "gravel", "moon", "coins", "cell")
LARGE = ("camera", "astronaut", "brick", "grass")
COLOUR = ("astronaut", "coffee", "chelsea")
ROUNDS = 3

Method = Callable[[np.ndarray, float], np.ndarray]


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """PSNR of every method on grey and colour images, and the time beside BM3D in turns.

    Parameters
    ----------
    small : bool
        Crops of 96 pixels at one noise level, one round.
    data : Path, optional
        Folder of images (PNG, TIFF) to take along at sigma 25, in colour where they have it.
    say : callable
        Prints progress.
    """
    bm3d = _peer("bm3d")
    rows = []
    for colour, images in ((False, _grey(small, data)), (True, _colour(small, data))):
        methods = _methods(bm3d, colour, small)
        for number, (name, clean) in enumerate(images):
            for sigma in SIGMAS if " 256" in name or " 512" in name else (25,):
                noise = np.random.default_rng(1000 + number).normal(0, sigma, clean.shape)
                row: dict[str, Any] = {"image": name, "colour": int(colour), "sigma": sigma}
                row |= {
                    label: _psnr(method(clean + noise, sigma), clean) for label, method in methods.items()
                }
                rows.append(row)
            say(f"denoise: {name}{' in colour' if colour else ''}")
    facts: dict[str, Any] = {"bm3d": "measured" if bm3d else "not importable", "data_range": 255}
    facts["wavelet"] = "measured" if _peer("pywt") else "not importable"
    return {"facts": facts, "rows": rows, "times": _times(bm3d, small, say)}


def markdown(result: dict[str, Any]) -> str:
    """Tables of means, of single images and of times."""
    rows, lines = result["rows"], []
    for colour in (0, 1):
        chosen = [row for row in rows if row["colour"] == colour]
        if not chosen:
            continue
        labels = [label for label in chosen[0] if label not in ("image", "colour", "sigma")]
        lines += [f"### {'Colour' if colour else 'Grey'} images", "", _line("image", "sigma", *labels)]
        lines.append(_line(*["---"] * (len(labels) + 2)))
        for sigma in sorted({row["sigma"] for row in chosen}):
            at = [row for row in chosen if row["sigma"] == sigma]
            means = [f"**{np.mean([row[label] for row in at]):.2f}**" for label in labels]
            lines += [_line(row["image"], sigma, *(f"{row[label]:.2f}" for label in labels)) for row in at]
            lines += [_line(f"mean of {len(at)}", sigma, *means)]
        lines.append("")
    lines += [
        "PSNR in dB on a range of 255; noise is seeded by image and not clipped. All methods are told sigma.",
        "",
        "### Time",
        "",
        _line("image", "sigma", "method", "seconds", "over BM3D", "spread"),
        _line(*["---"] * 6),
    ]
    for row in result["times"]:
        lines.append(_line(*(row[key] for key in ("image", "sigma", "method", "seconds", "ratio", "spread"))))
    lines += [
        "",
        "Median over rounds in turns, all cores; the ratio is that of each round, with its least and largest.",
    ]
    for column, package in (("bm3d", "bm3d"), ("wavelet", "PyWavelets")):
        if result["facts"][column] != "measured":
            lines += ["", f"The package `{package}` is not importable here, so its column is missing."]
    return "\n".join(lines) + "\n"


def _methods(bm3d: Any, colour: bool, small: bool) -> dict[str, Method]:
    """What is compared, by name."""
    methods: dict[str, Method] = {
        "noisy": lambda y, sigma: y,
        # With the constants that suit these images best, which favours them a little.
        "TV": lambda y, sigma: tv(y, sigma).values,
        "NLM": lambda y, sigma: nl_means(y, sigma).values,
        "patch_svd 1 pass": lambda y, sigma: patch_svd(y, sigma, passes=1).values,
        "patch_svd": lambda y, sigma: patch_svd(y, sigma).values,
    }
    if _peer("pywt"):
        methods["wavelet"] = lambda y, sigma: wavelet(y, sigma).values
    if not colour:
        methods["wnnm"] = lambda y, sigma: wnnm(y, sigma, passes=6 if small else None).values
    if bm3d and colour:
        methods["BM3D"] = lambda y, sigma: bm3d.bm3d_rgb(y, sigma)
    elif bm3d:
        methods["BM3D"] = lambda y, sigma: bm3d.bm3d(y, sigma)
    return methods


def _times(bm3d: Any, small: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Seconds of one and five passes beside BM3D, on one grey image, in turns."""
    size = 96 if small else 512
    clean = samples.camera()[:size, :size].astype(np.float64)
    rows = []
    for sigma in (25,) if small else SIGMAS:
        noisy = clean + np.random.default_rng(1000).normal(0, sigma, clean.shape)
        methods = _methods(bm3d, False, small)
        timed = [name for name in ("BM3D", "patch_svd 1 pass", "patch_svd") if name in methods]
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(1 if small else ROUNDS):
            for name in timed:
                start = time.perf_counter()
                methods[name](noisy, sigma)
                seconds[name].append(time.perf_counter() - start)
        for name in timed:
            row = {"image": f"camera {size}", "sigma": sigma, "method": name, "ratio": "-", "spread": "-"}
            row["seconds"] = f"{median(seconds[name]):.2f}"
            if bm3d:
                ratios = [a / b for a, b in zip(seconds[name], seconds["BM3D"], strict=True)]
                row |= {"ratio": f"{median(ratios):.2f}", "spread": f"{min(ratios):.2f}-{max(ratios):.2f}"}
            rows.append(row)
        say(f"denoise: times at sigma {sigma}")
    return rows


def _grey(small: bool, data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Names and images, 256 x 256 as means of 2 x 2 pixels, or the centre where they are small; four at 512 x 512."""
    if small:
        yield "camera 96", _centre(samples.camera().astype(np.float64), 96)
        return
    for name in GREY:
        image = _luma(getattr(samples, name)())
        wide = min(image.shape) >= 512
        yield f"{name} 256", _halved(_centre(image, 512)) if wide else _centre(image, 256)
    for name in LARGE:
        yield f"{name} 512", _centre(_luma(getattr(samples, name)()), 512)
    for name, image in _own(data):
        if image.ndim == 2:
            yield name, image


def _colour(small: bool, data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    if small:
        yield "astronaut 96", _centre(samples.astronaut().astype(np.float64), 96)
        return
    for name in COLOUR:
        yield f"{name} 256", _centre(getattr(samples, name)().astype(np.float64), 256)
    for name, image in _own(data):
        if image.ndim == 3:
            yield name, image


def _own(data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Images of 8 bits in a folder, without alpha."""
    paths = sorted(data.iterdir()) if data else []
    for path in paths:
        if path.suffix.lower() in (".png", ".tif", ".tiff", ".bmp"):
            image = io.imread(path)
            if image.dtype == np.uint8 and image.ndim in (2, 3):
                yield path.stem, (image[..., :3] if image.ndim == 3 else image).astype(np.float64)


def _luma(image: np.ndarray) -> np.ndarray:
    wide = image.astype(np.float64)
    return np.round(wide @ [0.299, 0.587, 0.114]) if wide.ndim == 3 else wide


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    top, left = ((length - size) // 2 for length in image.shape[:2])
    return image[top : top + size, left : left + size]


def _halved(image: np.ndarray) -> np.ndarray:
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean((1, 3))


def _psnr(values: np.ndarray, clean: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((values - clean) ** 2)))


def _peer(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

"""What many ranks cost beside one, SSIM beside scikit-image's, and how far factors are from the exact SVD's.

One factorization to the largest rank serves all: the question is what the other eleven add. Each side factorizes anew
in every round, in turns; SSIM of scikit-image is timed on reconstructions that are there already.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from skimage import data as samples
from skimage.metrics import structural_similarity

from svdflow.metrics import psnr, psnr_of_error
from svdflow.svd.factorization import truncated_svd
from svdflow.tasks.compress import judge_by_spectrum
from svdflow.tasks.compress import measure as measure_ranks

NAME = "cost"
TITLE = "Twelve ranks for the price of one"

RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SMALL_RANKS = (1, 2, 4, 8)
PHOTOGRAPHS = ("camera", "astronaut", "brick", "grass", "gravel")
ROUNDS, SMALL_ROUNDS = 9, 3
PEAK = 255.0
# A figure is (side - side) / side of the seconds.
QUOTIENTS = {
    "errors": ("errors", "", "one"),
    "psnr": ("psnr", "", "one"),
    "ssim": ("with", "without", "peer"),
    "ssim_with_all": ("with", "", "peer"),
}
BARS = {"errors": 1.15, "psnr": 1.5, "ssim": 1 / 3, "decibels": 0.05}


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Times and quality for each photograph.

    Parameters
    ----------
    small : bool
        Two crops of 128 pixels, four ranks, three rounds.
    data : Path, optional
        Not used: the bar is for images of 512 x 512.
    say : callable
        Prints progress.
    """
    ranks, rounds = (SMALL_RANKS, SMALL_ROUNDS) if small else (RANKS, ROUNDS)
    rows = []
    for name in PHOTOGRAPHS[:2] if small else PHOTOGRAPHS:
        plane = _grey(getattr(samples, name)(), 128 if small else 512)
        rows.append({"image": name, **timed(plane, ranks, rounds), "decibels": farthest(plane, ranks)})
        say(f"cost: {name}")
    return {"facts": {"ranks": list(ranks), "rounds": rounds, "bars": BARS}, "rows": rows}


def timed(plane: np.ndarray, ranks: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Medians, least and largest of the ratios of one image over the rounds, and ratios of the least seconds.

    ``errors`` and ``psnr`` are over the largest rank alone. ``ssim`` is what SSIM adds to a rank, over
    scikit-image's seconds for it; ``ssim_with_all`` counts reconstruction and errors of the rank to ours.
    """
    U, s, Vt = truncated_svd(plane, ranks[-1])
    images = [(U[:, :k] * s[:k]).astype(np.float64) @ Vt[:k] for k in ranks]
    reference = plane.astype(np.float64)
    sides: dict[str, Callable[[], Any]] = {
        "one": lambda: spectral(plane, ranks[-1:]),
        "errors": lambda: spectral(plane, ranks),
        "psnr": lambda: decibels(plane, ranks),
        "without": lambda: measure_ranks(plane, U, s, Vt, ranks, data_range=PEAK, with_ssim=False),
        "with": lambda: measure_ranks(plane, U, s, Vt, ranks, data_range=PEAK, with_ssim=True),
        "peer": lambda: [peer_ssim(reference, image) for image in images],
    }
    for work in sides.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:  # a slow moment of the machine meets all in turn
            start = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - start)
    row = {
        "ms_one": 1000 * median(seconds["one"]),
        "ms_peer_ssim": 1000 * median(seconds["peer"]) / len(ranks),
    }
    least = {name: min(values) for name, values in seconds.items()}
    for name, (our, nothing, their) in QUOTIENTS.items():
        ratios = [
            (o - n) / t
            for o, n, t in zip(
                seconds[our], seconds.get(nothing, [0.0] * rounds), seconds[their], strict=True
            )
        ]
        row |= {name: median(ratios), f"{name}_least": min(ratios), f"{name}_most": max(ratios)}
        row[f"{name}_of_least"] = (least[our] - least.get(nothing, 0.0)) / least[their]
    return row


def spectral(plane: np.ndarray, ranks: tuple[int, ...]) -> dict[int, Any]:
    """Factors to the last rank and Frobenius errors at all of them."""
    found = truncated_svd(plane, ranks[-1])
    norm = float(np.linalg.norm(plane.astype(np.float64)))
    left = max(0.0, norm**2 - float(np.sum(found.s**2))) ** 0.5
    return judge_by_spectrum(found.s, norm, left, ranks)


def decibels(plane: np.ndarray, ranks: tuple[int, ...]) -> list[float]:
    """Factors to the last rank and PSNR at all of them, from the residuals themselves."""
    U, s, Vt = truncated_svd(plane, ranks[-1])
    losses = measure_ranks(plane, U, s, Vt, ranks, data_range=PEAK, with_ssim=False)
    return [psnr_of_error(losses[k].squared_error, plane.size, PEAK) for k in ranks]


def farthest(plane: np.ndarray, ranks: tuple[int, ...]) -> float:
    """Largest dB over the ranks by which ours lies below the exact SVD (LAPACK, float64)."""
    exact = np.linalg.svd(plane.astype(np.float64), full_matrices=False)
    U, s, Vt = exact
    due = [psnr(plane, (U[:, :k] * s[:k]) @ Vt[:k], data_range=PEAK) for k in ranks]
    return max(a - b for a, b in zip(due, decibels(plane, ranks), strict=True))


def peer_ssim(reference: np.ndarray, image: np.ndarray) -> float:
    """scikit-image with the window and the covariance of Wang et al., as ours."""
    return structural_similarity(
        reference, image, data_range=PEAK, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def _grey(image: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 for side in image.shape[:2])
    crop = image[top : top + size, left : left + size]
    return np.round(crop @ [0.299, 0.587, 0.114]).astype(np.uint8) if crop.ndim == 3 else crop


def markdown(result: dict[str, Any]) -> str:
    facts, rows = result["facts"], result["rows"]
    count, bars = len(facts["ranks"]), facts["bars"]
    lines = [
        f"{count} ranks up to {facts['ranks'][-1]} beside that one rank, {facts['rounds']} rounds in turns: median "
        "of the ratios of seconds (least to largest; ratio of the least seconds). SSIM is what it adds to a rank over "
        "scikit-image's time for it; in the next column reconstruction and errors of the rank count as ours too.",
        "",
        _line(
            "image",
            "largest rank alone",
            "Frobenius errors",
            "with PSNR",
            "SSIM",
            "SSIM and all",
            "dB below LAPACK",
        ),
        _line(*["---"] * 7),
    ]
    for row in rows:
        spans = [
            f"{row[k]:.2f} ({row[k + '_least']:.2f} to {row[k + '_most']:.2f}; {row[k + '_of_least']:.2f})"
            for k in QUOTIENTS
        ]
        lines.append(_line(row["image"], f"{row['ms_one']:.1f} ms", *spans, f"{row['decibels']:.1e}"))
    names = {"errors": "Frobenius errors", "psnr": "with PSNR", "ssim": "SSIM", "decibels": "dB below LAPACK"}
    verdicts = [
        f"{text} at most {bars[key]:.2f}: {'held' if all(row[key] <= bars[key] for row in rows) else 'missed'} "
        f"({max(row[key] for row in rows):.4g})"
        for key, text in names.items()
    ]
    return "\n".join([*lines, "", "Bars, by the worst image: " + "; ".join(verdicts) + "."]) + "\n"


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

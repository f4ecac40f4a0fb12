"""Rank rules and shrinkers: against theory on spiked matrices, against the best rank on noisy photographs.

A spike x sqrt(larger side) sigma in white noise is seen at sqrt((x + 1/x)(x + beta/x)), with cosines c and d between
its singular vectors and those seen (Benaych-Georges and Nadakuditi 2012, section 3.1). From these follow the rank
that each threshold gives and the loss of each shrinker, without a draw. On photographs, which are no low-rank
matrices in noise, a rule is judged by the decibels that the best rank of all would have given more.
"""

from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from skimage import data as samples
from skimage import io

from svdflow.denoisers import estimate_sigma
from svdflow.ranks import (
    bi_cross_validation,
    gavish_donoho,
    hard_threshold,
    mp_pca,
    rank_for_energy,
    screenot,
    shrunk_values,
    sigma_from_singular_values,
    sure,
)

NAME = "ranks"
TITLE = "Rank rules and shrinkage"

SPIKES = np.array([4.0, 3.4, 2.8, 2.2, 1.6])
SHAPES = ((400, 400), (200, 800), (100, 4000))
DRAWS, DRAWS_CROSS_VALIDATION = 40, 10
LOSSES = ("frobenius", "operator", "nuclear")
PHOTOGRAPHS = ("camera", "astronaut", "coffee", "chelsea", "brick", "grass", "gravel")
SIGMAS = (15, 25, 50)
BARS = {15: 0.2, 25: 0.1, 50: 0.05}  # dB that the rank rule may lose in the mean
MOST = 40  # ranks that cross-validation tries on spiked matrices


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Rules and shrinkers on spiked matrices, then on photographs.

    Parameters
    ----------
    small : bool
        One small shape at four draws, and two crops of 128 pixels.
    data : Path, optional
        Folder of images to take beside those of scikit-image, their grey values.
    say : callable
        Prints progress.
    """
    shapes, draws = (((100, 100),), 4) if small else (SHAPES, DRAWS)
    rows = []
    for shape in shapes:
        rows += spiked_rows(shape, draws, min(draws, DRAWS_CROSS_VALIDATION))
        say(f"ranks: spiked {shape}")
    for number, (name, image) in enumerate(_photographs(small, data)):
        for sigma in SIGMAS:
            rows.append(
                {"part": "photographs", "image": name, "sigma": sigma, **photograph(image, sigma, number)}
            )
        say(f"ranks: {name}")
    return {"facts": {"spikes": SPIKES.tolist(), "draws": draws, "data_range": 255}, "rows": rows}


# Spiked matrices


def theory(beta: float) -> dict[str, Any]:
    """What holds of `SPIKES` as the sides grow: singular values seen, and the losses of the optimal shrinkers.

    Returns
    -------
    theory : dict
        ``seen`` (5,), over sqrt(larger side) sigma; ``frobenius`` the squared error over larger side sigma^2,
        ``operator`` and ``nuclear`` the norm over sqrt(larger side) sigma: each spike lives in a plane of its own
        (Gavish and Donoho 2017, section III), so losses add up, and of the operator norm the largest stands.
    """
    x = SPIKES
    seen = np.sqrt((x + 1 / x) * (x + beta / x))
    c = np.sqrt((x**4 - beta) / (x**4 + beta * x**2))
    d = np.sqrt((x**4 - beta) / (x**4 + x**2))
    found: dict[str, Any] = {"seen": seen}
    big = 10**8  # shrunk_values() wants a shape: one of this ratio
    for loss in LOSSES:
        shrunk = shrunk_values(seen * sqrt(big), (round(beta * big), big), 1.0, loss) / sqrt(big)
        planes = [
            np.array(
                [
                    [spike - h * a * b, -h * a * sqrt(1 - b * b)],
                    [-h * b * sqrt(1 - a * a), -h * sqrt((1 - a * a) * (1 - b * b))],
                ]
            )
            for spike, h, a, b in zip(x, shrunk, c, d, strict=True)
        ]
        found[loss] = _norm(loss, np.concatenate([np.linalg.svd(p, compute_uv=False) for p in planes]))
    return found


def spiked_rows(shape: tuple[int, int], draws: int, draws_cross_validation: int) -> list[dict[str, Any]]:
    """Rules by how often they give theory's rank, of the spikes and of noise alone; losses over those of theory."""
    beta = min(shape) / max(shape)
    due = theory(beta)
    strong, all_seen = int(np.sum(due["seen"] > hard_threshold(beta))), len(SPIKES)
    ranks = {"gavish_donoho": strong, "gavish_donoho_median": strong, "screenot": strong, "mp_pca": all_seen}
    ranks |= {"sure": all_seen, "bi_cross_validation": strong}
    found: dict[str, list[int]] = {name: [] for name in ranks}
    silent: dict[str, list[int]] = {name: [] for name in ranks}
    ratios: dict[str, list[float]] = {loss: [] for loss in LOSSES}
    sigmas = []
    for draw in range(draws):
        signal, noise = spiked(shape, draw)
        U, s, Vt = np.linalg.svd(signal + noise, full_matrices=False)
        alone = np.linalg.svd(noise, compute_uv=False)
        for values, into in ((s, found), (alone, silent)):
            for name, rank in ruled(values, shape, 1.0).items():
                into[name].append(rank)
        if draw < draws_cross_validation:
            found["bi_cross_validation"].append(bi_cross_validation(signal + noise, max_rank=MOST, seed=draw))
            silent["bi_cross_validation"].append(bi_cross_validation(noise, max_rank=MOST, seed=draw))
        for loss in LOSSES:
            error = np.linalg.svd((U * shrunk_values(s, shape, 1.0, loss)) @ Vt - signal, compute_uv=False)
            ratios[loss].append(_norm(loss, error / sqrt(max(shape))) / due[loss])
        sigmas.append(sigma_from_singular_values(s, shape))
    size = f"{shape[0]} x {shape[1]}"
    rows: list[dict[str, Any]] = [
        {
            "part": "rules",
            "shape": size,
            "rule": name,
            "due": rank,
            "draws": len(found[name]),
            "right": float(np.mean(np.array(found[name]) == rank)),
            "mean_rank": float(np.mean(found[name])),
            "silent": float(np.mean(np.array(silent[name]) == 0)),
        }
        for name, rank in ranks.items()
    ]
    figures = {**{f"{loss} loss over theory": ratios[loss] for loss in LOSSES}, "sigma by the median": sigmas}
    rows += [
        {"part": "figures", "shape": size, "figure": k, "mean": mean(v), "deviation": stdev(v)}
        for k, v in figures.items()
    ]
    return rows


def spiked(shape: tuple[int, int], draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Signal and white noise of standard deviation 1."""
    rng = np.random.Generator(np.random.Philox(key=1000 + draw))
    u, v = (np.linalg.qr(rng.standard_normal((side, len(SPIKES))))[0] for side in shape)
    return (u * SPIKES * sqrt(max(shape))) @ v.T, rng.standard_normal(shape)


def ruled(s: np.ndarray, shape: tuple[int, int], sigma: float) -> dict[str, int]:
    """Ranks of the rules that need singular values and a noise level."""
    return {
        "gavish_donoho": gavish_donoho(s, shape, sigma),
        "gavish_donoho_median": gavish_donoho(s, shape),
        "screenot": screenot(s, shape),
        "mp_pca": mp_pca(s, shape),
        "sure": sure(s, shape, sigma),
    }


def _norm(loss: str, values: np.ndarray) -> float:
    if loss == "operator":
        return float(values.max())
    return float(np.sum(values**2) if loss == "frobenius" else np.sum(values))


# Photographs


def photograph(clean: np.ndarray, sigma: float, number: int) -> dict[str, Any]:
    """dB that each rule loses against the best rank, and what shrinkage gives beside truncation at that rule."""
    rng = np.random.Generator(np.random.Philox(key=[number, sigma]))
    noisy = clean + sigma * rng.standard_normal(clean.shape)
    U, s, Vt = np.linalg.svd(noisy, full_matrices=False)
    found = estimate_sigma(noisy)
    ranks = ruled(s, clean.shape, found)
    ranks["gavish_donoho, sigma known"] = gavish_donoho(s, clean.shape, sigma)
    ranks["bi_cross_validation"] = bi_cross_validation(noisy, seed=number)
    ranks["energy_90"], ranks["energy_99"] = (rank_for_energy(s, share) or 0 for share in (0.9, 0.99))
    # |X - U diag(h) V'|^2 = |X|^2 - 2 sum h_i u_i' X v_i + sum h_i^2
    along = np.einsum("ij,ij->j", U, clean @ Vt.T)
    power = float(np.sum(clean**2))

    def decibels(squared: Any) -> Any:
        return 10 * np.log10(255**2 * clean.size / squared)

    by_rank = decibels(power + np.concatenate([[0.0], np.cumsum(s**2 - 2 * along * s)]))
    best = int(np.argmax(by_rank))
    shrunk = shrunk_values(s, clean.shape, found)
    return {
        "sigma_found": found,
        "best_rank": best,
        "best_psnr": float(by_rank[best]),
        "rank": ranks["gavish_donoho"],
        **{f"loss {name}": float(by_rank[best] - by_rank[rank]) for name, rank in ranks.items()},
        "shrink_gain": float(
            decibels(power - 2 * shrunk @ along + shrunk @ shrunk) - by_rank[ranks["gavish_donoho"]]
        ),
    }


def _photographs(small: bool, data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    size = 128 if small else 512
    for name in PHOTOGRAPHS[:2] if small else PHOTOGRAPHS:
        yield name, _grey(getattr(samples, name)(), size)
    for path in sorted(data.iterdir()) if data and not small else []:
        if path.suffix.lower() in (".png", ".tif", ".tiff", ".bmp"):
            image = io.imread(path)
            if image.dtype == np.uint8 and image.ndim in (2, 3):
                yield path.stem, _grey(image, size)


def _grey(image: np.ndarray, size: int) -> np.ndarray:
    """Grey values of the middle, at most `size` a side."""
    top, left = (max(0, (side - size) // 2) for side in image.shape[:2])
    wide = image[top : top + size, left : left + size].astype(np.float64)
    return np.round(wide[..., :3] @ [0.299, 0.587, 0.114]) if wide.ndim == 3 else wide


# The report


def markdown(result: dict[str, Any]) -> str:
    rows = result["rows"]
    parts = {
        part: [row for row in rows if row["part"] == part] for part in ("rules", "figures", "photographs")
    }
    spikes = ", ".join(f"{x:g}" for x in result["facts"]["spikes"])
    lines = [
        f"Five spikes ({spikes} times the square root of the larger side) in white noise: how often a rule gives the "
        "rank that theory gives it, and how often rank 0 for noise alone. "
        "SURE sets a soft threshold, low as it shrinks what it keeps: its rank is no count of spikes.",
        "",
        _line("shape", "rule", "rank due", "right", "mean rank", "noise alone", "draws"),
        _line(*["---"] * 7),
    ]
    for r in parts["rules"]:
        shares = f"{100 * r['right']:.1f} %", f"{r['mean_rank']:.2f}", f"{100 * r['silent']:.1f} %"
        lines.append(_line(r["shape"], r["rule"], r["due"], *shares, r["draws"]))
    lines += ["", _line("shape", "figure, due 1", "mean", "standard deviation"), _line(*["---"] * 4)]
    lines += [
        _line(r["shape"], r["figure"], f"{r['mean']:.3f}", f"{r['deviation']:.3f}") for r in parts["figures"]
    ]
    return "\n".join(lines + _photograph_lines(parts["photographs"])) + "\n"


def _photograph_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Mean and largest loss of each rule over the images, the bar beside that of Gavish and Donoho."""
    lines = [
        "",
        "Photographs in white noise, the whole image as one matrix: decibels lost against the best of all ranks, mean "
        "(largest). `gavish_donoho` and `sure` have the noise level from the wavelets of the image.",
        "",
    ]
    sigmas = sorted({row["sigma"] for row in rows})
    lines += [_line("rule", *(f"sigma {sigma}" for sigma in sigmas)), _line(*["---"] * (len(sigmas) + 1))]
    names = [key for key in rows[0] if key.startswith("loss ")]
    cells = {name: [[r[name] for r in rows if r["sigma"] == sigma] for sigma in sigmas] for name in names}
    for name, values in sorted(cells.items(), key=lambda item: sum(map(sum, item[1]))):
        lines.append(_line(name[5:], *(f"{mean(v):.2f} ({max(v):.2f})" for v in values)))
    gains = [[r["shrink_gain"] for r in rows if r["sigma"] == sigma] for sigma in sigmas]
    lines.append(
        _line("shrinkage less truncation, dB", *(f"{mean(v):+.2f} (least {min(v):+.2f})" for v in gains))
    )
    held = [
        f"{'held' if mean(v) <= BARS[sigma] else 'missed'} at {sigma}"
        for sigma, v in zip(sigmas, cells["loss gavish_donoho"], strict=True)
    ]
    bars = " / ".join(f"{BARS[sigma]:g}" for sigma in sigmas)
    lines += ["", f"Bar of the rank rule, {bars} dB in the mean: {', '.join(held)}.", ""]
    lines += [
        _line("image", "sigma", "found", "best rank", "its PSNR", "rule's rank", "dB lost", "shrinkage")
    ]
    lines += [_line(*["---"] * 8)]
    for r in rows:
        found = f"{r['sigma_found']:.1f}", r["best_rank"], f"{r['best_psnr']:.2f}", r["rank"]
        figures = f"{r['loss gavish_donoho']:.2f}", f"{r['shrink_gain']:+.2f}"
        lines.append(_line(r["image"], r["sigma"], *found, *figures))
    return lines


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

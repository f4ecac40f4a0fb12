"""Stacks and series: MP-PCA beside dipy, windows beside the whole matrix, SSA, and the constants of the baselines."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from skimage import data as photographs
from skimage import restoration, transform

from svdflow import ranks
from svdflow.compute.engine import one_blas_thread
from svdflow.denoisers.methods.mppca import mppca
from svdflow.denoisers.methods.ssa import noise_edge, ssa
from svdflow.denoisers.scikit_image import nl_means, tv, wavelet
from svdflow.matrix.generators import generate

NAME = "stacks"
TITLE = "Stacks, volumes and series"

Say = Callable[[str], None]
Row = dict[str, Any]
Method = Callable[[np.ndarray, float], np.ndarray]
ROUNDS = 3
AS_DIPY = {"estimator": "veraart", "weighting": "rank"}
MODES: dict[str, dict[str, Any]] = {
    "as dipy": AS_DIPY,
    "default": {},
    "default, estimator's own set": {"threshold": "estimator"},
    "Gavish-Donoho": {"threshold": "gavish_donoho"},
    "shrink": {"shrink": "frobenius"},
    "known sigma": {"sigma": 1.0},
    "known sigma, NORDIC": {"sigma": 1.0, "threshold": "nordic"},
    "known sigma, shrink": {"sigma": 1.0, "shrink": "frobenius"},
    "true rank": {"rank": 3},
    "shrink, stride 2": {"shrink": "frobenius", "stride": 2},
}


def measure(*, small: bool, data: Path | None, say: Say) -> dict[str, Any]:
    """All tables; `data` is not used. Errors are relative Frobenius errors to the noise-free values."""
    facts: dict[str, Any] = {}
    rows: list[Row] = []
    for part in (_beside_dipy, _phantom, _movie, _series, _edges, _constants):
        say(f"{NAME}: {part.__name__.strip('_')}")
        rows += part(small, facts)
    return {"facts": facts, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """One table for each part, with what it shows."""
    facts, rows = result["facts"], result["rows"]
    chosen = {
        name: [row for row in rows if row["table"] == name]
        for name in dict.fromkeys(r["table"] for r in rows)
    }
    notes = {
        "dipy": f"`mppca` in the mode of dipy {facts.get('dipy', '(not installed)')}: the largest difference over the "
        "largest value, and dipy's time over ours on all cores, interleaved (median, least and most of "
        f"{facts['rounds']} rounds). dipy works in one thread; its small products waste time in those of BLAS where "
        "they may, so the ratio is to dipy with one BLAS thread, and the last column to dipy as it comes.",
        "phantom": f"A diffusion phantom of rank 3, {facts['phantom']}, noise 1; relative errors, mean rank found and "
        "sigma over the truth. The mode of dipy counts too little noise where the rank is not small against the "
        "window.",
        "movie": f"The family `movie`, {facts['movie']}: six spots, noise twice the signal. One SVD of the whole "
        "matrix cannot see a spot that a window sees; SSA takes each pixel alone and is no rival here.",
        "series": "SSA of a sinusoid and a decay in noise 1: root of the mean squared error, and the mean rank found "
        "(the truth is 3).",
        "edges": "Share of pure-noise series whose largest singular value passes a threshold. Entries of a trajectory "
        "matrix repeat, so the thresholds for independent entries fail as series grow.",
        "constants": "Mean PSNR of scikit-image's denoisers at noise 15, 25 and 50 by constant; `used` marks that of "
        "`baselines`.",
    }
    return "\n\n".join(f"{notes[name]}\n\n{_table(part)}" for name, part in chosen.items())


def _table(rows: list[Row]) -> str:
    names = [name for name in rows[0] if name != "table"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name, "-")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _philox(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def _error(values: np.ndarray, clean: np.ndarray) -> float:
    return float(np.linalg.norm(values - clean) / np.linalg.norm(clean))


def phantom(shape: tuple[int, int, int], volumes: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy diffusion-like volumes: three smooth compartments of exponential decay; noise 1."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    maps = np.stack([np.exp(-(x**2 + y**2)), 0.6 + 0.4 * np.cos(3 * x * y + z), (x + z > 0) * 1.0], axis=-1)
    traces = np.exp(-np.outer([0.5, 2.0, 6.0], np.linspace(0, 1, volumes)))
    draws = _philox(seed)
    # Directions scatter the decays, as gradients do.
    traces = traces * (1 + 0.2 * draws.standard_normal(traces.shape))
    clean = 12 * maps @ traces
    return clean, clean + draws.standard_normal(clean.shape)


def _beside_dipy(small: bool, facts: Row) -> list[Row]:
    facts["rounds"] = rounds = 1 if small else ROUNDS
    try:
        import dipy
        from dipy.denoise.localpca import mppca as peer
    except ImportError:
        return [{"table": "dipy", "sample": "dipy is not installed; no comparison"}]
    facts["dipy"] = dipy.__version__
    rows = []
    for name, series, radius in _samples(Path(dipy.__file__).parent, small):
        windows = {"window": 2 * radius + 1, **AS_DIPY}
        options = {"patch_radius": radius, "return_sigma": True, "suppress_warning": True}
        mppca(series, **windows)  # libraries are loaded and threads started
        ratios, single = [], []
        for _ in range(rounds):
            ours, seconds = _timed(mppca, series, windows)
            (values, sigma), theirs = _timed(peer, series, options)
            with one_blas_thread():
                single.append(_timed(peer, series, options)[1] / seconds)
            ratios.append(theirs / seconds)
        rows.append(
            {
                "table": "dipy",
                "sample": name,
                "window": 2 * radius + 1,
                "max difference": float(
                    np.abs(np.maximum(ours.values, 0) - values).max() / np.abs(values).max()
                ),
                "of sigma": float(np.abs(ours.maps["sigma"] - sigma).max() / sigma.max()),
                "time ratio": median(single),
                "least": min(single),
                "most": max(single),
                "dipy as it comes": median(ratios),
            }
        )
    return rows


def _samples(package: Path, small: bool) -> Iterator[tuple[str, np.ndarray, int]]:
    """Name, series and radius; non-negative as dipy returns them."""
    shapes = (
        [((10, 10, 6), 20, 1)]
        if small
        else [((10, 10, 6), 20, 1), ((20, 20, 12), 30, 2), ((18, 18, 12), 64, 2)]
    )
    for shape, volumes, radius in shapes:
        yield f"phantom {'x'.join(map(str, shape))}x{volumes}", 100 + phantom(shape, volumes)[1], radius
    if small:
        return
    try:
        import nibabel
    except ImportError:
        return
    image = nibabel.load(package / "data" / "files" / "small_64D.nii")
    series = np.asarray(image.dataobj).astype(np.float64)
    yield f"small_64D {'x'.join(map(str, series.shape))}", series, 2


def _timed(work: Callable[..., Any], series: np.ndarray, options: dict[str, Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work(series, **options)
    return result, time.perf_counter() - start


def _phantom(small: bool, facts: Row) -> list[Row]:
    shape, volumes = ((12, 12, 8), 20) if small else ((24, 24, 12), 30)
    facts["phantom"] = f"{'x'.join(map(str, shape))}x{volumes}"
    clean, noisy = phantom(shape, volumes)
    rows = [{"table": "phantom", "mode": "noisy", "error": _error(noisy, clean), "rank": "-", "sigma": "-"}]
    for mode, options in MODES.items():
        found = mppca(noisy, **options)
        sigma = float(found.maps["sigma"].mean())
        error = _error(found.values, clean)
        rows.append({"table": "phantom", "mode": mode, "error": error, "rank": found.rank, "sigma": sigma})
    return rows


def _movie(small: bool, facts: Row) -> list[Row]:
    matrix = generate("movie", {}, seed=1)
    panels = list(matrix.panels(with_clean=True))
    noisy = np.concatenate([panel[1] for panel in panels]).astype(np.float64)
    clean = np.concatenate([panel[2] for panel in panels if panel[2] is not None]).astype(np.float64)
    stack = noisy.reshape(48, 48, -1)
    facts["movie"] = "48x48x60"
    with one_blas_thread():
        U, s, Vt = np.linalg.svd(noisy, full_matrices=False)
    cuts = [_error((U[:, :k] * s[:k]) @ Vt[:k], clean) for k in range(16)]
    shrunk = ranks.shrunk_values(s, noisy.shape, matrix.noise)
    rows: list[Row] = [
        {"how": "noisy", "error": _error(noisy, clean)},
        {"how": "whole matrix, best rank", "error": min(cuts), "rank": float(np.argmin(cuts))},
        {
            "how": "whole matrix, shrink",
            "error": _error((U * shrunk) @ Vt, clean),
            "rank": float(np.sum(shrunk > 0)),
        },
    ]
    for side in (9, 16) if small else (7, 9, 12, 16, 24):
        for shrink in (None, "frobenius"):
            found = mppca(stack, window=side, shrink=shrink)
            how = f"windows of {side}, {'shrink' if shrink else 'kept as they are'}"
            rows.append(
                {"how": how, "error": _error(found.values.reshape(clean.shape), clean), "rank": found.rank}
            )
    series = ssa(noisy.T)
    rows.append({"how": "SSA of each pixel", "error": _error(series.values.T, clean), "rank": series.rank})
    return [{"table": "movie", "how": "", "error": 0.0, "rank": "-"} | row for row in rows]


def _series(small: bool, facts: Row) -> list[Row]:
    rows = []
    for length, draws in ((200, 20),) if small else ((100, 100), (400, 40), (1600, 8)):
        t = np.arange(length)
        for height in (0.5, 1.0, 3.0):
            clean = height * (np.sin(0.459 * t) + np.exp(-3 * t / length))[:, None]
            noisy = clean + _philox(length).standard_normal((length, draws))
            row: Row = {"table": "series", "T": length, "height": height, "noisy": 1.0}
            cases = {"true rank": {"rank": 3}, "edge": {}, "gavish_donoho": {"rule": "gavish_donoho"}}
            for name, options in (cases | {"shrink": {"rule": "shrink"}}).items():
                found = ssa(noisy, **options)  # type: ignore[arg-type]
                row[name] = float(np.sqrt(np.mean((found.values - clean) ** 2)))
                row[f"rank, {name}"] = found.rank
            rows.append(row)
    return rows


def _edges(small: bool, facts: Row) -> list[Row]:
    rows = []
    cases: tuple[tuple[int, float, int], ...] = ((50, 0.5, 400), (200, 0.5, 100))
    if not small:
        cases = ((20, 0.5, 4000), (50, 0.5, 2000), (100, 0.5, 1000), (100, 0.1, 1000), (400, 0.5, 200))
        cases += ((400, 0.1, 400), (800, 0.5, 60))
    for length, share, draws in cases:
        lags = max(2, int(share * length))
        shape = lags, length - lags + 1
        noise = _philox(length).standard_normal((draws, length))
        trajectories = np.lib.stride_tricks.sliding_window_view(noise, shape[1], axis=1)
        with one_blas_thread():
            s = np.linalg.svd(trajectories, compute_uv=False)
        long, beta = max(shape), min(shape) / max(shape)
        limits = {
            "above noise_edge": noise_edge(shape),
            "above Gavish-Donoho": ranks.hard_threshold(beta) * long**0.5,
            "above the edge of independent entries": shape[0] ** 0.5 + shape[1] ** 0.5,
        }
        row: Row = {"table": "edges", "T": length, "L": lags}
        row |= {name: float(np.mean(s[:, 0] > limit)) for name, limit in limits.items()}
        middle = np.median(s, axis=1).mean() / (long * ranks.marchenko_pastur_median(beta)) ** 0.5
        rows.append({**row, "sigma by the median": float(middle)})
    return rows


def _constants(small: bool, facts: Row) -> list[Row]:
    names = ("camera",) if small else ("camera", "coins", "moon")
    images = [
        transform.resize(
            getattr(photographs, name)()[:300, :300], (192, 192), anti_aliasing=True, preserve_range=True
        )
        for name in names
    ]
    candidates: list[tuple[str, str, Method]] = [
        ("TV", "0.9 (used)", lambda y, s: tv(y, s).values),
        ("non-local means", "0.7 (used)", lambda y, s: nl_means(y, s).values),
        ("wavelets", "db2, 16 shifts (used)", lambda y, s: wavelet(y, s).values),
        *(("TV", str(weight), _chambolle(weight)) for weight in (0.7, 0.8, 1.0, 1.2)),
        *(("non-local means", str(strength), _non_local(strength)) for strength in (0.5, 0.6, 0.8)),
    ]
    rows = []
    for method, constant, apply in candidates:
        row: Row = {"table": "constants", "method": method, "constant": constant}
        try:
            for sigma in (15.0, 25.0, 50.0):
                row[f"PSNR at {sigma:g}"] = float(
                    np.mean([_psnr(apply, x, sigma, i) for i, x in enumerate(images)])
                )
        except ImportError as error:
            row["PSNR at 15"] = str(error)
        rows.append(row)
    return sorted(rows, key=lambda row: (row["method"], row["constant"]))


def _chambolle(weight: float) -> Method:
    return lambda y, s: restoration.denoise_tv_chambolle(y, weight=weight * s, eps=1e-5, max_num_iter=1000)


def _non_local(strength: float) -> Method:
    return lambda y, s: restoration.denoise_nl_means(
        y, patch_size=5, patch_distance=6, h=strength * s, sigma=s, fast_mode=True
    )


def _psnr(apply: Method, clean: np.ndarray, sigma: float, seed: int) -> float:
    noisy = clean + sigma * _philox(1000 + seed).standard_normal(clean.shape)
    return float(10 * np.log10(255**2 / np.mean((apply(noisy, sigma) - clean) ** 2)))

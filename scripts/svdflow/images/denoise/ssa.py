"""Denoising of series by singular spectrum analysis: trajectory matrices of low rank, averaged along diagonals."""

from concurrent.futures import ThreadPoolExecutor
from math import log, sqrt

import numpy as np

from svdflow.engine import default_threads, one_blas_thread
from svdflow.images.denoise.estimate import Denoised
from svdflow.linalg import ranks as rank_rules

RULES = ("edge", "gavish_donoho", "shrink")
MOST_LAGS = 512  # default window of long series, which then take 0.1 s; time grows as its square
BATCH_VALUES = 2**20  # of trajectory matrices in one batch of series


def ssa(
    series: np.ndarray,
    *,
    window: int | None = None,
    rank: int | None = None,
    sigma: float | np.ndarray | None = None,
    rule: str = "edge",
    threads: int | None = None,
) -> Denoised:
    """Denoise series by the leading singular triplets of their trajectory matrices.

    Parameters
    ----------
    series : array (T,) or (T, n)
        One series, or n that are denoised one by one. Integer, real or complex; T at least 4.
    window : int, optional
        Rows L of the L x K trajectory matrix X_ij = x_{i+j}, K = T - L + 1; from 2 to T - 1. Default T / 2, at most
        512.
    rank : int, optional
        Components to keep. A sum of r damped complex exponentials has rank r: 1 for a constant, 2 for a real
        sinusoid or a straight line.
    sigma : float or array (n,), optional
        Known standard deviation of white noise. By default the median singular value over that of the
        Marchenko-Pastur law, which is right within 3 % for trajectory matrices too.
    rule : {"edge", "gavish_donoho", "shrink"}
        What to do without a rank: keep what exceeds `noise_edge`; keep what exceeds the optimal hard threshold for
        independent entries; or shrink by the Frobenius shrinker for independent entries.
    threads : int, optional
        By default the cores of this process; never changes a result.

    Returns
    -------
    Denoised
        ``values`` of the shape of the series, float32 or complex64 for such input, else double precision; ``rank``, the
        mean number of components kept; for (T, n) the ``maps`` ``rank`` and ``sigma``, each (n,).

    Raises
    ------
    ValueError
        Too short, wrong shape, values that are not finite, or an unknown rule.

    References
    ----------
    Golyandina, Nekrutkin and Zhigljavsky (2001), Analysis of time series structure: SSA and related techniques.
    """
    series = _checked(series)
    length = len(series)
    lags = min(length // 2, MOST_LAGS) if window is None else window
    if not 2 <= lags <= length - 1:
        raise ValueError(
            f"ssa: window {lags} is not between 2 and {length - 1} for series of {length} values"
        )
    shape = lags, length - lags + 1
    if rank is not None and not 0 <= rank <= min(shape):
        raise ValueError(f"ssa: rank {rank} is not between 0 and {min(shape)}, the shorter side of {shape}")
    if rule not in RULES:
        raise ValueError(f"ssa: rule {rule!r} is not one of {', '.join(RULES)}")
    rows = series.reshape(length, -1).T
    levels = _levels(sigma, len(rows))
    kind = np.complex128 if series.dtype.kind == "c" else np.float64

    def work(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stop = start + batch
        return _denoised(rows[start:stop].astype(kind), shape, levels[start:stop], rank, rule)

    batch = max(1, BATCH_VALUES // (shape[0] * shape[1]))
    with one_blas_thread(), ThreadPoolExecutor(threads or default_threads()) as pool:
        parts = list(pool.map(work, range(0, len(rows), batch)))
    values, kept, found = (np.concatenate(column) for column in zip(*parts, strict=True))
    small = series.dtype in (np.float32, np.float16, np.complex64)
    values = values.T.reshape(series.shape)
    if small:
        values = values.astype(np.complex64 if series.dtype.kind == "c" else np.float32)
    maps = {"rank": kept.astype(np.float64), "sigma": found} if series.ndim == 2 else {}
    return Denoised(values, float(kept.mean()), maps)


def noise_edge(shape: tuple[int, int]) -> float:
    """The singular value that a trajectory matrix (L, K) of unit white noise exceeds in about 1 of 20 draws.

    ``sqrt K + 0.65 sqrt(L log T)`` with L <= K and T = L + K - 1. The entries of a trajectory matrix repeat along
    antidiagonals, so its norm grows with sqrt(log T) past the edge sqrt L + sqrt K of independent entries
    (Meckes 2007, On the spectral norm of a random Toeplitz matrix). The factor was fitted to the 95 % points of
    T = 20 to 800 and L / T = 0.1 to 0.5, where it ranges from 0.54 to 0.72; benchmarks/images.py --case stacks.
    """
    short, long = min(shape), max(shape)
    return sqrt(long) + 0.65 * sqrt(short * log(short + long - 1))


def _denoised(
    rows: np.ndarray, shape: tuple[int, int], levels: np.ndarray, rank: int | None, rule: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates of the series (b, T), components kept and noise levels, (b,)."""
    trajectories = np.lib.stride_tricks.sliding_window_view(rows, shape[1], axis=1)
    U, s, Vt = np.linalg.svd(trajectories, full_matrices=False)
    unknown = np.isnan(levels)
    sigma = np.where(unknown, _noise_levels(s, shape), levels)
    weights = s.copy()
    if rank is not None:
        weights[:, rank:] = 0
    elif rule == "shrink":
        safe = np.where(sigma > 0, sigma, 1.0)[:, None]
        weights = np.where(sigma[:, None] > 0, rank_rules.shrink(s / safe, shape, 1.0) * safe, s)
    else:
        unit = noise_edge(shape) if rule == "edge" else _hard_threshold(shape)
        weights[s <= unit * sigma[:, None]] = 0
    kept = np.count_nonzero(weights, axis=1)
    most = int(kept.max())
    low_rank = (U[:, :, :most] * weights[:, None, :most]) @ Vt[:, :most]
    return diagonal_means(low_rank), kept, sigma


def diagonal_means(matrices: np.ndarray) -> np.ndarray:
    """Means along antidiagonals: (b, L, K) to (b, L + K - 1), the nearest trajectory matrices in Frobenius norm."""
    count, lags, width = matrices.shape
    length = lags + width - 1
    total = np.zeros((count, length), matrices.dtype)
    for row in range(lags):
        total[:, row : row + width] += matrices[:, row]
    place = np.arange(length)
    return total / np.minimum.reduce([place + 1, length - place, np.full_like(place, min(lags, width))])


def _noise_levels(s: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    beta = min(shape) / max(shape)
    return np.median(s, axis=1) / sqrt(max(shape) * rank_rules.marchenko_pastur_median(beta))


def _hard_threshold(shape: tuple[int, int]) -> float:
    return rank_rules.hard_threshold(min(shape) / max(shape)) * sqrt(max(shape))


def _checked(series: np.ndarray) -> np.ndarray:
    series = np.asarray(series)
    if series.ndim not in (1, 2) or series.size == 0:
        raise ValueError(f"ssa: series must be (T,) or (T, n), not {series.shape}")
    if len(series) < 4:
        raise ValueError(f"ssa: a series of {len(series)} values is too short; 4 are the least")
    if series.dtype.kind not in "iufc":
        raise ValueError(f"ssa: series must hold numbers, not {series.dtype}")
    if series.dtype.kind in "fc" and not np.isfinite(series).all():
        raise ValueError("ssa: series holds NaN or infinity; fill the gaps first")
    return series


def _levels(sigma: float | np.ndarray | None, count: int) -> np.ndarray:
    """Known noise levels, (n,); NaN where they are to be found."""
    if sigma is None:
        return np.full(count, np.nan)
    sigma = np.asarray(sigma, np.float64)
    if sigma.ndim > 1 or (sigma.ndim == 1 and len(sigma) != count):
        raise ValueError(
            f"ssa: sigma has the shape {sigma.shape}; give one number, or one of each of {count} series"
        )
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise ValueError("ssa: sigma must be finite and not negative")
    return np.broadcast_to(sigma, (count,))

"""ssa: denoising of series by singular spectrum analysis: trajectory matrices of low rank, averaged along diagonals."""

from concurrent.futures import ThreadPoolExecutor
from math import log, nan, sqrt

import numpy as np

from svdflow.compute.cores import default_threads
from svdflow.compute.engine import one_blas_thread
from svdflow.denoisers.arguments import check_levels, choice, given, threads_of, whole
from svdflow.denoisers.arguments import levels as levels_of
from svdflow.denoisers.denoised import Denoised, overall
from svdflow.denoisers.missing import COMMON, FAR, interpolated, modest
from svdflow.ranks.hard_thresholds import hard_threshold
from svdflow.ranks.marchenko_pastur import marchenko_pastur_median
from svdflow.ranks.shrinkage import shrunk_values

RULES = ("edge", "gavish_donoho", "shrink")
MOST_LAGS = 512  # default window of long series, which then take 0.1 s; time grows as its square
LEAST = 4  # values of a series
GAP_ROUNDS = 10  # times that gaps are filled with the estimate and it is made anew
NOTHING = 1e-100  # noise over signal that is none: nothing to shrink, and quotients that may overflow
BATCH_VALUES = 2**20  # values of the trajectory matrices that one batch of series makes


def ssa(
    x: np.ndarray,
    sigma: float | np.ndarray | None = None,
    *,
    rank: int | None = None,
    mask: np.ndarray | None = None,
    threads: int | None = None,
    window: int | None = None,
    rule: str = "edge",
) -> Denoised:
    """Denoise series by the leading singular triplets of their trajectory matrices.

    Parameters
    ----------
    x : array (T,) or (T, n)
        One series, or n that are denoised one by one. Integer, real or complex; T at least 4. A value that outweighs
        all others of its series together would be all that is seen of it, and is left out as if it were masked.
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
    mask : bool array of that shape, or (T,), optional
        True where a value is valid. The others are neither used nor changed: gaps are bridged by straight lines first,
        and then ten times by the estimate (Kondrashov and Ghil 2006). A series with fewer than 4 valid values is left.
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
        Too short, wrong shape, valid values that are not finite, or an unknown rule.
    TypeError
        An argument of another type.

    References
    ----------
    Golyandina, Nekrutkin and Zhigljavsky (2001), Analysis of time series structure: SSA and related techniques.
    """
    seen = given("ssa", "series", x, mask, kinds="iufc", form="(T,) or (T, n)")
    series, threads = seen.values, threads_of("ssa", threads)
    if series.ndim > 2:
        raise ValueError(f"ssa: series must be (T,) or (T, n), not {series.shape}")
    length = len(series)
    if length < LEAST:
        raise ValueError(f"ssa: a series of {length} values is too short; {LEAST} are the least")
    shape = _trajectory(length, window)
    if rank is not None and whole("ssa: rank", rank, 0) > min(shape):
        raise ValueError(f"ssa: rank {rank} is not between 0 and {min(shape)}, the shorter side of {shape}")
    choice("ssa: rule", rule, RULES)
    rows = series.reshape(length, -1).T.astype(np.complex128 if series.dtype.kind == "c" else np.float64)
    levels = _levels(sigma, len(rows))
    gaps = np.zeros(rows.shape, bool) if seen.valid is None else ~seen.valid.reshape(length, -1).T
    rows = np.where(gaps, 0, rows)
    gaps |= _outliers(rows, gaps)
    few = length - gaps.sum(1) < LEAST
    unit = modest(float(np.abs(rows).max(where=~gaps, initial=0.0)))
    rows = interpolated(rows if unit == 1 else rows * unit, gaps)

    def work(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        some = slice(start, start + batch)
        return _bridged(rows[some], gaps[some], shape, levels[some] * unit, rank, rule)

    batch = max(1, BATCH_VALUES // (shape[0] * shape[1]))
    with one_blas_thread(), ThreadPoolExecutor(threads or default_threads()) as pool:
        parts = list(pool.map(work, range(0, len(rows), batch)))
    values, kept, found = (np.concatenate(column) for column in zip(*parts, strict=True))
    values = values.T.reshape(series.shape) / unit
    if series.dtype in (np.float32, np.float16, np.complex64):
        values = values.astype(np.complex64 if series.dtype.kind == "c" else np.float32)
    treated = ~gaps & ~few[:, None]
    values, left = seen.returned(values, None if treated.all() else treated.T.reshape(series.shape))
    kept, found = np.where(few, np.nan, kept), np.where(few, np.nan, found / unit)
    maps = {"rank": kept, "sigma": found} if series.ndim == 2 else {}
    rank_found = float(kept[~few].mean()) if not few.all() else nan
    return Denoised(values, rank_found, maps, left, overall(found), "ssa")


def _trajectory(length: int, window: int | None) -> tuple[int, int]:
    """Sides of the trajectory matrices."""
    lags = min(length // 2, MOST_LAGS) if window is None else whole("ssa: window", window, 0)
    if not 2 <= lags <= length - 1:
        raise ValueError(
            f"ssa: window {lags} is not between 2 and {length - 1} for series of {length} values"
        )
    return lags, length - lags + 1


def _outliers(rows: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Values (n, T) further from the median of their series than all others together, and 1024 times half of them."""
    found = np.zeros(rows.shape, bool)
    for row, gap, out in zip(rows, gaps, found, strict=True):
        if not gap.all():
            with np.errstate(over="ignore"):
                distance = np.abs(row - _median(row[~gap]))
            among = distance[~gap]
            common = np.quantile(among, COMMON, method="lower")
            out[:] = (distance > max(len(among) ** 0.5 * common, FAR * np.median(among))) & ~gap
    return found


def _median(values: np.ndarray) -> complex | float:
    return (
        np.median(values.real) + 1j * np.median(values.imag) if np.iscomplexobj(values) else np.median(values)
    )


def _bridged(
    rows: np.ndarray,
    gaps: np.ndarray,
    shape: tuple[int, int],
    levels: np.ndarray,
    rank: int | None,
    rule: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_denoised`, with the gaps (b, T) filled by the estimate again and again."""
    found = _denoised(rows, shape, levels, rank, rule)
    torn = np.flatnonzero(gaps.any(1) & ~gaps.all(1))
    filled = rows[torn]
    for _ in range(GAP_ROUNDS if len(torn) else 0):
        filled = np.where(gaps[torn], found[0][torn], filled)
        for part, again in zip(found, _denoised(filled, shape, levels[torn], rank, rule), strict=True):
            part[torn] = again
    return found


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
        some = (sigma > NOTHING * s[:, 0])[:, None]
        safe = np.where(some, sigma[:, None], 1.0)
        weights = np.where(some, shrunk_values(s / safe, shape, 1.0) * safe, s)
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
    return np.median(s, axis=1) / sqrt(max(shape) * marchenko_pastur_median(beta))


def _hard_threshold(shape: tuple[int, int]) -> float:
    return hard_threshold(min(shape) / max(shape)) * sqrt(max(shape))


def _levels(sigma: float | np.ndarray | None, count: int) -> np.ndarray:
    """Known noise levels, (n,); NaN where they are to be found."""
    if sigma is None:
        return np.full(count, np.nan)
    known = levels_of("ssa", sigma)
    if known.ndim > 1 or (known.ndim == 1 and len(known) != count):
        raise ValueError(
            f"ssa: sigma has the shape {known.shape}; give one number, or one of each of {count} series"
        )
    check_levels("ssa", known)
    return np.broadcast_to(known, (count,))

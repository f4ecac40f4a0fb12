"""What of the components of a window is noise, by the Marchenko-Pastur law of its eigenvalues, and what is kept."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy as np

from svdflow.denoisers.arguments import choice, whole
from svdflow.ranks.hard_thresholds import hard_threshold
from svdflow.ranks.shrinkage import shrunk_values

ESTIMATORS = ("corrected", "veraart")
THRESHOLDS = ("edge", "estimator", "gavish_donoho", "nordic")
SHRINKERS = ("frobenius", "operator", "nuclear")
WEIGHTINGS = ("uniform", "rank")
NORDIC_DRAWS = (
    10  # matrices of unit noise whose largest singular values are averaged (NORDIC: Moeller et al. 2021)
)
EPS = float(np.finfo(np.float64).eps)
FLOOR = 16 * EPS  # over the largest eigenvalue of a Gram matrix: what rounding makes of those that are zero
NOTHING = 1e-100  # noise over signal that is none: nothing to shrink, and quotients that may overflow
# Where a window lacks dimensions, one in this many of those left must be noise, or nothing of it counts as noise.
LEAST_BULK = 4


@dataclass(frozen=True)
class Options:
    """What decides on the components of a window; see `mppca`."""

    rank: int | None
    demean: bool
    estimator: str
    threshold: str
    shrink: str | None
    weighting: str

    def check(self, *, known: bool, side: int) -> None:
        for name, choices in (
            ("estimator", ESTIMATORS),
            ("threshold", THRESHOLDS),
            ("shrink", (None, *SHRINKERS)),
            ("weighting", WEIGHTINGS),
        ):
            choice(f"mppca: {name}", getattr(self, name), choices)
        if not isinstance(self.demean, bool | np.bool_):
            raise TypeError(f"mppca: demean must be True or False, not {self.demean!r}")
        if known and self.threshold == "estimator":
            raise ValueError("mppca: threshold 'estimator' needs sigma to be estimated; leave sigma out")
        if self.rank is not None:
            whole("mppca: rank", self.rank, 0)
            if self.rank > side:
                raise ValueError(
                    f"mppca: rank {self.rank} is not between 0 and {side}, the shorter side of a window"
                )


class Freedom(NamedTuple):
    """The dimensions that the values of windows have.

    Attributes
    ----------
    rows : int array (b,)
        Valid voxels of each window.
    length : int
        T, the points of the series.
    lost : int
        Dimensions of time that the whole series lacks: repeated or blank frames, regressors that were removed.
    """

    rows: np.ndarray
    length: int
    lost: int


def decide(
    eigenvalues: np.ndarray,
    freedom: Freedom,
    known: np.ndarray | None,
    options: Options,
    *,
    complex_: bool = False,
    floor: float = FLOOR,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights in [0, 1] of the components, (b, k), and the noise variance of each window, (b,).

    Parameters
    ----------
    eigenvalues : array (b, k)
        Of the Gram matrices, ascending.
    freedom : Freedom
    known : array (b,), optional
        Known variances.
    floor : float
        Eigenvalues up to this share of the largest one are zero.
    """
    found = np.count_nonzero(eigenvalues > floor * eigenvalues[:, -1:], axis=1)
    weights, variance = np.empty_like(eigenvalues), np.empty(len(eigenvalues))
    length = freedom.length - freedom.lost
    most = np.minimum(freedom.rows - options.demean, length)
    for rows, short in np.unique(np.stack([freedom.rows, np.minimum(most, found)], 1), axis=0).tolist():
        alike = np.flatnonzero((freedom.rows == rows) & (np.minimum(most, found) == short))
        some = _Alike(rows, length, short, short < min(rows - options.demean, freedom.length))
        own = None if known is None else known[alike]
        weights[alike], variance[alike] = some.decide(eigenvalues[alike], own, options, complex_=complex_)
    return weights, variance


@dataclass(frozen=True)
class _Alike:
    """Windows with the same free dimensions: `rows` voxels, `length` of time, `short` eigenvalues that are not zero."""

    rows: int
    length: int
    short: int
    lacking: bool

    def decide(
        self, eigenvalues: np.ndarray, known: np.ndarray | None, options: Options, *, complex_: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        rank: int | np.ndarray | None = options.rank
        if known is None:
            variance, others = self._noise(eigenvalues, options)
            if rank is None and options.threshold == "estimator" and options.shrink is None:
                rank = others  # one number a window
        else:
            variance = known
        sides = self.rows, max(self.length, 1)
        if options.shrink is not None:
            weights = _shrunk(eigenvalues, sides, variance, options.shrink)
        elif rank is not None:
            weights = np.ones_like(eigenvalues)
        else:
            limit = variance * _edge(options.threshold, *sides, complex_) ** 2
            weights = (eigenvalues >= limit[:, None]).astype(np.float64)
        if rank is not None:
            order = np.arange(eigenvalues.shape[1], 0, -1)
            kept = order <= np.reshape(rank, (-1, 1))
            if options.rank is None:
                kept |= variance[:, None] == 0  # nothing but signal
            weights = np.where(kept, weights, 0.0)
        return weights, variance

    def _noise(self, eigenvalues: np.ndarray, options: Options) -> tuple[np.ndarray, np.ndarray]:
        """Noise variance and number of other components."""
        if self.short == 0:
            return np.zeros(len(eigenvalues)), np.zeros(len(eigenvalues), int)
        corrected = options.estimator == "corrected"
        rows = self.rows - options.demean if corrected else self.rows
        noise = eigenvalues[:, eigenvalues.shape[1] - self.short :]
        variance, others = noise_of_spectrum(
            noise, max(rows, self.length), corrected=corrected, rank=options.rank
        )
        if self.lacking and options.rank is None:
            # A clean series of low rank lacks dimensions too, and what it has of them does not look alike.
            full = min(self.rows - options.demean, eigenvalues.shape[1])
            bulk = self.short - others
            clean = (bulk < max(2, self.short / LEAST_BULK)) | (2 * self.short < full)
            variance = np.where(clean, 0.0, variance)
        return variance, others


def noise_of_spectrum(
    eigenvalues: np.ndarray, long: int, *, corrected: bool, rank: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Noise variance and number of other components, by the Marchenko-Pastur law of the smallest eigenvalues.

    Parameters
    ----------
    eigenvalues : array (b, M)
        Of Gram matrices, ascending.
    long : int
        N, the longer side.
    corrected : bool
        Count N - p degrees of freedom where p components are not noise, instead of N.
    rank : int, optional
        Take p as given.

    Returns
    -------
    variance : array (b,)
    p : array (b,), int
    """
    short = eigenvalues.shape[1]
    counts = np.arange(1, short + 1)  # of noise
    freedom = long - (short - counts) if corrected else np.full(short, long)
    means = np.cumsum(eigenvalues, axis=1) / (counts * freedom)
    spread = (eigenvalues - eigenvalues[:, :1]) / freedom
    inside = spread <= 4 * np.sqrt(counts / freedom) * means
    inside[:, 0] = True
    if rank is None:
        last = short - 1 - np.argmax(inside[:, ::-1], axis=1)
    else:
        last = np.full(len(eigenvalues), max(0, short - 1 - rank))
    return np.take_along_axis(means, last[:, None], axis=1)[:, 0], short - 1 - last


def lost_dimensions(series: np.ndarray, valid: np.ndarray | None, unit: float = 1.0, *, demean: bool) -> int:
    """Dimensions of time that a series (..., T), times `unit`, lacks in all voxels, or all but their mean over space.

    Zero eigenvalues of its covariance over time: those within rounding of the largest, of its own type too; and, where
    there are twice as many voxels as points, those below a ten-thousandth of the median of the others, as regressors
    leave behind that were removed from larger values in single precision. Noise has none there: its least eigenvalue is
    a twelfth of the mean.
    """
    length = series.shape[-1]
    voxels = series.reshape(-1, length) if valid is None else series[valid]
    kind = np.complex128 if series.dtype.kind == "c" else np.float64
    if len(voxels) - demean < length:
        return 0
    if unit != 1:
        voxels = voxels * np.float64(unit)
    mean = voxels.mean(0, dtype=kind) if demean else np.zeros(length, kind)
    gram = np.zeros((length, length), kind)
    for start in range(0, len(voxels), CHUNK):
        some = voxels[start : start + CHUNK] - mean
        gram += some.conj().T @ some
    eigenvalues = np.maximum(np.linalg.eigvalsh(gram), 0.0)
    floor = max(4 * FLOOR, rounding_of(series.dtype)) * eigenvalues[-1]
    others = eigenvalues[eigenvalues > floor]
    if len(others) and len(voxels) >= 2 * length:
        floor = max(floor, 1e-4 * float(np.median(others)))
    return int(np.count_nonzero(eigenvalues <= floor))


CHUNK = 2**16  # voxels of a covariance at a time


def rounding_of(dtype: np.dtype) -> float:
    """Share of the largest eigenvalue that rounding values to a type leaves in those that would be zero."""
    small = dtype.kind in "fc" and np.finfo(dtype).eps > EPS
    return float((4 * np.finfo(dtype).eps) ** 2) if small else FLOOR


def _shrunk(eigenvalues: np.ndarray, shape: tuple[int, int], variance: np.ndarray, loss: str) -> np.ndarray:
    """Shrunk over observed singular values, in units of the noise of each window."""
    sigma = np.sqrt(variance)[:, None]
    silent = sigma <= NOTHING * np.sqrt(eigenvalues[:, -1:])
    y = np.sqrt(eigenvalues) / np.where(silent, 1.0, sigma)
    shrunk = shrunk_values(y, shape, 1.0, loss)
    weights = np.divide(shrunk, y, out=np.zeros_like(y), where=y > 0)
    return np.where(silent, 1.0, weights)


def _edge(threshold: str, n: int, length: int, complex_: bool) -> float:
    """The least singular value that is kept, over sigma."""
    if threshold == "gavish_donoho":
        return hard_threshold(min(n, length) / max(n, length)) * sqrt(max(n, length))
    if threshold == "nordic":
        return largest_of_noise(n, length, complex_)
    return sqrt(n) + sqrt(length)


@lru_cache(maxsize=256)
def largest_of_noise(n: int, length: int, complex_: bool) -> float:
    """Mean of the largest singular value over ten draws of unit noise."""
    draws = np.random.Generator(np.random.Philox(key=[n, length]))
    noise = draws.standard_normal((NORDIC_DRAWS, n, length))
    if complex_:
        noise = (noise + 1j * draws.standard_normal(noise.shape)) / sqrt(2)
    return float(np.linalg.norm(noise, 2, axis=(1, 2)).mean())

"""Denoising of stacks and series by principal components of small windows (MP-PCA and its relatives)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, NamedTuple, TypeVar

import numpy as np

from svdflow.backend import Device, device_of, pick
from svdflow.engine import default_threads, one_blas_thread
from svdflow.images.denoise.estimate import Denoised
from svdflow.images.denoise.windows import Block, Windows, smallest_window
from svdflow.linalg import ranks as rank_rules

ESTIMATORS = ("corrected", "veraart")
THRESHOLDS = ("edge", "estimator", "gavish_donoho", "nordic")
SHRINKERS = ("frobenius", "operator", "nuclear")
WEIGHTINGS = ("uniform", "rank")
# Values of the windows of one block: 2 MB stay in the cache of a core; a GPU wants many windows at once.
BLOCK_VALUES = {"numpy": 2**18, "cupy": 2**24}
NORDIC_DRAWS = 10

T = TypeVar("T")
R = TypeVar("R")


def mppca(
    series: np.ndarray,
    *,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] = 1,
    sigma: float | np.ndarray | None = None,
    rank: int | None = None,
    demean: bool = True,
    estimator: str = "corrected",
    threshold: str = "edge",
    shrink: str | None = None,
    weighting: str = "uniform",
    threads: int | None = None,
    backend: str = "numpy",
) -> Denoised:
    """Denoise a series by keeping, in every window, the principal components that stand out of the noise.

    Parameters
    ----------
    series : array (..., T)
        One, two or three spatial axes and the series along the last one: (H, W, T) stacks, (X, Y, Z, T)
        volumes. Integer, real or complex.
    window : int or one per spatial axis, optional
        Sides of the window in voxels. By default the smallest odd side with at least T voxels in the window.
        An axis that is shorter is taken whole.
    stride : int or one per spatial axis
        Step between windows, at most their side; estimates of overlapping windows are averaged.
    sigma : float or array (...), optional
        Known standard deviation of the noise (complex: E|e|^2 = sigma^2), one number or one per voxel; a window
        takes the root mean square of its voxels. By default each window estimates its own.
    rank : int, optional
        Keep this many components of every window instead of those above the threshold.
    demean : bool
        Take the mean over the window out of every time point first, and put it back at the end.
    estimator : {"corrected", "veraart"}
        How a window finds its noise level: the largest set of smallest eigenvalues whose spread does not
        exceed that of the Marchenko-Pastur law of the same mean. With M <= N the sides of the window and p components
        outside the set, ``veraart`` takes the ratio (M - p) / N and the mean of eigenvalues over N (Veraart et al.
        2016, eq. 12, as dipy), which finds too little noise where p is not small; ``corrected`` takes the ratio
        (M - p) / (N - p) of Cordero-Grande et al. (2019) and the mean over N - p, the degrees of freedom that p
        components leave, and counts one row less where a mean was taken out.
    threshold : {"edge", "estimator", "gavish_donoho", "nordic"}
        What is kept: singular values from sigma (sqrt M + sqrt N) up; those outside the set of the estimator;
        those above the optimal hard threshold; or above the mean largest singular value of pure noise of the
        same sides (Moeller et al. 2021, NORDIC; 10 draws, to be used with a known sigma).
    shrink : {"frobenius", "operator", "nuclear"}, optional
        Shrink the singular values by the optimal shrinker of that loss instead; it has its own threshold, the edge.
    weighting : {"uniform", "rank"}
        Weight of a window where windows overlap: 1, or 1 / (1 + components kept) (Manjon et al. 2013, eq. 3).
    threads : int, optional
        Threads that work on windows, by default the cores of this process; never changes a result.
    backend : {"numpy", "cupy", "auto"}
        What computes; agrees to rounding.

    Returns
    -------
    Denoised
        ``values`` (..., T), float32 or complex64 for such input, else float64 or complex128; computed in double
        precision. ``rank``, the mean number of components kept of a window. ``maps``: ``rank`` and ``sigma``, each
        (...), float64, averaged over windows with their weights (sigma as variance).

    Raises
    ------
    ValueError
        Wrong shape, unknown option, a window that does not fit, or values that are not finite.

    Notes
    -----
    ``dipy.denoise.localpca.mppca`` with ``patch_radius=r`` is ``window=2 * r + 1, estimator="veraart",
    weighting="rank"``, followed by ``np.maximum(values, 0)``, for windows of more than T voxels. Windows lie inside
    the series; border voxels are covered by fewer of them.

    References
    ----------
    Veraart et al. (2016), Denoising of diffusion MRI using random matrix theory. Cordero-Grande et al. (2019), Complex
    diffusion-weighted image estimation via matrix recovery under general noise models.
    """
    series = _checked(series)
    windows = _windows(series.shape, window, stride)
    options = _Options(rank, demean, estimator, threshold, shrink, weighting)
    options.check(known=sigma is not None, side=min(windows.voxels, series.shape[-1]))
    variances = None if sigma is None else np.square(_noise_map(sigma, series.shape[:-1]))
    device = device_of(pick(backend))
    job = _Job(series, windows, variances, options, device)
    most = max(1, BLOCK_VALUES[device.name] // (windows.voxels * series.shape[-1]))
    kind = np.complex128 if series.dtype.kind == "c" else np.float64
    total = np.zeros(series.shape, kind)
    maps = np.zeros((*series.shape[:-1], 3))
    kept, count = 0, 0
    with device, one_blas_thread():
        for part in _in_order(job.block, windows.blocks(most), threads, device):
            total[part.place] += part.values
            maps[part.place] += part.maps
            kept, count = kept + part.kept, count + part.windows
    weight = maps[..., 0]
    total /= weight[..., None]
    small = series.dtype in (np.float32, np.float16, np.complex64)
    values = total.astype(np.complex64 if kind is np.complex128 else np.float32) if small else total
    found = {"rank": maps[..., 1] / weight, "sigma": np.sqrt(maps[..., 2] / weight)}
    return Denoised(values, kept / count, found)


@dataclass(frozen=True)
class _Options:
    """What decides on the components of a window."""

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
            if getattr(self, name) not in choices:
                given = ", ".join(map(str, choices))
                raise ValueError(f"mppca: {name} {getattr(self, name)!r} is not one of {given}")
        if known and self.threshold == "estimator":
            raise ValueError("mppca: threshold 'estimator' needs sigma to be estimated; leave sigma out")
        if self.rank is not None and not 0 <= self.rank <= side:
            raise ValueError(
                f"mppca: rank {self.rank} is not between 0 and {side}, the shorter side of a window"
            )


class _Part(NamedTuple):
    """Weighted sums of the windows of a block: estimates, and weight, rank and variance."""

    place: tuple[slice, ...]
    values: np.ndarray
    maps: np.ndarray
    kept: int
    windows: int


@dataclass(frozen=True)
class _Job:
    series: np.ndarray
    windows: Windows
    variances: np.ndarray | None
    options: _Options
    device: Device

    def block(self, block: Block) -> _Part:
        """Denoise the windows of a block."""
        X = self.windows.values(self.series, block)
        X = X.astype(np.complex128 if X.dtype.kind == "c" else np.float64, copy=False)
        known = None
        if self.variances is not None:
            known = self.windows.values(self.variances[..., None], block).mean((1, 2))
        estimates, kept, variance = denoise_windows(X, known, self.options, self.device)
        weight = np.ones(len(kept))
        if self.options.weighting == "rank":
            weight /= 1.0 + kept
            estimates *= weight[:, None, None]
        place, values = self.windows.sum(estimates, block)
        shown = np.where(variance > 0, kept, 0)  # a constant window keeps what it has, which is nothing
        facts = (weight[:, None] * np.stack([np.ones(len(kept)), shown, variance], -1))[:, None]
        maps = self.windows.sum(np.broadcast_to(facts, (len(kept), self.windows.voxels, 3)), block)[1]
        return _Part(place, values, maps, int(shown.sum()), len(kept))


def denoise_windows(
    X: np.ndarray, known: np.ndarray | None, options: _Options, device: Device
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates of windows X (b, n, T), with the components kept and the noise variance of each (b,).

    Products and eigenproblems, of the shorter side, run on the device; what to keep is decided on the host.
    """
    xp = device.xp
    with device.errors():
        Y = device.put(X)
        if options.demean:
            mean = xp.sum(Y, axis=1, keepdims=True) / X.shape[1]
            Y -= mean  # of `X` itself on the host, a copy that nobody else holds
        wide = X.shape[2] > X.shape[1]
        gram = Y @ _adjoint(xp, Y) if wide else _adjoint(xp, Y) @ Y
        eigenvalues, vectors = xp.linalg.eigh(gram)
        ascending = np.maximum(device.get(eigenvalues), 0.0)
        weights, variance = decide(ascending, X.shape[1:], known, options, complex_=X.dtype.kind == "c")
        kept = np.count_nonzero(weights, axis=1)
        most = max(1, int(kept.max()))
        leading = vectors[:, :, -most:]
        weighted = leading * device.put(weights[:, None, -most:].astype(X.dtype))
        result = weighted @ (_adjoint(xp, leading) @ Y) if wide else (Y @ weighted) @ _adjoint(xp, leading)
        if options.demean:
            result += mean
        return device.get(result), kept, variance


def decide(
    eigenvalues: np.ndarray,
    shape: tuple[int, ...],
    known: np.ndarray | None,
    options: _Options,
    *,
    complex_: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights in [0, 1] of the components, (b, k), and the noise variance of each window, (b,).

    Parameters
    ----------
    eigenvalues : array (b, k)
        Of the Gram matrices, ascending, k = min(shape).
    shape : (n, T)
    known : array (b,), optional
        Known variances.
    """
    n, length = shape
    rank: int | np.ndarray | None = options.rank
    if known is None:
        rows = n - options.demean if options.estimator == "corrected" else n
        short, long = min(n - options.demean, length), max(rows, length)
        noise = eigenvalues[:, eigenvalues.shape[1] - short :]
        corrected = options.estimator == "corrected"
        variance, found = noise_of_spectrum(noise, long, corrected=corrected, rank=options.rank)
        if rank is None and options.threshold == "estimator" and options.shrink is None:
            rank = found  # one number a window
    else:
        variance = known
    if options.shrink is not None:
        weights = _shrunk(eigenvalues, shape, variance, options.shrink)
    elif rank is not None:
        weights = np.ones_like(eigenvalues)
    else:
        limit = variance * _edge(options.threshold, n, length, complex_) ** 2
        weights = (eigenvalues >= limit[:, None]).astype(np.float64)
    if rank is not None:
        order = np.arange(eigenvalues.shape[1], 0, -1)
        weights = np.where(order <= np.reshape(rank, (-1, 1)), weights, 0.0)
    return weights, variance


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


def _shrunk(eigenvalues: np.ndarray, shape: tuple[int, ...], variance: np.ndarray, loss: str) -> np.ndarray:
    """Shrunk over observed singular values, in units of the noise of each window."""
    sigma = np.sqrt(variance)[:, None]
    silent = sigma == 0
    y = np.sqrt(eigenvalues) / np.where(silent, 1.0, sigma)
    shrunk = rank_rules.shrink(y, (shape[0], shape[1]), 1.0, loss)
    weights = np.divide(shrunk, y, out=np.zeros_like(y), where=y > 0)
    return np.where(silent, 1.0, weights)


def _edge(threshold: str, n: int, length: int, complex_: bool) -> float:
    """The least singular value that is kept, over sigma."""
    if threshold == "gavish_donoho":
        return rank_rules.hard_threshold(min(n, length) / max(n, length)) * sqrt(max(n, length))
    if threshold == "nordic":
        return _largest_of_noise(n, length, complex_)
    return sqrt(n) + sqrt(length)


@lru_cache(maxsize=64)
def _largest_of_noise(n: int, length: int, complex_: bool) -> float:
    """Mean of the largest singular value over ten draws of unit noise."""
    draws = np.random.Generator(np.random.Philox(key=[n, length]))
    noise = draws.standard_normal((NORDIC_DRAWS, n, length))
    if complex_:
        noise = (noise + 1j * draws.standard_normal(noise.shape)) / sqrt(2)
    return float(np.linalg.norm(noise, 2, axis=(1, 2)).mean())


def _in_order(
    work: Callable[[T], R], blocks: Iterable[T], threads: int | None, device: Device
) -> Iterator[R]:
    """Results in the order of the blocks, a few ahead of whoever takes them. A device has one queue."""
    count = 1 if device.name != "numpy" else threads or default_threads()
    if count == 1:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(count) as pool:
        ahead: deque[Future[R]] = deque()
        for block in blocks:
            ahead.append(pool.submit(work, block))
            if len(ahead) > 2 * count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _adjoint(xp: Any, X: Any) -> Any:
    return xp.matrix_transpose(xp.conj(X) if xp.isdtype(X.dtype, "complex floating") else X)


def _checked(series: np.ndarray) -> np.ndarray:
    series = np.asarray(series)
    if not 2 <= series.ndim <= 4 or 0 in series.shape:
        raise ValueError(f"mppca: series must be (..., T) with one to three spatial axes, not {series.shape}")
    if series.dtype.kind not in "iufc":
        raise ValueError(f"mppca: series must hold numbers, not {series.dtype}")
    if series.dtype.kind in "fc" and not np.isfinite(series).all():
        raise ValueError("mppca: series holds NaN or infinity; fill or cut those voxels first")
    return series


def _windows(
    shape: tuple[int, ...], window: int | Sequence[int] | None, stride: int | Sequence[int]
) -> Windows:
    space = shape[:-1]
    if window is None:
        size = smallest_window(space, shape[-1])
    else:
        size = tuple(map(min, _per_axis("window", window, len(space)), space))
    step = tuple(map(min, _per_axis("stride", stride, len(space)), space))
    if any(a > b for a, b in zip(step, size, strict=True)):
        raise ValueError(
            f"mppca: stride {step} leaves voxels between windows of {size}; take at most their side"
        )
    if np.prod(size) < 2:
        raise ValueError(f"mppca: a window of {size} holds one voxel; make it larger")
    return Windows(space, size, step)


def _per_axis(name: str, given: int | Sequence[int], axes: int) -> tuple[int, ...]:
    values = tuple(given) if isinstance(given, Iterable) else (given,) * axes
    if len(values) != axes or any(int(value) != value or value < 1 for value in values):
        raise ValueError(f"mppca: {name} must be a whole number from 1 up, or {axes} of them, not {given}")
    return tuple(int(value) for value in values)


def _noise_map(sigma: float | np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    sigma = np.asarray(sigma, np.float64)
    if sigma.ndim and sigma.shape != space:
        raise ValueError(f"mppca: sigma has the shape {sigma.shape}; give one number, or a map {space}")
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise ValueError("mppca: sigma must be finite and not negative")
    return np.broadcast_to(sigma, space)

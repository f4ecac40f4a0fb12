"""mppca: denoising of stacks and series by principal components of small windows (MP-PCA and its relatives)."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from svdflow.compute import Device, device_of, pick
from svdflow.compute.cores import default_threads
from svdflow.compute.engine import one_blas_thread
from svdflow.denoisers.arguments import Given, check_levels, given, levels, threads_of, whole
from svdflow.denoisers.bands import in_order
from svdflow.denoisers.denoised import Denoised, overall
from svdflow.denoisers.missing import COMMON, modest, together
from svdflow.denoisers.window_law import Freedom, Options, decide, lost_dimensions, rounding_of
from svdflow.denoisers.windows import Block, Windows, smallest_window

# Values of the windows of one block: 2 MB stay in the cache of a core; a GPU wants many windows at once.
BLOCK_VALUES = {"numpy": 2**18, "cupy": 2**24}
# Beside the squares of a voxel so many times larger than nearly all others, double precision does not resolve theirs.
DROWNS = 2.0**22


def mppca(
    x: np.ndarray,
    sigma: float | np.ndarray | None = None,
    *,
    rank: int | None = None,
    mask: np.ndarray | None = None,
    threads: int | None = None,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] = 1,
    demean: bool = True,
    estimator: str = "corrected",
    threshold: str = "edge",
    shrink: str | None = None,
    weighting: str = "uniform",
    backend: str = "numpy",
) -> Denoised:
    """Denoise a series by keeping, in every window, the principal components that stand out of the noise.

    Parameters
    ----------
    x : array (..., T)
        A series. One, two or three spatial axes and the series along the last one: (H, W, T) stacks, (X, Y, Z, T)
        volumes. Integer, real or complex. A voxel 4 million times larger than nearly all others is left out as if
        it were masked: nothing could be seen beside it.
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
    mask : bool array (...) or (..., T), optional
        True where a voxel is valid. Windows take their valid voxels only; the others are neither used nor changed, and
        have NaN in the maps. Windows of which less than half is valid serve voxels that lie in no other. A point of the
        series that is masked in all voxels is left out of it; a voxel that is masked at any other point is left out
        whole, and so is one without a valid neighbour. Voxels that are zero at all points, as outside of an object that
        was cut out, are left out so too, but not with ``veraart``.
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
        Wrong shape, unknown option, a window that does not fit, or valid values that are not finite.
    TypeError
        An argument of another type.

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
    seen = given("mppca", "series", x, mask, kinds="iufc", form="(..., T)")
    threads = threads_of("mppca", threads)
    scope = _scope(seen, blank=estimator != "veraart")
    windows = _windows(scope.series.shape, window, stride)
    options = Options(rank, demean, estimator, threshold, shrink, weighting)
    options.check(known=sigma is not None, side=min(windows.voxels, scope.series.shape[-1]))
    known = None if sigma is None else np.square(_noise_map(sigma, scope) * scope.unit)
    with one_blas_thread():
        lost = lost_dimensions(scope.series, scope.valid, scope.unit, demean=bool(demean))
    job = _Job(scope, windows, known, options, lost, device_of(pick(backend)))
    total, maps, mean_rank = job.averaged(threads)
    done = maps[..., 0] > 0 if scope.valid is None else scope.valid & (maps[..., 0] > 0)
    weight = np.where(done, maps[..., 0], np.nan)
    total /= np.where(done, weight, 1.0)[..., None]
    found = {"rank": maps[..., 1] / weight, "sigma": np.sqrt(maps[..., 2] / weight) / scope.unit}
    if seen.values.dtype in (np.float32, np.float16, np.complex64):
        total = (total / scope.unit).astype(np.complex64 if total.dtype.kind == "c" else np.float32)
    elif scope.unit != 1:
        total /= scope.unit
    values, left = seen.returned(*scope.placed(total, done))
    return Denoised(values, mean_rank, found, left, overall(found["sigma"]), "mppca")


class _Scope(NamedTuple):
    """What of a series is denoised.

    Attributes
    ----------
    series : array (..., T)
        Its points that are not masked everywhere; what stands at voxels that are not valid is not to be used.
    valid : bool array (...) or None
        None where all voxels are.
    times : bool array or None
        Which points of the given series those are; None for all.
    unit : float
        A power of two, by which values are multiplied so that their squares are within range.
    """

    series: np.ndarray
    valid: np.ndarray | None
    times: np.ndarray | None
    unit: float

    def placed(self, values: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Values in the shape of the given series, and which of them are denoised; None for all."""
        if self.times is None:
            return values, None if done.all() else done[..., None]
        places = np.zeros((*done.shape, len(self.times)), values.dtype)
        places[..., self.times] = values
        return places, done[..., None] & self.times


def _scope(seen: Given, *, blank: bool) -> _Scope:
    """What is to be denoised; without voxels that are zero at all points where these are `blank`."""
    series, times = seen.values, None
    valid: np.ndarray | None = None
    if not 2 <= series.ndim <= 4:
        raise ValueError(f"mppca: series must be (..., T) with one to three spatial axes, not {series.shape}")
    if seen.valid is not None:
        valid, times = seen.valid, np.asarray(seen.valid.any(tuple(range(series.ndim - 1))))
        if times.all():
            times = None
        else:
            series, valid = np.ascontiguousarray(series[..., times]), valid[..., times]
        valid = np.asarray(valid.all(-1))
        if not valid.any():
            raise ValueError("mppca: the mask leaves no voxel that is valid at all points of the series")
    if series.dtype.kind == "c":
        size = np.abs(series).max(-1).astype(np.float64)
    else:
        size = np.maximum(series.max(-1).astype(np.float64), -series.min(-1).astype(np.float64))
    size = size if valid is None else np.where(valid, size, 0.0)
    heard = size[size > 0]
    if blank and 0 < len(heard) < size.size:
        valid = together(valid, size == 0)
    if len(heard) > 1:
        common = float(np.quantile(heard, COMMON, method="lower"))
        valid = together(valid, drowning if (drowning := size / DROWNS > common).any() else None)
    largest = float(size.max() if valid is None else size[valid].max())
    return _Scope(series, None if valid is None or valid.all() else valid, times, modest(largest))


class _Part(NamedTuple):
    """Weighted sums of the windows of a block: estimates, and weight, rank and variance."""

    place: tuple[slice, ...]
    values: np.ndarray
    maps: np.ndarray
    kept: int
    windows: int


@dataclass(frozen=True)
class _Job:
    scope: _Scope
    windows: Windows
    variances: np.ndarray | None
    options: Options
    lost: int
    device: Device
    alone: np.ndarray | None = None  # voxels (...) that lie in no window of which half is valid

    def averaged(self, threads: int | None) -> tuple[np.ndarray, np.ndarray, float]:
        """Sums over windows: weighted values (..., T); weights, ranks and variances (..., 3); and the mean rank."""
        series = self.scope.series
        most = max(1, BLOCK_VALUES[self.device.name] // (self.windows.voxels * series.shape[-1]))
        total: np.ndarray = np.zeros(series.shape, self._kind)
        maps = np.zeros((*series.shape[:-1], 3))
        kept, windows = 0, 0
        job = replace(self, alone=self._alone(most))
        # A device has one queue.
        count = 1 if self.device.name != "numpy" else threads or default_threads()
        with self.device, one_blas_thread(), ThreadPoolExecutor(count) as pool:
            blocks = self.windows.blocks(most)
            for part in (
                map(job.block, blocks) if count == 1 else in_order(job.block, blocks, pool, 2 * count)
            ):
                total[part.place] += part.values
                maps[part.place] += part.maps
                kept, windows = kept + part.kept, windows + part.windows
        return total, maps, kept / windows if windows else float("nan")

    @property
    def _kind(self) -> type:
        return np.complex128 if self.scope.series.dtype.kind == "c" else np.float64

    def _alone(self, most: int) -> np.ndarray | None:
        valid = self.scope.valid
        if valid is None:
            return None
        covered = np.zeros((*valid.shape, 1))
        for block in self.windows.blocks(most):
            counts = self._inside(valid, block).sum(1)
            half = np.repeat((2 * counts >= self.windows.voxels)[:, None], self.windows.voxels, 1)
            place, sums = self.windows.sum(half[..., None].astype(np.float64), block)
            covered[place] += sums
        return valid & (covered[..., 0] == 0)

    def _inside(self, valid: np.ndarray, block: Block) -> np.ndarray:
        """A map of truth values (...) in the windows of a block, (windows, voxels)."""
        return self.windows.values(valid[..., None], block)[..., 0]

    def _values(self, block: Block, inside: np.ndarray | None) -> np.ndarray:
        X: np.ndarray = self.windows.values(self.scope.series, block).astype(self._kind, copy=False)
        if inside is not None:
            X[~inside] = 0
        if self.scope.unit != 1:
            X *= self.scope.unit
        return X

    def block(self, block: Block) -> _Part:
        """Denoise the windows of a block."""
        valid, inside = self.scope.valid, None
        alive: slice | np.ndarray = slice(None)
        if valid is not None and self.alone is not None:
            inside = self._inside(valid, block)
            counts = inside.sum(1)
            needed = (2 * counts >= self.windows.voxels) | self._inside(self.alone, block).any(1)
            alive = np.flatnonzero(needed & (counts >= 2))
        X = self._values(block, inside)
        count, shape = len(X), X.shape
        known = None
        if self.variances is not None:
            known = self.windows.values(self.variances[..., None], block)
            known = known.mean((1, 2)) if inside is None else known.sum((1, 2)) / np.maximum(counts, 1)
            known = known[alive]
        found = self._windows(X[alive], None if inside is None else inside[alive], known)
        silent = (found.variance == 0) & (self.options.rank is None)
        if silent.any():  # no noise, no change, not by rounding either
            found.estimates[silent] = self._values(block, inside)[alive][silent]
        weight = np.ones(len(found.kept))
        if self.options.weighting == "rank":
            weight /= 1.0 + found.kept
            found.estimates[:] *= weight[:, None, None]
        shown = np.where(
            found.variance > 0, found.kept, 0
        )  # a constant window keeps what it has, which is nothing
        facts = weight[:, None] * np.stack([np.ones(len(weight)), shown, found.variance], -1)
        estimates = found.estimates
        if inside is not None:
            estimates, some, facts = np.zeros(shape, self._kind), facts, np.zeros((count, 3))
            estimates[alive], facts[alive] = found.estimates, some
        place, values = self.windows.sum(estimates, block)
        spread = np.broadcast_to(facts[:, None], (count, self.windows.voxels, 3))
        maps = self.windows.sum(spread, block)[1]
        return _Part(place, values, maps, int(shown.sum()), len(weight))

    def _windows(self, X: np.ndarray, inside: np.ndarray | None, known: np.ndarray | None) -> "_Found":
        if not len(X):
            return _Found(X, np.zeros(0, int), np.zeros(0))
        rows = np.full(len(X), X.shape[1]) if inside is None else inside.sum(1)
        freedom = Freedom(rows, X.shape[2], self.lost)
        return denoise_windows(
            X, inside, freedom, known, self.options, self.device, rounding_of(self.scope.series.dtype)
        )


class _Found(NamedTuple):
    """Estimates of windows (b, n, T), with the components kept and the noise variance of each (b,)."""

    estimates: np.ndarray
    kept: np.ndarray
    variance: np.ndarray


def denoise_windows(
    X: np.ndarray,
    inside: np.ndarray | None,
    freedom: Freedom,
    known: np.ndarray | None,
    options: Options,
    device: Device,
    floor: float,
) -> _Found:
    """Estimates of windows X (b, n, T), whose voxels (b, n) that are not `inside` are zero.

    Products and eigenproblems, of the shorter side, run on the device; what to keep is decided on the host.
    """
    xp = device.xp
    with device.errors():
        Y = device.put(X)
        if options.demean:
            count = X.shape[1] if inside is None else device.put(freedom.rows[:, None, None].astype(X.dtype))
            mean = xp.sum(Y, axis=1, keepdims=True) / count
            Y -= mean  # of `X` itself on the host, a copy that nobody else holds
            if inside is not None:
                Y *= device.put(inside[..., None].astype(X.dtype))
        wide = X.shape[2] > X.shape[1]
        gram = Y @ _adjoint(xp, Y) if wide else _adjoint(xp, Y) @ Y
        eigenvalues, vectors = xp.linalg.eigh(gram)
        ascending = np.maximum(device.get(eigenvalues), 0.0)
        weights, variance = decide(
            ascending, freedom, known, options, complex_=X.dtype.kind == "c", floor=floor
        )
        kept = np.count_nonzero(weights, axis=1)
        most = max(1, int(kept.max()))
        leading = vectors[:, :, -most:]
        weighted = leading * device.put(weights[:, None, -most:].astype(X.dtype))
        result = weighted @ (_adjoint(xp, leading) @ Y) if wide else (Y @ weighted) @ _adjoint(xp, leading)
        if options.demean:
            result += mean
        return _Found(device.get(result), kept, variance)


def _adjoint(xp: Any, X: Any) -> Any:
    return xp.matrix_transpose(xp.conj(X) if xp.isdtype(X.dtype, "complex floating") else X)


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
    values = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,) * axes
    if len(values) != axes:
        raise ValueError(f"mppca: {name} must be a whole number from 1 up, or {axes} of them, not {given}")
    return tuple(whole(f"mppca: {name}", value, 1) for value in values)


def _noise_map(sigma: float | np.ndarray, scope: _Scope) -> np.ndarray:
    """Known noise, (...); 0 where a voxel is not valid."""
    space = scope.series.shape[:-1]
    known = levels("mppca", sigma)
    if known.ndim and known.shape != space:
        raise ValueError(f"mppca: sigma has the shape {known.shape}; give one number, or a map {space}")
    if scope.valid is None:
        check_levels("mppca", known)
        return np.broadcast_to(known, space)
    known = np.broadcast_to(known, space)
    check_levels("mppca", known[scope.valid])
    return np.where(scope.valid, known, 0.0)

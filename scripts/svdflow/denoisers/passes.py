"""Rounds of filtering groups of similar patches: what `patch_svd` and `wnnm` have in common."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.fft import dct

from svdflow.compute import Device
from svdflow.compute.engine import default_threads, one_blas_thread
from svdflow.denoisers.groups import Rule, filter_groups, filter_groups_on_host
from svdflow.denoisers.patches import Band, Patches

GROUPS_AT_ONCE = (
    64  # of a stack of eigenproblems: a few MB stay in the cache of a core; a GPU takes a band at once
)
STRIP = 32  # rows of squares that are transformed at once
LEAST_NOISE = 0.1  # over sigma: a group whose estimate leaves nothing would keep all it has
LEAST_VALID = 0.5  # of a patch, for groups of others
APART = 1e30  # squared distance beyond all others, of patches that are hardly valid


@dataclass(frozen=True)
class GroupFilter:
    """How groups are made and filtered, pass by pass.

    Attributes
    ----------
    side, stride, search : int
        As in `Patches`.
    sizes : sequence of int
        Patches of a group in each pass; their number is the number of passes.
    rule : Rule
    blend : float
        Part of the residual that is added back between passes.
    noise : float
        What is left of the noise after that, over the square root of what the residual lacks.
    rematch : int
        Groups are matched anew every so many passes.
    by_rank : bool
        Weigh estimates by 1 / (1 + kept components), or equally.
    rank : int, optional
        Most components of a group.
    """

    side: int
    stride: int
    search: int
    sizes: tuple[int, ...]
    rule: Rule
    blend: float
    noise: float
    rematch: int = 2
    by_rank: bool = True
    rank: int | None = None


class PassEstimate(NamedTuple):
    """Planes (C, H, W), the mean rank of the patches at each pixel (H, W), and of all groups."""

    planes: np.ndarray
    rank: np.ndarray
    mean_rank: float


def denoise_planes(
    noisy: np.ndarray,
    sigma: float,
    method: GroupFilter,
    device: Device,
    threads: int | None = None,
    valid: np.ndarray | None = None,
) -> PassEstimate:
    """Denoise planes whose groups are those of the first.

    Parameters
    ----------
    noisy : float32 array (C, H, W)
        White noise of one standard deviation in all planes.
    sigma : float
        Standard deviation of the noise.
    threads : int, optional
        By default the cores of this process; never changes a result.
    valid : bool array (H, W), optional
        Where pixels are valid; the others hold what their neighbours suggest, weigh nothing, and come back as anything.
        No patch without a valid pixel gathers a group, and patches of which less than half is valid join one only where
        there are no others.
    """
    patches = Patches(noisy.shape[1:], method.side, method.stride, method.search)
    bands = list(patches.bands())
    index: list[np.ndarray] = []
    estimate = noisy
    shares = None if valid is None else patches.shares(valid)
    apart = None if shares is None else np.where(shares < LEAST_VALID, APART, 0).astype(np.float32)
    with device, one_blas_thread(), ThreadPoolExecutor(threads or default_threads()) as pool:
        guide = pilot(noisy[0], sigma, pool)
        for number, size in enumerate(method.sizes):
            if number:
                estimate = estimate + np.float32(method.blend) * (noisy - estimate)
                guide = estimate[0]
            if number % method.rematch == 0:
                size = min(size, patches.candidates)
                match = _Match(patches, guide, size, apart)
                index = list(pool.map(match, bands))
            variance = _variances(patches, noisy, estimate, sigma, method.noise if number else None, valid)
            work = _Work(patches, estimate, variance, index, method, device, shares)
            parts = pool.map(work, bands) if device.name == "numpy" else map(work, bands)
            estimate, rank, mean_rank = _sum(parts, estimate)
    return PassEstimate(estimate, rank, mean_rank)


def pilot(plane: np.ndarray, sigma: float, pool: ThreadPoolExecutor) -> np.ndarray:
    """A quick estimate to compare patches by: hard-thresholded cosine transforms of all 8 x 8 squares.

    Distances of noisy patches pick those whose noise is alike, which then survives as signal.
    """
    side = min(8, *plane.shape)
    patches = Patches(plane.shape, side, side, side)
    base = dct(np.eye(side), axis=0, norm="ortho")
    transform = np.kron(base, base).astype(np.float32)

    def strip(start: int) -> tuple[slice, np.ndarray, np.ndarray]:
        band = Band(0, slice(0), start, min(start + STRIP, patches.places[0]))
        coefficients = patches.table(plane, band) @ transform.T
        keep = np.abs(coefficients) > 2.7 * sigma  # Dabov et al. (2007), table 1
        keep[:, 0] = True
        weights = (1 / keep.sum(1)).astype(np.float32)
        index = np.arange(len(weights))
        squares = patches.sum((coefficients * keep) @ transform, index, weights, band)
        return slice(start, band.stop + side - 1), squares, patches.spread(index, weights, band)

    total, weight = np.zeros(plane.shape), np.zeros(plane.shape)
    for rows, squares, spread in pool.map(strip, range(0, patches.places[0], STRIP)):
        total[rows] += squares
        weight[rows] += spread
    return (total / weight).astype(np.float32)


class _Part(NamedTuple):
    """Weighted sums of a band: estimates and weights (C, rows, W), and of ranks (rows, W)."""

    band: Band
    planes: np.ndarray
    weights: np.ndarray
    ranks: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class _Match:
    patches: Patches
    guide: np.ndarray
    size: int
    apart: np.ndarray | None

    def __call__(self, band: Band) -> np.ndarray:
        return self.patches.match(self.patches.table(self.guide, band), band, self.size, self.apart)


@dataclass(frozen=True)
class _Work:
    patches: Patches
    planes: np.ndarray
    variance: np.ndarray
    index: list[np.ndarray]
    method: GroupFilter
    device: Device
    shares: np.ndarray | None

    def __call__(self, band: Band) -> _Part:
        """Filter the groups of a band, plane by plane."""
        index = self.index[band.number]
        alive = self._alive(band)
        if alive is not None:
            index = index[alive]
        flat = index.ravel()
        sums, weights, ranks, kept = [], [], [], []
        for plane, variances in zip(self.planes, self.variance, strict=True):
            noise = variances[band.keys].ravel()
            noise = noise if alive is None else noise[alive]
            X, k = self._filtered(self.patches.table(plane, band), index, noise)
            w = np.repeat(1 / (1 + k) if self.method.by_rank else np.ones_like(k), index.shape[1])
            sums.append(self.patches.sum(X.reshape(len(flat), self.patches.side**2), flat, w, band))
            weights.append(self.patches.spread(flat, w, band))
            ranks.append(self.patches.spread(flat, np.repeat(k, index.shape[1]), band))
            kept.append(k)
        count = self.patches.spread(flat, np.full(len(flat), len(kept)), band)
        return _Part(band, np.stack(sums), np.stack(weights), np.stack([sum(ranks), count]), np.stack(kept))

    def _alive(self, band: Band) -> np.ndarray | None:
        """Whether each key of a band holds a valid pixel; None where all do."""
        if self.shares is None:
            return None
        rows, columns = self.patches.keys
        return (self.shares[np.ix_(rows[band.keys], columns)] > 0).ravel()

    def _filtered(
        self, table: np.ndarray, index: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rule, rank = self.method.rule, self.method.rank
        if self.device.name == "numpy" or not len(index):
            X = np.empty((*index.shape, table.shape[1]), np.float32)
            kept = np.empty(len(index), np.float32)
            for start in range(0, len(index), GROUPS_AT_ONCE):
                some = slice(start, start + GROUPS_AT_ONCE)
                X[some], kept[some] = filter_groups_on_host(table[index[some]], variance[some], rule, rank)
            return X, kept
        with self.device.errors():
            Y, noise = self.device.put(table[index]), self.device.put(variance)
            x, k = filter_groups(self.device.xp, Y, noise, rule, rank)
            return self.device.get(x), self.device.get(k)


def _variances(
    patches: Patches,
    noisy: np.ndarray,
    estimate: np.ndarray,
    sigma: float,
    noise: float | None,
    valid: np.ndarray | None,
) -> np.ndarray:
    """Noise variance of each group in each plane, (C, rows of keys, columns of keys), float32."""
    rows, columns = map(len, patches.keys)
    if noise is None:
        return np.full((len(noisy), rows, columns), sigma**2, np.float32)
    squares = np.square(noisy - estimate)
    if valid is None:
        removed = np.stack([patches.at_keys(square) for square in squares])
    else:
        share = np.maximum(patches.at_keys(valid.astype(np.float64)), 1 / patches.side**2)
        removed = np.stack([patches.at_keys(square * valid) / share for square in squares])
    left = noise**2 * np.abs(sigma**2 - removed)
    return np.maximum(left, (LEAST_NOISE * sigma) ** 2).astype(np.float32)


def _sum(parts: Iterator[_Part], before: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Add the bands in their order; pixels that no group covers stay as they were `before`."""
    shape = before.shape
    planes, weights = np.zeros(shape), np.zeros(shape)
    ranks = np.zeros((2, *shape[1:]))
    kept = []
    for part in parts:
        rows = slice(part.band.first, part.band.first + part.planes.shape[1])
        planes[:, rows] += part.planes
        weights[:, rows] += part.weights
        ranks[:, rows] += part.ranks
        kept.append(part.kept.mean(0))
    mean_rank = float(np.concatenate(kept).mean(dtype=np.float64))
    estimate = np.divide(planes, weights, out=before.astype(np.float64), where=weights > 0)
    rank = np.divide(ranks[0], ranks[1], out=np.full(shape[1:], np.nan), where=ranks[1] > 0)
    return estimate.astype(np.float32), rank, mean_rank

"""Rounds of filtering groups of similar patches: what `patch_svd` and `wnnm` have in common."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import lcm
from typing import NamedTuple

import numpy as np
from scipy.fft import dct

from svdflow.compute import Device
from svdflow.compute.cores import default_threads
from svdflow.compute.engine import one_blas_thread
from svdflow.denoisers.bands import in_order
from svdflow.denoisers.groups import Rule, filter_groups, filter_groups_on_host
from svdflow.denoisers.patches import KEY_ROWS, Band, Patches

# Groups whose eigenproblems are solved as one stack: a few MB, which stay in the cache of a core; a GPU takes a band at
# once.
GROUPS_AT_ONCE = 64
STRIP, ACROSS = 32, 1024  # rows and columns of squares that are transformed at once
LEAST_NOISE = 0.1  # over sigma: a group whose estimate leaves nothing would keep all it has
LEAST_VALID = 0.5  # share of a patch that must be valid for it to join the groups of others
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

    @property
    def reach(self) -> int:
        """Rows above and below on which a result depends: keys, their windows and their patches, pass by pass."""
        return STRIP + 8 + len(self.sizes) * (2 * self.search + self.side)

    @property
    def step(self) -> int:
        """Parts of an image that begin at multiples of it have the same bands and strips, so the same bits."""
        return lcm(self.stride * KEY_ROWS, STRIP)


class PassEstimate(NamedTuple):
    """Planes (C, H, W), mean ranks of the patches at each pixel (H, W), and ranks of groups (rows, columns of keys)."""

    planes: np.ndarray
    rank: np.ndarray
    kept: np.ndarray


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
    count = threads or default_threads()
    with device, one_blas_thread(), ThreadPoolExecutor(count) as pool:
        guide = pilot(noisy[0], sigma, pool)
        for number, size in enumerate(method.sizes):
            if number:
                blended = noisy - estimate
                blended *= np.float32(method.blend)
                blended += estimate
                estimate = blended
                guide = estimate[0]
            if number % method.rematch == 0:
                size = min(size, patches.candidates)
                match = _Match(patches, guide, size, apart)
                index = list(pool.map(match, bands))
            variance = _variances(patches, noisy, estimate, sigma, method.noise if number else None, valid)
            last = number == len(method.sizes) - 1
            work = _Work(patches, estimate, variance, index, method, device, shares, last)
            parts = in_order(work, bands, pool, 2 * count) if device.name == "numpy" else map(work, bands)
            found = _summed(parts, estimate, patches)
            estimate = found.planes
    return found


def pilot(plane: np.ndarray, sigma: float, pool: ThreadPoolExecutor) -> np.ndarray:
    """A quick estimate to compare patches by: hard-thresholded cosine transforms of all 8 x 8 squares.

    Distances of noisy patches pick those whose noise is alike, which then survives as signal.
    """
    side = min(8, *plane.shape)
    patches = Patches(plane.shape, side, side, side)
    base = dct(np.eye(side), axis=0, norm="ortho")
    transform = np.kron(base, base).astype(np.float32)

    def strip(corner: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        ends = (min(a + b, c) for a, b, c in zip(corner, (STRIP, ACROSS), patches.places, strict=True))
        (first, left), (stop, right) = corner, ends
        band = Band(0, (slice(0), slice(0)), first, stop, left, right)
        coefficients = patches.table(plane, band) @ transform.T
        keep = np.abs(coefficients) > 2.7 * sigma  # Dabov et al. (2007), table 1
        keep[:, 0] = True
        weights = (1 / keep.sum(1)).astype(np.float32)
        index = np.arange(len(weights))
        squares = patches.sum((coefficients * keep) @ transform, index, weights, band)
        place = slice(first, stop + side - 1), slice(left, right + side - 1)
        return place, squares, patches.spread(index, weights, band)

    total, weight = np.zeros(plane.shape), np.zeros(plane.shape)
    corners = product(range(0, patches.places[0], STRIP), range(0, patches.places[1], ACROSS))
    for place, squares, spread in in_order(strip, corners, pool, 8):
        total[place] += squares
        weight[place] += spread
    total /= weight
    return total.astype(np.float32)


class _Part(NamedTuple):
    """Weighted sums of a band (layers, rows, columns), and the components kept of its groups, NaN where none is made.

    The layers are the estimates of C planes, their weights, and in the last pass the ranks of patches and their number.
    """

    band: Band
    layers: np.ndarray
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
    last: bool

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
            if self.last:
                ranks.append(self.patches.spread(flat, np.repeat(k, index.shape[1]), band))
            kept.append(k)
        if self.last:
            ranks = [reduce(np.add, ranks), self.patches.spread(flat, np.full(len(flat), len(kept)), band)]
        means = np.stack(kept).mean(0)
        if alive is not None:
            means, some = np.full(len(alive), np.nan, np.float32), means
            means[alive] = some
        return _Part(band, np.stack([*sums, *weights, *ranks]), means)

    def _alive(self, band: Band) -> np.ndarray | None:
        """Whether each key of a band holds a valid pixel; None where all do."""
        if self.shares is None:
            return None
        rows, columns = self.patches.keys
        return (self.shares[np.ix_(rows[band.keys[0]], columns[band.keys[1]])] > 0).ravel()

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
    squares = (np.square(a - b) for a, b in zip(noisy, estimate, strict=True))
    if valid is None:
        removed = np.stack([patches.at_keys(square) for square in squares])
    else:
        share = np.maximum(patches.at_keys(valid.astype(np.float64)), 1 / patches.side**2)
        removed = np.stack([patches.at_keys(square * valid) / share for square in squares])
    left = noise**2 * np.abs(sigma**2 - removed)
    return np.maximum(left, (LEAST_NOISE * sigma) ** 2).astype(np.float32)


def _summed(parts: Iterator[_Part], before: np.ndarray, patches: Patches) -> PassEstimate:
    """Add the bands in their order; pixels that no group covers stay as they were `before`.

    Sums are held of the rows that bands to come may touch; those above are finished, so that double precision of the
    whole image is never needed.
    """
    estimate, rank = np.empty_like(before), np.full(before.shape[1:], np.nan)
    kept = np.full([len(keys) for keys in patches.keys], np.nan, np.float32)
    sums, top = np.zeros((0, 0, before.shape[2])), 0

    def finish(stop: int) -> None:
        nonlocal sums, top
        rows, done = slice(top, stop), sums[:, : stop - top]
        count = len(before)
        planes, weights, ranks = done[:count], done[count : 2 * count], done[2 * count :]
        values = before[:, rows].astype(np.float64)
        estimate[:, rows] = np.divide(planes, weights, out=values, where=weights > 0)
        if len(ranks):
            np.divide(ranks[0], ranks[1], out=rank[rows], where=ranks[1] > 0)
        sums, top = sums[:, stop - top :], stop

    for part in parts:
        band, (layers, rows, columns) = part.band, part.layers.shape
        if band.first > top:
            finish(band.first)
        more = band.first + rows - top - sums.shape[1]
        if more > 0:
            held = sums if len(sums) else np.zeros((layers, 0, before.shape[2]))
            sums = np.concatenate([held, np.zeros((layers, more, before.shape[2]))], axis=1)
        sums[:, band.first - top : band.first - top + rows, band.left : band.left + columns] += part.layers
        kept[band.keys] = part.kept.reshape(kept[band.keys].shape)
    finish(len(rank))
    return PassEstimate(estimate, rank, kept)

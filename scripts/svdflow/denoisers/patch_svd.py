"""Denoising of photographs by low-rank groups of similar patches; the public door of both such methods."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import frexp, isfinite
from typing import Any

import numpy as np

from svdflow.compute import device_of, pick
from svdflow.denoisers.arguments import (
    Given,
    check_levels,
    choice,
    floating,
    given,
    levels,
    number,
    threads_of,
    whole,
)
from svdflow.denoisers.estimate import Denoised
from svdflow.denoisers.groups import BULK_EDGE
from svdflow.denoisers.missing import COMMON, filled, outliers, together
from svdflow.denoisers.noise import estimate_sigma_of_plane
from svdflow.denoisers.passes import GroupFilter, denoise_planes
from svdflow.registry.denoisers.patch_svd import MOST_PASSES

PASSES = 5
# Up to this sigma, on a range of 255: side of a patch, patches of a group. benchmarks/imagebench/denoise.py.
BY_NOISE = ((20.0, 6, 60), (40.0, 7, 80), (np.inf, 9, 180))
COLOURS = ("opponent", "channels")
SEARCH = 20
EPS = float(np.finfo(np.float32).eps)
# Orthonormal, so that white noise stays white: luma, and two differences of colours (Dabov et al. 2007, "opp").
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def patch_svd(
    image: np.ndarray,
    sigma: float | Sequence[float] | np.ndarray | None = None,
    *,
    passes: int | None = None,
    rank: int | None = None,
    patch: int | None = None,
    group: int | None = None,
    stride: int | None = None,
    search: int = SEARCH,
    colour: str = "opponent",
    data_range: float = 255.0,
    mask: np.ndarray | None = None,
    threads: int | None = None,
    backend: str = "numpy",
) -> Denoised:
    """Denoise an image by truncated SVD of its groups of similar patches.

    Parameters
    ----------
    image : array (H, W) or (H, W, C)
        Integer or real; finite. A pixel that outweighs all others (`outliers`), or is so far from them that single
        precision does not resolve the noise beside it, is left out as if it were masked.
    sigma : float, one per channel, or array (H, W), optional
        Standard deviation of the noise in values of the image. By default `estimate_sigma_of_plane` of channels. Zero,
        or less than single precision resolves, returns the image as it is.
    passes : int, optional
        Rounds of filtering, by default 5, at most 100; one takes a fifth of the time.
    rank : int, optional
        Keep this many components of a group at most.
    patch, group : int, optional
        Side of a patch in pixels, and patches of a group; by default from 6 and 60 to 9 and 180 as noise grows. Of a
        small image a patch is half its shorter side at most.
    stride : int, optional
        Pixels between the patches that gather groups, at most `patch`; by default 4, and 5 for patches of 9.
    search : int
        Reach of the search for similar patches, in pixels; up to the longer side of the image.
    colour : {"opponent", "channels"}
        Three channels are taken as red, green and blue and filtered as luma and two differences, with groups of
        the luma; or channels are filtered as they are, with groups of the first. Other numbers of channels are
        always taken as they are.
    data_range : float
        Of the image, for instance 65535; only decides what counts as much or little noise.
    mask : bool array (H, W) or (H, W, C), optional
        True where a pixel is valid. The others are neither used nor changed: their values, NaN say, have no influence.
        Groups take interpolated values in their place; a pixel that lacks one channel is left out whole.
    threads : int, optional
        By default the cores of this process; never changes a result.
    backend : {"numpy", "cupy", "auto"}
        What filters the groups; agrees to rounding.

    Returns
    -------
    Denoised
        ``values`` of the shape of the image, float32 for types that it holds without loss, else float64; computed in
        single precision, neither clipped nor rounded. ``rank``, the mean number of components kept of a group beside
        its mean. ``maps``: ``rank`` (H, W), its mean over the patches at a pixel.

    Raises
    ------
    ValueError
        Wrong shape or option, valid values that are not finite, or a sigma that is zero in some places only.
    TypeError
        An argument of another type.

    Notes
    -----
    Each key patch gathers its nearest neighbours. The group, less its mean, keeps the singular values above those
    of noise alone, and estimates are averaged where they overlap with weights 1 / (1 + rank). Later passes start from
    the estimate with a fifth of the residual added back, and a noise level that follows from the residual. Hu et al.
    (2015), Image denoising using patch-based low-rank approximation, arXiv 1506.08353; Osher et al. (2005) for the
    passes. What is not in these papers: the first pass compares patches of a quick cosine-transform estimate.
    """
    observed = observe("patch_svd", image, sigma, colour, data_range, mask)
    options = checked_options(
        "patch_svd", observed.given.values.shape, passes, rank, patch, group, stride, search, threads
    )
    if not observed.noisy:
        return observed.unchanged()
    passes, rank, patch, group, stride, search = options
    side, size = by_noise(BY_NOISE, observed.strength)
    side, size = most_side(patch or side, observed), group or size
    method = GroupFilter(
        side=side,
        stride=min(stride or (5 if side > 8 else 4), side),
        search=search,
        sizes=(size,) * (passes or PASSES),
        rule=BULK_EDGE,
        blend=0.2,
        noise=0.45,
        rank=rank,
    )
    return observed.denoised(method, backend, threads)


@dataclass(frozen=True)
class ObservedPixels:
    """An image as planes of white noise between 1 and 2, and the way back.

    Attributes
    ----------
    given : Given
    planes : float32 array (C, H, W)
        Without their means; empty where there is no noise to be seen.
    sigma : float
        Standard deviation of the noise of all planes.
    strength : float
        The same on a range of 255.
    means : array (C, 1, 1)
    basis : array (C, C)
        Planes from channels.
    by_pixel : array
        What the pixels were divided by.
    valid : bool array (H, W) or None
        Pixels that are valid and no outliers, where not all are; the planes are interpolated at others.
    """

    given: Given
    planes: np.ndarray
    sigma: float = 0.0
    strength: float = 0.0
    means: np.ndarray | float = 0.0
    basis: np.ndarray = field(default_factory=lambda: np.eye(1))
    by_pixel: np.ndarray | float = 1.0
    valid: np.ndarray | None = None

    @property
    def noisy(self) -> bool:
        return self.planes.size > 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.given.values.shape

    def denoised(self, method: GroupFilter, backend: str, threads: int | None) -> Denoised:
        """Filter the planes, and put the image back together."""
        device = device_of(pick(backend))
        estimate = denoise_planes(self.planes, self.sigma, method, device, threads, self.valid)
        planes = estimate.planes + self.means
        channels = np.einsum("ji,ihw->hwj", np.linalg.inv(self.basis), planes) * self.by_pixel
        values = channels.reshape(self.shape).astype(floating(self.given.values.dtype))
        treated, rank = self.valid, estimate.rank
        if treated is not None:
            rank = np.where(treated, rank, np.nan)
            treated = treated.reshape(*treated.shape, *[1] * (values.ndim - 2))
        values, left = self.given.returned(values, treated)
        return Denoised(values, estimate.mean_rank, {"rank": rank}, left)

    def unchanged(self) -> Denoised:
        """The image where there is no noise."""
        image = self.given.values
        values, left = self.given.returned(image.astype(floating(image.dtype)))
        return Denoised(values, float("nan"), {"rank": np.full(image.shape[:2], np.nan)}, left)


def observe(
    name: str,
    image: np.ndarray,
    sigma: float | Sequence[float] | np.ndarray | None,
    colour: str,
    data_range: float,
    mask: np.ndarray | None = None,
) -> ObservedPixels:
    """Check the image of method `name`, and scale its noise to one level.

    A map of noise divides the pixels; noise that differs between channels scales the planes made of them. The level
    is that on a range of 255 times a power of two, which changes no digit of a result and keeps single precision
    within its range, whatever the unit of the image.
    """
    seen = given(name, "image", image, mask, form="(H, W) or (H, W, C)")
    if seen.values.ndim not in (2, 3):
        raise ValueError(f"{name}: image must be (H, W) or (H, W, C), not {seen.values.shape}")
    choice(f"{name}: colour", colour, COLOURS)
    data_range = number(f"{name}: data_range", data_range, open_=True)
    valid = None if seen.valid is None else np.asarray(seen.valid.reshape(*seen.valid.shape[:2], -1).all(2))
    if valid is not None and not valid.any():
        raise ValueError(f"{name}: the mask leaves no pixel of which all channels are valid")
    channels = seen.values.reshape(*seen.values.shape[:2], -1).astype(np.float64)
    if valid is not None:
        channels[~valid] = 0
    noise = _noise(name, channels, sigma, valid)
    if noise.max() <= EPS * _spread(channels, valid):
        return ObservedPixels(seen, np.empty(0))  # single precision would add more than it takes away
    if not noise.all():
        raise ValueError(f"{name}: sigma is zero in some places only; leave those out, or give a small sigma")
    valid = together(valid, outliers(channels, noise, valid))
    valid = together(valid, _unresolved(channels, noise, valid))
    unit = 2.0 ** (frexp(noise.max())[1] - 1)  # its squares neither overflow nor vanish
    level = float(np.sqrt(np.mean(np.square(noise / unit))))
    strength = level * 255 / data_range * unit
    sigma = 2 * frexp(strength)[0] if strength > 0 and isfinite(strength) else 1.0
    basis = OPPONENT if colour == "opponent" and channels.shape[2] == 3 else np.eye(channels.shape[2])
    by_pixel: np.ndarray | float = 1.0
    if noise.ndim == 3:
        by_pixel = noise / sigma
    else:
        of_planes = np.sqrt(np.square(basis) @ np.broadcast_to(np.square(noise / unit), len(basis)))
        basis = basis * (sigma / of_planes / unit)[:, None]
    planes = np.einsum("ij,hwj->ihw", basis, channels / by_pixel)
    if valid is None:
        means = planes.mean((1, 2), keepdims=True)  # values near zero are the finest in single precision
    else:
        means = planes[:, valid].mean(1)[:, None, None]
        planes = np.stack([filled(plane, valid) for plane in planes])
    return ObservedPixels(
        seen, (planes - means).astype(np.float32), sigma, strength, means, basis, by_pixel, valid
    )


def _spread(channels: np.ndarray, valid: np.ndarray | None) -> float:
    """Largest difference of the values, all but the outermost hundredth on either side."""
    values = channels if valid is None else channels[valid]
    low, high = np.quantile(values, 1 - COMMON, method="higher"), np.quantile(values, COMMON, method="lower")
    return float(max(high / 2 - low / 2, 0) * 2)


def _unresolved(channels: np.ndarray, noise: np.ndarray, valid: np.ndarray | None) -> np.ndarray | None:
    """Pixels so far from the others that single precision does not resolve the noise there; None without any."""
    kept = channels if valid is None else channels[valid]
    if np.ptp(kept / 2) * 2 * EPS < np.min(noise):
        return None
    with np.errstate(over="ignore"):
        found = (np.abs(channels - np.median(kept)) * EPS >= noise).any(2)
    return found if valid is None else found & valid


def most_side(side: int, observed: ObservedPixels) -> int:
    """The side of a patch, but half of a small image at most, so that there is something to compare."""
    return min(side, (min(observed.shape[:2]) + 1) // 2)


def by_noise(table: Sequence[tuple[float, int, int]], sigma: float) -> tuple[int, int]:
    """Side of a patch and size of a group for a noise level."""
    return next((side, size) for limit, side, size in table if sigma <= limit)


def checked_options(
    name: str,
    shape: tuple[int, ...],
    passes: Any,
    rank: Any,
    patch: Any,
    group: Any,
    stride: Any,
    search: Any,
    threads: Any,
) -> tuple[int | None, int | None, int | None, int | None, int | None, int]:
    """The options of a method of groups, refused where they make no sense for an image of that shape."""
    threads_of(name, threads)
    short, long = min(shape[:2]), max(shape[:2])
    fits = f"a side of the image {shape[0]} x {shape[1]}"

    def option(what: str, value: Any, least: int, most: int | None = None, why: str = "") -> int | None:
        return None if value is None else whole(f"{name}: {what}", value, least, most, why)

    search = whole(f"{name}: search", search, 1, max(long, SEARCH), fits)
    return (
        option("passes", passes, 1, MOST_PASSES),
        option("rank", rank, 0),
        option("patch", patch, 2, max(short, 2), fits),
        option("group", group, 2, (2 * search + 1) ** 2, f"the patches of a search of {search}"),
        option("stride", stride, 1, long, fits),
        search,
    )


def _noise(
    name: str,
    channels: np.ndarray,
    sigma: float | Sequence[float] | np.ndarray | None,
    valid: np.ndarray | None,
) -> np.ndarray:
    """Standard deviations that broadcast against (H, W, C); where a pixel is not valid, a map says the largest."""
    count = channels.shape[2]
    if sigma is None:
        found = np.array([estimate_sigma_of_plane(channels[..., c], valid)[0] for c in range(count)])
        return np.where(found > 0, found, found.max())  # a constant channel goes with the others
    noise = levels(name, sigma)
    if noise.ndim == 2 and noise.shape == channels.shape[:2]:
        if valid is not None:
            check_levels(name, noise[valid])
            noise = np.where(valid, noise, noise[valid].max())
        noise = noise[..., None]
    elif noise.ndim > 1 or noise.size not in (1, count):
        raise ValueError(
            f"{name}: sigma of shape {noise.shape}; give one number, one per channel ({count}), or a map "
            f"{channels.shape[:2]}"
        )
    check_levels(name, noise)
    return np.atleast_1d(noise)

"""Denoising of photographs by low-rank groups of similar patches; the public door of both such methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svdflow.backend import device_of, pick
from svdflow.images.denoise.estimate import Denoised
from svdflow.images.denoise.groups import BULK_EDGE
from svdflow.images.denoise.noise import estimate_sigma_of_plane
from svdflow.images.denoise.passes import Method, denoise_planes

PASSES = 5
# Up to this sigma, on a range of 255: side of a patch, patches of a group. benchmarks/imagebench/denoise.py.
BY_NOISE = ((20.0, 6, 60), (40.0, 7, 80), (np.inf, 9, 180))
COLOURS = ("opponent", "channels")
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
    search: int = 20,
    colour: str = "opponent",
    data_range: float = 255.0,
    threads: int | None = None,
    backend: str = "numpy",
) -> Denoised:
    """Denoise an image by truncated SVD of its groups of similar patches.

    Parameters
    ----------
    image : array (H, W) or (H, W, C)
        Integer or real; finite.
    sigma : float, one per channel, or array (H, W), optional
        Standard deviation of the noise in values of the image. By default `estimate_sigma_of_plane` of channels. Zero,
        or less than single precision resolves, returns the image as it is.
    passes : int, optional
        Rounds of filtering, by default 5; one takes a fifth of the time.
    rank : int, optional
        Keep this many components of a group at most.
    patch, group : int, optional
        Side of a patch in pixels, and patches of a group; by default from 6 and 60 to 9 and 180 as noise grows.
    stride : int, optional
        Pixels between the patches that gather groups, at most `patch`; by default 4, and 5 for patches of 9.
    search : int
        Reach of the search for similar patches, in pixels.
    colour : {"opponent", "channels"}
        Three channels are taken as red, green and blue and filtered as luma and two differences, with groups of
        the luma; or channels are filtered as they are, with groups of the first. Other numbers of channels are
        always taken as they are.
    data_range : float
        Of the image, for instance 65535; only decides what counts as much or little noise.
    threads : int, optional
        By default the cores of this process; never changes a result.
    backend : {"numpy", "cupy", "auto"}
        What filters the groups; agrees to rounding.

    Returns
    -------
    Denoised
        ``values`` of the shape of the image, float64 for float64 input and float32 otherwise; computed in single
        precision, neither clipped nor rounded. ``rank``, the mean number of components kept of a group beside its
        mean. ``maps``: ``rank`` (H, W), its mean over the patches at a pixel.

    Raises
    ------
    ValueError
        Wrong shape or option, values that are not finite, or a sigma that is zero in some places only.

    Notes
    -----
    Each key patch gathers its nearest neighbours. The group, less its mean, keeps the singular values above those
    of noise alone, and estimates are averaged where they overlap with weights 1 / (1 + rank). Later passes start from
    the estimate with a fifth of the residual added back, and a noise level that follows from the residual. Hu et al.
    (2015), Image denoising using patch-based low-rank approximation, arXiv 1506.08353; Osher et al. (2005) for the
    passes. What is not in these papers: the first pass compares patches of a quick cosine-transform estimate.
    """
    whole = {"passes": (passes, 1), "rank": (rank, 0), "patch": (patch, 2), "group": (group, 2)}
    check_options("patch_svd", **whole, stride=(stride, 1), search=(search, 1))
    observed = observe("patch_svd", image, sigma, colour, data_range)
    if observed is None:
        return unchanged(image)
    side, size = by_noise(BY_NOISE, observed.sigma)
    side, size = most_side(patch or side, observed), group or size
    method = Method(
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
class Observed:
    """An image as planes of white noise, on a range of 255, and the way back.

    Attributes
    ----------
    planes : float32 array (C, H, W)
        Without their means.
    sigma : float
        Standard deviation of the noise of all planes.
    means : array (C, 1, 1)
    basis : array (C, C)
        Planes from channels.
    by_pixel : array
        What the pixels were divided by.
    """

    planes: np.ndarray
    sigma: float
    means: np.ndarray
    basis: np.ndarray
    by_pixel: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype

    def denoised(self, method: Method, backend: str, threads: int | None) -> Denoised:
        """Filter the planes, and put the image back together."""
        device = device_of(pick(backend))
        estimate = denoise_planes(self.planes, self.sigma, method, device, threads)
        planes = estimate.planes + self.means
        channels = np.einsum("ji,ihw->hwj", np.linalg.inv(self.basis), planes) * self.by_pixel
        values = channels.reshape(self.shape).astype(self.dtype)
        return Denoised(values, estimate.mean_rank, {"rank": estimate.rank})


def observe(
    name: str,
    image: np.ndarray,
    sigma: float | Sequence[float] | np.ndarray | None,
    colour: str,
    data_range: float,
) -> Observed | None:
    """Check the image of method `name`, and scale its noise to one level; None where there is none.

    A map of noise divides the pixels; noise that differs between channels scales the planes made of them.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"{name}: image must be (H, W) or (H, W, C), not {image.shape}")
    if image.dtype.kind not in "iuf":
        raise ValueError(f"{name}: image must hold real numbers, not {image.dtype}")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{name}: image holds NaN or infinity; fill those pixels first")
    if colour not in COLOURS:
        raise ValueError(f"{name}: colour {colour!r} is not one of {', '.join(COLOURS)}")
    if not (np.isfinite(data_range) and data_range > 0):
        raise ValueError(f"{name}: data_range must be a positive number, not {data_range}")
    channels = image.reshape(*image.shape[:2], -1).astype(np.float64)
    noise = _noise(name, channels, sigma)
    if noise.max() <= np.finfo(np.float32).eps * np.ptp(channels):
        return None  # single precision would add more than it takes away
    if not noise.all():
        raise ValueError(f"{name}: sigma is zero in some places only; leave those out, or give a small sigma")
    basis = OPPONENT if colour == "opponent" and channels.shape[2] == 3 else np.eye(channels.shape[2])
    level = float(np.sqrt(np.mean(np.square(noise)))) * 255 / data_range
    if noise.ndim == 3:
        by_pixel = noise / level
    else:
        of_planes = np.sqrt(np.square(basis) @ np.broadcast_to(np.square(noise), len(basis)))
        basis, by_pixel = basis * (level / of_planes)[:, None], np.ones(1)
    planes = np.einsum("ij,hwj->ihw", basis, channels / by_pixel)
    means = planes.mean((1, 2), keepdims=True)  # values near zero are the finest in single precision
    dtype = np.dtype(np.float64 if image.dtype == np.float64 else np.float32)
    return Observed((planes - means).astype(np.float32), level, means, basis, by_pixel, image.shape, dtype)


def unchanged(image: np.ndarray) -> Denoised:
    """An image without noise."""
    image = np.asarray(image)
    values = image.astype(np.float64 if image.dtype == np.float64 else np.float32)
    return Denoised(values, float("nan"), {"rank": np.full(image.shape[:2], np.nan)})


def most_side(side: int, observed: Observed) -> int:
    """The side of a patch, but half of a small image at most, so that there is something to compare."""
    return min(side, (min(observed.shape[:2]) + 1) // 2)


def by_noise(table: Sequence[tuple[float, int, int]], sigma: float) -> tuple[int, int]:
    """Side of a patch and size of a group for a noise level."""
    return next((side, size) for limit, side, size in table if sigma <= limit)


def check_options(name: str, **least: tuple[int | None, int]) -> None:
    """Refuse options ``name=(value, least value)`` that are no whole numbers from the least up."""
    for option, (value, bound) in least.items():
        if value is not None and (int(value) != value or value < bound):
            raise ValueError(f"{name}: {option} must be a whole number from {bound} up, not {value}")


def _noise(name: str, channels: np.ndarray, sigma: float | Sequence[float] | np.ndarray | None) -> np.ndarray:
    """Standard deviations that broadcast against (H, W, C)."""
    count = channels.shape[2]
    if sigma is None:
        found = np.array([estimate_sigma_of_plane(channels[..., c])[0] for c in range(count)])
        return np.where(found > 0, found, found.max())  # a constant channel goes with the others
    noise = np.asarray(sigma, np.float64)
    if noise.ndim == 2 and noise.shape == channels.shape[:2]:
        noise = noise[..., None]
    elif noise.ndim > 1 or noise.size not in (1, count):
        raise ValueError(
            f"{name}: sigma of shape {noise.shape}; give one number, one per channel ({count}), or a map "
            f"{channels.shape[:2]}"
        )
    if not (np.isfinite(noise).all() and (noise >= 0).all()):
        raise ValueError(f"{name}: sigma must be finite and not negative")
    return np.atleast_1d(noise)

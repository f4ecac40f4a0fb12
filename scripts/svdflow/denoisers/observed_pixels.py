"""An image as planes of white noise of one level, as the methods of groups of patches take it, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import frexp, isfinite

import numpy as np

from svdflow.compute import device_of, pick
from svdflow.compute.cores import default_threads
from svdflow.denoisers.arguments import (
    Given,
    check_levels,
    choice,
    floating,
    given,
    levels,
    number,
    whole,
)
from svdflow.denoisers.bands import VALUES_AT_ONCE, row_bands
from svdflow.denoisers.denoised import Denoised, overall
from svdflow.denoisers.missing import COMMON, filled, outliers, span, together
from svdflow.denoisers.noise import estimate_sigma_of_plane
from svdflow.denoisers.passes import ACROSS, GroupFilter, denoise_planes
from svdflow.denoisers.patches import Patches
from svdflow.errors import MemoryLimitError

COLOURS = ("opponent", "channels")
MEMORY = 2**31  # bytes to work in where no limit is given
BAND_COLUMN = (
    2**16
)  # bytes that a thread takes for each column of a band of keys, groups of 80 patches of 7. Measured
EPS = float(np.finfo(np.float32).eps)
# Orthonormal, so that white noise stays white: luma, and two differences of colours (Dabov et al. 2007, "opp").
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


@dataclass(frozen=True)
class ObservedPixels:
    """An image as planes of white noise between 1 and 2, and the way back.

    Attributes
    ----------
    name : str
        Of the method.
    given : Given
    level : float
        Standard deviation of the noise in values of the image, the root mean square where it varies.
    sigma : float
        Standard deviation of the noise of all planes; 0 where there is none to be seen.
    strength : float
        The same on a range of 255.
    means : array (C, 1, 1)
    basis : array (C, C)
        Planes from channels.
    by_pixel : array
        What the pixels were divided by; has the rows of the image, or one.
    valid : bool array (H, W) or None
        Pixels that are valid and no outliers, where not all are.
    filled : float32 array (C, H, W) or None
        The planes, interpolated at the other pixels.
    """

    name: str
    given: Given
    level: float
    sigma: float = 0.0
    strength: float = 0.0
    means: np.ndarray | float = 0.0
    basis: np.ndarray = field(default_factory=lambda: np.eye(1))
    by_pixel: np.ndarray = field(default_factory=lambda: np.ones((1, 1, 1)))
    valid: np.ndarray | None = None
    filled: np.ndarray | None = None

    @property
    def noisy(self) -> bool:
        return self.sigma > 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.given.values.shape

    def planes(self, start: int, stop: int) -> np.ndarray:
        """The planes of those rows without their means, float32 (C, rows, W)."""
        if self.filled is not None:
            return self.filled[:, start:stop]
        planes = np.empty((len(self.basis), stop - start, self.shape[1]), np.float32)
        for band in row_bands(stop - start, self.rows_at_once, 0):
            rows = slice(start + band.first, start + band.stop)
            planes[:, band.first : band.stop] = _planes(self, rows) - self.means
        return planes

    @property
    def rows_at_once(self) -> int:
        """Rows that are taken to double precision at a time."""
        return VALUES_AT_ONCE * self.shape[0] // self.given.values.size

    def denoised(
        self, method: GroupFilter, backend: str, threads: int | None, memory_limit: int | None
    ) -> Denoised:
        """Filter the planes, and put the image back together; in bands where the whole takes too much memory."""
        device = device_of(pick(backend))
        height, width = self.shape[:2]
        values = np.empty(self.shape, floating(self.given.values.dtype))
        rank, kept = np.empty((height, width)), []
        inverse = np.linalg.inv(self.basis)
        for band in row_bands(
            height, self._rows_of_a_band(method, threads, memory_limit), method.reach, step=method.step
        ):
            valid = None if self.valid is None else self.valid[band.start : band.end]
            planes = self.planes(band.start, band.end)
            found = denoise_planes(planes, self.sigma, method, device, threads, valid)
            rank[band.first : band.stop] = found.rank[band.inner]
            rows = Patches((len(found.rank), width), method.side, method.stride, method.search).keys[0]
            own = (rows >= band.inner.start) & (rows < band.inner.stop)
            kept.append(found.kept[own])
            for part in row_bands(band.stop - band.first, self.rows_at_once, 0):
                place = slice(band.first + part.first, band.first + part.stop)
                inner = slice(place.start - band.start, place.stop - band.start)
                channels = np.einsum("ji,ihw->hwj", inverse, found.planes[:, inner] + self.means)
                values[place] = (channels * _rows(self.by_pixel, place)).reshape(values[place].shape)
        treated = self.valid
        if treated is not None:
            rank[~treated] = np.nan
            treated = treated.reshape(*treated.shape, *[1] * (values.ndim - 2))
        values, left = self.given.returned(values, treated)
        groups = np.concatenate(kept).ravel()
        mean_rank = float(groups[~np.isnan(groups)].mean(dtype=np.float64))
        return Denoised(values, mean_rank, {"rank": rank}, left, self.level, self.name)

    def _rows_of_a_band(self, method: GroupFilter, threads: int | None, memory_limit: int | None) -> int:
        """Rows that fit the memory limit beside the result and the rows around them.

        Raises
        ------
        MemoryLimitError
            Not even a few do.
        """
        height, width = self.shape[:2]
        channels = len(self.basis)
        fixed = height * width * (8 + 8 * channels if self.filled is not None else 8 + 4 * channels)
        # Noisy planes, estimates before and after; ranks and what makes the first guide; the groups.
        of_a_row = width * (12 * channels + 28 + 4 * method.sizes[0] // method.stride**2)
        limit = MEMORY if memory_limit is None else whole(f"{self.name}: memory_limit", memory_limit, 1)
        working = (threads or default_threads()) * BAND_COLUMN * min(width, ACROSS)
        rows = (limit - working - fixed) // of_a_row
        if rows >= height:
            return height
        least = 2 * method.reach + method.step
        if rows < least:
            needed = (working + fixed + least * of_a_row) / 2**20
            raise MemoryLimitError(
                f"{self.name}: {height} x {width} pixels need {needed:,.0f} MiB even in bands, and the memory limit is "
                f"{limit / 2**20:,.0f} MiB; raise it, ask for fewer passes, or crop"
            )
        return int(rows) - 2 * method.reach

    def unchanged(self) -> Denoised:
        """The image where there is no noise."""
        image = self.given.values
        values, left = self.given.returned(image.astype(floating(image.dtype)))
        maps = {"rank": np.full(image.shape[:2], np.nan)}
        return Denoised(values, maps=maps, left=left, sigma=self.level, method=self.name)


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
    pixels = seen.values.reshape(*seen.values.shape[:2], -1)
    valid = None if seen.valid is None else np.asarray(seen.valid.reshape(pixels.shape).all(2))
    if valid is not None and not valid.any():
        raise ValueError(f"{name}: the mask leaves no pixel of which all channels are valid")
    if valid is not None:
        pixels = np.where(valid[..., None], pixels, pixels.dtype.type(0))
    noise = _noise(name, pixels, sigma, valid)
    largest = noise.max()
    # Beside such values single precision would add more than it takes away.
    if largest <= EPS * span(pixels, valid) and largest <= EPS * _spread(pixels, valid):
        return ObservedPixels(name, seen, overall(noise))
    if not noise.all():
        raise ValueError(f"{name}: sigma is zero in some places only; leave those out, or give a small sigma")
    valid = together(valid, outliers(pixels, noise, valid))
    valid = together(valid, _unresolved(pixels, noise, valid))
    unit = 2.0 ** (frexp(largest)[1] - 1)  # its squares neither overflow nor vanish
    level = float(np.sqrt(np.mean(np.square(noise / unit))))
    strength = level * 255 / data_range * unit
    sigma = 2 * frexp(strength)[0] if strength > 0 and isfinite(strength) else 1.0
    basis = OPPONENT if colour == "opponent" and pixels.shape[2] == 3 else np.eye(pixels.shape[2])
    by_pixel = np.ones((1, 1, 1))
    if noise.ndim == 3:
        by_pixel = noise / sigma
    else:
        of_planes = np.sqrt(np.square(basis) @ np.broadcast_to(np.square(noise / unit), len(basis)))
        basis = basis * (sigma / of_planes / unit)[:, None]
    observed = ObservedPixels(name, seen, overall(noise), sigma, strength, 0.0, basis, by_pixel, valid)
    return _centred(observed)


def _centred(seen: ObservedPixels) -> ObservedPixels:
    """With the means of its planes: values near zero are the finest in single precision."""
    height, width = seen.shape[:2]
    if seen.valid is not None:
        planes, valid = _planes(seen, slice(None)), seen.valid
        means = planes[:, valid].mean(1)[:, None, None]
        whole = np.stack([(filled(plane, valid) - m).astype(np.float32) for plane, m in zip(planes, means)])
        return replace(seen, means=means, filled=whole)
    bands = list(row_bands(height, seen.rows_at_once, 0))
    if len(bands) == 1:
        return replace(seen, means=_planes(seen, slice(None)).mean((1, 2), keepdims=True))
    sums = sum(_planes(seen, slice(band.first, band.stop)).sum((1, 2), keepdims=True) for band in bands)
    return replace(seen, means=sums / (height * width))


def _planes(seen: ObservedPixels, rows: slice) -> np.ndarray:
    """Planes of the image in those rows, with their means, float64 (C, rows, W)."""
    given = seen.given
    channels = given.values[rows].reshape(-1, seen.shape[1], len(seen.basis)).astype(np.float64)
    if given.valid is not None:
        channels[~given.valid[rows].reshape(channels.shape).all(2)] = 0
    return np.einsum("ij,hwj->ihw", seen.basis, channels / _rows(seen.by_pixel, rows))


def _rows(array: np.ndarray, rows: slice) -> np.ndarray:
    return array if len(array) == 1 else array[rows]


def _spread(pixels: np.ndarray, valid: np.ndarray | None) -> float:
    """Largest difference of the values, all but the outermost hundredth on either side."""
    values = (pixels if valid is None else pixels[valid]).astype(np.float64)
    low, high = np.quantile(values, 1 - COMMON, method="higher"), np.quantile(values, COMMON, method="lower")
    return float(max(high / 2 - low / 2, 0) * 2)


def _unresolved(pixels: np.ndarray, noise: np.ndarray, valid: np.ndarray | None) -> np.ndarray | None:
    """Pixels so far from the others that single precision does not resolve the noise there; None without any."""
    if span(pixels, valid) * EPS < np.min(noise):
        return None
    channels = pixels.astype(np.float64)
    with np.errstate(over="ignore"):
        middle = np.median(channels if valid is None else channels[valid])
        found: np.ndarray = np.any(np.abs(channels - middle) * EPS >= noise, axis=2)
    return found if valid is None else found & valid


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

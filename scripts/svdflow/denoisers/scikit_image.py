"""What the denoisers of scikit-image have in common here: units, masks, channels, and one noise level.

Their constants gave the best mean PSNR over six photographs of 192 pixels and four of 480 x 512, at noise of 15, 25
and 50 of 255 (scikit-image's own: camera, coins, moon, astronaut, coffee, chelsea); benchmarks/imagebench/stacks.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from svdflow.denoisers.arguments import Given, check_levels, given, levels, number
from svdflow.denoisers.bands import VALUES_AT_ONCE, tiles
from svdflow.denoisers.denoised import Denoised, overall
from svdflow.denoisers.missing import filled, modest, outliers, together
from svdflow.denoisers.noise import estimate_sigma_of_plane


@dataclass(frozen=True)
class Picture:
    """An image as scikit-image takes it.

    Attributes
    ----------
    name : str
        Of the method.
    pixels : array (H, W) or (H, W, C)
        As they were given, or interpolated where one is not valid.
    sigma, data_range : float
        Times `unit`, a power of two that keeps squares within range.
    valid : bool array (H, W) or None
        Pixels that are denoised; None for all.
    """

    name: str
    given: Given
    pixels: np.ndarray
    sigma: float
    data_range: float
    valid: np.ndarray | None
    unit: float

    @property
    def channel_axis(self) -> int | None:
        return None if self.pixels.ndim == 2 else -1

    def denoised(self, work: Callable[[np.ndarray], np.ndarray], halo: int, share: int = 1) -> Denoised:
        """The image after `work` on its float64 values times `unit`, whole, or in tiles with `halo` pixels around them.

        A tile has `VALUES_AT_ONCE` values over `share`. Where there is nothing to denoise, no noise or constant
        channels, it is left as it is.
        """
        pixels, unit = self.pixels, self.unit
        values = np.empty(pixels.shape)
        still = self.sigma == 0 or np.array_equal(pixels.max((0, 1)), pixels.min((0, 1)))
        for rows, columns in tiles(pixels.shape, VALUES_AT_ONCE // share, halo):
            seen = pixels[rows.start : rows.end, columns.start : columns.end].astype(np.float64) * unit
            found = seen if still else work(seen).reshape(seen.shape)  # sides of 1 may have been squeezed
            place = slice(rows.first, rows.stop), slice(columns.first, columns.stop)
            values[place] = found[rows.inner, columns.inner] / unit
        treated = self.valid
        if treated is not None:
            treated = treated.reshape(*treated.shape, *[1] * (values.ndim - 2))
        values, left = self.given.returned(values, treated)
        return Denoised(values, left=left, sigma=self.sigma / unit, method=self.name)


def picture(
    name: str,
    image: np.ndarray,
    sigma: float | Sequence[float] | None,
    data_range: float,
    mask: np.ndarray | None,
) -> Picture:
    """The image of method `name`, its arguments checked."""
    seen = given(name, "image", image, mask, form="(H, W) or (H, W, C)")
    pixels = seen.values
    if pixels.ndim not in (2, 3):
        raise ValueError(f"{name}: image must be (H, W) or (H, W, C), not {pixels.shape}")
    channels = pixels.reshape(*pixels.shape[:2], -1)
    valid = None if seen.valid is None else np.asarray(seen.valid.reshape(channels.shape).all(2))
    if valid is not None and not valid.any():
        raise ValueError(f"{name}: the mask leaves no pixel of which all channels are valid")
    level = _level(name, channels, sigma, valid)
    data_range = number(f"{name}: data_range", data_range, open_=True)
    if valid is not None:
        channels = np.where(valid[..., None], channels, channels.dtype.type(0))
    valid = together(valid, outliers(channels, level, valid) if level > 0 else None)
    if valid is not None:
        planes = (channels[..., c].astype(np.float64) for c in range(channels.shape[2]))
        channels = np.stack([filled(plane, valid) for plane in planes], axis=2)
    unit = modest(max(float(channels.max()), -float(channels.min())))
    return Picture(name, seen, channels.reshape(pixels.shape), level * unit, data_range * unit, valid, unit)


def _level(
    name: str, channels: np.ndarray, sigma: float | Sequence[float] | None, valid: np.ndarray | None
) -> float:
    """One noise level for all channels, which scikit-image asks for."""
    count = channels.shape[2]
    if sigma is None:
        return overall([estimate_sigma_of_plane(channels[..., c], valid)[0] for c in range(count)])
    known = levels(name, sigma)
    if known.ndim > 1 or known.size not in (1, count):
        raise ValueError(
            f"{name}: sigma of shape {known.shape}; give one number, or one per channel ({count})"
        )
    check_levels(name, known)
    return overall(known)

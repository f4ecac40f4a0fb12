"""Denoisers of scikit-image, to stand beside those of svdflow: total variation, wavelets, non-local means.

Their constants gave the best mean PSNR over six photographs of 192 pixels and four of 480 x 512, at noise of 15, 25
and 50 of 255 (scikit-image's own: camera, coins, moon, astronaut, coffee, chelsea).
"""

from dataclasses import dataclass
from itertools import product
from math import frexp

import numpy as np
from skimage import restoration

from svdflow.denoisers.arguments import Given, given, number
from svdflow.denoisers.estimate import Denoised
from svdflow.denoisers.missing import filled, modest, outliers, together

TV_WEIGHT = 0.9  # over sigma; from 0.85 to 1 the mean differs by 0.15 dB
NL_MEANS_STRENGTH = 0.7  # over sigma; the 0.6 of scikit-image's example is 0.1 dB worse
WAVELET = "db2"
# Noise over the range below which wavelets are scaled by it: scikit-image sees no variance below 2e-16 in a band.
LEAST_NOISE = 2.0**-20
SHIFTS = 4  # averaged over 4 x 4 shifts of the grid (Coifman and Donoho 1995): 1 dB above a single transform


def tv(
    image: np.ndarray, sigma: float, *, data_range: float = 255.0, mask: np.ndarray | None = None
) -> Denoised:
    """Total variation (Rudin, Osher and Fatemi 1992), by Chambolle's projection (2004).

    Parameters
    ----------
    image : array (H, W) or (H, W, C), real
        Channels one by one. A pixel that outweighs all others (`outliers`) is left out as if it were masked.
    sigma : float
        Standard deviation of the noise, in values of the image.
    data_range : float
        Not needed: the method scales with its input.
    mask : bool array (H, W) or (H, W, C), optional
        True where a pixel is valid. The others are neither used nor changed; the method sees them interpolated.

    Returns
    -------
    Denoised
        ``values`` float64, of the shape of the image; no rank.

    Raises
    ------
    ValueError
        Not an image, or valid values that are not finite.
    TypeError
        An argument of another type.
    """
    picture = _picture("tv", image, sigma, data_range, mask)
    if picture.still:
        return picture.denoised(picture.image)
    # The default tolerance stops early by a measure that depends on the image, 1 dB short at strong noise.
    values = restoration.denoise_tv_chambolle(
        picture.image,
        weight=TV_WEIGHT * picture.sigma,
        eps=1e-5,
        max_num_iter=1000,
        channel_axis=picture.channel_axis,
    )
    return picture.denoised(values)


def wavelet(
    image: np.ndarray, sigma: float, *, data_range: float = 255.0, mask: np.ndarray | None = None
) -> Denoised:
    """Soft thresholds of wavelets by band (BayesShrink: Chang, Yu and Vetterli 2000), averaged over shifts.

    Parameters as `tv`; colour is taken to YCbCr, for which `data_range` tells where 1 lies. There are no masks: the
    threshold of a band comes from all of its wavelets, and those of interpolated pixels would lower it everywhere.

    Raises
    ------
    ValueError
        Not an image, values that are not finite, or a mask.
    TypeError
        An argument of another type.
    ImportError
        PyWavelets is not installed: the extra ``wavelets`` brings it.
    """
    picture = _picture("wavelet", image, sigma, data_range, mask)
    if picture.given.valid is not None:
        raise ValueError(
            "wavelet: does not take masks; fill the missing pixels, crop, or use patch_svd or tv"
        )
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            "denoiser wavelet: PyWavelets is not installed; install svdflow[wavelets], or leave it out"
        ) from error
    image, sigma, channels = picture.image, picture.sigma, picture.channel_axis
    levels = pywt.dwt_max_level(min(image.shape[:2]), WAVELET)
    if picture.still or levels == 0:
        return picture.denoised(image)
    unit = picture.data_range
    if not LEAST_NOISE <= sigma / unit <= 1:
        unit = unit * 2.0 ** (frexp(sigma)[1] - frexp(unit)[1] + 8)
    options = {
        "sigma": sigma / unit,
        "wavelet": WAVELET,
        "wavelet_levels": levels,
        "method": "BayesShrink",
        "mode": "soft",
        "rescale_sigma": True,
        "convert2ycbcr": channels is not None and image.shape[-1] == 3,
        "channel_axis": channels,
    }
    scaled, total = image / unit, np.zeros_like(image)
    for down, across in product(range(SHIFTS), repeat=2):
        moved = restoration.denoise_wavelet(np.roll(scaled, (down, across), (0, 1)), **options)
        total += np.roll(moved, (-down, -across), (0, 1))
    return picture.denoised(total * (unit / SHIFTS**2))


def nl_means(
    image: np.ndarray, sigma: float, *, data_range: float = 255.0, mask: np.ndarray | None = None
) -> Denoised:
    """Non-local means (Buades, Coll and Morel 2005), patches of 5, search of 13, the fast form (Darbon et al. 2008).

    Parameters, result and errors as `tv`; colour patches are compared over all channels at once.
    """
    picture = _picture("nl_means", image, sigma, data_range, mask)
    if picture.still:
        return picture.denoised(picture.image)
    values = restoration.denoise_nl_means(
        picture.image,
        patch_size=5,
        patch_distance=6,
        h=NL_MEANS_STRENGTH * picture.sigma,
        sigma=picture.sigma,
        fast_mode=True,
        channel_axis=picture.channel_axis,
    )
    return picture.denoised(values.reshape(picture.image.shape))  # sides of 1 were squeezed


BASELINES = {"tv": tv, "wavelet": wavelet, "nl_means": nl_means}


@dataclass(frozen=True)
class _Picture:
    """An image as scikit-image takes it.

    Attributes
    ----------
    image : float64 array
        Times `unit`, interpolated where a pixel is not valid.
    sigma, data_range : float
        Times `unit` too, a power of two that keeps squares within range.
    channel_axis : int or None
    valid : bool array (H, W) or None
        Pixels that are denoised; None for all.
    """

    given: Given
    image: np.ndarray
    sigma: float
    data_range: float
    channel_axis: int | None
    valid: np.ndarray | None
    unit: float

    @property
    def still(self) -> bool:
        """Nothing to denoise: no noise, or constant channels."""
        return self.sigma == 0 or not np.any(np.ptp(self.image, axis=(0, 1)))

    def denoised(self, values: np.ndarray) -> Denoised:
        treated = self.valid
        if treated is not None:
            treated = treated.reshape(*treated.shape, *[1] * (values.ndim - 2))
        values, left = self.given.returned(values / self.unit, treated)
        return Denoised(values, left=left)


def _picture(
    name: str, image: np.ndarray, sigma: float, data_range: float, mask: np.ndarray | None
) -> _Picture:
    seen = given(name, "image", image, mask, form="(H, W) or (H, W, C)")
    image = seen.values
    if image.ndim not in (2, 3):
        raise ValueError(f"{name}: image must be (H, W) or (H, W, C), not {image.shape}")
    sigma = number(f"{name}: sigma", sigma)
    data_range = number(f"{name}: data_range", data_range, open_=True)
    planes = image.reshape(*image.shape[:2], -1).astype(np.float64)
    valid = None if seen.valid is None else np.asarray(seen.valid.reshape(planes.shape).all(2))
    if valid is not None and not valid.any():
        raise ValueError(f"{name}: the mask leaves no pixel of which all channels are valid")
    if valid is not None:
        planes[~valid] = 0
    valid = together(valid, outliers(planes, sigma, valid) if sigma > 0 else None)
    if valid is not None:
        planes = np.stack([filled(planes[..., c], valid) for c in range(planes.shape[2])], axis=2)
    unit = modest(float(np.abs(planes).max()))
    planes = planes.reshape(image.shape) * unit
    axis = None if image.ndim == 2 else -1
    return _Picture(seen, planes, sigma * unit, data_range * unit, axis, valid, unit)

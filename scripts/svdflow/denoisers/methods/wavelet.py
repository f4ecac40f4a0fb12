"""wavelet: thresholds of wavelets by band, by scikit-image."""

from collections.abc import Sequence
from itertools import product
from math import frexp

import numpy as np
from skimage import restoration

from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.scikit_image import picture

WAVELET = "db2"
# Noise over the range below which wavelets are scaled by it: scikit-image sees no variance below 2e-16 in a band.
LEAST_NOISE = 2.0**-20
# Rows beyond a band that it is computed with; thresholds are of the band, which changes it by less than 0.1 sigma
# (tests/unit/test_large_pictures.py).
HALO = 64
SHIFTS = 4  # averaged over 4 x 4 shifts of the grid (Coifman and Donoho 1995): 1 dB above a single transform


def wavelet(
    x: np.ndarray,
    sigma: float | Sequence[float] | None = None,
    *,
    mask: np.ndarray | None = None,
    data_range: float = 255.0,
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
    seen = picture("wavelet", x, sigma, data_range, mask)
    if seen.given.valid is not None:
        raise ValueError(
            "wavelet: does not take masks; fill the missing pixels, crop, or use patch_svd or tv"
        )
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            "denoiser wavelet: PyWavelets is not installed; install svdflow[wavelets], or leave it out"
        ) from error
    unit = seen.data_range
    if not LEAST_NOISE <= seen.sigma / unit <= 1:
        unit = unit * 2.0 ** (frexp(seen.sigma)[1] - frexp(unit)[1] + 8)

    def work(image: np.ndarray) -> np.ndarray:
        levels = pywt.dwt_max_level(min(image.shape[:2]), WAVELET)
        if levels == 0:
            return image
        options = {
            "sigma": seen.sigma / unit,
            "wavelet": WAVELET,
            "wavelet_levels": levels,
            "method": "BayesShrink",
            "mode": "soft",
            "rescale_sigma": True,
            "convert2ycbcr": image.ndim == 3 and image.shape[-1] == 3,
            "channel_axis": seen.channel_axis,
        }
        scaled, total = image / unit, np.zeros_like(image)
        for down, across in product(range(SHIFTS), repeat=2):
            moved = restoration.denoise_wavelet(np.roll(scaled, (down, across), (0, 1)), **options)
            total += np.roll(moved, (-down, -across), (0, 1))
        return total * (unit / SHIFTS**2)

    return seen.denoised(work, HALO)

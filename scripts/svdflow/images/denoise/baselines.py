"""Denoisers of scikit-image, to stand beside those of svdflow: total variation, wavelets, non-local means.

Their constants gave the best mean PSNR over six photographs of 192 pixels and four of 480 x 512, at noise of 15, 25
and 50 of 255 (scikit-image's own: camera, coins, moon, astronaut, coffee, chelsea).
"""

from itertools import product

import numpy as np
from skimage import restoration

from svdflow.images.denoise.estimate import Denoised

TV_WEIGHT = 0.9  # over sigma; from 0.85 to 1 the mean differs by 0.15 dB
NL_MEANS_STRENGTH = 0.7  # over sigma; the 0.6 of scikit-image's example is 0.1 dB worse
WAVELET = "db2"
SHIFTS = 4  # averaged over 4 x 4 shifts of the grid (Coifman and Donoho 1995): 1 dB above a single transform


def tv(image: np.ndarray, sigma: float, *, data_range: float = 255.0) -> Denoised:
    """Total variation (Rudin, Osher and Fatemi 1992), by Chambolle's projection (2004).

    Parameters
    ----------
    image : array (H, W) or (H, W, C), real
        Channels one by one.
    sigma : float
        Standard deviation of the noise, in values of the image.
    data_range : float
        Not needed: the method scales with its input.

    Returns
    -------
    Denoised
        ``values`` float64, of the shape of the image; no rank.

    Raises
    ------
    ValueError
        Not an image, or values that are not finite.
    """
    image, channels = _checked(image, sigma)
    if sigma == 0:
        return Denoised(image)
    # The default tolerance stops early by a measure that depends on the image, 1 dB short at strong noise.
    values = restoration.denoise_tv_chambolle(
        image, weight=TV_WEIGHT * sigma, eps=1e-5, max_num_iter=1000, channel_axis=channels
    )
    return Denoised(values)


def wavelet(image: np.ndarray, sigma: float, *, data_range: float = 255.0) -> Denoised:
    """Soft thresholds of wavelets by band (BayesShrink: Chang, Yu and Vetterli 2000), averaged over shifts.

    Parameters as `tv`; colour is taken to YCbCr, for which `data_range` tells where 1 lies.

    Raises
    ------
    ValueError
        Not an image, or values that are not finite.
    ImportError
        PyWavelets is not installed: the extra ``wavelets`` brings it.
    """
    image, channels = _checked(image, sigma)
    if not data_range > 0:
        raise ValueError(f"wavelet: data_range must be above 0, not {data_range}")
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            "denoiser wavelet: PyWavelets is not installed; install svdflow[wavelets], or leave it out"
        ) from error
    levels = pywt.dwt_max_level(min(image.shape[:2]), WAVELET)
    if sigma == 0 or levels == 0:
        return Denoised(image)
    options = {
        "sigma": sigma / data_range,
        "wavelet": WAVELET,
        "wavelet_levels": levels,
        "method": "BayesShrink",
        "mode": "soft",
        "rescale_sigma": True,
        "convert2ycbcr": channels is not None and image.shape[-1] == 3,
        "channel_axis": channels,
    }
    scaled, total = image / data_range, np.zeros_like(image)
    for down, across in product(range(SHIFTS), repeat=2):
        moved = restoration.denoise_wavelet(np.roll(scaled, (down, across), (0, 1)), **options)
        total += np.roll(moved, (-down, -across), (0, 1))
    return Denoised(total * (data_range / SHIFTS**2))


def nl_means(image: np.ndarray, sigma: float, *, data_range: float = 255.0) -> Denoised:
    """Non-local means (Buades, Coll and Morel 2005), patches of 5, search of 13, the fast form (Darbon et al. 2008).

    Parameters, result and errors as `tv`; colour patches are compared over all channels at once.
    """
    image, channels = _checked(image, sigma)
    if sigma == 0:
        return Denoised(image)
    values = restoration.denoise_nl_means(
        image,
        patch_size=5,
        patch_distance=6,
        h=NL_MEANS_STRENGTH * sigma,
        sigma=sigma,
        fast_mode=True,
        channel_axis=channels,
    )
    return Denoised(values.reshape(image.shape))  # sides of 1 were squeezed


BASELINES = {"tv": tv, "wavelet": wavelet, "nl_means": nl_means}


def _checked(image: np.ndarray, sigma: float) -> tuple[np.ndarray, int | None]:
    """The image in float64 and its axis of channels."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"image must be (H, W) or (H, W, C), not {image.shape}")
    if image.dtype.kind not in "iuf":
        raise ValueError(f"image must hold real numbers, not {image.dtype}")
    if not np.isfinite(image).all():
        raise ValueError("image holds NaN or infinity; fill those pixels first")
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be finite and not negative, not {sigma}")
    return image.astype(np.float64), None if image.ndim == 2 else -1

"""tv: total variation, by scikit-image."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from skimage import restoration

from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.scikit_image import picture

# Pixels beyond a tile that it is computed with: what lies farther away changes it by less than 0.02 sigma
# (tests/unit/test_large_pictures.py).
HALO = 48
SHARE = 2  # tiles of two million values: of four million each value takes a third longer (benchmarks/large_pictures.py)
WEIGHT = 0.9  # over sigma; from 0.85 to 1 the mean PSNR differs by 0.15 dB (benchmarks/imagebench/stacks.py)


def tv(
    x: np.ndarray,
    sigma: float | Sequence[float] | None = None,
    *,
    mask: np.ndarray | None = None,
    data_range: float = 255.0,
) -> Denoised:
    """Total variation (Rudin, Osher and Fatemi 1992), by Chambolle's projection (2004).

    Parameters
    ----------
    x : array (H, W) or (H, W, C), real
        An image. Channels one by one. A pixel that outweighs all others (`outliers`) is left out as if it were masked.
    sigma : float or one per channel, optional
        Standard deviation of the noise, in values of the image; of several the root mean square counts. By default
        `estimate_sigma_of_plane` of channels.
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
    seen = picture("tv", x, sigma, data_range, mask)
    # The default tolerance stops early by a measure that depends on the image, 1 dB short at strong noise.
    work = partial(
        restoration.denoise_tv_chambolle,
        weight=WEIGHT * seen.sigma,
        eps=1e-5,
        max_num_iter=1000,
        channel_axis=seen.channel_axis,
    )
    return seen.denoised(work, HALO, SHARE)

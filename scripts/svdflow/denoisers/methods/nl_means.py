"""nl_means: means of similar patches, by scikit-image."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from skimage import restoration

from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.scikit_image import picture

PATCH, SEARCH = (
    5,
    6,
)  # side of a patch, and how far others are looked for, in pixels; both of scikit-image's example
STRENGTH = 0.7  # `h` over sigma; the 0.6 of scikit-image's example is 0.1 dB worse


def nl_means(
    x: np.ndarray,
    sigma: float | Sequence[float] | None = None,
    *,
    mask: np.ndarray | None = None,
    data_range: float = 255.0,
) -> Denoised:
    """Non-local means (Buades, Coll and Morel 2005), patches of 5, search of 13, the fast form (Darbon et al. 2008).

    Parameters, result and errors as `tv`; colour patches are compared over all channels at once.
    """
    seen = picture("nl_means", x, sigma, data_range, mask)
    work = partial(
        restoration.denoise_nl_means,
        patch_size=PATCH,
        patch_distance=SEARCH,
        h=STRENGTH * seen.sigma,
        sigma=seen.sigma,
        fast_mode=True,
        channel_axis=seen.channel_axis,
    )
    return seen.denoised(work, SEARCH + PATCH)

"""patch_svd: denoising of photographs by low-rank groups of similar patches."""

import numpy as np

from svdflow.denoisers.by_groups import GroupOptions, by_groups, by_noise, most_side
from svdflow.denoisers.groups import BULK_EDGE
from svdflow.denoisers.observed_pixels import ObservedPixels
from svdflow.denoisers.passes import GroupFilter

PASSES = 5  # rounds: 29.76 dB after one, 29.89 after two, 29.95 after five (Set12, sigma 25)
# Up to this sigma, on a range of 255: side of a patch, patches of a group. benchmarks/imagebench/denoise.py.
BY_NOISE = ((20.0, 6, 60), (40.0, 7, 80), (np.inf, 9, 180))


@by_groups
def patch_svd(observed: ObservedPixels, asked: GroupOptions) -> GroupFilter:
    """Denoise an image by truncated SVD of its groups of similar patches.

    Parameters
    ----------
    x : array (H, W) or (H, W, C)
        An image. Integer or real; finite. A pixel that outweighs all others (`outliers`), or is so far from them that
        single precision does not resolve the noise beside it, is left out as if it were masked.
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
    memory_limit : int, optional
        Bytes to work in beside `x`, by default 2 GiB. What takes more is done in bands of rows, with the rows around
        them that a result depends on (about 50 a pass): more time, the same bits.
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
    side, size = by_noise(BY_NOISE, observed.strength)
    side, size = most_side(asked.patch or side, observed), asked.group or size
    return GroupFilter(
        side=side,
        stride=min(asked.stride or (5 if side > 8 else 4), side),
        search=asked.search,
        sizes=(size,) * (asked.passes or PASSES),
        rule=BULK_EDGE,
        blend=0.2,
        noise=0.45,
        rank=asked.rank,
    )

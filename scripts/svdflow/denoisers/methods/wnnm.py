"""wnnm: denoising of photographs by weighted nuclear norms of their groups of similar patches (WNNM)."""

import numpy as np

from svdflow.denoisers.by_groups import GroupOptions, by_groups, by_noise, most_side
from svdflow.denoisers.groups import Rule
from svdflow.denoisers.observed_pixels import ObservedPixels
from svdflow.denoisers.passes import GroupFilter

# Up to this sigma, on a range of 255: side of a patch, patches of a group.
BY_NOISE = ((20.0, 6, 70), (40.0, 7, 90), (60.0, 8, 120), (np.inf, 9, 140))
PASSES = {6: 8, 7: 12, 8: 14, 9: 14}


# Proximal map of a nuclear norm with weights C / x for the result x, C = 2 sqrt(2 n) sigma^2: a singular value s
# becomes (s + sqrt(s^2 - 4 C)) / 2, and zero where that is not real. Gu et al. (2017), corollary 1 and section 4.1.
WEIGHTED_NUCLEAR = Rule(lambda n, k: 8 * (2 * n) ** 0.5, lambda xp, x: (1 + xp.sqrt(1 - 1 / x)) / 2)


@by_groups
def wnnm(observed: ObservedPixels, asked: GroupOptions) -> GroupFilter:
    """Denoise an image by weighted nuclear norm minimization over its groups of similar patches.

    Parameters
    ----------
    x, sigma, rank, mask, data_range, threads, memory_limit, colour, backend
        As in `patch_svd`.
    passes : int, optional
        Rounds of filtering, by default 8 to 14 as noise grows, at most 100.
    patch, group : int, optional
        Side of a patch in pixels, and patches of a group in the first pass, 10 fewer after every second one; by
        default from 6 and 70 to 9 and 140 as noise grows.
    stride : int, optional
        Pixels between the patches that gather groups, by default `patch` - 2.
    search : int
        Reach of the search for similar patches, in pixels.

    Returns
    -------
    Denoised
        As of `patch_svd`.

    Raises
    ------
    ValueError, TypeError
        As in `patch_svd`.

    Notes
    -----
    Gu et al. (2017), Weighted nuclear norm minimization and its applications to low level vision; parameters of
    the authors' code. Each pass starts from the estimate with a tenth of the residual added back. What differs: the
    first pass compares patches of a quick cosine-transform estimate.
    """
    side, size = by_noise(BY_NOISE, observed.strength)
    passes = asked.passes or PASSES[side]
    side, size = most_side(asked.patch or side, observed), asked.group or size
    return GroupFilter(
        side=side,
        stride=min(asked.stride or max(1, side - 2), side),
        search=asked.search,
        sizes=tuple(max(size - 10 * (number // 2), min(size, 20)) for number in range(passes)),
        rule=WEIGHTED_NUCLEAR,
        blend=0.1,
        noise=0.54 if observed.strength <= 20 else 0.56 if observed.strength <= 40 else 0.58,
        by_rank=False,
        rank=asked.rank,
    )

"""Pixels that are left out of a picture: those that drown all others, and what stands in for them meanwhile."""

from math import frexp

import numpy as np

# So many deviations of the noise from the median, a pixel needs no denoising: the noise is 0.1 % of what stands there.
FAR = 2**10
MODEST = 2.0**400  # values within it and its inverse have squares and sums of squares within range
COMMON = 0.99  # share of the pixels that outliers are compared with


def outliers(
    values: np.ndarray, sigma: np.ndarray | float, valid: np.ndarray | None = None
) -> np.ndarray | None:
    """Pixels that outweigh all others together, in whose presence a method would not see the rest of the picture.

    Parameters
    ----------
    values : array (H, W) or (H, W, C), real
    sigma : float or array that broadcasts against them
        Standard deviation of the noise.
    valid : bool array (H, W), optional

    Returns
    -------
    bool array (H, W), or None where there are none
        Where a value lies more than 1024 sigma from the median of its channel, and its squared distance exceeds the
        sum over all pixels if each were as far as 99 % of them are.
    """
    channels = values.reshape(*values.shape[:2], -1)
    if span(channels, valid) <= FAR * np.min(sigma):
        return None
    levels = np.broadcast_to(sigma, channels.shape)
    found = np.zeros(channels.shape[:2], bool)
    for c in range(
        channels.shape[2]
    ):  # one by one: a picture of 50 megapixels fills 400 MB in double precision
        plane = channels[..., c].astype(np.float64)
        with np.errstate(over="ignore"):  # infinite distances are large ones
            distance = np.abs(plane - np.median(plane if valid is None else plane[valid]))
        among = distance.ravel() if valid is None else distance[valid]
        common = np.quantile(among, COMMON, method="lower")
        found |= distance > np.maximum(FAR * levels[..., c], len(among) ** 0.5 * common)
    if valid is not None:
        found &= valid
    return found if found.any() else None


def span(values: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Largest less smallest value among the `valid` (H, W) pixels; neither overflows, nor makes a copy."""
    low, high = (
        float(extreme(values) if valid is None else extreme(values[valid])) for extreme in (np.min, np.max)
    )
    return (high / 2 - low / 2) * 2


def together(valid: np.ndarray | None, out: np.ndarray | None) -> np.ndarray | None:
    """The valid pixels that are not left out; None for all."""
    if out is None:
        return valid
    return ~out if valid is None else valid & ~out


def filled(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A plane whose other pixels are interpolated from the valid ones, smoothly over holes of any size.

    Parameters
    ----------
    plane : array (H, W), float64
    valid : bool array (H, W)
        At least one True.

    Notes
    -----
    Means over squares of 2, 4, 8, ... pixels, as far as they hold valid ones, taken back up linearly: the push-pull
    of Gortler et al. (1996), The lumigraph, section 3.4.
    """
    if valid.all():
        return plane
    sums, counts = _halved(np.where(valid, plane, 0.0)), _halved(valid.astype(np.float64))
    coarse = filled(sums / np.maximum(counts, 1), counts > 0)
    return np.where(valid, plane, _doubled(_doubled(coarse, plane.shape[0]).T, plane.shape[1]).T)


def _halved(plane: np.ndarray) -> np.ndarray:
    """Sums over squares of 2 x 2; sides of odd length are extended by zeros."""
    rows, columns = plane.shape
    padded = np.pad(plane, ((0, rows % 2), (0, columns % 2)))
    return padded.reshape((rows + 1) // 2, 2, (columns + 1) // 2, 2).sum((1, 3))


def _doubled(coarse: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation along the first axis at twice the rate, cut to a length."""
    fine = np.empty((2 * len(coarse), *coarse.shape[1:]))
    fine[0::2] = 0.75 * coarse + 0.25 * coarse[np.maximum(np.arange(len(coarse)) - 1, 0)]
    fine[1::2] = 0.75 * coarse + 0.25 * coarse[np.minimum(np.arange(len(coarse)) + 1, len(coarse) - 1)]
    return fine[:length]


def interpolated(rows: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Series (n, T) whose gaps (n, T) are bridged by straight lines, and level at the ends."""
    rows = rows.copy()
    place = np.arange(rows.shape[1])
    for row, gap in zip(rows, gaps, strict=True):
        if gap.any() and not gap.all():
            row[gap] = np.interp(place[gap], place[~gap], row[~gap])
    return rows


def modest(largest: float) -> float:
    """A power of two that brings values up to `largest` to where their squares are in range; 1 where they are."""
    return (
        1.0 if largest == 0 or 1 / MODEST < largest < MODEST else 2.0 ** (1 - max(frexp(largest)[1], -1000))
    )

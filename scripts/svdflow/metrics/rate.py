"""Rate and distortion: bits per pixel, and the mean distance of two curves (Bjontegaard)."""

from collections.abc import Sequence
from math import prod

import numpy as np

LEAST_POINTS = 4  # a curve of fewer says more of its interpolation than of the codec


def bits_per_pixel(n_bytes: int, shape: tuple[int, ...]) -> float:
    """Bits spent on each value of an array of this shape."""
    return 8 * n_bytes / prod(shape)


def bd_rate(
    reference_rates: Sequence[float],
    reference_psnrs: Sequence[float],
    rates: Sequence[float],
    psnrs: Sequence[float],
) -> float:
    """Mean difference of the rate at equal PSNR, in percent of the reference's: -20 saves a fifth of the bytes.

    Parameters
    ----------
    reference_rates, reference_psnrs, rates, psnrs : sequences of float
        Points of two curves in any order. Rates are bytes or bits per pixel, the same for both; PSNR in dB, or
        another quality that grows with the rate.

    Returns
    -------
    percent : float
        NaN where it cannot be told: a curve has fewer than four points, or the ranges of PSNR do not overlap.
        Nothing is extrapolated.

    Raises
    ------
    ValueError
        Rates and PSNRs of a curve differ in number.

    Notes
    -----
    Bjontegaard (2001), VCEG-M33: the mean difference of log rate over the common range of PSNR. The curves are
    piecewise cubic and monotone (Fritsch and Carlson, 1980), as the common test conditions of HEVC and VVC have
    it (Bossen, JCTVC-L1100), in place of the one cubic of 2001, which swings between distant points. Points that
    cost more than another and are no better are left out first, and so are infinite PSNRs (lossless).
    """
    reference, other = frontier(reference_rates, reference_psnrs), frontier(rates, psnrs)
    gap = _mean_gap(reference[::-1], other[::-1])
    return float(100 * np.expm1(gap))


def bd_psnr(
    reference_rates: Sequence[float],
    reference_psnrs: Sequence[float],
    rates: Sequence[float],
    psnrs: Sequence[float],
) -> float:
    """Mean difference of PSNR at equal rate in dB, over the common range of log rate; see `bd_rate`."""
    return float(_mean_gap(frontier(reference_rates, reference_psnrs), frontier(rates, psnrs)))


def frontier(rates: Sequence[float], qualities: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Log rate and quality of the points that no cheaper point equals; both ascend strictly.

    Raises
    ------
    ValueError
        Rates and qualities differ in number.
    """
    if len(rates) != len(qualities):
        raise ValueError(
            f"{len(rates)} rates and {len(qualities)} qualities; a curve needs one of each a point"
        )
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(zip(rates, qualities, strict=True), key=lambda point: (point[0], -point[1])):
        if rate > 0 and np.isfinite(quality) and (not kept or quality > kept[-1][1]):
            kept.append((rate, quality))
    points = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return np.log(points[:, 0]), points[:, 1]


def _mean_gap(reference: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> float:
    """Mean of y over the common range of x, of the other curve less that of the reference."""
    low = max((x[0] for x, _ in (reference, other) if len(x)), default=0.0)
    high = min((x[-1] for x, _ in (reference, other) if len(x)), default=0.0)
    if min(len(reference[0]), len(other[0])) < LEAST_POINTS or not high > low:
        return float("nan")
    from scipy.interpolate import PchipInterpolator  # on use: it takes 0.3 s to import

    areas = [PchipInterpolator(x, y).integrate(low, high) for x, y in (reference, other)]
    return float(areas[1] - areas[0]) / (high - low)

"""How strong the noise is: from the finest wavelets of an image, or from the singular values of a matrix."""

import numpy as np
from scipy.special import ndtri

from svdflow.linalg.ranks import sigma_from_singular_values

_SQRT3 = 3**0.5
# High-pass of Daubechies' wavelet with two vanishing moments ("db2"): Daubechies (1992), table 6.1.
HIGH_PASS = np.array([_SQRT3 - 1, 3 - _SQRT3, -(3 + _SQRT3), 1 + _SQRT3]) / (4 * 2**0.5)
FEW_LEVELS = 16  # distinct values of a plane
# Distinct values of a block of 8 x 8. Dithering mixes two neighbouring levels, a slope adds one or two; of 64 values
# of noise as strong as the step between levels 5 or more differ, so that counts of photons pass.
BLOCK, LEVELS_OF_A_BLOCK = 8, 4


def estimate_sigma(plane: np.ndarray) -> float:
    """Standard deviation of white noise in an image, by the median of its finest diagonal wavelets.

    Parameters
    ----------
    plane : array (m, n), real

    Returns
    -------
    sigma : float
        In pixel values. median |d| / 0.6745 over the non-zero diagonal details d of one db2 level, as
        scikit-image's ``estimate_sigma``; 0 for a constant image. Photographs with fine texture come out a
        few per cent too noisy, dithered pictures much more so; noise that JPEG or demosaicing has smoothed hides in
        part from the finest wavelets.

    Notes
    -----
    Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage, section 4.2.
    """
    plane = np.asarray(plane, np.float64)
    detail = np.abs(_fine_detail(_fine_detail(plane).T))
    # Flat or clipped regions carry no noise; their zeros, up to rounding, would drag the median down.
    detail = detail[detail > 16 * np.finfo(np.float64).eps * np.max(np.abs(plane), initial=0.0)]
    return float(np.median(detail) / ndtri(0.75)) if detail.size else 0.0


def estimate_sigma_of_plane(plane: np.ndarray) -> tuple[float, str]:
    """Noise level of the plane of an image, with the name of the estimate.

    Returns
    -------
    sigma : float
    source : str
        ``mad`` as `estimate_sigma`. ``few_levels`` where the plane has at most 16 values in it, and at most 4 in
        half of the blocks of 8 x 8 that are not constant, as drawings and dithered pictures have: what varies between
        them is no noise, and sigma is 0.
    """
    if len(np.unique(plane)) <= FEW_LEVELS and _levels_of_blocks(plane) <= LEVELS_OF_A_BLOCK:
        return 0.0, "few_levels"
    return estimate_sigma(plane), "mad"


def _levels_of_blocks(plane: np.ndarray) -> float:
    """Median number of distinct values in the blocks of a plane that are not constant; 1 where all are."""
    plane = np.asarray(plane)
    rows, columns = (min(BLOCK, side) for side in plane.shape)
    high, wide = plane.shape[0] // rows, plane.shape[1] // columns
    blocks = plane[: high * rows, : wide * columns].reshape(high, rows, wide, columns).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(high * wide, -1), axis=1)
    counts = 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return float(np.median(counts[counts > 1])) if np.any(counts > 1) else 1.0


def estimate_sigma_of_matrix(s: np.ndarray, shape: tuple[int, int], norm: float) -> tuple[float, str]:
    """Noise level of a data matrix from its stored singular values, with the name of the estimate.

    Parameters
    ----------
    s : array (r,)
        Stored singular values, descending.
    shape : (m, n)
    norm : float
        Frobenius norm of the whole matrix.

    Returns
    -------
    sigma : float
    source : str
        ``mp_median`` where all singular values are stored: their median against that of the Marchenko-Pastur
        law (Gavish and Donoho, 2014, equation 9). ``residual`` where only the first are stored: what is left
        of the squared norm beyond the components above the edge of the noise, per degree of freedom.
    """
    m, n = shape
    if len(s) == min(m, n):
        return float(sigma_from_singular_values(s, shape)), "mp_median"
    edge = m**0.5 + n**0.5  # largest singular value of unit noise; Davidson and Szarek (2001), theorem 2.13
    left = norm**2 - np.concatenate([[0.0], np.cumsum(s**2)])
    rank = 0
    while True:
        sigma = (max(float(left[rank]), 0.0) / ((m - rank) * (n - rank))) ** 0.5
        above = int(np.count_nonzero(s > edge * sigma))
        if above <= rank:
            return sigma, "residual"
        rank = above


def _fine_detail(plane: np.ndarray) -> np.ndarray:
    """High-pass along the first axis, every second value, mirrored at the ends."""
    taps = len(HIGH_PASS)
    padded = np.pad(plane, ((taps - 1, taps - 1), (0, 0)), mode="symmetric")
    count = (len(plane) + taps - 1) // 2
    rows = [padded[1 + j : 1 + j + 2 * count : 2][:count] for j in range(taps)]
    return sum(weight * row for weight, row in zip(HIGH_PASS, rows, strict=True))

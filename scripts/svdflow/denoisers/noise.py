"""How strong the noise is: from the finest wavelets of an image, or from the singular values of a matrix."""

from math import frexp

import numpy as np
from scipy.special import ndtri

from svdflow.denoisers.arguments import given, number
from svdflow.ranks.marchenko_pastur import sigma_from_singular_values
from svdflow.ranks.singular_values import checked_values

_SQRT3 = 3**0.5
# High-pass of Daubechies' wavelet with two vanishing moments ("db2"): Daubechies (1992), table 6.1.
HIGH_PASS = np.array([_SQRT3 - 1, 3 - _SQRT3, -(3 + _SQRT3), 1 + _SQRT3]) / (4 * 2**0.5)
FEW_LEVELS = 16  # distinct values of a plane
# Distinct values of a block of 8 x 8. Dithering mixes two neighbouring levels, a slope adds one or two; of 64 values
# of noise as strong as the step between levels 5 or more differ, so that counts of photons pass.
BLOCK, LEVELS_OF_A_BLOCK = 8, 4


def estimate_sigma(plane: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in an image, by the median of its finest diagonal wavelets.

    Parameters
    ----------
    plane : array (m, n), real
    mask : bool array (m, n), optional
        True where a pixel is valid; wavelets that touch another pixel are left out.

    Returns
    -------
    sigma : float
        In pixel values. median |d| / 0.6745 over the non-zero diagonal details d of one db2 level, as
        scikit-image's ``estimate_sigma``; 0 for a constant image. Photographs with fine texture come out a
        few per cent too noisy, dithered pictures much more so; noise that JPEG or demosaicing has smoothed hides in
        part from the finest wavelets.

    Raises
    ------
    ValueError
        Not a plane, valid values that are not finite, or a mask without a wholly valid square of 4 x 4 pixels.
    TypeError
        Values that are not real numbers, or a mask that is not boolean.

    Notes
    -----
    Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage, section 4.2.
    """
    return _estimate(*_plane(plane, mask))


def estimate_sigma_of_plane(plane: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, str]:
    """Noise level of the plane of an image, with the name of the estimate.

    Parameters
    ----------
    plane, mask
        As of `estimate_sigma`.

    Returns
    -------
    sigma : float
    source : str
        ``mad`` as `estimate_sigma`. ``few_levels`` where the plane has at most 16 values in it, and at most 4 in
        half of the blocks of 8 x 8 that are not constant, as drawings and dithered pictures have: what varies between
        them is no noise, and sigma is 0.

    Raises
    ------
    ValueError, TypeError
        As `estimate_sigma`.
    """
    plane, valid = _plane(plane, mask)
    few = len(np.unique(plane if valid is None else plane[valid])) <= FEW_LEVELS
    if few and _levels_of_blocks(plane, valid) <= LEVELS_OF_A_BLOCK:
        return 0.0, "few_levels"
    return _estimate(plane, valid), "mad"


def _plane(plane: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A plane, float64, with 0 where it is not valid, and where it is."""
    seen = given("estimate_sigma", "plane", plane, mask, form="(m, n)")
    if seen.values.ndim != 2:
        raise ValueError(
            f"estimate_sigma: plane must be (m, n), not {seen.values.shape}; take planes one by one"
        )
    values = seen.values.astype(np.float64)
    return (values if seen.valid is None else np.where(seen.valid, values, 0.0)), seen.valid


def _estimate(plane: np.ndarray, valid: np.ndarray | None) -> float:
    unit = 2.0 ** (frexp(np.max(np.abs(plane)))[1] - 1)  # no sum overflows
    plane = plane / unit
    detail = np.abs(_fine_detail(_fine_detail(plane).T))
    weights = np.abs(HIGH_PASS)
    near = _fine_detail(_fine_detail(np.abs(plane), weights).T, weights)
    # Flat or clipped regions carry no noise; their zeros, up to rounding of their values, would drag the median down.
    noisy = detail > 16 * np.finfo(np.float64).eps * near
    if valid is not None:
        ones = np.ones_like(HIGH_PASS)
        whole = _fine_detail(_fine_detail((~valid).astype(np.float64), ones).T, ones) == 0
        if not whole.any():
            raise ValueError(
                "estimate_sigma: no square of 4 x 4 pixels is wholly valid, so nothing tells the noise; give sigma"
            )
        noisy &= whole
    detail = detail[noisy]
    return float(np.median(detail) / ndtri(0.75)) * unit if detail.size else 0.0


def _levels_of_blocks(plane: np.ndarray, valid: np.ndarray | None) -> float:
    """Median number of distinct values in the blocks of a plane that are not constant; 1 where all are.

    Blocks that are not wholly valid are left out.
    """
    ordered = np.sort(_blocks(plane), axis=1)
    if valid is not None:
        ordered = ordered[_blocks(valid).all(axis=1)]
    counts = 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return float(np.median(counts[counts > 1])) if np.any(counts > 1) else 1.0


def _blocks(plane: np.ndarray) -> np.ndarray:
    """The blocks of 8 x 8 that lie inside, one a row."""
    rows, columns = (min(BLOCK, side) for side in plane.shape)
    high, wide = plane.shape[0] // rows, plane.shape[1] // columns
    blocks = plane[: high * rows, : wide * columns].reshape(high, rows, wide, columns).swapaxes(1, 2)
    return blocks.reshape(high * wide, -1)


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

    Raises
    ------
    ValueError, TypeError
        Values or a norm that are negative or not finite.
    """
    m, n = shape
    s, norm = checked_values(s), number("estimate_sigma_of_matrix: norm", norm)
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


def _fine_detail(plane: np.ndarray, weights: np.ndarray = HIGH_PASS) -> np.ndarray:
    """High-pass along the first axis, every second value, mirrored at the ends."""
    taps = len(weights)
    padded = np.pad(plane, ((taps - 1, taps - 1), (0, 0)), mode="symmetric")
    count = (len(plane) + taps - 1) // 2
    rows = [padded[1 + j : 1 + j + 2 * count : 2][:count] for j in range(taps)]
    return sum(weight * row for weight, row in zip(weights, rows, strict=True))

"""How strong the noise is: from the finest wavelets of an image, or from the singular values of a matrix."""

from math import frexp
from statistics import NormalDist

import numpy as np

from svdflow.denoisers.arguments import choice, given, number
from svdflow.denoisers.bands import VALUES_AT_ONCE
from svdflow.ranks.marchenko_pastur import sigma_from_singular_values
from svdflow.ranks.singular_values import checked_values

_SQRT3 = 3**0.5  # in the coefficients of the wavelet below
# High-pass of Daubechies' wavelet with two vanishing moments ("db2"): Daubechies (1992), table 6.1.
HIGH_PASS = np.array([_SQRT3 - 1, 3 - _SQRT3, -(3 + _SQRT3), 1 + _SQRT3]) / (4 * 2**0.5)
FEW_LEVELS = 16  # distinct values of a plane
# Distinct values of a block of 8 x 8. Dithering mixes two neighbouring levels, a slope adds one or two; of 64 values
# of noise as strong as the step between levels 5 or more differ, so that counts of photons pass.
BLOCK, LEVELS_OF_A_BLOCK = 8, 4
# So many deviations below its mean over unordered matrices, the ratio of differences tells a picture: one matrix in a
# million is there along both axes. Samples of scikit-image at noise 25 of 255 pass (tests/unit/test_denoise_face.py).
UNLIKELY = 3


def estimate_sigma(x: np.ndarray, mask: np.ndarray | None = None, *, kind: str = "auto") -> float:
    """Standard deviation of white noise in a picture, by its finest wavelets, or in a matrix, by its singular values.

    Parameters
    ----------
    x : array (m, n), real; of a matrix also complex
    mask : bool array (m, n), optional
        True where a pixel of a picture is valid; wavelets that touch another pixel are left out.
    kind : {"auto", "picture", "matrix"}
        What it is; ``auto`` asks `is_picture`, and takes what has a mask for a picture.

    Returns
    -------
    sigma : float
        In values of x. Of a picture median |d| / 0.6745 over the non-zero diagonal details d of one db2 level, as
        scikit-image's ``estimate_sigma``; 0 for a constant one. Photographs with fine texture come out a
        few per cent too noisy, dithered pictures much more so; noise that JPEG or demosaicing has smoothed hides in
        part from the finest wavelets. Of a matrix the median singular value over that of the Marchenko-Pastur law,
        which is right where fewer than half of the components hold signal.

    Raises
    ------
    ValueError
        Not two axes, valid values that are not finite, a mask of a matrix, or one without a wholly valid square of
        4 x 4 pixels.
    TypeError
        Values that are not numbers, or a mask that is not boolean.

    Notes
    -----
    Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage, section 4.2. Gavish and Donoho (2014),
    The optimal hard threshold for singular values is 4/sqrt(3), equation 9.
    """
    choice("estimate_sigma: kind", kind, ("auto", "picture", "matrix"))
    seen = given("estimate_sigma", "x", x, mask, kinds="iuf" if kind == "picture" else "iufc", form="(m, n)")
    if seen.values.ndim != 2:
        raise ValueError(f"estimate_sigma: x must be (m, n), not {seen.values.shape}; take planes one by one")
    if kind == "auto":
        kind = "picture" if seen.valid is not None or is_picture(seen.values) else "matrix"
    if kind == "picture":
        return _estimate(*_plane(x, mask))
    if seen.valid is not None:
        raise ValueError(
            "estimate_sigma: a matrix has no mask; fill the missing values, or take kind='picture'"
        )
    s = np.linalg.svd(seen.values, compute_uv=False)
    return float(sigma_from_singular_values(s, seen.values.shape))


def is_picture(x: np.ndarray) -> bool:
    """Whether neighbours in a plane (m, n) resemble each other, up and down as well as sideways.

    Rows and columns of a matrix of measurements could be reordered without loss; then the squared difference of
    neighbouring rows is twice their variance on average, whatever the rank, and the ratio of both deviates by
    1 / sqrt(m) at most (von Neumann 1941, Distribution of the ratio of the mean square successive difference to the
    variance). A picture stays three deviations below that along both axes; so does a constant plane. Noise far above
    the contrast makes a matrix of any picture, and complex planes are none.
    """
    if x.dtype.kind == "c":
        return False
    plane = x.astype(np.float64)
    plane /= float(np.abs(plane).max()) or 1.0  # no square overflows
    for axis in (0, 1):
        steps, spread = np.diff(plane, axis=axis), plane - plane.mean(axis, keepdims=True)
        alike = 1 - UNLIKELY / plane.shape[axis] ** 0.5
        if np.vdot(steps, steps) > alike * 2 * np.vdot(spread, spread):
            return False
    return True


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
    few = _has_few_levels(plane if valid is None else plane[valid])
    if few and _levels_of_blocks(plane, valid) <= LEVELS_OF_A_BLOCK:
        return 0.0, "few_levels"
    return _estimate(plane, valid), "mad"


def _plane(plane: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A plane with 0 where it is not valid, and where it is."""
    seen = given("estimate_sigma", "plane", plane, mask, form="(m, n)")
    values = seen.values
    if values.ndim != 2:
        raise ValueError(f"estimate_sigma: plane must be (m, n), not {values.shape}; take planes one by one")
    return (values if seen.valid is None else np.where(seen.valid, values, values.dtype.type(0))), seen.valid


def _estimate(plane: np.ndarray, valid: np.ndarray | None) -> float:
    largest = max(float(plane.max()), -float(plane.min()))
    unit = 2.0 ** (frexp(largest)[1] - 1)  # no sum overflows
    weights, ones = np.abs(HIGH_PASS), np.ones_like(HIGH_PASS)
    found, known = [], False
    # Every second row, and those mirrored at the ends.
    rows = np.pad(np.arange(len(plane)), len(HIGH_PASS) - 1, mode="symmetric")[1:]
    half, at_once = (len(plane) + len(HIGH_PASS) - 1) // 2, max(1, VALUES_AT_ONCE // 2 // plane.shape[1])
    for start in range(0, half, at_once):
        stop = min(start + at_once, half)
        place = rows[2 * start : 2 * (stop - 1) + len(HIGH_PASS)]
        part = plane[place].astype(np.float64) / unit
        detail = np.abs(_fine_detail(part, HIGH_PASS))
        # Flat or clipped regions carry no noise; their zeros, up to rounding of values, would drag the median down.
        noisy = detail > 16 * np.finfo(np.float64).eps * _fine_detail(np.abs(part), weights)
        if valid is not None:
            whole = _fine_detail((~valid[place]).astype(np.float64), ones) == 0
            known, noisy = known or bool(whole.any()), noisy & whole
        found.append(detail[noisy])
    if valid is not None and not known:
        raise ValueError(
            "estimate_sigma: no square of 4 x 4 pixels is wholly valid, so nothing tells the noise; give sigma"
        )
    details = np.concatenate(found)
    return float(np.median(details) / NormalDist().inv_cdf(0.75)) * unit if details.size else 0.0


def _has_few_levels(values: np.ndarray) -> bool:
    some = values.ravel()[:: max(1, values.size // 1024)]  # enough to tell a photograph, without sorting it
    return len(np.unique(some)) <= FEW_LEVELS and len(np.unique(values)) <= FEW_LEVELS


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


def _fine_detail(part: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """High-pass along both axes, every second value: down the rows of `part` as they are, then across, mirrored."""
    taps = len(weights)

    def every_second(padded: np.ndarray, count: int) -> np.ndarray:
        rows = [padded[j : j + 2 * count : 2][:count] for j in range(taps)]
        return sum(weight * row for weight, row in zip(weights, rows, strict=True))

    down = every_second(part, (len(part) - taps) // 2 + 1).T
    padded = np.pad(down, ((taps - 1, taps - 1), (0, 0)), mode="symmetric")[1:]
    return every_second(padded, (len(down) + taps - 1) // 2)

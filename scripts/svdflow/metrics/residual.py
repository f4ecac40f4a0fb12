"""What a denoiser took away: whether it looks like noise, and whether there is as much of it as there should be."""

from math import nan

import numpy as np

from svdflow.metrics.errors import check_mask, check_pair, difference, double, squared_norm, valid

AT_ONCE = (
    2**24
)  # values of a plane from which residuals are judged row by row; sums are then rounded otherwise


def whiteness(residual: np.ndarray, *, mask: np.ndarray | None = None) -> float:
    """How far neighbours of a residual correlate, in units of what white noise shows by chance.

    Parameters
    ----------
    residual : array (..., m, n) or (n,), real or complex
        Observed minus estimate. Its mean is taken out. Correlations are taken along the last two axes and summed
        over the others.
    mask : bool array, same shape, optional
        True where a value is valid: only pairs of valid neighbours count.

    Returns
    -------
    whiteness : float
        Root mean square of sqrt(N_l) rho_l over the lags (0, 1), (1, 0) and (1, 1), rho_l being the sum of
        products of the N_l pairs at that lag over N_l times the mean square. White noise of N values gives 1 on
        average in the square, and is above 1.61 once in 20 times (the square times three is chi-squared with
        three degrees of freedom). A picture left in the residual gives up to sqrt(N). NaN for a constant residual
        and where there are no neighbours. A vector has the one lag 1, and exceeds 1.96 once in 20 times.

    Notes
    -----
    The statistic of Box and Pierce (1970), equation 1.2, per lag. That the method noise of a good denoiser looks
    like white noise is the criterion of Buades, Coll and Morel (2005), section 1.
    """
    values = double(residual)
    if mask is not None:
        check_mask(mask, values.shape)
    count = values.size if mask is None else int(np.count_nonzero(mask))
    if not count:
        return nan
    if mask is None and values.ndim == 2 and count > AT_ONCE:
        return _whiteness_by_rows(values)
    values = valid(values, mask)
    values = valid(values - values.sum() / count if mask is not None else values - values.mean(), mask)
    power = squared_norm(values) / count
    if not power > 0:
        return nan
    pairs = _neighbours(values)
    counts = (
        [a.size for a, _ in pairs] if mask is None else [int(np.sum(a & b)) for a, b in _neighbours(mask)]
    )
    squares = [
        abs(np.vdot(first.ravel(), second.ravel())) ** 2 / (power**2 * number)
        for (first, second), number in zip(pairs, counts, strict=True)
        if number
    ]
    return float(np.mean(squares) ** 0.5) if squares else nan


def _whiteness_by_rows(values: np.ndarray) -> float:
    """`whiteness` of a large plane (m, n), with a few rows beside it in memory."""
    mean, height = values.mean(), max(1, AT_ONCE // values.shape[1])
    power, products = 0.0, np.zeros(3, values.dtype)
    for start in range(0, len(values), height):
        rows = values[start : start + height + 1] - mean  # and the first of the next ones
        power += squared_norm(rows[:height])
        pairs = [(rows[:height, :-1], rows[:height, 1:]), *_neighbours(rows)[1:]]
        products += [np.vdot(first, second) for first, second in pairs]
    if not power > 0:
        return nan
    (m, n), power = values.shape, power / values.size
    counts = np.array([m * (n - 1), (m - 1) * n, (m - 1) * (n - 1)])
    known = counts > 0
    return float(np.mean(np.abs(products[known]) ** 2 / (power**2 * counts[known])) ** 0.5)


def _neighbours(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The array and itself moved by one: along the last axis, the one before, and both."""
    pairs = [(values[..., :-1], values[..., 1:])]
    if values.ndim > 1:
        pairs.append((values[..., :-1, :], values[..., 1:, :]))
        pairs.append((values[..., :-1, :-1], values[..., 1:, 1:]))
    return pairs


def residual_ratio(
    observed: np.ndarray,
    estimate: np.ndarray,
    sigma: np.ndarray | float,
    *,
    mask: np.ndarray | None = None,
) -> float:
    """Standard deviation of what a denoiser took away, over that of the noise.

    Parameters
    ----------
    observed, estimate : array, same shape
        Real or complex.
    sigma : float or array that broadcasts against them
        Standard deviation of the noise, of each value where it varies; of a complex value the root of the mean
        squared modulus.
    mask : bool array, same shape, optional
        True where a value is valid; sigma counts there alone.

    Returns
    -------
    ratio : float
        0.95 to 1.05 is good: below, noise stays; above, signal went with it. NaN where sigma is not positive.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    check_pair(observed, estimate)
    if mask is None and np.ndim(sigma) == 0 and np.ndim(observed) == 2 and observed.size > AT_ONCE:
        return _ratio_by_rows(observed, estimate, float(sigma))
    residual = difference(observed, estimate)
    if mask is not None:
        check_mask(mask, residual.shape)
        residual, sigma = residual[mask], np.broadcast_to(sigma, residual.shape)[mask]
    if not residual.size or not np.all(np.asarray(sigma) > 0):
        return nan
    return float(np.std(residual / sigma))


def _ratio_by_rows(observed: np.ndarray, estimate: np.ndarray, sigma: float) -> float:
    """`residual_ratio` of large planes (m, n), with a few rows beside them in memory."""
    if not sigma > 0:
        return nan
    height = max(1, AT_ONCE // observed.shape[1])
    places = [slice(start, start + height) for start in range(0, len(observed), height)]
    mean = sum(difference(observed[place], estimate[place]).sum() for place in places) / observed.size
    power = sum(squared_norm(difference(observed[place], estimate[place]) - mean) for place in places)
    return float((power / observed.size) ** 0.5 / sigma)

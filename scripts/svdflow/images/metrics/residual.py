"""What a denoiser took away: whether it looks like noise, and whether there is as much of it as there should be."""

from math import nan

import numpy as np

from svdflow.images.metrics.errors import difference, double, squared_norm


def whiteness(residual: np.ndarray) -> float:
    """How far neighbours of a residual correlate, in units of what white noise shows by chance.

    Parameters
    ----------
    residual : array (..., m, n) or (n,), real or complex
        Observed minus estimate. Its mean is taken out. Correlations are taken along the last two axes and summed
        over the others.

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
    values = values - values.mean()
    power = squared_norm(values) / values.size
    if not power > 0:
        return nan
    neighbours = [(values[..., :-1], values[..., 1:])]
    if values.ndim > 1:
        neighbours.append((values[..., :-1, :], values[..., 1:, :]))
        neighbours.append((values[..., :-1, :-1], values[..., 1:, 1:]))
    squares = [
        abs(np.vdot(first.ravel(), second.ravel())) ** 2 / (power**2 * first.size)
        for first, second in neighbours
        if first.size
    ]
    return float(np.mean(squares) ** 0.5) if squares else nan


def residual_ratio(observed: np.ndarray, estimate: np.ndarray, sigma: np.ndarray | float) -> float:
    """Standard deviation of what a denoiser took away, over that of the noise.

    Parameters
    ----------
    observed, estimate : array, same shape
        Real or complex.
    sigma : float or array that broadcasts against them
        Standard deviation of the noise, of each value where it varies; of a complex value the root of the mean
        squared modulus.

    Returns
    -------
    ratio : float
        0.95 to 1.05 is good: below, noise stays; above, signal went with it. NaN where sigma is not positive.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if np.shape(observed) != np.shape(estimate):
        raise ValueError(f"shapes {np.shape(observed)} and {np.shape(estimate)} differ")
    if not np.all(np.asarray(sigma) > 0):
        return nan
    return float(np.std(difference(observed, estimate) / sigma))

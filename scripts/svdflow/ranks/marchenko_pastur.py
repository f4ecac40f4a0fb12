"""The Marchenko-Pastur law of white noise: its median, and the noise level that the median singular value tells.

Marchenko and Pastur (1967), Distribution of eigenvalues for some sets of random matrices. Throughout
``beta = min(m, n) / max(m, n)`` and the edge of an m x n matrix of noise sigma lies at ``sigma (sqrt m + sqrt n)``.
"""

from functools import lru_cache
from math import acos, pi, sqrt

import numpy as np

from svdflow.ranks.singular_values import checked_shape, checked_values, number


def marchenko_pastur_median(beta: float) -> float:
    """Median of the Marchenko-Pastur law of ratio `beta` in (0, 1], as the root of its distribution function."""
    beta = number("beta", beta, open_=True)
    if beta > 1:
        raise ValueError(f"beta must be in (0, 1], not {beta}")
    return _mp_median(beta)


def sigma_from_singular_values(s: np.ndarray, shape: tuple[int, int]) -> float:
    """Noise standard deviation from the median singular value: ``median(s) / sqrt(larger side * mp_median)``.

    All min(m, n) singular values are needed; right where most of them are noise.
    """
    s, (m, n) = checked_values(s), checked_shape(shape)
    if len(s) != min(m, n):
        raise ValueError(
            f"the noise level needs all {min(m, n)} singular values of a {m} x {n} matrix, not {len(s)}"
        )
    return float(np.median(s)) / sqrt(max(m, n) * marchenko_pastur_median(min(m, n) / max(m, n)))


@lru_cache(maxsize=256)
def _mp_median(beta: float) -> float:
    from scipy.integrate import quad  # on use: both take 0.25 s to import
    from scipy.optimize import brentq

    low, high = (1 - sqrt(beta)) ** 2, (1 + sqrt(beta)) ** 2

    def mass(median: float) -> float:
        # x = centre - radius cos(phi) takes the square-root ends out of the density
        # sqrt((high - x)(x - low)) / (2 pi beta x); then dx * sqrt(...) = radius^2 sin(phi)^2.
        centre, radius = (low + high) / 2, (high - low) / 2
        end = acos(min(1.0, max(-1.0, (centre - median) / radius)))
        found, _ = quad(
            lambda phi: _mp_integrand(phi, centre, radius, beta), 0, end, epsabs=1e-13, epsrel=1e-13
        )
        return float(found)

    return float(brentq(lambda x: mass(x) - 0.5, low, high, xtol=1e-14))


def _mp_integrand(phi: float, centre: float, radius: float, beta: float) -> float:
    x = centre - radius * np.cos(phi)
    # At beta = 1 the lower edge is 0, where sin^2 / x tends to 2 / radius.
    ratio = np.sin(phi) ** 2 / x if x > 0 else 2 / radius
    return radius**2 * ratio / (2 * pi * beta)

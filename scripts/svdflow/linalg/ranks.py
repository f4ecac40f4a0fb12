"""Rank rules: from singular values (and a noise level) to a rank, and the shrinkers that go with them.

Sources: Gavish and Donoho 2014, "The optimal hard threshold for singular values is 4/sqrt(3)"; Gavish and Donoho 2017,
"Optimal shrinkage of singular values"; Marchenko and Pastur 1967. Throughout ``beta = min(m, n) / max(m, n)`` and the
noise edge of an m x n matrix of noise sigma lies at ``sigma (sqrt m + sqrt n)``.
"""

from functools import lru_cache
from math import acos, pi, sqrt

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

from svdflow.linalg.certificates import FLOOR


def rank_for_energy(s: np.ndarray, energy: float, total_energy: float | None = None) -> int | None:
    """Least rank whose squared singular values make up the share `energy` of all.

    Parameters
    ----------
    s : ndarray, shape (k,)
        Singular values, descending; all of them, or the first k with `total_energy` given.
    energy : float
        In (0, 1].
    total_energy : float, optional
        ``||A||_F^2``; by default the sum of the squares of `s`.

    Returns
    -------
    int or None
        None where the given values do not reach the share. A share of 1 is met to ``16 eps``.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy must be in (0, 1], not {energy}")
    captured = np.cumsum(np.square(s, dtype=np.float64))
    total = float(captured[-1] if len(captured) else 0.0) if total_energy is None else float(total_energy)
    if total == 0:
        return 0
    reached = np.flatnonzero(captured >= (energy - FLOOR * np.finfo(float).eps) * total)
    return int(reached[0]) + 1 if len(reached) else None


def rank_for_error(s: np.ndarray, error: float, total_energy: float | None = None) -> int | None:
    """Least rank with relative Frobenius error at most `error` (in [0, 1)), by Eckart-Young; None if not reached.

    With all singular values (no `total_energy`) sums over the tail are compared, which lose nothing down to errors of
    ``16 eps``. With leading values only, what is left is a difference, blind below an error of ``sqrt(16 eps)``, 6e-8.
    """
    if not 0 <= error < 1:
        raise ValueError(f"error must be in [0, 1), not {error}")
    eps = np.finfo(float).eps
    if total_energy is not None:
        left = total_energy - np.append(0.0, np.cumsum(np.square(s, dtype=np.float64)))
        reached = np.flatnonzero(left <= (max(error**2, FLOOR * eps) + eps) * total_energy)
        return int(reached[0]) if len(reached) else None
    left = np.append(np.cumsum(np.square(s[::-1], dtype=np.float64))[::-1], 0.0)
    return int(np.argmax(left <= max(error, FLOOR * eps) ** 2 * (1 + FLOOR * eps) * left[0]))


def elbow(s: np.ndarray) -> int:
    """Rank at the corner of the scree plot: the point of log s farthest below its chord (Satopaa et al. 2011).

    Zero values count as none. Returns 0 for a zero matrix and the number of values where there are under 3.
    """
    s = np.asarray(s, dtype=np.float64)
    s = s[s > s[0] * np.finfo(float).eps] if len(s) and s[0] > 0 else s[:0]
    if len(s) < 3:
        return len(s)
    x, y = np.linspace(0, 1, len(s)), np.log(s)
    spread = y[0] - y[-1]
    if spread <= 0:
        return len(s)
    below = 1 - x - (y - y[-1]) / spread
    # The corner itself belongs to the tail, so the rank is the number of values before it.
    return max(1, int(np.argmax(below)))


def hard_threshold(beta: float) -> float:
    """lambda_*(beta): keep s above ``lambda_* sqrt(larger side) sigma`` (Gavish-Donoho 2014, eq. 11); 4/sqrt 3 at 1."""
    return sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + sqrt(beta**2 + 14 * beta + 1)))


def gavish_donoho(s: np.ndarray, shape: tuple[int, int], sigma: float | None = None) -> int:
    """Rank by the optimal hard threshold.

    Parameters
    ----------
    s : ndarray
        Singular values, descending. Without `sigma` all min(m, n) of them, because the noise level is taken from
        their median.
    shape : (m, n)
    sigma : float, optional
        Noise standard deviation of an entry.

    Returns
    -------
    int
        0 for pure noise.
    """
    s = np.asarray(s, dtype=np.float64)
    m, n = shape
    if sigma is None:
        sigma = sigma_from_singular_values(s, shape)
    threshold = hard_threshold(min(m, n) / max(m, n)) * sqrt(max(m, n)) * sigma
    return int(np.count_nonzero(s > threshold))


def marchenko_pastur_median(beta: float) -> float:
    """Median of the Marchenko-Pastur law of ratio `beta` in (0, 1], as the root of its distribution function."""
    if not 0 < beta <= 1:
        raise ValueError(f"beta must be in (0, 1], not {beta}")
    return _mp_median(float(beta))


def sigma_from_singular_values(s: np.ndarray, shape: tuple[int, int]) -> float:
    """Noise standard deviation from the median singular value: ``median(s) / sqrt(larger side * mp_median)``.

    All min(m, n) singular values are needed; right where most of them are noise.
    """
    m, n = shape
    if len(s) != min(m, n):
        raise ValueError(
            f"the noise level needs all {min(m, n)} singular values of a {m} x {n} matrix, not {len(s)}"
        )
    return float(np.median(s)) / sqrt(max(m, n) * marchenko_pastur_median(min(m, n) / max(m, n)))


def shrink(s: np.ndarray, shape: tuple[int, int], sigma: float, loss: str = "frobenius") -> np.ndarray:
    """Optimally shrunk singular values (Gavish-Donoho 2017) for white noise of standard deviation `sigma`.

    Parameters
    ----------
    s : ndarray
        Singular values of the observed matrix.
    loss : {"frobenius", "operator", "nuclear"}

    Returns
    -------
    ndarray
        Zero where ``s <= sigma (sqrt m + sqrt n)``.
    """
    if loss not in _SHRINKERS:
        raise ValueError(f"loss {loss!r} is not one of {sorted(_SHRINKERS)}")
    s = np.asarray(s, dtype=np.float64)
    m, n = shape
    beta, scale = min(m, n) / max(m, n), sqrt(max(m, n)) * sigma
    if scale == 0:
        return s.copy()
    y = s / scale
    above = y > 1 + sqrt(beta)
    safe = np.where(above, y, 2 + beta)
    return np.where(above, _SHRINKERS[loss](safe, beta) * scale, 0.0)


def _frobenius(y: np.ndarray, beta: float) -> np.ndarray:
    return np.sqrt(np.maximum((y**2 - beta - 1) ** 2 - 4 * beta, 0)) / y


def _operator(y: np.ndarray, beta: float) -> np.ndarray:
    inner = y**2 - beta - 1
    return np.sqrt(0.5 * (inner + np.sqrt(np.maximum(inner**2 - 4 * beta, 0))))


def _nuclear(y: np.ndarray, beta: float) -> np.ndarray:
    x = _operator(y, beta)
    return np.maximum(0, (x**4 - sqrt(beta) * x * y - beta) / (x**2 * y))


_SHRINKERS = {"frobenius": _frobenius, "operator": _operator, "nuclear": _nuclear}


@lru_cache(maxsize=256)
def _mp_median(beta: float) -> float:
    low, high = (1 - sqrt(beta)) ** 2, (1 + sqrt(beta)) ** 2

    def mass(median: float) -> float:
        # x = centre - radius cos(phi) takes the square-root ends out of the density
        # sqrt((high - x)(x - low)) / (2 pi beta x); then dx * sqrt(...) = radius^2 sin(phi)^2.
        centre, radius = (low + high) / 2, (high - low) / 2
        end = acos(min(1.0, max(-1.0, (centre - median) / radius)))
        return quad(lambda phi: _mp_integrand(phi, centre, radius, beta), 0, end, epsabs=1e-13, epsrel=1e-13)[
            0
        ]

    return brentq(lambda x: mass(x) - 0.5, low, high, xtol=1e-14)


def _mp_integrand(phi: float, centre: float, radius: float, beta: float) -> float:
    x = centre - radius * np.cos(phi)
    # At beta = 1 the lower edge is 0, where sin^2 / x tends to 2 / radius.
    ratio = np.sin(phi) ** 2 / x if x > 0 else 2 / radius
    return radius**2 * ratio / (2 * pi * beta)

"""Shrinkers of singular values: optimal ones for white noise, and the soft threshold with its unbiased risk."""

from math import inf, sqrt

import numpy as np

from svdflow.ranks.evidence import Evidence
from svdflow.ranks.singular_values import checked_shape, checked_values, number
from svdflow.registry import SHRINKERS

# y = s / (sigma sqrt(larger side)) from which 1 - (1 + beta) / y^2 rounds to 1: there is nothing to shrink, and squares
# might overflow.
NOISELESS = 1e8


def shrunk_values(s: np.ndarray, shape: tuple[int, int], sigma: float, loss: str = "frobenius") -> np.ndarray:
    """Optimally shrunk singular values (Gavish-Donoho 2017) for white noise of standard deviation `sigma`.

    Parameters
    ----------
    s : ndarray
        Singular values of the observed matrix.
    loss : str
        Name of a shrinker of the registry: ``frobenius``, ``operator``, ``nuclear``.

    Returns
    -------
    ndarray
        Zero where ``s <= sigma (sqrt m + sqrt n)``.

    Raises
    ------
    ValueError, TypeError
        An unknown loss, values or a sigma that are no finite numbers from 0 up, or a shape that is none.
    """
    if not isinstance(loss, str) or loss not in SHRINKERS:
        raise ValueError(f"loss {loss!r} is not one of {', '.join(SHRINKERS)}")
    s, (m, n), sigma = checked_values(s), checked_shape(shape), number("shrink: sigma", sigma)
    beta, scale = min(m, n) / max(m, n), sqrt(max(m, n)) * sigma
    if scale == 0:
        return s.copy()
    far = s > NOISELESS * scale
    y = np.where(far, 0.0, s) / scale
    above = y > 1 + sqrt(beta)
    safe = np.where(above, y, 2 + beta)
    return np.where(far, s, np.where(above, SHRINKERS[loss].code()(safe, beta) * scale, 0.0))


def frobenius(y: np.ndarray, beta: float) -> np.ndarray:
    """What y shrinks to for least squared error; y is above the noise, in units of sigma times the root of a side."""
    return np.asarray(np.sqrt(np.maximum((y**2 - beta - 1) ** 2 - 4 * beta, 0)) / y)


def operator(y: np.ndarray, beta: float) -> np.ndarray:
    """The same of least loss in the spectral norm: the singular value before noise lengthened it."""
    inner = y**2 - beta - 1
    return np.sqrt(0.5 * (inner + np.sqrt(np.maximum(inner**2 - 4 * beta, 0))))


def nuclear(y: np.ndarray, beta: float) -> np.ndarray:
    """The same of least loss in the nuclear norm."""
    x = operator(y, beta)
    return np.asarray(np.maximum(0, (x**4 - sqrt(beta) * x * y - beta) / (x**2 * y)))


def soft_threshold(s: np.ndarray, threshold: float) -> np.ndarray:
    """``max(s - threshold, 0)``: the proximal map of the nuclear norm (Cai, Candes and Shen 2010, theorem 2.1)."""
    return np.maximum(checked_values(s) - number("threshold", threshold), 0)


def sure_soft_threshold(s: np.ndarray, shape: tuple[int, int], sigma: float) -> float:
    """The soft threshold of least unbiased risk (Candes, Sing-Long and Trzasko 2013, theorem IV.2).

    Parameters
    ----------
    s : ndarray
        All min(m, n) singular values of a real matrix, descending.
    shape : (m, n)
    sigma : float
        Standard deviation of white noise.

    Returns
    -------
    float
        The largest singular value where no component is worth its risk.

    Notes
    -----
    The risk is ``-m n sigma^2 + sum min(t^2, s_i^2) + 2 sigma^2 div(t)``. With k values above t the divergence is
    linear in t, so the risk is a parabola between neighbouring values and its least value is found exactly. Terms of
    two values above t are summed in pairs, ``1 - t / (s_i + s_j)`` each, which stays finite where values coincide.
    Values below rounding count as zero; beside each of them, as beside each row or column that the smaller side lacks,
    a component may turn, which adds ``2 (1 - t / s_i)``.
    """
    s, (m, n) = checked_values(s, descending=True), checked_shape(shape)
    sigma = number("sure: sigma", sigma)
    _check_complete(s, shape)
    if not len(s) or s[0] <= 0 or sigma <= 0:
        return 0.0
    if s[0] <= sigma:  # keeping p components costs 2 p sigma^2 at least, and gains p s_1^2 at most
        return float(s[0])
    values = s[s > max(m, n) * np.finfo(float).eps * s[0]]
    s, sigma = values / values[0], sigma / values[0]
    r, gap = len(s), abs(m - n) + 2 * (min(m, n) - len(s))
    k = np.arange(1, r + 1)
    # Of a pair of coincident values both are above the threshold or neither, so their term never counts.
    differences = np.triu(s[:, None] ** 2 - s**2, 1)
    inverse = np.divide(1.0, differences, out=np.zeros_like(differences), where=differences != 0)
    across = s[:, None] * inverse
    slope = gap * np.cumsum(1 / s) + 2 * np.cumsum(np.sum(np.tril(1 / (s[:, None] + s), -1), axis=1))
    slope += 2 * _above_by_below(across)
    constant = k * (gap + k) + 2 * _above_by_below(s[:, None] * across)
    following = np.append(s[1:], 0.0)
    threshold = np.clip(sigma**2 * slope / k, following, s)
    tail = np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)
    risk = tail[1:] + k * threshold**2 + 2 * sigma**2 * (constant - slope * threshold)
    risk = np.where(following < s, risk, inf)  # between coincident values there is no threshold
    best = int(np.argmin(risk))
    if risk[best] >= tail[0]:
        return float(values[0])
    # It often lies on a singular value, where the risk has its steps: rounding must not put it below.
    below = values[best + 1] if best + 1 < r else 0.0
    return float(max(values[0] * threshold[best], below))


def _above_by_below(terms: np.ndarray) -> np.ndarray:
    """For every k the sum of the terms (i, j) with i < k <= j."""
    rest = np.cumsum(terms[:, ::-1], axis=1)[:, ::-1]
    return np.array([np.sum(rest[:k, k]) for k in range(1, len(terms))] + [0.0])


def sure(s: np.ndarray, shape: tuple[int, int], sigma: float) -> int:
    """Rank of the soft threshold of least unbiased risk; see `sure_soft_threshold`.

    It is the rank of an estimate that shrinks; kept as they are, so many components are too many.
    """
    threshold = sure_soft_threshold(s, shape, sigma)
    return int(np.count_nonzero(np.asarray(s) > threshold))


def _check_complete(s: np.ndarray, shape: tuple[int, int]) -> None:
    if len(s) != min(shape):
        raise ValueError(
            f"all {min(shape)} singular values of a {shape[0]} x {shape[1]} matrix are needed, not {len(s)}"
        )


def sure_rule(evidence: Evidence) -> int:
    """`sure` at the known noise level."""
    return sure(evidence.s, evidence.shape, evidence.sigma or 0.0)

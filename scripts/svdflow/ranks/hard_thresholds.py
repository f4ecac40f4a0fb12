"""Hard thresholds for noisy matrices: known, unknown and coloured noise."""

from math import sqrt

import numpy as np

from svdflow.ranks.evidence import Evidence
from svdflow.ranks.marchenko_pastur import sigma_from_singular_values
from svdflow.ranks.singular_values import checked_shape, checked_values, number, whole

# min(m, n) over the largest rank that is thought possible where none is given. ScreeNOT asks for a loose bound: signal
# beyond it would count as noise, and above half of the values too little noise is left to learn from (chosen).
SCREENOT_SHARE = 8


def hard_threshold(beta: float) -> float:
    """lambda_*(beta): keep s above ``lambda_* sqrt(larger side) sigma`` (Gavish-Donoho 2014, eq. 11); 4/sqrt 3 at 1."""
    beta = number("beta", beta, open_=True)
    if beta > 1:
        raise ValueError(f"beta must be in (0, 1], the smaller side over the larger, not {beta}")
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

    Raises
    ------
    ValueError, TypeError
        Values or a sigma that are no finite numbers from 0 up, or a shape that is none.
    """
    s, (m, n) = checked_values(s), checked_shape(shape)
    if sigma is None:
        sigma = sigma_from_singular_values(s, shape) if len(s) else 0.0
    sigma = number("gavish_donoho: sigma", sigma)
    if not len(s):
        return 0
    threshold = hard_threshold(min(m, n) / max(m, n)) * sqrt(max(m, n)) * sigma
    return int(np.count_nonzero(s > max(threshold, _rounding(s, shape))))


def mp_pca(s: np.ndarray, shape: tuple[int, int]) -> int:
    """Rank by the width of the Marchenko-Pastur law, the noise level unknown (Veraart et al. 2016, equation 12).

    Parameters
    ----------
    s : ndarray
        All min(m, n) singular values, descending.
    shape : (m, n)

    Returns
    -------
    int
        The least p for which the eigenvalues beyond p spread no wider than noise of their mean would:
        ``(l_{p+1} - l_M) / (4 sqrt(g)) <= mean(l_{p+1..M})``, ``g = (M - p) / (N - p)``, M <= N the sides. The paper
        has ``(M - p) / N``, which is biased where M is near N (MRtrix3 took the same step in its change 1525).
    """
    s, shape = checked_values(s, descending=True), checked_shape(shape)
    M, N = min(shape), max(shape)
    if len(s) != M:
        raise ValueError(
            f"all {M} singular values of a {shape[0]} x {shape[1]} matrix are needed, not {len(s)}"
        )
    if not M or s[0] <= 0:
        return 0
    values = np.where(s > _rounding(s, shape), s / s[0], 0.0) ** 2
    p = np.arange(M)
    mean = np.cumsum(values[::-1])[::-1] / (M - p)
    width = 4 * np.sqrt((M - p) / (N - p)) * mean
    noise = values - values[-1] <= width
    return int(np.argmax(noise))


def _rounding(s: np.ndarray, shape: tuple[int, int]) -> float:
    """What a singular value must exceed to be more than rounding of the largest, as in NumPy's ``matrix_rank``."""
    return float(s[0]) * max(shape) * float(np.finfo(float).eps)


def screenot_threshold(
    s: np.ndarray, shape: tuple[int, int], most: int | None = None, strategy: str = "interpolate"
) -> float:
    """Threshold of least loss for noise of unknown level and correlation (Donoho, Gavish and Romanov 2023, ScreeNOT).

    Parameters
    ----------
    s : ndarray
        All min(m, n) singular values, descending.
    shape : (m, n)
    most : int, optional
        Bound on the rank; loose will do. By default an eighth of min(m, n).
    strategy : {"interpolate", "winsorize", "zero"}
        What takes the place of the first `most` values, to stand for the noise below them.

    Returns
    -------
    float
        Root of ``z D'(z) / D(z) = -4`` above the noise, with ``D(z) = f(z) (g f(z) + (1 - g) / z)``,
        ``f(z) = mean z / (z^2 - y_i^2)`` and ``g = min(m, n) / max(m, n)`` (equations 15 to 19).
    """
    s, shape = checked_values(s, descending=True), checked_shape(shape)
    M, N = min(shape), max(shape)
    if len(s) != M:
        raise ValueError(
            f"all {M} singular values of a {shape[0]} x {shape[1]} matrix are needed, not {len(s)}"
        )
    if strategy not in ("interpolate", "winsorize", "zero"):
        raise ValueError(f"strategy {strategy!r} is not one of interpolate, winsorize, zero")
    if not M or s[0] <= 0:
        return 0.0
    k = M // SCREENOT_SHARE if most is None else whole("screenot: most", most, 0)
    if not 0 <= 2 * k < M:
        raise ValueError(f"most is {k}; at most {(M - 1) // 2} of {M} values can be signal here")
    noise = s.copy()
    if k and strategy == "interpolate":
        bend = (1 - (np.arange(k) / k) ** (2 / 3)) / (2 ** (2 / 3) - 1)
        noise[:k] = s[k] + bend * (s[k] - s[2 * k])
    elif k:
        noise[:k] = s[k] if strategy == "winsorize" else 0.0
    edge, ratio = float(noise.max()), M / N
    if edge <= _rounding(s, shape):
        return _rounding(s, shape)
    noise /= edge

    def excess(z: float) -> float:
        squares = z**2 - noise**2
        f = np.mean(z / squares)
        slope = -np.mean((z**2 + noise**2) / squares**2)
        other = ratio * f + (1 - ratio) / z
        other_slope = ratio * slope - (1 - ratio) / z**2
        return float(z * (slope / f + other_slope / other) + 4)

    from scipy.optimize import brentq  # on use: it takes 0.2 s to import

    return edge * float(brentq(excess, 1 + 1e-9, 100, xtol=1e-12))


def screenot(s: np.ndarray, shape: tuple[int, int], most: int | None = None) -> int:
    """Number of singular values above `screenot_threshold`."""
    threshold = screenot_threshold(s, shape, most)
    return int(np.count_nonzero(np.asarray(s) > threshold))


def gavish_donoho_rule(evidence: Evidence) -> int:
    """`gavish_donoho` at the known noise level."""
    return gavish_donoho(evidence.s, evidence.shape, evidence.sigma)


def gavish_donoho_median_rule(evidence: Evidence) -> int:
    """`gavish_donoho` at the noise level that the median singular value tells."""
    return gavish_donoho(evidence.s, evidence.shape)


def mp_pca_rule(evidence: Evidence) -> int:
    """`mp_pca`."""
    return mp_pca(evidence.s, evidence.shape)


def screenot_rule(evidence: Evidence) -> int:
    """`screenot`."""
    return screenot(evidence.s, evidence.shape)

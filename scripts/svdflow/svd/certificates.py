"""Error figures with their proof. None costs a read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from svdflow.ranks.spectrum_rules import FLOOR

EPS = float(np.finfo(float).eps)
# Probability that the spectral bound is too small, published with it. A tenth of it would make the bound of ten probes
# 1.12 times larger (Halko, Martinsson and Tropp 2011, lemma 4.1).
FAILURE = 1e-3
# Mean of the probes' figures above which they contradict that the factors are the leading ones. Its expectation is at
# most 1 for those, and runs that end by themselves stay below 0.8 (tests/unit/test_svd_promises.py catches probes that
# took part in a search).
MISSED = 1.5
# Mean of the probes' energies over what a given norm leaves, outside of which that norm is wrong. Of ten real
# probes of a matrix of rank 1, which scatter most, a chi-squared of ten falls below by 8e-8 and above by 3e-7.
CHANCE = (0.02, 5.0)
# Rounding of A^H A w is taken to be SPECTRAL_NOISE eps ||A||_F^2, and that of the stored factors STORED eps ||A||_F, as
# U and Vt are rounded once each. tests/unit/test_certificates.py holds the bounds that they widen.
SPECTRAL_NOISE, STORED = 4, 2


@dataclass(frozen=True)
class FrobeniusCertificate:
    """``||A - U s Vt||_F`` for the factors as they are stored.

    `kind` is ``exact`` where the truth is within `resolution` of `error`, ``floor`` where it lies between 0 and
    `error`, or ``estimated``, with a standard error of `resolution`.
    """

    norm: float
    error: float
    kind: str
    resolution: float = 0.0

    @property
    def relative(self) -> float:
        """Error over norm; 0 for the zero matrix, and at most 1, because a projection takes nothing away."""
        return min(1.0, self.error / self.norm) if self.norm else float(self.error > 0)


def frobenius_certificate(
    norm_squared: float, s: np.ndarray, *, output: Any = np.float64, uncentred: float = 0.0, eps: float = EPS
) -> FrobeniusCertificate:
    """Frobenius error of orthogonal projection on k singular pairs, by Pythagoras.

    ``||A - U U^H A||_F^2 = ||A||_F^2 - sum s_i^2``, exact up to rounding: below ``16 eps ||A||_F^2`` the difference is
    noise. Rounding of the stored factors is orthogonal to what they leave, so its square adds to that; what is not
    clear of both is given as an upper bound.

    Parameters
    ----------
    norm_squared : float
        ``||A||_F^2``.
    s : ndarray, shape (k,)
        Singular values of the projected matrix.
    output : dtype
        Of the factors U and Vt as they are stored.
    uncentred : float
        ``||A||_F^2`` before the mean was taken off, where that was done by a difference of sums.
    eps : float
        Of the products that the figures came from.
    """
    tail = norm_squared - float(np.sum(np.square(s, dtype=np.float64)))
    floor = FLOOR * eps * max(norm_squared, uncentred) + stored_rounding(output) ** 2 * norm_squared
    return _judged(norm_squared, tail, floor)


def tail_certificate(
    s: np.ndarray, rank: int, *, output: Any = np.float64, uncentred: float = 0.0
) -> FrobeniusCertificate:
    """The same from all singular values (Eckart-Young): the root of the tail energy.

    No squares cancel here: each value is known to ``eps s_1`` (Weyl, with LAPACK's backward error), so the floor of the
    relative error is near eps instead of its root.
    """
    energies = np.square(s, dtype=np.float64)
    norm_squared = float(energies.sum())
    values = (FLOOR * EPS) ** 2 * max(1, len(s)) * max(norm_squared, uncentred)
    return _judged(
        norm_squared, float(energies[rank:].sum()), values + stored_rounding(output) ** 2 * norm_squared
    )


def estimated_certificate(
    s: np.ndarray, energies: np.ndarray, *, output: Any = np.float64, uncentred: float = 0.0, eps: float = EPS
) -> FrobeniusCertificate:
    """The same where ``||A||_F`` is not known, from what random probes find left.

    ``E ||E w||^2 = ||E||_F^2`` for standard Gaussian w that are independent of the error E, so the square of the error
    is estimated without bias, and the norm from it by Pythagoras. The standard error is that of the mean over probes.

    Parameters
    ----------
    energies : ndarray, shape (r,)
        ``||E w||^2`` of each probe.
    """
    captured = float(np.sum(np.square(s, dtype=np.float64)))
    left = max(0.0, float(np.mean(energies)))
    norm_squared = captured + left
    floor = FLOOR * eps * max(norm_squared, uncentred) + stored_rounding(output) ** 2 * norm_squared
    if left <= floor:
        return FrobeniusCertificate(
            norm_squared**0.5, (left + floor) ** 0.5, "estimated", (left + floor) ** 0.5
        )
    spread = float(np.std(energies, ddof=1)) / len(energies) ** 0.5
    return FrobeniusCertificate(norm_squared**0.5, left**0.5, "estimated", spread / (2 * left**0.5))


def contradicted(left: float, energies: np.ndarray) -> bool:
    """Whether ``||E w||^2`` of the probes cannot belong to an error of Frobenius norm ``sqrt(left)``.

    Of r probes the mean over `left` scatters most where E has rank 1, as chi-squared of r (real) over r.
    """
    ratio = float(np.mean(energies)) / left
    return not CHANCE[0] < ratio < CHANCE[1]


def stored_rounding(output: Any) -> float:
    """What rounding of the stored factors may add to their error, over the norm."""
    return STORED * float(np.finfo(output).eps)


def _judged(norm_squared: float, tail: float, floor: float) -> FrobeniusCertificate:
    """Error and its kind from squares."""
    exact = tail > floor or floor == 0
    error = max(tail, 0.0) if exact else max(tail, 0.0) + floor
    return FrobeniusCertificate(norm_squared**0.5, error**0.5, "exact" if exact else "floor", floor**0.5)


def values_resolution(
    s: np.ndarray, *, uncentred: float = 0.0, squared: bool = False, eps: float = EPS
) -> float:
    """How well all singular values are known (Weyl), computed from A or, `squared`, from ``A^H A``.

    `uncentred` is ``||A||_F^2`` before the mean was taken off.
    """
    relative: float = (FLOOR * eps) ** (0.5 if squared else 1.0)
    return relative * max(float(s[0]), uncentred**0.5)


def tail_spectral(s: np.ndarray, rank: int, *, output: Any = np.float64, uncentred: float = 0.0) -> float:
    """Bound of ``||A - U s Vt||_2`` from all singular values: the next one, and what rounding may add to it."""
    following = float(s[rank]) if rank < len(s) else 0.0
    return following + values_resolution(s, uncentred=uncentred) + stored_rounding(output) * float(s[0])


@dataclass(frozen=True)
class SpectralCertificate:
    """A bound of ``||A - U s Vt||_2``, which fails with the given probability at most (0: ``exact``)."""

    error: float
    kind: str
    failure: float = 0.0
    excess: float = 0.0  # above MISSED it contradicts that the factors are the leading ones
    energies: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)  # ||E w||^2

    @property
    def contradicts(self) -> bool:
        """Whether the probes found more left than leading triplets can leave."""
        return self.excess > MISSED


def spectral_certificate(
    probes: np.ndarray,
    residual: np.ndarray,
    *,
    norm_squared: float | None,
    s: np.ndarray,
    eps: float,
    output: Any,
) -> SpectralCertificate:
    """Spectral error from random probes that took no part in the search.

    For the error E of a projection ``E^H E w`` is had without another read (`left_by_U`, `left_by_V`), and
    ``||E||_2^2 <= alpha max_j ||E^H E w_j||`` but for a probability that falls with the number of probes
    (Halko, Martinsson and Tropp 2011, lemma 4.1, applied to ``E^H E``, whose spectrum stands out more than that of E).

    Parameters
    ----------
    probes, residual : ndarray, shape (n, r)
        Standard Gaussian w and ``E^H E w``.
    norm_squared : float or None
        ``||A||_F^2``; None where it is not known.
    eps : float
        Of the products; their rounding is added to the bound.
    output : dtype
        Of the stored factors, whose rounding is added too.
    """
    largest = float(np.linalg.norm(residual, axis=0).max())
    r = probes.shape[1]
    energies = np.sum(probes.conj() * residual, axis=0).real
    if norm_squared is None:
        norm_squared = float(np.sum(np.square(s))) + max(0.0, float(np.mean(energies)))
    # P(|<u, w>| < t) is at most sqrt(2 / pi) t for a real and t^2 for a complex standard normal number.
    if probes.dtype.kind == "c":
        alpha = FAILURE ** (-1 / (2 * r))
    else:
        alpha = FAILURE ** (-1 / r) * (2 / np.pi) ** 0.5
    square = alpha * largest + SPECTRAL_NOISE * eps * norm_squared
    error = square**0.5 + stored_rounding(output) * float(s[0])
    missed = excess(residual, s, norm_squared, eps)
    return SpectralCertificate(error, "probabilistic", FAILURE, missed, energies)


def left_by_U(probes: np.ndarray, images: np.ndarray, AhU: np.ndarray) -> np.ndarray:
    """``E^H E w`` of ``E = A - U U^H A``, from ``A^H A w`` (`images`) and ``A^H U``."""
    return np.asarray(images - AhU @ (AhU.conj().T @ probes))


def left_by_V(probes: np.ndarray, images: np.ndarray, V: np.ndarray, AhAV: np.ndarray) -> np.ndarray:
    """``E^H E w`` of ``E = A - A V V^H``, from ``A^H A w`` and ``A^H A V``; V (n, k) has orthonormal columns.

    Where ``U s = A V`` came from V by one product, that is what the factors leave, and not what U would:
    ``||A^H u_i - s_i v_i||`` apart, which is much where V is no invariant subspace. Nothing is divided by small s_i.
    """
    residual = images - AhAV @ (V.conj().T @ probes)
    return np.asarray(residual - V @ (V.conj().T @ residual))


def excess(residual: np.ndarray, s: np.ndarray, norm_squared: float, eps: float) -> float:
    """Mean ``||E^H E w||^2`` over ``s_k^2 ||E||_F^2``; at most 1 for the leading triplets.

    Its expectation is ``sum sigma(E)^4``, and that at most ``||E||_2^2 ||E||_F^2`` with ``||E||_2 = s_{k+1}``.
    """
    left = norm_squared - float(np.sum(np.square(s)))
    noise = SPECTRAL_NOISE * eps * norm_squared
    if left <= noise or s[-1] ** 2 <= noise:
        return 0.0
    return float(np.mean(np.sum(np.abs(residual) ** 2, axis=0))) / (float(s[-1]) ** 2 * left)


def pair_residuals(adjoint_product: np.ndarray, s: np.ndarray, V: np.ndarray) -> np.ndarray:
    """``||A^H u_i - s_i v_i||`` for each pair, from ``A^H U`` of shape (n, k).

    With ``A v_i = s_i u_i`` a singular value of A lies within that distance of s_i (Weyl).
    """
    return np.asarray(np.linalg.norm(adjoint_product - V * s, axis=0))

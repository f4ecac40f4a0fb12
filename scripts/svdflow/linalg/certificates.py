"""Error figures with their proof. None costs a read."""

from dataclasses import dataclass
from typing import Any

import numpy as np

EPS = float(np.finfo(float).eps)
FLOOR = 16  # times eps ||A||_F^2: what the difference of two sums of squares cannot resolve
STORED = 2  # times eps ||A||_F: U and Vt are rounded once each, and U is made from a rounded A V


@dataclass(frozen=True)
class FrobeniusCertificate:
    """``||A - U s Vt||_F`` for the factors as they are stored.

    `kind` is ``exact`` where the truth is within `resolution` of `error`, or ``floor`` where it lies between 0 and
    `error`.
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
    norm_squared: float, s: np.ndarray, *, output: Any = np.float64, uncentred: float = 0.0
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
    """
    tail = norm_squared - float(np.sum(np.square(s, dtype=np.float64)))
    floor = FLOOR * EPS * max(norm_squared, uncentred) + _stored(output) ** 2 * norm_squared
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
    return _judged(norm_squared, float(energies[rank:].sum()), values + _stored(output) ** 2 * norm_squared)


def _stored(output: Any) -> float:
    return STORED * float(np.finfo(output).eps)


def _judged(norm_squared: float, tail: float, floor: float) -> FrobeniusCertificate:
    """Error and its kind from squares."""
    exact = tail > floor or floor == 0
    error = max(tail, 0.0) if exact else max(tail, 0.0) + floor
    return FrobeniusCertificate(norm_squared**0.5, error**0.5, "exact" if exact else "floor", floor**0.5)


def pair_residuals(adjoint_product: np.ndarray, s: np.ndarray, V: np.ndarray) -> np.ndarray:
    """``||A^H u_i - s_i v_i||`` for each pair, from ``A^H U`` of shape (n, k).

    With ``A v_i = s_i u_i`` a singular value of A lies within that distance of s_i (Weyl).
    """
    return np.linalg.norm(adjoint_product - V * s, axis=0)

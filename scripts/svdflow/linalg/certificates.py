"""Error figures with their proof. None costs a read."""

from dataclasses import dataclass

import numpy as np

FLOOR = 16  # times eps ||A||_F^2: what the difference of two sums of squares cannot resolve


@dataclass(frozen=True)
class FrobeniusCertificate:
    """``||A - U s Vt||_F``. `kind` is ``exact``, or ``floor`` where the truth lies between 0 and `error`."""

    norm: float
    error: float
    kind: str

    @property
    def relative(self) -> float:
        """Error over norm; 0 for the zero matrix."""
        return self.error / self.norm if self.norm else 0.0


def frobenius_certificate(
    norm_squared: float, s: np.ndarray, eps: float = np.finfo(float).eps
) -> FrobeniusCertificate:
    """Frobenius error of orthogonal projection on k singular pairs, by Pythagoras.

    ``||A - U U^H A||_F^2 = ||A||_F^2 - sum s_i^2``, exact up to rounding: below ``16 eps ||A||_F^2`` the difference is
    noise, and the floor itself is given as an upper bound.

    Parameters
    ----------
    norm_squared : float
        ``||A||_F^2``.
    s : ndarray, shape (k,)
        Singular values of the projected matrix.
    eps : float
        Unit roundoff of what `norm_squared` and `s` were computed in.
    """
    tail = norm_squared - float(np.sum(np.square(s, dtype=np.float64)))
    floor = FLOOR * eps * norm_squared
    if tail > floor:
        return FrobeniusCertificate(norm_squared**0.5, tail**0.5, "exact")
    return FrobeniusCertificate(norm_squared**0.5, floor**0.5, "floor" if norm_squared else "exact")


def tail_certificate(s: np.ndarray, rank: int) -> FrobeniusCertificate:
    """The same from all singular values (Eckart-Young): the root of the tail energy, without a floor."""
    energies = np.square(s, dtype=np.float64)
    return FrobeniusCertificate(float(energies.sum() ** 0.5), float(energies[rank:].sum() ** 0.5), "exact")


def pair_residuals(adjoint_product: np.ndarray, s: np.ndarray, V: np.ndarray) -> np.ndarray:
    """``||A^H u_i - s_i v_i||`` for each pair, from ``A^H U`` of shape (n, k).

    With ``A v_i = s_i u_i`` a singular value of A lies within that distance of s_i (Weyl).
    """
    return np.linalg.norm(adjoint_product - V * s, axis=0)

"""Proved enclosures of singular values, rank, condition number and compression error, from NumPy products.

Every bound rests on one assumption: a product of two float64 matrices is classical and rounded as IEEE 754
says, so that an entry of length k is wrong by at most ``gamma_k |x| |y|`` (Higham 2002, section 3.5) in
whatever order it was summed. That holds for OpenBLAS and MKL, not for TF32, Strassen or 3M products.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import frexp, inf, nan, sqrt
from typing import Any

import numpy as np

from svdflow.audit.jacobi import (
    UNIT,
    classical,
    columns,
    gamma,
    orthogonalized,
    product_error,
    sliced_product,
    up,
)
from svdflow.matrix.masks import materialized, unmasked

Array = np.ndarray
Interval = tuple[float, float]
WIDTH = 5e-9  # relative width above which the costlier path is taken; half of the limit of enclosure_width
FLOOR = (
    2.0**-900
)  # added to bounds: more than underflow (2^-1074 a term) takes from any product of entries of at most 1


@dataclass(frozen=True)
class Certificate:
    """What is proved of a matrix A, shape (m, n), and of factors of it.

    Attributes
    ----------
    lower, upper : ndarray, shape (min(m, n),), float64
        ``lower[i] <= sigma_i(A) <= upper[i]``, sigma descending.
    error : (float, float)
        Enclosure of ``||A - U diag(s) Vt||_F``.
    """

    lower: Array
    upper: Array
    error: Interval

    @property
    def rank(self) -> int:
        """The rank is at least this."""
        return int(np.count_nonzero(self.lower > 0))

    @property
    def kappa(self) -> Interval:
        """Enclosure of ``sigma_1 / sigma_n``; the upper end is inf where sigma_n may be 0."""
        if self.upper[0] == 0:
            return nan, nan
        least = _divided(self.lower[0], self.upper[-1], 0.0) if self.upper[-1] else inf
        most = _divided(self.upper[0], self.lower[-1], inf) if self.lower[-1] else inf
        return max(1.0, least), most

    @property
    def widths(self) -> Array:
        """Relative width of each enclosure: 1 where sigma may be 0, 0 where it is."""
        return (self.upper - self.lower) / np.where(self.upper > 0, self.upper, 1)

    @property
    def width(self) -> float:
        """Relative width of the widest enclosure."""
        return float(self.widths.max())

    def outside(self, values: Any) -> Array:
        """How far `values` (descending; fewer than min(m, n) will do) lie outside, 0 for those inside."""
        values = np.asarray(values, np.float64)
        lower, upper = self.lower[: len(values)], self.upper[: len(values)]
        return np.maximum(np.maximum(lower - values, values - upper), 0)

    def tail(self, rank: int) -> Interval:
        """Enclosure of ``sqrt(sum of sigma_i^2, i > rank)``, the least error of that rank (Eckart and Young)."""
        lower, upper = (float(np.linalg.norm(end[rank:])) for end in (self.lower, self.upper))
        slack = gamma(len(self.lower) + 8)
        return lower * (1 - slack), upper * (1 + slack)


def certify_svd(A: Any, U: Any, s: Any, Vt: Any) -> Certificate:
    """Enclose the singular values of A, and the error of its factors, with proof.

    Parameters
    ----------
    A : array_like, shape (m, n), real or complex
        float32 and integers are promoted to float64, which must hold them exactly.
    U, s, Vt : array_like, shapes (m, k), (k,), (k, n), k <= min(m, n)
        Factors from anywhere: LAPACK, truncated, randomized, or wrong. Enclosures of bad factors are wider and
        as true; those of truncated ones are about as wide as what the factors leave of A.

    Returns
    -------
    certificate : Certificate
        With all min(m, n) vectors of LAPACK the relative width is below 1e-8 where the condition number is below
        1e10. About 6 products of the size of A V, 20 where the condition number asks for them.

    Raises
    ------
    ValueError
        Shapes that do not fit, entries that are not finite, integers that float64 does not hold; an empty A.
    RuntimeError
        The matrix product of this machine is not classical (TF32, Strassen, 3M).

    Notes
    -----
    Columns of ``G = A V`` are the left vectors times sigma. With ``G = Y D``, D diagonal, Ostrowski's theorem gives
    ``sigma_i(G) = d_i theta``, theta^2 within ``||Y^H Y - I||`` of 1, and once more for V, which is only nearly
    unitary: an enclosure that is relative for the smallest value, too. Where the rounding of A V spoils that, A V is
    formed from slices whose products are exact (Ozaki et al., Numer. Algorithms 59, 2012), and its columns are
    made orthogonal by rotations that are themselves accounted for (`svdflow.audit.jacobi`). What the columns
    i > r add, when they are not orthogonal, is bounded by ``sigma_i(G)^2 <= sigma_i(G_r)^2 + ||G_rest||^2``.
    Weyl's and Ostrowski's theorems on ``A - U S V^H`` are the way for truncated factors (Rump, BIT 51, 2011).

    Examples
    --------
    >>> import numpy as np
    >>> A = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> certificate = certify_svd(A, *np.linalg.svd(A))
    >>> certificate.rank, bool(certificate.kappa[0] <= 2 <= certificate.kappa[1])
    (2, True)
    """
    A, U, s, Vt = _checked(A, U, s, Vt)
    exponent = frexp(max(float(np.abs(A.real).max()), float(np.abs(A.imag).max())))[1]
    A = _shifted(A, -exponent)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        s = np.ldexp(s, -exponent)
        residual, uncertain = _residual(A, U, s, Vt)
        lower, upper = _from_vectors(A, U, Vt, float(np.abs(s).min(initial=inf)))
        if _widest(lower, upper) > WIDTH:
            spread = _norm(residual) + uncertain
            weyl = _from_residual(len(lower), U, s, Vt, spread)
            lower, upper = np.maximum(lower, weyl[0]), np.minimum(upper, weyl[1])
        norm = float(np.linalg.norm(residual))
        slack = gamma(2 * residual.size + 8)
        error = np.array([max(norm * (1 - slack) - uncertain, 0), norm * (1 + slack) + uncertain])
    lower, upper = _ends(lower, upper, exponent)
    least, most = _ends(error[:1], error[1:], exponent)
    return Certificate(lower, upper, (float(least[0]), float(most[0])))


def certify_error(A: Any, U: Any, s: Any, Vt: Any) -> Interval:
    """Enclosure of ``||A - U diag(s) Vt||_F`` alone, for one product; arguments as in `certify_svd`."""
    A, U, s, Vt = _checked(A, U, s, Vt)
    exponent = frexp(max(float(np.abs(A.real).max()), float(np.abs(A.imag).max())))[1]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        residual, uncertain = _residual(_shifted(A, -exponent), U, np.ldexp(s, -exponent), Vt)
        norm = float(np.linalg.norm(residual))
        slack = gamma(2 * residual.size + 8)
        ends = np.array([max(norm * (1 - slack) - uncertain, 0)]), np.array([norm * (1 + slack) + uncertain])
    lower, upper = _ends(*ends, exponent)
    return float(lower[0]), float(upper[0])


def _checked(A: Any, U: Any, s: Any, Vt: Any) -> tuple[Array, Array, Array, Array]:
    if not classical():
        raise RuntimeError("matrix products of this BLAS are not classical in float64: nothing can be proved")
    A, U, s, Vt = (
        np.asarray(unmasked(materialized(x), name)) for name, x in zip(("A", "U", "s", "Vt"), (A, U, s, Vt))
    )
    k = s.size
    if A.ndim != 2 or A.size == 0:
        raise ValueError(f"A: shape {A.shape} is not that of a matrix with entries")
    if U.shape != (A.shape[0], k) or Vt.shape != (k, A.shape[1]) or s.shape != (k,) or k > min(A.shape):
        raise ValueError(
            f"factors of shapes {U.shape}, {s.shape}, {Vt.shape} do not fit A of shape {A.shape}"
        )
    for row, column in lossy_integers(A):
        raise ValueError(f"A: {A[row, column]} at row {row}, column {column} is no float64")
    kind: Any = np.complex128 if any(x.dtype.kind == "c" for x in (A, U, Vt)) else np.float64
    for name, x in (("A", A), ("U", U), ("s", s), ("Vt", Vt)):
        if x.dtype.kind not in "fiubc" or not np.isfinite(x).all():
            raise ValueError(f"{name}: an entry is not a finite number")
    return A.astype(kind), U.astype(kind), s.astype(np.float64), Vt.astype(kind)


def lossy_integers(A: Array) -> Iterator[tuple[int, int]]:
    """Places of 64-bit integers that float64 does not hold."""
    if A.dtype.kind in "iu" and A.dtype.itemsize == 8:
        for row, column in np.argwhere((A > 2**53) | (A < -(2**53))).tolist():
            if int(float(A[row, column])) != int(A[row, column]):
                yield row, column


def _shifted(A: Array, exponent: int) -> Array:
    """A 2^exponent: exact but for what falls below the smallest number, which FLOOR covers."""
    return np.ldexp(np.ascontiguousarray(A).view(np.float64), exponent).view(A.dtype)


def _ends(lower: Array, upper: Array, exponent: int) -> tuple[Array, Array]:
    """Ends of enclosures in the unit of A again, a float further out."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        lower = np.where(lower > 0, np.nextafter(np.ldexp(lower, exponent), -inf), 0.0)
        upper = np.where(upper > 0, np.nextafter(np.ldexp(upper, exponent), inf), 0.0)
    return np.clip(lower, 0, np.finfo(float).max), np.where(np.isnan(upper), inf, upper)


def _residual(A: Array, U: Array, s: Array, Vt: Array) -> tuple[Array, float]:
    """A - U S Vt, and a bound of the Frobenius norm of the rounding in it."""
    if not len(s):
        return A, 0.0
    scaled = U * s
    residual = A - scaled @ Vt
    rounding = product_error(A, len(s) + 2) * _norm(scaled) * _norm(Vt) + 2 * UNIT * _norm(residual)
    uncertain = up(rounding, 8) + (FLOOR if s.any() and A.any() else 0.0)
    return residual, uncertain if np.isfinite(uncertain) and np.isfinite(residual).all() else inf


def _from_vectors(A: Array, U: Array, Vt: Array, smallest: float) -> tuple[Array, Array]:
    """Enclosures from A V (or A^H U, whichever is taller), lower ends only where V is not square.

    `smallest` is what the smallest singular value should be; it decides only whether a plain product is worth it.
    """
    count = min(A.shape)
    lower, upper = np.zeros(count), np.full(count, inf)
    A, V = (A, Vt.conj().T) if A.shape[0] >= A.shape[1] else (A.conj().T, U)
    if not A.any():
        return lower, lower.copy()
    k = V.shape[1]
    alpha = departure(V)
    if not k or not alpha < 1:
        return lower, upper
    errors = up(product_error(A, A.shape[1]) * _norm(A) * columns(V) + FLOOR, 8)
    found = np.zeros(k), np.full(k, inf)
    if float(errors.max()) < WIDTH * smallest:
        found = _graded(A @ V, errors)
    if _widest(*found) > WIDTH:
        G, errors, stretch = orthogonalized(*sliced_product(A, V))
        finer = _graded(G, errors + FLOOR)
        finer = finer[0] / sqrt(1 + stretch) * (1 - 4 * UNIT), finer[1] / sqrt(1 - stretch) * (1 + 4 * UNIT)
        found = np.maximum(found[0], finer[0]), np.minimum(found[1], finer[1])
    lower[:k] = found[0] / sqrt(up(1 + alpha, 2)) * (1 - 4 * UNIT)
    if k == count:
        upper = found[1] / sqrt(max(1 - alpha - UNIT, 0.0)) * (1 + 4 * UNIT)
    return lower, upper


def _graded(G: Array, errors: Array) -> tuple[Array, Array]:
    """Enclosures of the singular values of G plus any matrix whose columns are no longer than `errors`."""
    m, k = G.shape
    lengths = columns(G)
    order = np.argsort(-lengths, kind="stable")
    G, d, errors = G[:, order], lengths[order], errors[order]
    alive = d > 2.0**-400
    scale = np.where(alive, d, 1.0)
    Y = np.where(alive, G / scale, 0)
    F = Y.conj().T @ Y
    squares = np.cumsum(F.diagonal().real)  # the share of the Gram matrix's rounding
    F[np.diag_indices(k)] -= 1
    entries = np.abs(F) ** 2
    block = np.sqrt(np.cumsum(2 * np.tril(entries, -1).sum(axis=1) + entries.diagonal()))
    wrong = np.sqrt(np.cumsum((np.where(alive, errors / scale, 0) + 2 * UNIT) ** 2))
    eta = block * (1 + gamma(k * k + 8)) + product_error(G, m) * squares * (1 + gamma(m * k)) + k * FLOOR
    eta = up(eta + 2 * np.sqrt(1 + eta) * wrong * (1 + gamma(k)) + (wrong * (1 + gamma(k))) ** 2, 16)
    rest = up((d + errors) ** 2, 8)
    rest = np.cumsum(rest[::-1])[::-1] * (1 + gamma(k))  # rest[i]: the columns from i on
    lower = scale * np.sqrt(np.maximum(1 - eta, 0)) * (1 - 8 * UNIT) * alive
    lower = np.maximum.accumulate(lower[::-1])[::-1]
    # The first r columns by Ostrowski and the others by their length, for every r > i; or all by length.
    table = (scale**2 * alive)[:, None] * (1 + eta) + np.append(rest[1:], 0)
    table[np.tril_indices(k, -1)] = inf
    table[:, ~alive] = inf
    upper = up(np.sqrt(np.minimum(table.min(axis=1), rest)), 8)
    return lower, np.minimum.accumulate(upper)


def _from_residual(count: int, U: Array, s: Array, Vt: Array, spread: float) -> tuple[Array, Array]:
    """Weyl and Ostrowski: sigma_i within `spread` of |s_i| times what U and V stretch."""
    values = np.zeros(count)
    values[: len(s)] = np.sort(np.abs(s))[::-1]
    a, b = (departure(U), departure(Vt.conj().T)) if len(s) else (0.0, 0.0)
    least = sqrt(max(1 - a, 0) * max(1 - b, 0)) * (1 - 8 * UNIT)
    lower = values * least * (1 - 2 * UNIT) - spread if np.isfinite(spread) else np.zeros(count)
    upper = up(values * sqrt((1 + a) * (1 + b)) + spread, 16)
    return np.maximum(lower * (1 - 2 * UNIT), 0), np.where(np.isnan(upper), inf, upper)


def departure(V: Array) -> float:
    """Upper bound of ``||V^H V - I||_F``."""
    F = V.conj().T @ V
    F[np.diag_indices(len(F))] -= 1
    bound = up(_norm(F) + product_error(V, len(V)) * _norm(V) ** 2, 8) + len(F) * FLOOR
    return bound if np.isfinite(bound) else inf


def _norm(A: Array) -> float:
    """Upper bound of the Frobenius norm."""
    return up(float(np.linalg.norm(A)), 2 * A.size + 4) + (A.size * FLOOR if A.any() else 0.0)


def _widest(lower: Array, upper: Array) -> float:
    if np.isinf(upper).any():
        return inf
    return float(((upper - lower) / np.where(upper > 0, upper, 1)).max(initial=0))


def _divided(a: float, b: float, towards: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.nextafter(np.float64(a) / np.float64(b), towards))

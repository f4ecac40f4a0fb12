"""Matrices that try a truncated SVD at its ends, and a checker of all that a result says of itself.

Truth is LAPACK in float64 on the stored entries, converted without rounding and divided by a power of two, so that no
square leaves the range of numbers; what factors in doubles leave is taken in 80-bit floats.
"""

from dataclasses import dataclass

import numpy as np
from numpy.linalg import norm

EPS = float(np.finfo(float).eps)
M, N = 150, 120  # rows and columns
ROUNDING = 8  # times max(m, n) eps s_1: what separates two backward stable answers here
COMPLEX = 2 * np.sqrt(2)  # the same of complex products, over real ones (Higham 2002, lemma 3.5)
REASONS = {"converged", "max_reads", "unresolved", "rank_deficient", "saturated"}


def _orthonormal(side, columns, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((side, columns)))[0]


def _of_spectrum(s, m=M, n=N, seed=0):
    return (_orthonormal(m, len(s), seed) * s) @ _orthonormal(n, len(s), seed + 1).T


def _noise(m=M, n=N, seed=5):
    return np.random.default_rng(seed).standard_normal((m, n))


def _hilbert():
    i, j = np.ogrid[:M, :N]
    return 1.0 / (i + j + 1)


def _huge_row():
    A = _noise()
    A[37] *= 1e12
    return A


def _huge_entry():
    A = _noise()
    A[37, 41] = 3e12
    return A


MATRICES = {
    "hilbert": _hilbert,
    "vandermonde": lambda: np.vander(np.linspace(0, 1, M), N, increasing=True),
    "graded": lambda: _of_spectrum(np.logspace(0, -15, N)),
    "clusters": lambda: _of_spectrum(
        np.repeat(10.0 ** -np.arange(0, 12, 2), 20) * (1 - 1e-10 * np.arange(N))
    ),
    "zero": lambda: np.zeros((M, N)),
    "rank 1": lambda: np.outer(np.arange(1.0, M + 1), np.cos(np.arange(N))),
    "huge row": _huge_row,
    "huge entry": _huge_entry,
    "1e36": lambda: _noise() * 1e36,
    "1e-40": lambda: _noise() * 1e-40,
    "1e200": lambda: _noise() * 1e200,
    "largest": None,
    "least": None,
}


def extreme(name, dtype):
    """The matrix in a dtype; a complex one has the imaginary part of its reverse."""
    dtype = np.dtype(dtype)
    if name == "largest":
        A = 1 + 0.1 * _noise()  # of one sign, so that A v is larger than any entry
        A *= float(np.finfo(dtype).max) / 2 / np.abs(A).max()
    elif name == "least":
        A = _of_spectrum(1 / np.arange(1.0, N + 1))
        # Not below 1e-280: singular values, which are float64, are to keep their digits.
        A *= max(1000 * float(np.finfo(dtype).smallest_subnormal), 1e-280) / np.abs(A).max()
    else:
        A = MATRICES[name]()
    if dtype.kind == "c" and A.any():
        A = A + 0.5j * A[::-1, ::-1]
    return A.astype(dtype)


@dataclass(frozen=True)
class Truth:
    """The matrix times ``2^power``, in float64 or complex128, and the singular values of that."""

    A: np.ndarray
    power: int
    s: np.ndarray

    @classmethod
    def of(cls, A):
        wide = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)
        peak = float(np.abs(wide).max())
        power = -int(np.floor(np.log2(peak))) if peak else 0
        parts = wide.view(np.float64)  # of complex numbers both
        np.ldexp(parts, power, out=parts)
        return cls(wide, power, np.linalg.svd(wide, compute_uv=False))

    def times(self, figure):
        return np.ldexp(figure, self.power)


def complaints(truth, result, tol=1e-2):
    """What the result says that is not so, in words; empty where all is true.

    Bounds of certificates count as they are. Where rounding decides, it is that of a backward stable method: `ROUNDING`
    times n eps s_1, of the precision that the method computes in or that U and Vt are stored in.
    """
    U, s, Vt = result
    info, A, true = result.info, truth.A, truth.s
    m, n = A.shape
    found = []

    def claim(holds, words):
        if not holds:
            found.append(words)

    out = float(np.finfo(U.dtype).eps)
    top = true[0]
    exact = info.method in ("full", "tsqr", "gram")
    work = out if info.method in ("krylov", "shift", "rsvd", "gram", "lanczos") else EPS
    rounding_of = ROUNDING * max(m, n) * (COMPLEX if A.dtype.kind == "c" else 1.0)
    slack, stored = rounding_of * work * top, rounding_of * out * top
    if info.method == "single_pass":
        slack += 100 * 1.5e-8 * top
    k = len(s)
    if not (np.isfinite(U).all() and np.isfinite(Vt).all() and np.isfinite(s).all()):
        return [f"not finite: U {np.isfinite(U).all()} s {np.isfinite(s).all()} Vt {np.isfinite(Vt).all()}"]
    for name, X in (("U", U), ("Vt", Vt.conj().T)):
        X = X.astype(np.complex128)
        off = norm(X.conj().T @ X - np.eye(k), 2)
        claim(off <= ROUNDING * max(m, n) * out, f"{name} is off orthonormal by {off:.1e}")
    claim(info.reason in REASONS, f"reason {info.reason}")
    scaled = truth.times(s)
    claim((np.diff(scaled) <= 0).all(), "s is not descending")
    above = np.max(scaled - true[:k])
    claim(above <= slack, f"s is above the truth by {above / (top or 1):.1e} s_1")

    wide = A.dtype
    if out == EPS:  # else what was stored decides, and doubles tell it
        wide = np.clongdouble if A.dtype.kind == "c" else np.longdouble
    E = A.astype(wide) - (U.astype(wide) * scaled.astype(wide)) @ Vt.astype(wide)
    peak = float(np.abs(E).max()) or 1.0
    E = (E / peak).astype(A.dtype)
    frobenius, spectral = norm(E) * peak, norm(E, 2) * peak
    told, resolution = truth.times(info.frobenius_error), truth.times(info.frobenius_resolution)
    if info.frobenius_kind == "exact":
        claim(
            abs(frobenius - told) <= resolution,
            f"frobenius exact {told:.3e} is {frobenius:.3e} resolution {resolution:.1e}",
        )
    else:
        claim(
            info.frobenius_kind == "floor" and frobenius <= told,
            f"frobenius {info.frobenius_kind} {told:.3e} is {frobenius:.3e}",
        )
    size = norm(A)
    claim(
        abs(truth.times(info.frobenius_norm) - size) <= max(m, n) * work * size,
        f"norm {truth.times(info.frobenius_norm):.6e} is {size:.6e}",
    )
    claim(abs(info.relative_error - (told / size if size else 0)) <= 1e-5 or told > size, "relative error")
    if info.spectral_kind != "none":
        bound = truth.times(info.spectral_error)
        claim(bound >= spectral, f"spectral {info.spectral_kind} {bound:.3e} below {spectral:.3e}")
        claim(
            info.spectral_kind == "probabilistic" or bound <= spectral + stored,
            f"spectral exact {bound:.3e} is {spectral:.3e}",
        )
    if info.reason == "rank_deficient":
        claim(info.numerical_rank < k, "rank_deficient with full numerical rank")
    if info.numerical_rank < k:
        last = true[info.numerical_rank]
        floor = 2e-8 if info.method == "single_pass" else ROUNDING * max(m, n) * EPS
        claim(
            last <= floor * top,
            f"numerical rank {info.numerical_rank}, but the next value is {last / (top or 1):.1e} s_1",
        )
    if info.spectrum is not None:
        off = np.abs(truth.times(info.spectrum) - true).max()
        known = 16 * EPS * top  # the truth is LAPACK's too, and no better known than what is held against it
        claim(
            off <= truth.times(info.spectrum_resolution) + known,
            f"spectrum off by {off / (top or 1):.1e} s_1",
        )
    if info.residuals is not None and not info.polished:
        R = A.conj().T @ U.astype(A.dtype) - Vt.conj().T.astype(A.dtype) * scaled
        told, true_one = truth.times(info.residuals), norm(R, axis=0)
        # What rounding of A^H A V leaves, divided by s_i; of A^H u, where s_i is below rounding and u any vector.
        rounding = ROUNDING * max(m, n) * EPS * top**2 / np.where(scaled > EPS * top, scaled, top or 1)
        under = np.max(true_one - told - rounding)
        claim(under <= stored, f"residuals are above those told by {under / (top or 1):.1e} s_1")
        large = scaled > 1e-5 * top
        # A wide matrix is worked on as its transpose, and its pairs leave their residual on the other side.
        other = norm(A @ Vt.conj().T.astype(A.dtype) - U.astype(A.dtype) * scaled, axis=0)
        over = np.max(told - rounding - np.maximum(true_one, other), where=large, initial=0.0)
        claim(over <= stored, f"residuals are below those told by {over / (top or 1):.1e} s_1")
    if info.reason in ("converged", "saturated", "rank_deficient"):
        # To tol, or to rounding; a value that is mostly rounding is not there.
        r = info.numerical_rank
        squares = norm(A.conj().T @ U.astype(A.dtype), axis=0)[:r] ** 2
        following = true[k] if k < len(true) else 0.0
        for name, values, eps in (("U", squares, out), ("s", scaled[:r] ** 2, EPS if exact else out)):
            lost = 64 * eps * top * true[:r]
            if name == "s" and not exact:
                lost = np.minimum(lost, 0.05 * true[:r] ** 2)
            if name == "U":
                lost += (64 * eps * top) ** 2
            allowed = tol * following**2 + lost + (64 * EPS * top) ** 2
            excess = np.max(np.abs(true[:r] ** 2 - values) / np.where(allowed > 0, allowed, 1), initial=0.0)
            claim(excess <= 1, f"{info.reason}: {name} misses what is allowed {excess:.1e} times")
    if info.reason == "converged" and info.estimate == info.estimate:
        claim(info.estimate <= tol, f"converged with estimate {info.estimate:.1e}")
    return found

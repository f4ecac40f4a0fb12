"""Proved enclosures of singular values of matrices whose singular values are known."""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt

import numpy as np
from scipy.linalg import hadamard, pascal

from svdflow.audit.enclosures import Array, Certificate, certify_svd
from svdflow.audit.jacobi import (
    UNIT,
)
from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold


def known_matrices() -> Iterator[tuple[str, Array, Array]]:
    """Matrices of entries without rounding, and their singular values to 4 units of rounding, in closed form."""
    H = hadamard(16).astype(float)
    yield "Hadamard 16", H, np.full(16, 4.0)
    yield "complex Hadamard 32", np.kron(H, np.array([[1, 1j], [1j, 1]])), np.full(32, sqrt(32))
    yield "integers on the diagonal", np.diag(10.0 ** np.arange(9, -1, -1)), 10.0 ** np.arange(9, -1, -1)
    angles = np.arange(40, 0, -1) * np.pi / 82
    yield "second difference 40", 2 * np.eye(40) - np.eye(40, k=1) - np.eye(40, k=-1), 4 * np.sin(angles) ** 2
    yield "shear by 30000", *_shear(30000.0)
    yield "ones, 30 x 20", np.ones((30, 20)), np.r_[sqrt(600), np.zeros(19)]
    yield "zero, 5 x 3", np.zeros((5, 3)), np.zeros(3)


def _shear(a: float) -> tuple[Array, Array]:
    """(1 a; 0 1), whose singular values are reciprocal: (sqrt(a^2 + 4) +- a) / 2."""
    largest = (sqrt(a * a + 4) + a) / 2
    return np.array([[1, a], [0, 1]]), np.array([largest, 1 / largest])


def audit_enclosures(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[..., Certificate] = certify_svd
) -> Iterator[Record]:
    """Enclosures of singular values that are known in closed form: they hold them, and they are narrow.

    Factors are LAPACK's, and the same with faults that a proof must survive: values that are wrong, vectors that are
    not orthonormal, fewer than all. Pascal's matrix has reciprocal eigenvalues, so the product of the extremes is 1.
    """
    judge = Judge("conditioning", "enclosures", seed, limits)
    for name, A, known in known_matrices():
        factors = np.linalg.svd(A, full_matrices=False)
        found = {fault: subject(A, *wrong) for fault, wrong in _faults(*factors, seed).items()}
        missed = {fault: _missed(certificate, known) for fault, certificate in found.items()}
        right = found["right factors"]
        reason = ", ".join(f"{count} outside with {fault}" for fault, count in missed.items() if count)
        reason = reason or f"{len(known)} values inside with {', '.join(missed)}"
        reason += f"; kappa in [{right.kappa[0]:.10g}, {right.kappa[1]:.10g}]"
        yield judge("enclosure_truth", name, sum(missed.values()), 0.0, reason)
        if right.kappa[1] < 1e10:
            yield judge("enclosure_width", name, right.width, right.width)
    A = pascal(10).astype(float)
    right = subject(A, *np.linalg.svd(A))
    ends = float(right.lower[0] * right.lower[-1]), float(right.upper[0] * right.upper[-1])
    outside = not ends[0] * (1 - 4 * UNIT) <= 1 <= ends[1] * (1 + 4 * UNIT)
    reason = f"s_1 s_n in 1 {ends[0] - 1:+.1e} {ends[1] - 1:+.1e}; kappa at least {right.kappa[0]:.10g}"
    yield judge("enclosure_truth", "Pascal 10", float(outside), 0.0, reason)
    yield judge("enclosure_width", "Pascal 10", right.width, right.width)


def _faults(U: Array, s: Array, Vt: Array, seed: int) -> dict[str, tuple[Array, Array, Array]]:
    noise = 1e-3 * np.random.default_rng(seed).standard_normal(U.shape)
    k = max(len(s) // 2, 1)
    return {
        "right factors": (U, s, Vt),
        "wrong values": (U, 1.01 * s[::-1], Vt),
        "vectors not orthonormal": (U + noise, s, 3 * Vt),
        "the right product alone": (2 * U, s / 2, Vt),
        "half of the factors": (U[:, :k], s[:k], Vt[:k]),
    }


def _missed(certificate: Certificate, known: Array) -> int:
    """How many known values, each with 4 units of rounding, lie outside their enclosures."""
    slack = 8 * UNIT * known
    return int(np.count_nonzero((known + slack < certificate.lower) | (known - slack > certificate.upper)))

"""Faults in solvers of linear systems and least squares problems, and in decisions on the rank."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from svdflow.audit.condition import norm_records
from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.hilbert import audit_hilbert
from svdflow.selfcheck.integer_ranks import audit_integer_rank
from svdflow.selfcheck.least_squares_solvers import audit_least_squares, by_normal_equations, by_numpy, by_qr
from svdflow.selfcheck.linear_solvers import audit_solve
from svdflow.selfcheck.mutants.mutant import AuditOf, Limits, Mutant
from svdflow.selfcheck.penrose import audit_penrose, audit_tikhonov, by_filter, by_svd
from svdflow.selfcheck.perturbation import audit_perturbation_laws, by_lapack
from svdflow.selfcheck.strd import audit_strd

Array = np.ndarray


def by_inverse(A: Array, b: Array) -> Array:
    """inv(A) b, called a solve."""
    return np.linalg.inv(A) @ b


def single_solve(A: Array, b: Array) -> Array:
    """Solved in float32 and handed over as float64."""
    return np.linalg.solve(A.astype(np.float32), b.astype(np.float32)).astype(float)


def transposed_solve(A: Array, b: Array) -> Array:
    """A^T x = b solved."""
    return np.linalg.solve(A.T, b)


def row_dropped(A: Array, b: Array) -> tuple[Array, int]:
    """The last observation left out."""
    return by_qr(A[:-1], b[:-1])


def absolute_rank(stack: Array) -> Any:
    """Singular values above 1e-15, whatever the largest is."""
    return np.count_nonzero(np.linalg.svd(stack, compute_uv=False) > 1e-15, axis=1)


def rank_off_by_one(stack: Array) -> Any:
    """The index of the last singular value that counts, taken for their number."""
    return np.linalg.matrix_rank(stack) - 1


def every_value_inverted(A: Array, rcond: float = 0.0) -> Array:
    """A pseudo-inverse without a cut-off: what is rounding is inverted too."""
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    kept = s > rcond * s[0]
    return (Vh[kept].conj().T / s[kept]) @ U[:, kept].conj().T


def unconjugated_inverse(A: Array, *rcond: float) -> Array:
    """The pseudo-inverse of the conjugate matrix."""
    return by_svd(A, *rcond).conj()


def linear_damping(A: Array, b: Array, damping: float) -> Array:
    """The damping in place of its square in the normal equations."""
    return by_filter(A, b, np.sqrt(damping))


def diagonal_of_r(A: Array, k: int) -> tuple[Array, Array, Array]:
    """A QR decomposition called an SVD: the diagonal of R for the singular values."""
    Q, R = np.linalg.qr(A)
    s = np.abs(np.diagonal(R))
    order = np.argsort(-s)[:k]
    return Q[:, order], s[order], (R / np.diagonal(R)[:, None])[order]


def _laws(seed: int, limits: Limits, subject: Any) -> Iterable[Record]:
    return audit_perturbation_laws(seed, limits, subject, by_lapack)


def outspoken(A: Array, s: Array, limits: Limits, subject: str) -> Iterator[Record]:
    """The condition panel with every number given for good."""
    return (row.at(verdict=Verdict.PASS) for row in norm_records(A, s, limits, subject))


FAULTS: list[tuple[str, str, str, AuditOf, Any, Any]] = [
    ("inv called a solve", "solve_backward", "Rigal-Gaches", audit_solve, by_inverse, np.linalg.solve),
    ("solve in float32", "solve_backward", "Oettli-Prager", audit_solve, single_solve, np.linalg.solve),
    ("solve of A^T", "solve_backward", "Rigal-Gaches", audit_solve, transposed_solve, np.linalg.solve),
    ("normal equations", "ls_backward", "kappa", audit_least_squares, by_normal_equations, by_qr),
    ("observation left out", "ls_backward", "worst at", audit_strd, row_dropped, by_qr),
    ("rank lost in least squares", "ls_backward", "rank 10 of 11", audit_strd, by_numpy, by_qr),
    ("digits lost on Filip", "strd_digits", "rank 10", audit_strd, by_numpy, by_qr),
    (
        "absolute cut-off of the rank",
        "integer_rank",
        "ranks wrong",
        audit_integer_rank,
        absolute_rank,
        np.linalg.matrix_rank,
    ),
    (
        "rank off by one",
        "integer_rank",
        "100000 ranks wrong",
        audit_integer_rank,
        rank_off_by_one,
        np.linalg.matrix_rank,
    ),
    ("pinv without a cut-off", "pinv_norm", "took rounding", audit_penrose, every_value_inverted, by_svd),
    ("pinv of the conjugate", "penrose", "complex", audit_penrose, unconjugated_inverse, by_svd),
    ("damping not squared", "tikhonov", "dampings", audit_tikhonov, linear_damping, by_filter),
    ("QR called an SVD", "weyl", "attained share", _laws, diagonal_of_r, by_lapack),
    (
        "silent number on Hilbert 14",
        "silent_number",
        "condition_one",
        audit_hilbert,
        outspoken,
        norm_records,
    ),
]

MUTANTS = [
    Mutant(name, row, Verdict.FAIL, phrase, audit, fault, right)
    for name, row, phrase, audit, fault, right in FAULTS
]

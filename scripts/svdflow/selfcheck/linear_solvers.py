"""Backward errors of linear solvers, and whether the error bounds that follow from them hold.

Residuals are rounded once and reference solutions are exact, so that the audit sees faults far below the
rounding of what it audits.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import fsum, lcm
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import randsvd

FAMILY = "conditioning"
EPS = float(np.finfo(float).eps)
SPLIT = 2.0**27 + 1  # Dekker (1971): splits 53 bits into 26 and 26 with a sign
KAPPAS = 10.0 ** np.arange(1, 15)
GROWTH_SIZE = 60  # rows of the matrix whose pivots grow by 2^59 (Wilkinson), more than the 53 bits of float64
SIZE = 12  # exact inverses of rationals cost n^3 products of n * 53 bits

Solver = Callable[[np.ndarray, np.ndarray], Any]


def residual(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``b - A x``, each entry rounded once from its exact value.

    Parameters
    ----------
    A : shape (m, n), float64
    x : shape (n,)
    b : shape (m,)

    Notes
    -----
    The halves of Dekker's split multiply without rounding, and `math.fsum` adds without it. Products must
    stay away from overflow and underflow. All NaN where x is not finite.
    """
    if not np.isfinite(x).all():
        return np.full(len(A), np.nan)
    ends = zip(_halves(np.asarray(A, float)), _halves(np.asarray(x, float)), strict=True)
    (A1, x1), (A2, x2) = ends
    products = np.concatenate([A1 * x1, A1 * x2, A2 * x1, A2 * x2], axis=1)
    return np.array([fsum([bi, *-row]) for bi, row in zip(np.asarray(b, float), products, strict=True)])


def _halves(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    high = SPLIT * X
    high = high - (high - X)
    return high, X - high


def normwise_backward_error(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> float:
    """Least ``t`` with ``(A + E) x = b + f``, ``||E|| <= t ||A||``, ``||f|| <= t ||b||`` (Rigal and Gaches 1967).

    In the infinity norm, A of shape (m, n), x of (n,), b of (m,).
    """
    size = np.abs(A).sum(1).max() * np.abs(x).max() + np.abs(b).max()
    return _ratio(np.abs(residual(A, x, b)).max(), size)


def componentwise_backward_error(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> float:
    """Least ``t`` with ``(A + E) x = b + f``, ``|E| <= t |A|``, ``|f| <= t |b|`` (Oettli and Prager 1964)."""
    r, size = np.abs(residual(A, x, b)), np.abs(A) @ np.abs(x) + np.abs(b)
    return max((_ratio(*pair) for pair in zip(r, size, strict=True)), default=0.0)


def _ratio(part: float, whole: float) -> float:
    """Their quotient; infinite, never NaN, where that says nothing, so that no maximum passes over it."""
    if whole == 0 or not np.isfinite(part):
        return 0.0 if part == 0 else float("inf")
    return float(part / whole)


def exact_solve(A: Any, B: Any) -> list[list[Fraction]]:
    """Exact solution X of ``A X = B``, rows of fractions.

    Parameters
    ----------
    A : shape (n, n), floats or fractions, non-singular
    B : shape (n, r)

    Raises
    ------
    ZeroDivisionError
        A is singular.

    Notes
    -----
    Fraction-free elimination (Bareiss 1968) of the rows scaled to integers.
    """
    rows = [_integers([*a, *b]) for a, b in zip(A, B, strict=True)]
    n, before = len(rows), 1
    for k in range(n):
        pivot = next((i for i in range(k, n) if rows[i][k]), None)
        if pivot is None:
            raise ZeroDivisionError(f"the matrix is singular: column {k} depends on those before it")
        rows[k], rows[pivot] = rows[pivot], rows[k]
        top = rows[k]
        for i in range(n):
            if i != k:
                row = rows[i]
                rows[i] = [
                    (top[k] * row[j] - row[k] * top[j]) // before if j > k or j == i else 0
                    for j in range(len(row))
                ]
        before = top[k]
    return [[Fraction(value, rows[i][i]) for value in rows[i][n:]] for i in range(n)]


def _integers(row: list[Any]) -> list[int]:
    """The row times the least common denominator of its entries."""
    entries = [Fraction(value) for value in row]
    common = lcm(*(entry.denominator for entry in entries))
    return [entry.numerator * (common // entry.denominator) for entry in entries]


def by_inverse(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The way not to solve: the inverse times the right-hand side."""
    return np.linalg.inv(A) @ b


def audit_solve(
    seed: int, limits: Mapping[str, Threshold], subject: Solver = np.linalg.solve
) -> Iterator[Record]:
    """Backward and forward errors of a solver for condition numbers from 10 to 1e14, beside those of inv.

    One more row shows partial pivoting at its worst, which backward errors find and condition numbers do not.

    Parameters
    ----------
    seed : int
    limits : mapping of audit name to Threshold
    subject : callable
        ``x = subject(A, b)`` for A of shape (n, n) and b of (n,), float64.

    Notes
    -----
    DGET02 and DGET07 of LAPACK's TESTING/LIN. Forward errors are exact, and their law
    ``|x - x*| <= omega |A^-1| (|A| |x| + |b|)`` is that of Oettli and Prager (Higham 2002, theorem 7.4).
    """
    judge = Judge(FAMILY, "solve", seed, limits)
    rng = np.random.default_rng([seed, 7])
    cases = []
    for kappa in KAPPAS:
        A = randsvd(rng, SIZE, SIZE, np.geomspace(1, 1 / kappa, SIZE))
        b = A @ rng.standard_normal(SIZE)
        inverse = np.array(exact_solve(A, np.eye(SIZE)))
        cases.append((kappa, A, b, inverse, inverse @ np.array([Fraction(v) for v in b])))
    yield from _backward_records(judge, cases, subject)
    yield _growth_record(judge, rng, subject)
    yield from _forward_records(judge, cases, subject)


def _backward_records(judge: Judge, cases: list[tuple[Any, ...]], subject: Solver) -> Iterator[Record]:
    # exact residuals: what stays unseen is their one rounding
    for audit, name, solver in (
        ("solve_backward", getattr(subject, "__name__", "solver"), subject),
        ("peer_backward_error", "inv(A) @ b", by_inverse),
    ):
        found = [(kappa, A, solver(A, b), b) for kappa, A, b, *_ in cases]
        normwise = [(normwise_backward_error(A, x, b) / EPS, kappa) for kappa, A, x, b in found]
        value, kappa = max(normwise)
        advice = "; use solve instead" if solver is by_inverse else ""
        reason = (
            f"Rigal-Gaches {value * EPS:.1e} at kappa {kappa:.0e}, {normwise[7][0] * EPS:.1e} at 1e8{advice}"
        )
        yield judge(audit, f"{name}, normwise", value, EPS, reason)
        value, kappa = max(
            (componentwise_backward_error(A, x, b) / ((SIZE + 1) * EPS), kappa) for kappa, A, x, b in found
        )
        reason = f"Oettli-Prager {value * (SIZE + 1) * EPS:.1e} at kappa {kappa:.0e}{advice}"
        yield judge(audit, f"{name}, componentwise", value, EPS, reason)


def growth_matrix(n: int) -> np.ndarray:
    """Wilkinson's matrix: pivoting by rows lets the last column grow to ``2^(n - 1)``, at a condition number of n / 2.

    Higham (2002), section 9.4.
    """
    A = np.eye(n) - np.tril(np.ones((n, n)), -1)
    A[:, -1] = 1
    return A


def _growth_record(judge: Judge, rng: np.random.Generator, subject: Solver) -> Record:
    A, b = growth_matrix(GROWTH_SIZE), rng.standard_normal(GROWTH_SIZE)
    value = normwise_backward_error(A, subject(A, b), b) / EPS
    reason = f"Rigal-Gaches {value * EPS:.1e} at kappa {np.linalg.cond(A):.0f}: elimination grew"
    if value > judge.limits["peer_backward_error"].warn:
        reason += "; use lstsq_qr where the backward error is not small"
    name = getattr(subject, "__name__", "solver")
    return judge("peer_backward_error", f"{name}, Wilkinson's matrix", value, EPS, reason)


def _forward_records(judge: Judge, cases: list[tuple[Any, ...]], subject: Solver) -> Iterator[Record]:
    law, bound, width = (0.0, 0.0, ""), (0.0, 0.0), 0.0
    for kappa, A, b, inverse, truth in cases:
        x = subject(A, b)
        error = _exact_error(x, truth)
        omega = componentwise_backward_error(A, x, b)
        reach = omega * (np.abs(inverse.astype(float)) @ (np.abs(A) @ np.abs(x) + np.abs(b))).max()
        words = f"error {error / np.abs(x).max():.1e} where omega {omega:.1e}, kappa {kappa:.0e}"
        law = max(law, (_ratio(error, reach), kappa, words))
        *_, told, _, ferr, berr, _ = scipy.linalg.lapack.dgesvx(A, b[:, None])
        told = told[:, 0]
        share = _exact_error(told, truth) / (np.abs(told).max() * float(ferr[0]))
        bound = max(bound, (share, kappa))
        width = max(width, float(berr[0]) / EPS)
    yield judge("solve_forward", getattr(subject, "__name__", "solver"), law[0], 4 * SIZE * EPS, law[2])
    reason = f"true over promised error, worst at kappa {bound[1]:.0e}; BERR at most {width:.1f} eps"
    yield judge("solve_bound", "LAPACK gesvx FERR", bound[0], 4 * SIZE * EPS, reason)


def _exact_error(x: np.ndarray, truth: np.ndarray) -> float:
    if not np.isfinite(x).all():
        return float("inf")
    return float(max(abs(Fraction(float(a)) - t) for a, t in zip(x, truth, strict=True)))

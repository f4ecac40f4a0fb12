"""What the plots of the report are drawn from: error against step, digits lost against condition."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.audit.step_errors import error_against_step
from svdflow.least_squares.dense import pinv
from svdflow.selfcheck.sample_matrices import randsvd

Array = np.ndarray
Row = dict[str, Any]
KAPPAS = 10.0 ** np.arange(0, 17)  # up to 1 / eps, where no digit is left
SIZE = 20  # rows and columns
MATRICES = 5  # matrices of each condition number; the median is drawn
DERIVATIVE = 0.072561626520431690766  # mpmath.diff to 40 digits
DIGITS = -np.log10(2.0**-53)  # decimal digits of float64: 15.95

SOLVERS: dict[str, Callable[[Array, Array], Array]] = {
    "solve": lambda A, b: scipy.linalg.lu_solve(scipy.linalg.lu_factor(A, check_finite=False), b),
    "inverse": lambda A, b: np.linalg.inv(A) @ b,
    "QR": lambda A, b: _by_qr(A, b),
    "pseudo-inverse": lambda A, b: pinv(A).matrix @ b,
    "normal equations": lambda A, b: np.linalg.solve(A.T @ A, A.T @ b),
}


def _by_qr(A: Array, b: Array) -> Array:
    Q, R = np.linalg.qr(A)
    return scipy.linalg.solve_triangular(R, Q.T @ b)


def differences(seed: int) -> Iterator[Row]:
    """Relative errors of difference formulas by step, for sin(x^2) exp(-x) + ln x at 1.5; nothing in it is random."""
    errors = error_against_step(
        lambda x: np.sin(x * x) * np.exp(-x) + np.log(x), lambda x: x * 0 + DERIVATIVE, 1.5, exact=DERIVATIVE
    )
    for series, values in (
        ("forward", errors.forward),
        ("central", errors.central),
        ("Richardson", errors.richardson),
        ("complex step", errors.complex_step),
    ):
        yield from (_row("gradients", "error_against_step", series, h, y) for h, y in zip(errors.h, values))


def digits_lost(seed: int) -> Iterator[Row]:
    """Decimal digits of x = 1 that solving A x = b loses, for random A of each condition number.

    The right-hand side is A x rounded, so that about log10(kappa) digits are lost by any method; normal equations lose
    twice as many, and the pseudo-inverse, which cuts at n eps s_1, all of them above 1 / (n eps).
    """
    rng = np.random.default_rng(seed)
    x = np.ones(SIZE)
    for kappa in KAPPAS:
        lost: dict[str, list[float]] = {name: [] for name in SOLVERS}
        for _ in range(MATRICES):
            A = randsvd(rng, SIZE, SIZE, np.geomspace(1, 1 / kappa, SIZE))
            for name, solver in SOLVERS.items():
                lost[name].append(_lost(solver, A, A @ x, x))
        for name, values in lost.items():
            yield _row("conditioning", "digits_lost", name, kappa, float(np.median(values)))


def _lost(solver: Callable[[Array, Array], Array], A: Array, b: Array, x: Array) -> float:
    try:
        with np.errstate(all="ignore"):
            error = float(np.linalg.norm(solver(A, b) - x) / np.linalg.norm(x))
    except np.linalg.LinAlgError:
        error = 1.0
    error = 1.0 if not np.isfinite(error) else min(max(error, 2.0**-53), 1.0)
    return float(DIGITS + np.log10(error))


def _row(family: str, curve: str, series: str, x: float, y: float) -> Row:
    return {"family": family, "curve": curve, "series": series, "x": float(x), "y": float(y)}

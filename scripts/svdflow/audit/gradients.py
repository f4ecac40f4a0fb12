"""Gradients in closed form against differences: the identities that svdflow's own formulas rest on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np

from svdflow.audit.difference import check_gradient
from svdflow.audit.records import Record, attempt, publish_records
from svdflow.audit.verdicts import Threshold, resolve

Array = np.ndarray


@dataclass(frozen=True)
class Problem:
    """A scalar function, its gradient in closed form, and where to check it.

    `radius` bounds the steps; `rtol` is what the gradient's own rounding may amount to.
    """

    f: Callable[[Array], Any]
    grad: Callable[[Array], Array]
    x: Array
    radius: float = inf
    rtol: float = 1e-10


def trace_axb(rng: np.random.Generator) -> Problem:
    """d tr(A X B) / dX = A^T B^T (Petersen and Pedersen, Matrix Cookbook, eq. 101)."""
    A, X, B = rng.standard_normal((6, 8)), rng.standard_normal((8, 5)), rng.standard_normal((5, 6))
    return Problem(lambda X: np.trace(A @ X @ B), lambda X: A.T @ B.T, X)


def frobenius_norm(rng: np.random.Generator) -> Problem:
    """d ||X||_F^2 / dX = 2 X."""
    return Problem(lambda X: np.sum(X * X), lambda X: 2 * X, rng.standard_normal((12, 9)))


def log_det(rng: np.random.Generator) -> Problem:
    """d ln |det X| / dX = X^-T; singular values from 1 to 0.1, steps scaled to the smallest.

    A step near s_min crosses to another branch of the determinant, and the difference then converges to a
    wrong slope; hence the radius (a tenth of s_min).
    """
    n, smallest = 8, 0.1
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    X = (left * np.geomspace(1, smallest, n)) @ right
    return Problem(lambda X: np.linalg.slogdet(X)[1], lambda X: np.linalg.inv(X).T, X, radius=0.1 * smallest)


def linear_regression(rng: np.random.Generator) -> Problem:
    """d ||X w - y||^2 / n / dw = 2 X^T (X w - y) / n."""
    n = 40
    X, y, w = rng.standard_normal((n, 6)), rng.standard_normal(n), rng.standard_normal(6)
    return Problem(lambda w: np.mean((X @ w - y) ** 2), lambda w: 2 / n * X.T @ (X @ w - y), w)


def softmax_cross_entropy(rng: np.random.Generator) -> Problem:
    """Mean cross entropy of softmax: its gradient in the logits is (p - y) / n, y one-hot."""
    n, classes = 12, 5
    logits = rng.standard_normal((n, classes))
    y = np.eye(classes)[rng.integers(classes, size=n)]

    def loss(z: Array) -> float:
        shifted = z - z.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(shifted).sum(axis=1)) - (shifted * y).sum(axis=1))

    def grad(z: Array) -> Array:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return (e / e.sum(axis=1, keepdims=True) - y) / n

    return Problem(loss, grad, logits)


PROBLEMS: dict[str, Callable[[np.random.Generator], Problem]] = {
    "trace_axb": trace_axb,
    "frobenius_norm": frobenius_norm,
    "log_det": log_det,
    "linear_regression": linear_regression,
    "softmax_cross_entropy": softmax_cross_entropy,
}


def audit_gradient(name: str, seed: int, thresholds: Mapping[str, Threshold]) -> list[Record]:
    """Check one identity of `PROBLEMS`; one record."""
    problem = PROBLEMS[name](np.random.default_rng(seed))
    limit = thresholds["gradient"]
    options: dict[str, Any] = {
        "seed": seed,
        "radius": problem.radius,
        "rtol": problem.rtol,
        "threshold": limit,
    }
    report = check_gradient(problem.f, problem.grad, problem.x, **options)
    return [report.record("gradient", name, f"python -m svdflow audit {name} --seed {seed}")]


def audit_gradients(
    out: Any, *, seed: int, thresholds: Mapping[str, float], provenance: Mapping[str, Any] | None = None
) -> None:
    """Stage: check every identity and publish the table at `out`.

    Parameters
    ----------
    out : path
        File of kind ``audit``.
    seed : int
        Draws the points and the sampled entries.
    thresholds : mapping
        Overrides of svdflow.audit.verdicts.DEFAULTS.
    """
    limits = resolve(thresholds)
    records = [
        record
        for name in PROBLEMS
        for record in attempt("gradients", "gradient", name, partial(audit_gradient, name, seed, limits))
    ]
    publish_records(out, records, [], provenance)

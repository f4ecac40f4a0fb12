"""Orders of Taylor remainders where gradient and Hessian are known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.taylor import FAMILY, Array, taylor_order
from svdflow.registry import Threshold
from svdflow.selfcheck.gradient_identities import Problem, log_det, softmax


@dataclass(frozen=True)
class HessianProblem(Problem):
    """A problem with its Hessian: `hessian_product` maps (x, v) to H v."""

    hessian_product: Callable[[Array, Array], Array] | None = None


def rosenbrock(rng: np.random.Generator) -> HessianProblem:
    """Rosenbrock's function in 8 dimensions (Rosenbrock 1960), whose derivatives are polynomials."""

    def f(x: Array) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def grad(x: Array) -> Array:
        gap = x[1:] - x[:-1] ** 2
        g = np.zeros(x.shape)
        g[:-1] = -400 * x[:-1] * gap - 2 * (1 - x[:-1])
        g[1:] += 200 * gap
        return g

    def product(x: Array, v: Array) -> Array:
        moved = v[1:] - 2 * x[:-1] * v[:-1]
        Hv = np.zeros(x.shape)
        Hv[:-1] = -400 * (v[:-1] * (x[1:] - x[:-1] ** 2) + x[:-1] * moved) + 2 * v[:-1]
        Hv[1:] += 200 * moved
        return Hv

    return HessianProblem(f, grad, rng.uniform(-1, 1, 8), hessian_product=product)


def log_sum_exp_of_products(rng: np.random.Generator) -> HessianProblem:
    """ln sum exp(A x): gradient A^T p, Hessian A^T (diag p - p p^T) A with the softmax p (Boyd and
    Vandenberghe 2004, section 3.1.5)."""
    A = rng.standard_normal((12, 6))

    def product(x: Array, v: Array) -> Array:
        p, moved = softmax(A @ x), A @ v
        return A.T @ (p * (moved - p @ moved))

    return HessianProblem(
        lambda x: np.log(np.sum(np.exp(A @ x))),
        lambda x: A.T @ softmax(A @ x),
        rng.standard_normal(6),
        hessian_product=product,
    )


def log_det_with_hessian(rng: np.random.Generator) -> HessianProblem:
    """ln |det X|: its Hessian maps V to -X^-T V^T X^-T (derivative of X^-T)."""
    problem = log_det(rng)

    def product(X: Array, V: Array) -> Array:
        turned = np.linalg.inv(X).T
        return -turned @ V.T @ turned

    return HessianProblem(problem.f, problem.grad, problem.x, problem.radius, hessian_product=product)


def linear(rng: np.random.Generator) -> HessianProblem:
    """a^T x + 1, whose remainder vanishes: nothing but noise at any step."""
    a = rng.standard_normal(9)
    return HessianProblem(lambda x: a @ x + 1, lambda x: a, rng.standard_normal(9))


def quadratic(rng: np.random.Generator) -> HessianProblem:
    """x^T A x / 2 + b^T x with symmetric A: R1 falls like h^2 exactly, R2 vanishes."""
    A, b = rng.standard_normal((7, 7)), rng.standard_normal(7)
    A = A + A.T
    return HessianProblem(
        lambda x: x @ A @ x / 2 + b @ x,
        lambda x: A @ x + b,
        rng.standard_normal(7),
        hessian_product=lambda x, v: A @ v,
    )


def audit_taylor_order(
    seed: int,
    limits: Mapping[str, Threshold],
    subject: Mapping[str, Callable[[np.random.Generator], HessianProblem]] | None = None,
) -> Iterator[Record]:
    """Taylor orders of gradients (row ``taylor_order``) and of Hessians (row ``taylor_order_hessian``)."""
    judge = Judge(FAMILY, "taylor_order", seed, limits)
    for name, make in (CASES if subject is None else subject).items():
        case = make(np.random.default_rng(seed))
        orders = [
            ("taylor_order", "gradient", None),
            ("taylor_order_hessian", "Hessian", case.hessian_product),
        ]
        for audit, what, product in orders:
            if audit == "taylor_order" or product:
                options: dict[str, Any] = {"seed": seed, "radius": case.radius, "threshold": limits[audit]}
                report = taylor_order(case.f, case.grad, case.x, product, **options)
                yield report.record(audit, f"{name}, {what}", judge.command)


CASES: dict[str, Callable[[np.random.Generator], HessianProblem]] = {
    "rosenbrock": rosenbrock,
    "log_sum_exp": log_sum_exp_of_products,
    "log_det": log_det_with_hessian,
    "linear": linear,
    "quadratic": quadratic,
}

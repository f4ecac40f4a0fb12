"""Faults in derivatives of the SVD, and in gradients that a Taylor test has to see."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from svdflow.analysis.svd_derivatives import (
    Triplets,
    naive_truncated_backward,
    singular_value_gradient,
    svd_backward,
    svd_derivative,
)
from svdflow.audit.records import Record
from svdflow.audit.taylor import taylor_order
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.gradient_identities import (
    PROBLEMS,
    Problem,
    audit_identity,
    audit_lndet_kappa,
    inverse_transposed,
)
from svdflow.selfcheck.mutants.mutant import Limits, Mutant
from svdflow.selfcheck.planted_derivatives import (
    OWN,
    Derivatives,
    audit_svd_clusters,
    audit_svd_derivative,
    audit_svd_gauge,
    audit_svd_truncated,
)

Array = np.ndarray
Gradient = Callable[[Array], Array]


def next_value(factors: Triplets, i: int) -> Array:
    """The gradient of the singular value before, counted from the end for the first."""
    return singular_value_gradient(factors, i - 1)


def unconjugated_value(factors: Triplets, i: int) -> Array:
    """u v^T in place of u v^H."""
    U, s, Vh = factors
    return singular_value_gradient((U, s, Vh.conj()), i)


def without_outside(factors: Triplets, dA: Array, A: Array | None = None, **options: float) -> Triplets:
    """Vectors turned within the space of U and V, and not out of it."""
    dU, ds, dVh = svd_derivative(factors, dA, A, **options)
    U, _, Vh = factors
    return U @ (U.conj().T @ dU), ds, (dVh @ Vh.conj().T) @ Vh


def backward_of_transpose(
    factors: Triplets, cotangents: Triplets, A: Array | None = None, **options: float
) -> Array:
    """The gradients in U and V in each other's place."""
    gU, gs, gVh = cotangents
    U, _, Vh = factors
    if U.shape != Vh.conj().T.shape:
        return svd_backward(factors, (0 * gU, gs, gVh), A, **options)
    return svd_backward(factors, (gVh.conj().T, gs, gU.conj().T), A, **options)


def finite_at_ties(factors: Triplets, dA: Array, A: Array | None = None, **options: float) -> Triplets:
    """A gap of zero replaced by one: a finite number for what does not exist."""
    return svd_derivative(factors, dA, A, cluster=1e-14)


def first_basis(factors: Triplets, cotangents: Triplets, A: Array | None = None, **options: float) -> Array:
    """Ties broken by a small number, so that the gradient hangs on the basis that LAPACK happened to choose."""
    U, s, Vh = factors
    return svd_backward((U, s * (1 - 1e-9 * np.arange(len(s))), Vh), cotangents, A)


def audit_taylor(seed: int, limits: Limits, factor: tuple[float, float]) -> Iterator[Record]:
    """Orders of the remainders of a sum of exponentials, gradient and Hessian multiplied by two factors."""
    x = np.random.default_rng(seed).uniform(0.5, 1, 8)
    g, h = factor

    def f(x: Array) -> float:
        return float(np.exp(x).sum())

    first, second = limits["taylor_order"], limits["taylor_order_hessian"]
    report = taylor_order(f, lambda x: g * np.exp(x), x, seed=seed, threshold=first)
    yield report.record("taylor_order", "sum of exp")
    report = taylor_order(f, np.exp, x, lambda x, v: h * np.exp(x) * v, seed=seed, threshold=second)
    yield report.record("taylor_order_hessian", "sum of exp")


def squared_norm(rng: np.random.Generator) -> Problem:
    """||X||_F^2 with its closed form 1e-9 too large, against differences and complex step."""
    problem = PROBLEMS["frobenius_norm"](rng)
    return replace(problem, grad=lambda X: problem.grad(X) * (1 + 1e-9))


def _identity(seed: int, limits: Limits, make: Callable[[np.random.Generator], Problem]) -> Iterable[Record]:
    return audit_identity(seed, limits, make, name="frobenius_norm")


SVD_FAULTS: list[tuple[str, str, str, Callable[..., Iterable[Record]], Derivatives]] = [
    (
        "order of singular values off by one",
        "svd_derivative",
        "worst of",
        audit_svd_derivative,
        replace(OWN, value=next_value),
    ),
    (
        "conjugate forgotten in u v^H",
        "svd_derivative",
        "worst of",
        audit_svd_derivative,
        replace(OWN, value=unconjugated_value),
    ),
    (
        "vectors kept in their space",
        "svd_derivative",
        "worst of",
        audit_svd_derivative,
        replace(OWN, forward=without_outside),
    ),
    (
        "gradients of U and V swapped",
        "svd_derivative",
        "worst of",
        audit_svd_derivative,
        replace(OWN, backward=backward_of_transpose),
    ),
    (
        "naive truncated gradient",
        "svd_truncated",
        "worst of",
        audit_svd_truncated,
        replace(OWN, truncated=naive_truncated_backward),
    ),
    (
        "number for a vector at a tie",
        "svd_clusters",
        "a finite number",
        audit_svd_clusters,
        replace(OWN, forward=finite_at_ties),
    ),
    (
        "gradient of one basis at a tie",
        "svd_gauge",
        "worst of",
        audit_svd_gauge,
        replace(OWN, backward=first_basis),
    ),
]

MUTANTS = [
    *(
        Mutant(name, row, Verdict.FAIL, phrase, audit, fault, OWN)
        for name, row, phrase, audit, fault in SVD_FAULTS
    ),
    *(
        Mutant(name, row, Verdict.FAIL, phrase, audit_taylor, fault, (1.0, 1.0))
        for name, row, phrase, fault in [
            ("Taylor order off by one", "taylor_order", "expected 2", (1.1, 1.0)),
            ("error that Taylor tests pass", "taylor_order", "expected 2", (1.001, 1.0)),
            ("Hessian 1 % off", "taylor_order_hessian", "expected 3", (1.0, 1.01)),
        ]
    ),
    Mutant(
        "closed form 1e-9 off",
        "identity",
        Verdict.FAIL,
        "the closed form disagrees",
        _identity,
        squared_norm,
        PROBLEMS["frobenius_norm"],
        1e-9,
    ),
    Mutant(
        "inverse not transposed",
        "lndet_kappa",
        Verdict.FAIL,
        "analytic",
        audit_lndet_kappa,
        np.linalg.inv,
        inverse_transposed,
    ),
]

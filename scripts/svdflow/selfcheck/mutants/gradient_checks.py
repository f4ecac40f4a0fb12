"""Faults in gradients, in the functions they belong to, and in the tolerances they are judged by."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any

import numpy as np

from svdflow.audit.difference import check_gradient
from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.mutants.mutant import AuditOf, Limits, Mutant
from svdflow.selfcheck.sample_matrices import randsvd

Array = np.ndarray
Gradient = Callable[[Array], Array]


@dataclass(frozen=True)
class PlantedGradient:
    """A function with its gradient, where to check it and by which tolerance.

    `wrong` holds formulas in place of `grad`, each with a fault that people make.
    """

    f: Callable[[Array], Any]
    grad: Gradient
    x: Array
    radius: float = inf
    excuse: float = 0.0
    wrong: Mapping[str, Gradient] = field(default_factory=dict)

    def changed(self, change: Callable[[Array], Array]) -> "PlantedGradient":
        """The case with `change` done to the values of its gradient."""
        return replace(self, grad=lambda x: change(self.grad(x)))


Plant = Callable[[PlantedGradient], PlantedGradient]


def sine(rng: np.random.Generator) -> PlantedGradient:
    """sin of one number: the value of the audit is the relative error of its derivative."""
    return PlantedGradient(lambda x: np.sin(x).sum(), np.cos, rng.uniform(0.1, 1, 1))


def squares(rng: np.random.Generator) -> PlantedGradient:
    """||X||_F^2 and 2 X; X is square, so that a transposed gradient has the right shape."""
    return PlantedGradient(lambda X: np.sum(X * X), lambda X: 2 * X, rng.standard_normal((9, 9)))


def trace_axb(rng: np.random.Generator) -> PlantedGradient:
    """tr(A X B) and A^T B^T, X not square."""
    A, B = rng.standard_normal((4, 6)), rng.standard_normal((5, 4))
    return PlantedGradient(lambda X: np.trace(A @ X @ B), lambda X: A.T @ B.T, rng.standard_normal((6, 5)))


def regression(rng: np.random.Generator) -> PlantedGradient:
    """||X w - y||^2 / n and 2 X^T (X w - y) / n."""
    n = 30
    X, y, w = rng.standard_normal((n, 6)), rng.standard_normal(n), rng.standard_normal(6)
    wrong = {
        # (n, 1) - (n,) is (n, n): NumPy says nothing, and the mean over it is a number.
        "broadcast": lambda w: 2 / n * np.mean(X.T @ ((X @ w)[:, None] - y), axis=1),
        "no mean": lambda w: 2 * X.T @ (X @ w - y),
        "no residual": lambda w: 2 / n * X.T @ (X @ w),
    }
    return PlantedGradient(
        lambda w: np.mean((X @ w - y) ** 2), lambda w: 2 / n * X.T @ (X @ w - y), w, wrong=wrong
    )


def cross_entropy(rng: np.random.Generator) -> PlantedGradient:
    """Cross entropy of a softmax, and p - y."""
    y = np.eye(7)[rng.integers(7)]
    return PlantedGradient(
        lambda z: np.log(np.exp(z).sum()) - z @ y,
        lambda z: _softmax(z) - y,
        rng.standard_normal(7),
        wrong={"without target": _softmax},
    )


def softmax_product(rng: np.random.Generator) -> PlantedGradient:
    """softmax(x)' a, and s (a - s' a)."""
    a = rng.standard_normal(7)
    wrong = {"diagonal": lambda x: _softmax(x) * a}
    return PlantedGradient(
        lambda x: _softmax(x) @ a,
        lambda x: _softmax(x) * (a - _softmax(x) @ a),
        rng.standard_normal(7),
        wrong=wrong,
    )


def layer_norm(rng: np.random.Generator) -> PlantedGradient:
    """((x - mean) / sd)' a, and its gradient in x; the usual fault takes sd for a constant."""
    a = rng.standard_normal(8)

    def normal(x: Array) -> Array:
        return (x - x.mean()) / x.std()

    def grad(x: Array) -> Array:
        z = normal(x)
        return (a - a.mean() - z * (a @ z) / a.size) / x.std()

    wrong = {"constant sd": lambda x: (a - a.mean()) / x.std()}
    return PlantedGradient(lambda x: normal(x) @ a, grad, rng.standard_normal(8), wrong=wrong)


def neurons(rng: np.random.Generator) -> PlantedGradient:
    """Sum of tanh, and 1 - tanh^2."""
    wrong = {"1 - y": lambda x: 1 - np.tanh(x)}
    return PlantedGradient(
        lambda x: np.tanh(x).sum(), lambda x: 1 - np.tanh(x) ** 2, rng.uniform(0.3, 1.5, 12), wrong=wrong
    )


def log_det(rng: np.random.Generator) -> PlantedGradient:
    """ln |det X| and X^-T, singular values from 1 to 0.1, steps scaled to the smallest."""
    X = randsvd(rng, 6, 6, np.geomspace(1, 0.1, 6))
    return PlantedGradient(lambda X: np.linalg.slogdet(X)[1], lambda X: np.linalg.inv(X).T, X, radius=0.01)


def tiny_sine(rng: np.random.Generator) -> PlantedGradient:
    """1e-7 sin: every derivative lies under an absolute tolerance of 1e-6."""
    return PlantedGradient(
        lambda x: 1e-7 * np.sin(x).sum(), lambda x: 1e-7 * np.cos(x), rng.uniform(0.1, 1, 5)
    )


def ten_thousand(rng: np.random.Generator) -> PlantedGradient:
    """Sum of the sines of 10,000 entries."""
    return PlantedGradient(lambda x: np.sin(x).sum(), np.cos, rng.uniform(0.1, 1, 10_000))


def corner(rng: np.random.Generator) -> PlantedGradient:
    """Sum of relu and its step function, away from the corner."""
    return PlantedGradient(lambda x: np.maximum(x, 0).sum(), lambda x: (x > 0) * 1.0, rng.uniform(0.5, 1, 6))


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return e / e.sum()


def untouched(case: PlantedGradient) -> PlantedGradient:
    """The control."""
    return case


def wrong(name: str) -> Plant:
    """The gradient replaced by one of the case's wrong formulas."""
    return lambda case: replace(case, grad=case.wrong[name])


def scaled(factor: float) -> Plant:
    """Every entry of the gradient times a factor."""
    return lambda case: case.changed(lambda g: factor * g)


def transposed(case: PlantedGradient) -> PlantedGradient:
    """The gradient of a matrix function, transposed."""
    return case.changed(lambda g: g.T)


def one_entry(case: PlantedGradient) -> PlantedGradient:
    """Entry (0, 0) 10 % too large."""
    return case.changed(lambda g: _multiplied(g, 0, 1.1))


def smallest_sign(case: PlantedGradient) -> PlantedGradient:
    """The wrong sign on the entry of smallest magnitude, the one that matters least."""
    return case.changed(lambda g: _multiplied(g, int(np.abs(g).argmin()), -1.0))


def hidden_sign(case: PlantedGradient) -> PlantedGradient:
    """One wrong sign in 10,000 entries, on none that is sampled for being large."""
    return case.changed(lambda g: _multiplied(g, int(np.argsort(g)[g.size // 2]), -1.0))


def _multiplied(g: Array, flat: int, factor: float) -> Array:
    g = g.copy()
    g.flat[flat] *= factor
    return g


def stale(case: PlantedGradient) -> PlantedGradient:
    """The gradient at the point before the last step."""
    return replace(case, grad=lambda x: case.grad(x + 1e-3))


def leaked(case: PlantedGradient) -> PlantedGradient:
    """The gradient computed in float32 and handed over as float64."""
    return case.changed(lambda g: g.astype(np.float32).astype(np.float64))


def single(case: PlantedGradient) -> PlantedGradient:
    """The function computed in float32: its differences cannot certify anything to 1e-6."""
    return replace(case, f=lambda x: float(case.f(x.astype(np.float32))))


def excused(case: PlantedGradient) -> PlantedGradient:
    """A wrong sign under an absolute tolerance, which may excuse but never certify."""
    return replace(scaled(-1)(case), excuse=1e-5)


def at_corner(case: PlantedGradient) -> PlantedGradient:
    """The corner itself, where no value is the derivative."""
    return replace(case, x=np.zeros_like(case.x), grad=lambda x: np.ones_like(x))


def not_a_number(case: PlantedGradient) -> PlantedGradient:
    """One entry of the gradient is NaN."""
    return case.changed(lambda g: _multiplied(g, 3, np.nan))


def not_scalar(case: PlantedGradient) -> PlantedGradient:
    """The function returns one value a component."""
    return replace(case, f=lambda x: np.broadcast_to(case.f(x), (2,)))


def too_long_steps(case: PlantedGradient) -> PlantedGradient:
    """A right gradient at kappa 1e8 without a radius: slopes converge where steps pass the singular value."""
    left, _, right = np.linalg.svd(case.x)
    return replace(case, x=(left * np.geomspace(1, 1e-8, 6)) @ right, radius=inf)


def checked(make: Callable[[np.random.Generator], PlantedGradient]) -> AuditOf:
    """The gradient check of a case that a fault is planted in."""

    def audit(seed: int, limits: Limits, plant: Plant) -> Iterator[Record]:
        case = plant(make(np.random.default_rng(seed)))
        limit = replace(limits["gradient"], excuse=max(case.excuse, limits["gradient"].excuse))
        report = check_gradient(case.f, case.grad, case.x, seed=seed, radius=case.radius, threshold=limit)
        yield report.record("gradient", make.__name__)

    return audit


# The value is the difference over the larger of the two derivatives.
FIGURES = {"sign": 2, "factor 2": 0.5, "relative error 1e-9": 1e-9, "error 0.1 %": 1e-3}

FAULTS: list[tuple[str, Callable[[np.random.Generator], PlantedGradient], Plant, Verdict, str]] = [
    ("sign", sine, scaled(-1), Verdict.FAIL, "worst"),
    ("factor 2", sine, scaled(0.5), Verdict.FAIL, "worst"),
    ("missing term", cross_entropy, wrong("without target"), Verdict.FAIL, "worst"),
    ("transpose", log_det, transposed, Verdict.FAIL, "worst"),
    ("transpose of another shape", trace_axb, transposed, Verdict.ERROR, "the gradient has shape (5, 6)"),
    ("one entry 10 %", squares, one_entry, Verdict.FAIL, "worst entry (0, 0)"),
    ("one small entry's sign", squares, smallest_sign, Verdict.FAIL, "worst"),
    ("one sign in 10,000", ten_thousand, hidden_sign, Verdict.FAIL, "worst"),
    ("broadcast sum", regression, wrong("broadcast"), Verdict.FAIL, "worst"),
    ("mean forgotten", regression, wrong("no mean"), Verdict.FAIL, "worst"),
    ("residual forgotten", regression, wrong("no residual"), Verdict.FAIL, "worst"),
    ("stale gradient", regression, stale, Verdict.FAIL, "worst"),
    ("float32 leak", squares, leaked, Verdict.FAIL, "worst"),
    ("function in float32", squares, single, Verdict.INCONCLUSIVE, "worse than required"),
    ("relative error 1e-9", sine, scaled(1 + 1e-9), Verdict.FAIL, "worst"),
    ("relative error 1e-9 in a matrix", squares, scaled(1 + 1e-9), Verdict.FAIL, "worst"),
    ("error 0.1 %", sine, scaled(1.001), Verdict.FAIL, "worst"),
    ("error 5 % in 10,000 entries", ten_thousand, scaled(1.05), Verdict.FAIL, "worst"),
    ("sign of a tiny gradient", tiny_sine, scaled(-1), Verdict.FAIL, "worst"),
    ("unscaled tolerance", tiny_sine, excused, Verdict.INCONCLUSIVE, "excused"),
    ("softmax Jacobian's diagonal", softmax_product, wrong("diagonal"), Verdict.FAIL, "worst"),
    ("layer norm's sd constant", layer_norm, wrong("constant sd"), Verdict.FAIL, "worst"),
    ("tanh' = 1 - y", neurons, wrong("1 - y"), Verdict.FAIL, "worst"),
    ("derivative at a corner", corner, at_corner, Verdict.INCONCLUSIVE, "kink"),
    ("steps past the singular value", log_det, too_long_steps, Verdict.INCONCLUSIVE, "finer steps"),
    ("NaN in a gradient", squares, not_a_number, Verdict.ERROR, "holds nan at (0, 3)"),
    ("function of two values", squares, not_scalar, Verdict.ERROR, "a gradient needs a scalar"),
]

AUDITED = {make: checked(make) for _, make, *_ in FAULTS}

MUTANTS = [
    Mutant(name, "gradient", verdict, phrase, AUDITED[make], plant, untouched, FIGURES.get(name, nan))
    for name, make, plant, verdict, phrase in FAULTS
]

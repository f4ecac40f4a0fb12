"""Hessian-vector products: symmetric, linear, of the right order, and equal to differences of the gradient."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.gradient_identities import softmax
from svdflow.selfcheck.sample_matrices import randsvd

Array = np.ndarray
EPS = float(np.finfo(np.float64).eps)
HALVINGS = 24  # steps of the remainder, from the radius to 1e-7 of it, where its h^3 is below rounding
POINTS = 4  # remainders above rounding that a slope needs; fewer follow chance
CLEAR = 1e3  # multiples of its rounding from which a remainder counts: the slope is then known to 0.1 %
LEVELS = 12  # halvings of the step at which the gradient is differenced; the best of the extrapolated ones is taken


@dataclass(frozen=True)
class Curved:
    """A real function of a vector, its gradient and its Hessian times a vector, at x.

    `radius` bounds the steps, in units of ``||x||_inf + 1``.
    """

    f: Callable[[Array], float]
    grad: Callable[[Array], Array]
    hvp: Callable[[Array, Array], Array]
    x: Array
    radius: float = 0.25


def softmax_cross_entropy(rng: np.random.Generator) -> Curved:
    """Mean cross entropy of softmax: the Hessian in the logits is ``(diag p - p p^T) / n`` for each of n samples."""
    n, classes = 10, 5
    y = np.eye(classes)[rng.integers(classes, size=n)]

    def chances(x: Array) -> Array:
        return softmax(x.reshape(n, classes))

    def f(x: Array) -> float:
        return float(-np.sum(y * np.log(chances(x))) / n)

    def hvp(x: Array, v: Array) -> Array:
        p, v = chances(x), v.reshape(n, classes)
        return (p * (v - np.sum(p * v, axis=1, keepdims=True)) / n).ravel()

    return Curved(f, lambda x: ((chances(x) - y) / n).ravel(), hvp, rng.standard_normal(n * classes))


def log_det(rng: np.random.Generator) -> Curved:
    """``ln |det X|``: H[V] = -X^-T V^T X^-T (Petersen and Pedersen, Matrix Cookbook, section 2.2)."""
    n = 6
    X = randsvd(rng, n, n, np.linspace(1, 0.5, n))

    def inverse(x: Array) -> Array:
        return np.linalg.inv(x.reshape(n, n)).T

    def hvp(x: Array, v: Array) -> Array:
        return -(inverse(x) @ v.reshape(n, n).T @ inverse(x)).ravel()

    return Curved(
        lambda x: float(np.linalg.slogdet(x.reshape(n, n))[1]),
        lambda x: inverse(x).ravel(),
        hvp,
        X.ravel(),
        0.02,
    )


def quartic(rng: np.random.Generator) -> Curved:
    """``|A x|^4 / 4``: gradient ``|A x|^2 A^T A x``, Hessian ``|A x|^2 A^T A + 2 (A^T A x) (A^T A x)^T``."""
    A = rng.standard_normal((9, 7)) / 3
    G = A.T @ A

    def hvp(x: Array, v: Array) -> Array:
        Gx = G @ x
        return (x @ Gx) * (G @ v) + 2 * Gx * (Gx @ v)

    return Curved(
        lambda x: float((x @ G @ x) ** 2 / 4), lambda x: (x @ G @ x) * (G @ x), hvp, rng.standard_normal(7)
    )


def logistic_regression(rng: np.random.Generator) -> Curved:
    """Mean log loss of labels -1 and 1: Hessian ``X^T diag(p (1 - p)) X / n``, p the logistic function of X w."""
    n = 40
    X, y = rng.standard_normal((n, 6)), rng.choice([-1.0, 1.0], n)

    def chance(t: Array) -> Array:
        return 0.5 * (1 + np.tanh(0.5 * t))

    def hvp(w: Array, v: Array) -> Array:
        p = chance(X @ w)
        return X.T @ (p * (1 - p) * (X @ v)) / n

    return Curved(
        lambda w: float(np.mean(np.logaddexp(0, -y * (X @ w)))),
        lambda w: -X.T @ (y * chance(-y * (X @ w))) / n,
        hvp,
        rng.standard_normal(6),
    )


FUNCTIONS: dict[str, Callable[[np.random.Generator], Curved]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "log_det": log_det,
    "quartic": quartic,
    "logistic_regression": logistic_regression,
}


@dataclass(frozen=True)
class HessianTest:
    """Relative errors of a Hessian-vector product, and the slope of Taylor's remainder after its term.

    Attributes
    ----------
    symmetry : float
        ``|v^T H w - w^T H v|`` over ``|H v| |w| + |H w| |v|``.
    linearity : float
        ``|H (a v + b w) - a H v - b H w|`` over the sum of the norms.
    difference : float
        ``|H v - d grad(x + t v) / dt|`` over the norm of the latter.
    resolution : float
        Estimated error of that difference.
    slope : float
        3 where value, gradient and Hessian belong together; NaN with fewer than 4 remainders above rounding.
    slope_error : float
        Half the range of the slopes between neighbouring steps.
    """

    symmetry: float
    linearity: float
    difference: float
    resolution: float
    slope: float
    slope_error: float


def check_hvp(problem: Curved, rng: np.random.Generator) -> HessianTest:
    """Judge a Hessian-vector product along random directions; nothing is compared entry by entry."""
    x, hvp = problem.x, problem.hvp
    v, w = (rng.standard_normal(x.shape) for _ in range(2))
    a, b = rng.standard_normal(2)
    Hv, Hw, both = hvp(x, v), hvp(x, w), hvp(x, a * v + b * w)
    norm = np.linalg.norm
    symmetry = abs(float(w @ Hv - v @ Hw)) / float(norm(Hv) * norm(w) + norm(Hw) * norm(v))
    linearity = float(norm(both - a * Hv - b * Hw) / (norm(a * Hv) + norm(b * Hw)))
    slope_of_gradient, error = gradient_difference(problem, v)
    size = float(norm(slope_of_gradient))
    # Where the third derivative nearly vanishes along a direction, the fourth blurs its slope: the clearest one counts.
    slopes = [remainder_slope(problem, u) for u in (v, w, v + w, v - w)]
    order, spread = min(slopes, key=lambda found: found[1])
    return HessianTest(
        symmetry, linearity, float(norm(Hv - slope_of_gradient)) / size, error / size, order, spread
    )


def gradient_difference(problem: Curved, v: Array) -> tuple[Array, float]:
    """``d grad(x + t v) / dt`` by central differences, extrapolated in h^2 (Ridders 1982), and its estimated error."""
    x, grad = problem.x, problem.grad
    h = problem.radius * (float(np.abs(x).max()) + 1) / float(np.abs(v).max())
    noise = EPS * float(np.linalg.norm(grad(x))) * len(x) ** 0.5
    best, error = np.full_like(x, np.nan), np.inf
    row: list[Array] = []
    for _ in range(LEVELS):
        new = [(grad(x + h * v) - grad(x - h * v)) / (2 * h)]
        for j, before in enumerate(row):
            new.append(new[j] + (new[j] - before) / (4.0 ** (j + 1) - 1))
            found = max(
                float(np.linalg.norm(new[j + 1] - new[j])), float(np.linalg.norm(new[j + 1] - before))
            )
            if found + noise / h < error:
                best, error = new[j + 1], found + noise / h
        row, h = new, h / 2
    return best, error


def remainder_slope(problem: Curved, v: Array) -> tuple[float, float]:
    """Mean order of ``f(x + h v) - f - h g.v - h^2 v.Hv / 2`` over the four least clear steps, and half their range."""
    x, f = problem.x, problem.f
    first = problem.radius * (float(np.abs(x).max()) + 1) / float(np.abs(v).max())
    here, slope, curvature = f(x), float(problem.grad(x) @ v), float(v @ problem.hvp(x, v))
    left = []
    for h in first * 2.0 ** -np.arange(HALVINGS):
        value = f(x + h * v)
        rest = abs(value - here - h * slope - h * h / 2 * curvature)
        rounding = EPS * (abs(value) + abs(here) + abs(h * slope))
        if not rest > CLEAR * rounding:
            break
        left.append(rest)
    if len(left) < POINTS:
        return np.nan, np.inf
    orders = -np.diff(np.log2(left[-POINTS:]))
    return float(orders.mean()), float(np.ptp(orders)) / 2


def audit_hvp(
    seed: int,
    limits: Mapping[str, Threshold],
    subject: Mapping[str, Callable[[np.random.Generator], Curved]] = FUNCTIONS,
) -> Iterator[Record]:
    """Two rows a function: the worst of symmetry, linearity and difference, and the order of the remainder."""
    judge = Judge("gradients", "hvp", seed, limits)
    for name, make in subject.items():
        rng = np.random.default_rng(seed)
        found = check_hvp(make(rng), rng)
        errors = {"v.Hw = w.Hv": found.symmetry, "linearity": found.linearity, "difference": found.difference}
        value = np.inf if np.isnan(list(errors.values())).any() else max(errors.values())
        reason = ", ".join(f"{what} {error:.1e}" for what, error in errors.items())
        yield judge("hvp", name, value, max(found.resolution, EPS), reason)
        if np.isnan(found.slope):
            reason = f"fewer than {POINTS} remainders stand above rounding"
            yield judge.said("hvp_order", name, Verdict.INCONCLUSIVE, reason)
            continue
        yield judge(
            "hvp_order",
            name,
            abs(found.slope - 3),
            found.slope_error,
            f"remainder falls with h^{found.slope:.3f}",
        )

"""Gradients in closed form against differences and against the complex step.

Three ways to one gradient that share no arithmetic: the closed form from the literature, extrapolated
differences with a known error (svdflow.audit.difference), and the complex step Im f(x + ih) / h, which subtracts
nothing and so errs by rounding alone (Squire and Trapp 1998). They must agree pairwise.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from svdflow.audit.difference import GradientReport, check_gradient, singular_radius
from svdflow.audit.records import Judge, Record
from svdflow.audit.slopes import EPS
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import randsvd

Array = np.ndarray
FAMILY = "gradients"
COMPLEX_STEP = 1e-20  # its square is lost beside 1 in float64, so the step adds no error of its own
ORDER = 8  # rows of the matrices whose determinant or inverse is taken
KAPPAS = (10.0, 1e6, 1e10)  # harmless; s_min below and far below the step of careless differences
NAIVE_STEP = EPS ** (1 / 3)  # what central differences take where nobody looks at the singular values
LAYER_NORM_EPS = 1e-5  # as in torch.nn.LayerNorm


@dataclass(frozen=True)
class Problem:
    """A scalar function, its gradient in closed form, and where to check it.

    Attributes
    ----------
    f : callable
        Real function of an array of the shape of `x`.
    grad : callable
        Its gradient in closed form, an array of that shape.
    x : array
        The point.
    radius : float
        Bounds the steps of differences.
    rtol : float
        What the rounding of the gradient may amount to, relative to its largest entry.
    kappa : float
        Condition number that multiplies the rounding of closed form and complex step.
    analytic : callable, optional
        f continued to complex arguments, where `f` itself is not analytic (absolute values, maxima).
    """

    f: Callable[[Array], Any]
    grad: Callable[[Array], Array]
    x: Array
    radius: float = inf
    rtol: float = 1e-10
    kappa: float = 1.0
    analytic: Callable[[Array], Any] | None = None


def trace_axb(rng: np.random.Generator) -> Problem:
    """d tr(A X B) / dX = A^T B^T (Petersen and Pedersen, Matrix Cookbook, eq. 101)."""
    A, X, B = rng.standard_normal((6, 8)), rng.standard_normal((8, 5)), rng.standard_normal((5, 6))
    return Problem(lambda X: np.trace(A @ X @ B), lambda X: A.T @ B.T, X)


def trace_gradient(rng: np.random.Generator) -> Problem:
    """d tr(X) / dX = I (Matrix Cookbook, eq. 99 with A = I)."""
    return Problem(np.trace, lambda X: np.eye(len(X)), rng.standard_normal((7, 7)))


def frobenius_norm(rng: np.random.Generator) -> Problem:
    """d ||X||_F^2 / dX = 2 X (Matrix Cookbook, eq. 115)."""
    return Problem(lambda X: np.sum(X * X), lambda X: 2 * X, rng.standard_normal((12, 9)))


def frobenius_product(rng: np.random.Generator) -> Problem:
    """d ||A X||_F^2 / dX = 2 A^T A X (Matrix Cookbook, eq. 77 column by column)."""
    A, X = rng.standard_normal((7, 5)), rng.standard_normal((5, 6))
    return Problem(lambda X: np.sum((A @ X) ** 2), lambda X: 2 * A.T @ A @ X, X)


def log_det(rng: np.random.Generator, kappa: float = 10.0) -> Problem:
    """d ln |det X| / dX = X^-T (Matrix Cookbook, eq. 57); singular values from 1 to 1 / kappa.

    A step near s_min crosses to another branch of the determinant, and the difference then converges to a
    wrong slope; hence the radius (a tenth of s_min).
    """
    X = _matrix(rng, kappa)
    return Problem(
        lambda X: np.linalg.slogdet(X)[1],
        lambda X: np.linalg.inv(X).T,
        X,
        radius=singular_radius(X),
        rtol=max(1e-10, ORDER * EPS * kappa),
        kappa=kappa,
        analytic=_log_det_continued,
    )


def inverse_gradient(rng: np.random.Generator) -> Problem:
    """d a^T X^-1 b / dX = -X^-T a b^T X^-T (Matrix Cookbook, eq. 61)."""
    kappa = 10.0
    X, a, b = _matrix(rng, kappa), rng.standard_normal(ORDER), rng.standard_normal(ORDER)

    def grad(X: Array) -> Array:
        return -np.outer(np.linalg.solve(X.T, a), np.linalg.solve(X, b))

    return Problem(lambda X: a @ np.linalg.solve(X, b), grad, X, radius=singular_radius(X), kappa=kappa)


def linear_regression(rng: np.random.Generator) -> Problem:
    """d ||X w - y||^2 / n / dw = 2 X^T (X w - y) / n (normal equations of least squares)."""
    n = 40
    X, y, w = rng.standard_normal((n, 6)), rng.standard_normal(n), rng.standard_normal(6)
    return Problem(lambda w: np.mean((X @ w - y) ** 2), lambda w: 2 / n * X.T @ (X @ w - y), w)


def softmax_cross_entropy(rng: np.random.Generator) -> Problem:
    """Mean cross entropy of softmax: its gradient in the logits is (p - y) / n, y one-hot (Bridle 1990)."""
    n, classes = 12, 5
    logits = rng.standard_normal((n, classes))
    y = np.eye(classes)[rng.integers(classes, size=n)]

    def loss(z: Array) -> Any:
        shifted = z - _shift(z)
        return np.mean(np.log(np.exp(shifted).sum(axis=1)) - (shifted * y).sum(axis=1))

    return Problem(loss, lambda z: (softmax(z) - y) / n, logits)


def softmax_gradient(rng: np.random.Generator) -> Problem:
    """d softmax(x)^T a / dx = p * (a - p^T a), the row of the Jacobian diag(p) - p p^T (Bridle 1990)."""
    x, a = rng.standard_normal(9), rng.standard_normal(9)

    def grad(x: Array) -> Array:
        p = softmax(x)
        return p * (a - p @ a)

    return Problem(lambda x: softmax(x) @ a, grad, x)


def layer_norm_gradient(rng: np.random.Generator) -> Problem:
    """Layer normalization of rows (Ba, Kiros and Hinton 2016), summed with weights.

    With y = (x - mean) / s, s^2 = var + eps and w the weights times the gain:
    dx = (w - mean(w) - y mean(w y)) / s.
    """
    x, gain, weights = rng.standard_normal((6, 8)), rng.standard_normal(8), rng.standard_normal((6, 8))
    w = weights * gain

    def normal(x: Array) -> tuple[Array, Array]:
        centered = x - x.mean(axis=-1, keepdims=True)
        # Not np.var, which takes |.|^2 and so is not analytic.
        s = np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + LAYER_NORM_EPS)
        return centered / s, s

    def grad(x: Array) -> Array:
        y, s = normal(x)
        return (w - w.mean(axis=-1, keepdims=True) - y * (w * y).mean(axis=-1, keepdims=True)) / s

    return Problem(lambda x: np.sum(w * normal(x)[0]), grad, x)


def attention_gradient(rng: np.random.Generator) -> Problem:
    """Scaled dot-product attention softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017), summed with weights W.

    x stacks Q, K and V. With P the softmax and D = W V^T, the gradient in the scores is
    S = P * (D - rowsum(P * D)), and those in Q, K, V are S K / sqrt(d), S^T Q / sqrt(d), P^T W
    (Dao et al. 2022, appendix B.2).
    """
    n, d = 5, 4
    x, W = rng.standard_normal((3, n, d)), rng.standard_normal((n, d))

    def weights(x: Array) -> Array:
        return softmax(x[0] @ x[1].T / np.sqrt(d))

    def grad(x: Array) -> Array:
        Q, K, V = x
        P = weights(x)
        D = W @ V.T
        S = P * (D - np.sum(P * D, axis=1, keepdims=True)) / np.sqrt(d)
        return np.stack([S @ K, S.T @ Q, P.T @ W])

    return Problem(lambda x: np.sum(W * (weights(x) @ x[2])), grad, x)


def softmax(z: Array) -> Array:
    """Softmax over the last axis, analytic in complex z: the shift is real and cancels."""
    e = np.exp(z - _shift(z))
    return e / e.sum(axis=-1, keepdims=True)


def _shift(z: Array) -> Array:
    return z.real.max(axis=-1, keepdims=True)


def _matrix(rng: np.random.Generator, kappa: float) -> Array:
    """Square matrix with singular values from 1 to 1 / kappa in a geometric series."""
    return randsvd(rng, ORDER, ORDER, np.geomspace(1, 1 / kappa, ORDER))


def _log_det_continued(X: Array) -> complex:
    """ln det near a real X; the imaginary part is taken from the phase beside the real axis, with its sign."""
    phase, size = np.linalg.slogdet(X)
    return complex(size, phase.imag / phase.real)


PROBLEMS: dict[str, Callable[[np.random.Generator], Problem]] = {
    "trace_axb": trace_axb,
    "trace_gradient": trace_gradient,
    "frobenius_norm": frobenius_norm,
    "frobenius_product": frobenius_product,
    "log_det": log_det,
    "inverse_gradient": inverse_gradient,
    "linear_regression": linear_regression,
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_gradient": softmax_gradient,
    "layer_norm_gradient": layer_norm_gradient,
    "attention_gradient": attention_gradient,
}


def complex_step_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """Gradient of an analytic f, entry by entry, to rounding: Im f(x + ih) / h has nothing to cancel.

    Parameters
    ----------
    f : callable
        Analytic around `x`: no absolute value, maximum or conjugate of what depends on x.
    x : array of real numbers
        Any shape; x.size evaluations.

    Notes
    -----
    Squire and Trapp (1998); the step 1e-20 leaves an error of order h^2 = 1e-40.
    """
    g = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * COMPLEX_STEP
        g[index] = np.imag(f(moved)) / COMPLEX_STEP
    return g


def audit_identity(
    seed: int,
    limits: Mapping[str, Threshold],
    subject: Callable[[np.random.Generator], Problem] | None = None,
    *,
    name: str,
) -> Iterator[Record]:
    """Closed form against differences (row ``gradient``) and complex step (row ``identity``).

    Parameters
    ----------
    subject : callable, optional
        Gives the `Problem` from a random generator; `PROBLEMS` [name] where it is left out.
    """
    problem = (subject or PROBLEMS[name])(np.random.default_rng(seed))
    judge = Judge(FAMILY, name, seed, limits)
    report = _differences(problem, problem.grad, limits["gradient"], seed)
    yield report.record("gradient", name, judge.command)
    closed, exact = problem.grad(problem.x), complex_step_gradient(problem.analytic or problem.f, problem.x)
    if np.shape(closed) != exact.shape:
        yield judge.said("identity", name, Verdict.ERROR, f"closed form {np.shape(closed)}, x {exact.shape}")
        return
    scale = float(max(np.abs(exact).max(), np.abs(closed).max()))
    gap = np.abs(closed - exact)
    limit = limits["identity"]
    limit = replace(limit, warn=limit.warn * problem.kappa, fail=limit.fail * problem.kappa)
    rounding = problem.x.size**0.5 * EPS * problem.kappa
    value = float(gap.max()) / scale if scale else inf
    place = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    legs = _agreement(problem, report, exact, value < limit.fail, limits["gradient"], seed)
    told = f"{legs}; largest gap of closed form and complex step at {place}"
    yield judge("identity", name, value, rounding, told, limit=limit)


def _differences(
    problem: Problem, grad: Callable[[Array], Array], limit: Threshold, seed: int
) -> GradientReport:
    options: dict[str, Any] = {"radius": problem.radius, "rtol": problem.rtol, "threshold": limit}
    return check_gradient(problem.f, grad, problem.x, seed=seed, **options)


def _agreement(
    problem: Problem, report: GradientReport, exact: Array, close: bool, limit: Threshold, seed: int
) -> str:
    """Which of the three disagrees with the two others."""
    differences = report.verdict is Verdict.PASS
    if close and differences:
        return "closed form, differences and complex step agree"
    third = _differences(problem, lambda x: exact, limit, seed).verdict is Verdict.PASS
    # Each leg stands beside the pair that is left when it is taken out.
    agreeing = [
        leg
        for leg, others in (("complex step", differences), ("difference", close), ("closed form", third))
        if others
    ]
    if len(agreeing) == 1:
        return f"the {agreeing[0]} disagrees with the two others, which agree"
    return f"no two of closed form, differences ({report.verdict}) and complex step agree"


def inverse_transposed(X: Array) -> Array:
    """X^-T, the gradient of ln |det X|."""
    return np.linalg.inv(X).T


def audit_lndet_kappa(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[[Array], Array] = inverse_transposed
) -> Iterator[Record]:
    """The gradient of ln |det X| at kappa 10, 1e6 and 1e10, within the predicted error of a central difference.

    Rows ``gradient`` (`check_gradient` with steps below s_min / 10), ``lndet_kappa`` (one central difference
    along X^-T at the best step of that size, against its bound) and ``lndet_naive``: the control, a step of
    eps^(1/3) that ignores the singular values and errs by 100 % once it spans s_min.

    Notes
    -----
    Along a unit V, ln |det(X + hV)| is the sum of ln |1 + h t| over the eigenvalues t of M = X^-1 V. With
    z = h ||M||_F < 1 the central difference is off by at most ||M||_F z^2 / (3 (1 - z^2)), the sum of its series;
    rounding adds n eps kappa_F (1 / h + ||X^-1||_F) by the backward error of LU (Higham 2002, theorem 9.3 with a
    growth factor of order 1).
    """
    judge = Judge(FAMILY, "lndet_kappa", seed, limits)
    for kappa in KAPPAS:
        problem = replace(log_det(np.random.default_rng(seed), kappa), grad=subject)
        X, place = problem.x, f"ln det, kappa {kappa:.0e}"
        yield _differences(problem, subject, limits["gradient"], seed).record(
            "gradient", place, judge.command
        )
        V, slope, h, bound = _best_difference(X)
        analytic = float(np.sum(subject(X) * V))
        for audit, step, within in (("lndet_kappa", h, bound), ("lndet_naive", NAIVE_STEP, 1.0)):
            numeric = float((problem.f(X + step * V) - problem.f(X - step * V)) / (2 * step))
            limit = limits[audit]
            limit = replace(limit, warn=limit.warn * within, fail=limit.fail * within)
            told = f"step {step:.1e}, {step * kappa:.1e} of s_min: analytic {analytic:.6g}, numeric {numeric:.6g}"
            yield judge(audit, place, abs(analytic - numeric) / slope, bound, told, limit=limit)


def _best_difference(X: Array) -> tuple[Array, float, float, float]:
    """Direction of steepest ascent of ln |det X|, slope along it, best step, and its relative error bound."""
    U, s, Vt = np.linalg.svd(X)
    slope = float(np.linalg.norm(1 / s))
    M = float(np.linalg.norm(s**-2.0)) / slope
    rounding = len(X) * EPS * float(np.linalg.norm(s)) * slope  # n eps kappa_F
    z = min(0.1, (1.5 * rounding) ** (1 / 3))
    h = z / M
    bound = (M * z**2 / (3 * (1 - z**2)) + rounding / h) / slope + rounding
    return (U / s) @ Vt / slope, slope, h, bound

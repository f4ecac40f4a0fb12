"""Audits of the two engines that differentiate, against 40 digits, exact integers, closed forms and one another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.autodiff import Dual, Value
from svdflow.selfcheck.autodiff.reference import KNOWN, ExpressionCase, evaluate, random_cases, single_cases

Array = np.ndarray
Gradient = Callable[[Callable[..., Any], Sequence[Array]], list[Array]]
EPS = float(np.finfo(float).eps)
CHAIN = 10_000  # operations one after the other: ten times what recursion in Python survives


def forward(subject: type = Dual) -> Gradient:
    """Gradients by dual numbers: one evaluation for every entry of every operand."""

    def gradient(f: Callable[..., Any], points: Sequence[Array]) -> list[Array]:
        found = [np.empty(np.shape(p)) for p in points]
        for k, point in enumerate(points):
            for index in np.ndindex(np.shape(point)):
                unit = np.zeros(np.shape(point))
                unit[index] = 1
                duals = [subject(q, unit if j == k else 0.0) for j, q in enumerate(points)]
                found[k][index] = f(*duals).tangent
        return found

    return gradient


def reverse(subject: type = Value) -> Gradient:
    """Gradients by one reverse sweep."""

    def gradient(f: Callable[..., Any], points: Sequence[Array]) -> list[Array]:
        leaves = [subject(p) for p in points]
        f(*leaves).backward()
        return [leaf.grad for leaf in leaves]

    return gradient


# -- both engines


def audit_dual_exact(seed: int, limits: Mapping[str, Threshold], subject: type = Dual) -> Iterator[Record]:
    """Dual numbers against derivatives to 40 digits, exact integers, and what holds at edges."""
    yield from _engine_rows(Judge("gradients", "dual_exact", seed, limits), forward(subject))


def audit_value_exact(seed: int, limits: Mapping[str, Threshold], subject: type = Value) -> Iterator[Record]:
    """The reverse-mode engine on the same functions as `audit_dual_exact`."""
    yield from _engine_rows(Judge("gradients", "value_exact", seed, limits), reverse(subject))


def _engine_rows(judge: Judge, gradient: Gradient) -> Iterator[Record]:
    def error(case: ExpressionCase) -> float:
        with np.errstate(all="ignore"):
            (slope,) = gradient(lambda x: evaluate(case.program, x), [np.array(case.x)])
        return case.ulps(float(slope))

    def row(subject: str, cases: Sequence[ExpressionCase]) -> Record:
        errors = [error(case) for case in cases]
        ratios = [e / case.condition for e, case in zip(errors, cases)]
        doubt = max(case.doubt / case.condition for case in cases) / EPS
        worst = int(np.argmax(ratios))
        reason = f"ulps over condition, worst of {len(cases)}: number {worst}; at most {max(errors):.2g} ulps"
        # Correct rounding leaves half an ulp, so no smaller error can be seen.
        return judge(judge.name, subject, ratios[worst], 0.5 + doubt, reason)

    known = ExpressionCase.of(KNOWN, 1.5)
    reason = f"ulps; f' = {known.derivative:.20f}"
    yield judge(judge.name, "sin(x^2) exp(-x) + ln x at 1.5", error(known), 0.5 + known.doubt / EPS, reason)
    yield row("random expressions", random_cases(judge.seed))
    yield row("single operations over their ranges", single_cases(judge.seed))
    yield _count(judge, "matrix forms in integers", _broken_forms(gradient, judge.seed), len(FORMS))
    yield _count(judge, "kinks, poles and shared nodes", _broken_edges(gradient), len(EDGES))


def _count(judge: Judge, subject: str, broken: list[str], total: int) -> Record:
    """A row that counts broken laws; they are equalities in exact arithmetic, which no error escapes."""
    reason = f"broken: {'; '.join(broken)}"[:200] if broken else f"{total} laws hold exactly"
    return judge("engine_laws", subject, len(broken), 0.0, reason)


GRID = np.arange(-5.0, 7.0).reshape(3, 4)

# Polynomials of degree at most 2 in every entry, in dyadic rationals: the central difference with the step 1 is
# exact, and NumPy alone gives it. Shapes of the operands, then the form.
FORMS: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "matrix @ matrix": (((3, 4), (4, 2)), lambda A, B: A @ B),
    "matrix @ vector": (((3, 4), (4,)), lambda A, x: A @ x),
    "square @ vector": (((3, 3), (3,)), lambda A, x: A @ x),
    "vector @ matrix": (((3,), (3, 4)), lambda x, A: x @ A),
    "vector @ vector": (((4,), (4,)), lambda x, y: x @ y),
    "stack @ matrix": (((2, 3, 4), (4, 2)), lambda A, B: A @ B),
    "matrix @ stack": (((3, 4), (2, 4, 2)), lambda A, B: A @ B),
    "vector @ stack": (((4,), (2, 4, 2)), lambda x, B: x @ B),
    "x' A x": (((3, 3), (3,)), lambda A, x: x @ A @ x),
    "A' A": (((3, 2),), lambda A: A.T @ A),
    "column * row": (((3, 1), (4,)), lambda a, b: a * b),
    "stack + column": (((2, 3, 4), (3, 1)), lambda A, b: (A + b) * A),
    "number * matrix": (((), (3, 4)), lambda a, B: a * B - B / 2),
    "row - stack": (((4,), (2, 3, 4)), lambda a, B: (a - B) * a),
    "sums and means": (
        ((2, 4), (4,)),
        lambda A, b: A.sum(axis=0) * b - A.mean(axis=1, keepdims=True) * A + A.mean() * b,
    ),
    "array * subject": (((3, 4),), lambda A: GRID * A + GRID),
    "array + subject": (((3, 4),), lambda A: (GRID + A) * A),
    "array - subject": (((3, 4),), lambda A: (GRID - A) * A - (2 - A)),
    "array @ subject": (((3, 4),), lambda A: GRID.T @ A),
    "subject @ array": (((3, 4),), lambda A: A @ GRID.T),
    "NumPy number * subject": (((3, 4),), lambda A: np.float64(3) * A - np.int64(2) * A),
}


def _broken_forms(gradient: Gradient, seed: int) -> list[str]:
    broken = []
    for name, (shapes, form) in FORMS.items():
        rng = np.random.default_rng(seed)
        points = [np.asarray(rng.integers(-4, 5, shape), dtype=float) for shape in shapes]
        weights = rng.integers(1, 6, np.shape(form(*points)))

        def scalar(*operands: Any, form: Any = form, weights: Array = weights) -> Any:
            return (weights * form(*operands)).sum()

        try:
            found = gradient(scalar, points)
            held = all(np.array_equal(g, e) for g, e in zip(found, _unit_differences(scalar, points)))
        except Exception as error:
            broken.append(f"{name} raises {type(error).__name__}")
        else:
            broken += [] if held else [name]
    return broken


def _unit_differences(f: Callable[..., Any], points: Sequence[Array]) -> list[Array]:
    """Gradient of a polynomial of degree at most 2 in every entry."""
    found = [np.empty(p.shape) for p in points]
    for k, point in enumerate(points):
        for index in np.ndindex(point.shape):
            ends = []
            for step in (1, -1):
                moved = [p.copy() for p in points]
                moved[k][index] += step
                ends.append(f(*moved))
            found[k][index] = (ends[0] - ends[1]) / 2
    return found


INF, NAN = float("inf"), float("nan")
# Function, point, derivative; all are exact. At kinks and poles: the conventions that the engines state.
EDGES: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "a a": (lambda x: x * x, 3, 6),
    "(a + a)(a + a)": (lambda x: (y := x + x) * y, 3, 24),
    "a - a": (lambda x: x - x, 3, 0),
    "a / a": (lambda x: x / x, 4, 0),
    "a^a": (lambda x: x**x, 1, 1),
    "relu(a) a": (lambda x: x.relu() * x, 3, 6),
    "relu at 0": (lambda x: x.relu(), 0, 0),
    "relu at -2": (lambda x: x.relu(), -2, 0),
    "relu at NaN": (lambda x: x.relu(), NAN, NAN),
    "x^0 at 0": (lambda x: x**0, 0, 0),
    "x^1 at 0": (lambda x: x**1, 0, 1),
    "x^2 at 0": (lambda x: x**2, 0, 0),
    "x^(1/2) at 0": (lambda x: x**0.5, 0, INF),
    "x^3 at -2": (lambda x: x**3, -2, 12),
    "x^-1 at -2": (lambda x: x**-1, -2, -0.25),
    "0^x at 2": (lambda x: 0**x, 2, 0),
    "1 / x at 0": (lambda x: 1 / x, 0, -INF),
    "ln x at 0": (lambda x: x.log(), 0, INF),
    "exp at infinity": (lambda x: x.exp(), INF, INF),
    "exp at -infinity": (lambda x: x.exp(), -INF, 0),
    "tanh at 1000": (lambda x: x.tanh(), 1000, 0),
    "sin at NaN": (lambda x: x.sin(), NAN, NAN),
    "cos at 0": (lambda x: x.cos(), 0, 0),
    "2 x at infinity": (lambda x: 2 * x, INF, 2),
    "x / 2 at infinity": (lambda x: x / 2, INF, 0.5),
    "NaN x": (lambda x: NAN * x, 1, NAN),
    "x + infinity": (lambda x: INF + x, 1, 1),
}


def _broken_edges(gradient: Gradient) -> list[str]:
    broken = []
    for name, (f, x, expected) in EDGES.items():
        try:
            with np.errstate(all="ignore"):
                (slope,) = gradient(f, [np.array(float(x))])
        except Exception as error:
            broken.append(f"{name} raises {type(error).__name__}")
        else:
            if not np.array_equal(slope, expected, equal_nan=True):
                broken.append(f"{name}: {slope!s:.12} for {expected:g}")
    return broken


# -- the reverse-mode engine


def audit_value_engine(seed: int, limits: Mapping[str, Threshold], subject: type = Value) -> Iterator[Record]:
    """The reverse-mode engine on a neuron, on a network through its training, on depth, and on repetition."""
    judge = Judge("gradients", "value_engine", seed, limits)
    yield _neuron(judge, subject)
    yield from _xor(judge, subject)
    yield _chain(judge, subject)
    yield _count(judge, "backward called again", _broken_repeats(subject), 5)


def _neuron(judge: Judge, subject: type) -> Record:
    """y = tanh(w.x + b): dy/dw = y' x, dy/dx = y' w, dy/db = y' with y' = 1 / cosh^2(w.x + b)."""
    n, finest, errors = 8, 0.0, list[float]()
    rng = np.random.default_rng(judge.seed)
    for _ in range(20):
        w, x, b = rng.standard_normal(n) / 2, rng.standard_normal(n), np.array(rng.standard_normal())
        slope = _sech2(w @ x + b)
        found = reverse(subject)(lambda w, x, b: (w @ x + b).tanh(), [w, x, b])
        expected = (slope * x, slope * w, slope)
        errors += [_apart([g / e], [e / e]) for g, e in zip(found, expected)]
        # The slope changes by at most 2 times the rounding of its argument, a sum of n + 1 terms.
        finest = max(finest, EPS * (4 + 2 * (n + 1) * float(np.abs(w) @ np.abs(x) + abs(b))))
    reason = f"20 neurons of {n} inputs, worst entry"
    return judge("value_engine", "tanh neuron", float(np.max(errors)), finest, reason)


def _sech2(z: Any) -> Any:
    decay = np.exp(-2 * np.abs(z))
    return 4 * decay / (1 + decay) ** 2


XOR_INPUTS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
XOR_TARGETS = np.array([[0.0], [1.0], [1.0], [0.0]])
XOR_RATE, XOR_STEPS = 0.01, 5000  # 500 seeds need 240 to 1,600 steps; none fails
# Further down the residuals are differences of near equals, and the gradient's own rounding nears 1e-12.
XOR_LOSS = 5e-4


def xor_loss(W: Any, b: Any, v: Any, c: Any) -> Any:
    """Mean squared error of a 2-8-1 network with tanh on exclusive or; W (2, 8), b (8,), v (8, 1), c (1,)."""
    residual = (XOR_INPUTS @ W + b).tanh() @ v + c - XOR_TARGETS
    return (residual * residual).mean()


@dataclass
class Training:
    """A descent on `xor_loss`: each 100th and the last point with the gradient that was used there."""

    steps: int = 0
    loss: float = INF
    visited: list[tuple[list[Array], list[Array]]] = field(default_factory=list)


def train_xor(seed: int, gradient: Gradient) -> Training:
    """Gradient descent from a random start until the loss is below `XOR_LOSS` or `XOR_STEPS` are done."""
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((2, 8)), rng.standard_normal(8)
    point = [W, b, rng.standard_normal((8, 1)) / np.sqrt(8), np.zeros(1)]
    run = Training()
    for step in range(XOR_STEPS + 1):
        run.steps, run.loss = step, float(np.mean(_xor_state(point)[2] ** 2))
        found = gradient(xor_loss, point)
        last = not run.loss > XOR_LOSS or step == XOR_STEPS or not _fits(found, point)
        if step % 100 == 0 or last:
            run.visited.append((point, found))
        if last:
            break
        point = [p - XOR_RATE * g for p, g in zip(point, found)]
    return run


def _xor_state(point: list[Array]) -> tuple[Array, Array, Array]:
    W, b, v, c = point
    z = XOR_INPUTS @ W + b
    hidden = np.tanh(z)
    return z, hidden, hidden @ v + c - XOR_TARGETS


def xor_gradient(point: list[Array]) -> tuple[list[Array], float]:
    """Gradient of `xor_loss` by the chain rule written out, and its relative rounding error to first order."""
    v, c = point[2:]
    z, hidden, residual = _xor_state(point)

    def pulled(inputs: Array, hidden: Array, v: Array, residual: Array) -> list[Array]:
        out = residual * (2 / len(residual))
        inner = (out @ v.T) * _sech2(z)
        return [inputs.T @ inner, inner.sum(axis=0), hidden.T @ out, out.sum(axis=0)]

    found = pulled(XOR_INPUTS, hidden, v, residual)
    # The same with magnitudes: each residual carries the rounding of the sum that it is the rest of.
    rounding = EPS * (np.abs(hidden) @ np.abs(v) + np.abs(c) + XOR_TARGETS + np.abs(residual))
    spread = pulled(np.abs(XOR_INPUTS), np.abs(hidden), np.abs(v), rounding)
    return found, _largest(spread) / _largest(found)


def _largest(arrays: Sequence[Array]) -> float:
    """Largest magnitude, NaN if there is one."""
    return float(np.max([np.max(np.abs(a)) for a in arrays]))


def _apart(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """Largest error over the largest true entry; infinite where a shape is wrong."""
    if not _fits(found, expected):
        return INF
    return _largest([f - e for f, e in zip(found, expected)]) / _largest(expected)


def _fits(found: Sequence[Array], expected: Sequence[Array]) -> bool:
    return [np.shape(f) for f in found] == [np.shape(e) for e in expected]


def _xor(judge: Judge, subject: type) -> Iterator[Record]:
    with np.errstate(all="ignore"):
        run = train_xor(judge.seed, reverse(subject))
    closed, dual, roundings = list[float](), list[float](), list[float]()
    for point, found in run.visited:
        expected, rounding = xor_gradient(point)
        closed.append(_apart(found, expected))
        dual.append(_apart(found, forward()(xor_loss, point)))
        roundings.append(rounding)
    finest = max(roundings)
    reason = f"{len(run.visited)} points of {run.steps} steps, 33 weights"
    yield judge("value_engine", "2-8-1 network against backprop", float(np.max(closed)), finest, reason)
    yield judge("value_engine", "2-8-1 network against dual numbers", float(np.max(dual)), finest, reason)
    reason = f"mean squared error after {run.steps} steps"
    yield judge("xor_loss", "2-8-1 network learns", run.loss, EPS, reason)


def _chain(judge: Judge, subject: type) -> Record:
    """x/2 is added every four steps, in dyadic rationals: the derivative is 1 + CHAIN/8, with no rounding."""
    name = f"chain of {CHAIN:,} operations"

    def chain(x: Any) -> Any:
        y = x
        for _ in range(CHAIN // 4):
            y = ((y + x) * 2 - x) / 2
        return y

    try:
        (slope,) = reverse(subject)(chain, [np.array(1.0)])
    except RecursionError as error:
        return judge.said("value_engine", name, Verdict.FAIL, f"RecursionError: {error}")
    expected = 1 + CHAIN / 8
    reason = f"derivative {float(slope):g}, exactly {expected:g}"
    return judge("value_engine", name, abs(float(slope) / expected - 1), EPS, reason)


def _broken_repeats(subject: type) -> list[str]:
    """Laws of `backward` called more than once."""
    a, b = subject(3.0), subject(-2.0)
    y = a * a * b + a
    other = a * b
    seen = []
    for call in (
        y.backward,
        y.backward,
        lambda: y.backward(accumulate=True),
        other.backward,
        lambda: y.backward(-2.0),
    ):
        call()
        seen.append((float(a.grad), float(b.grad)))
    laws = {
        "first": (-11, 9),
        "second call gives the first again": (-11, 9),
        "accumulate doubles": (-22, 18),
        "another output starts anew": (-2, 3),
        "seed -2": (22, -18),
    }
    return [f"{law}: {s} for {e}" for (law, e), s in zip(laws.items(), seen) if s != e]

"""Derivatives to 40 digits without a rule of differentiation, and random expressions to try them on.

A central difference needs only values. With 90 digits and a step of 1e-25 it is wrong by about 1e-50, so it may judge
both engines and shares nothing with either.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from math import inf, isfinite, ulp
from typing import Any

import numpy as np

# An operand is the index of an earlier node (int; 0 is the variable) or a constant (float).
Step = tuple[str, tuple[int | float, ...]]
Program = tuple[Step, ...]

# 90 digits: derivatives are taken by differences there, which keep 40 of them.
FINE = Context(prec=90, Emax=10**6, Emin=-(10**6))
AMPLIFICATION = 4.0  # a random expression that amplifies rounding more is drawn anew; see `amplification`


class Exact:
    """A number of as many digits as the decimal context has, with the operations of the engines."""

    __slots__ = ("number",)
    __array_ufunc__ = None

    def __init__(self, number: Any) -> None:
        self.number: Decimal = number.number if isinstance(number, Exact) else Decimal(number)

    def __add__(self, other: Any) -> "Exact":
        return Exact(self.number + Exact(other).number)

    def __sub__(self, other: Any) -> "Exact":
        return Exact(self.number - Exact(other).number)

    def __mul__(self, other: Any) -> "Exact":
        return Exact(self.number * Exact(other).number)

    def __truediv__(self, other: Any) -> "Exact":
        return Exact(self.number / Exact(other).number)

    def __pow__(self, other: Any) -> "Exact":
        return Exact(self.number ** Exact(other).number)

    def __radd__(self, other: Any) -> "Exact":
        return Exact(other) + self

    def __rsub__(self, other: Any) -> "Exact":
        return Exact(other) - self

    def __rmul__(self, other: Any) -> "Exact":
        return Exact(other) * self

    def __rtruediv__(self, other: Any) -> "Exact":
        return Exact(other) / self

    def __rpow__(self, other: Any) -> "Exact":
        return Exact(other) ** self

    def exp(self) -> "Exact":
        return Exact(self.number.exp())

    def log(self) -> "Exact":
        return Exact(self.number.ln())

    def sin(self) -> "Exact":
        return Exact(_series(self.number, 1))

    def cos(self) -> "Exact":
        return Exact(_series(self.number, 0))

    def tanh(self) -> "Exact":
        square = (2 * self.number).exp()
        return Exact((square - 1) / (square + 1))

    def relu(self) -> "Exact":
        return Exact(max(self.number, Decimal(0)))


def _series(x: Decimal, first: int) -> Decimal:
    """Taylor series of sin (`first` = 1) or cos (0); meant for |x| below about 50."""
    with localcontext() as context:
        # The largest term is about e^|x|, which is lost from the digits of the sum.
        context.prec += int(abs(x)) + 5
        term = x if first else Decimal(1)
        total, n, square = term, first, x * x
        while term and term.adjusted() > -context.prec:
            term *= -square / ((n + 1) * (n + 2))
            total += term
            n += 2
    return +total


OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    **{name: operator.methodcaller(name) for name in ("exp", "log", "sin", "cos", "tanh", "relu")},
}


def evaluate(program: Program, x: Any) -> Any:
    """Value of a program at x, of any type with the operations."""
    return _trace(program, x)[-1]


@dataclass(frozen=True)
class Nudge:
    """Moves one operand of one step by a 1e-10th of its value at x, or of its slope, and no other."""

    step: int
    operand: int
    centre: Exact
    slope: bool

    def __call__(self, step: int, operand: int, node: Exact) -> Exact:
        if (step, operand) != (self.step, self.operand):
            return node
        return node + (node - self.centre if self.slope else self.centre) * Decimal("1e-10")


def _trace(program: Program, x: Any, nudge: Nudge | None = None) -> list[Any]:
    """All nodes of a program."""
    nodes = [x]
    for k, (name, operands) in enumerate(program):
        given = [
            a if not isinstance(a, int) else nodes[a] if nudge is None else nudge(k, i, nodes[a])
            for i, a in enumerate(operands)
        ]
        nodes.append(OPERATIONS[name](*given))
    return nodes


def difference(program: Program, x: float, h: str, nudge: Nudge | None = None) -> Decimal:
    """Central difference at x with the step h, in the decimal context that is set."""
    step = Decimal(h)
    up, down = (_trace(program, Exact(Decimal(x) + s), nudge)[-1].number for s in (step, -step))
    return (up - down) / (2 * step)


def amplification(program: Program, x: float) -> float:
    """Largest relative change of f'(x) per relative change of one intermediate value or of one slope.

    The values and slopes of each operand of each step are moved by themselves, as rounding moves them; so sums that
    cancel are seen, in f as in the chain rule. 1 is the least, infinity stands for f'(x) = 0.
    """
    with localcontext(FINE) as context:
        context.prec = 40
        plain, centre = difference(program, x, "1e-12"), _trace(program, Exact(x))
        if not plain:
            return inf
        nudges = (
            Nudge(k, i, centre[a], slope)
            for k, (_, operands) in enumerate(program)
            for i, a in enumerate(operands)
            if isinstance(a, int)
            for slope in (False, True)
        )
        moved = (difference(program, x, "1e-12", nudge) for nudge in nudges)
        return max(1.0, float(max(abs(d / plain - 1) for d in moved) * 10**10))


@dataclass(frozen=True)
class ExpressionCase:
    """An expression, where to differentiate it, and what is known there to 40 digits.

    `condition` is its `amplification`. `doubt` is the relative error of the derivative, as a step ten times longer
    shows it.
    """

    program: Program
    x: float
    derivative: Decimal
    condition: float
    doubt: float

    @classmethod
    def of(cls, program: Program, x: float) -> "ExpressionCase":
        with localcontext(FINE):
            slope, coarse = (difference(program, x, h) for h in ("1e-25", "1e-24"))
            doubt = abs(float((coarse - slope) / slope))
        return cls(program, x, slope, amplification(program, x), doubt)

    def ulps(self, derivative: float) -> float:
        """Error of a derivative in ulps of the true one."""
        if not isfinite(derivative):
            return inf
        with localcontext(FINE):
            return float(abs(Decimal(derivative) - self.derivative)) / ulp(float(self.derivative))


# sin(x^2) exp(-x) + ln x at 1.5
KNOWN: Program = (
    ("**", (0, 2.0)),
    ("sin", (1,)),
    ("*", (0, -1.0)),
    ("exp", (3,)),
    ("*", (2, 4)),
    ("log", (0,)),
    ("+", (5, 6)),
)

# Where an operation is smooth, and far from where it overflows or amplifies beyond measure.
DOMAINS: dict[str, tuple[float, float]] = {
    "exp": (-3, 3),
    "log": (0.1, 30),
    "sin": (-6, 6),
    "cos": (-6, 6),
    "tanh": (-3, 3),
    "relu": (0.05, 30),
}
# Of random powers: poles, roots and whole numbers.
EXPONENTS = (-2.0, -1.0, 0.5, 1.5, 2.0, 3.0)


def draw_program(rng: np.random.Generator, x: float, length: int) -> Program:
    """A random program whose every node lies between 0.02 and 30 in size at x."""
    nodes, steps = [x], list[Step]()
    with np.errstate(all="ignore"):
        while len(steps) < length:
            name, operands = _draw_step(rng, nodes)
            numbers = [nodes[a] if isinstance(a, int) else a for a in operands]
            low, high = DOMAINS.get(name, (-np.inf, np.inf))
            if not low <= numbers[0] <= high or (name == "**" and numbers[0] < 0.05):
                continue
            made = float(OPERATIONS[name](*numbers) if name in "+-*/**" else FLOATS[name](numbers[0]))
            if 0.02 <= abs(made) <= 30:
                nodes.append(made)
                steps.append((name, operands))
    return tuple(steps)


FLOATS: dict[str, Callable[[float], Any]] = {
    "relu": lambda x: max(x, 0.0),
    **{name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "tanh")},
}


def _draw_step(rng: np.random.Generator, nodes: list[float]) -> Step:
    """An operation on the newest node and, where it takes two, an earlier node or a constant on either side."""
    newest, name = len(nodes) - 1, str(rng.choice(list(OPERATIONS)))
    if name in DOMAINS:
        return name, (newest,)
    other: int | float = int(rng.integers(0, newest + 1))
    if rng.random() < 0.5:
        other = float(rng.choice(EXPONENTS)) if name == "**" else float(rng.integers(1, 25)) / 8
        other = np.float64(other) if rng.random() < 0.5 else other
    if rng.random() < 0.5:
        return name, (newest, other)
    return name, (abs(other) if name == "**" and isinstance(other, float) else other, newest)


@lru_cache(maxsize=2)
def random_cases(seed: int, count: int = 200) -> tuple[ExpressionCase, ...]:
    """Random expressions with their derivatives to 40 digits; none amplifies rounding much."""
    rng = np.random.default_rng(seed)
    cases: list[ExpressionCase] = []
    while len(cases) < count:
        x = float(rng.uniform(0.3, 2.5))
        program = draw_program(rng, x, int(rng.integers(3, 9)))
        if amplification(program, x) <= AMPLIFICATION:
            cases.append(ExpressionCase.of(program, x))
    return tuple(cases)


# One operation each, over a range in which decimal series are short; 1 - tanh^2 has lost all digits at 20.
RANGES: tuple[tuple[Step, float, float], ...] = (
    (("exp", (0,)), -40, 40),
    (("log", (0,)), 1e-6, 40),
    (("sin", (0,)), -40, 40),
    (("cos", (0,)), -40, 40),
    (("tanh", (0,)), -20, 20),
    (("**", (0, -2.5)), 1e-3, 40),
    (("**", (0, 3.0)), -40, 40),
    (("**", (1.25, 0)), -40, 40),
    (("**", (0, 0)), 1e-3, 40),
    (("/", (3.0, 0)), -40, 40),
)


@lru_cache(maxsize=2)
def single_cases(seed: int, count: int = 10) -> tuple[ExpressionCase, ...]:
    """Single operations at random points of `RANGES` with their derivatives to 40 digits."""
    rng = np.random.default_rng(seed)
    return tuple(
        ExpressionCase.of((step,), float(rng.uniform(low, high)))
        for step, low, high in RANGES
        for _ in range(count)
    )

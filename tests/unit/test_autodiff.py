"""The engines against exact derivatives, mpmath and autograd, and what they promise about graphs and operands."""

import doctest

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
import pytest

from svdflow.selfcheck.autodiff import Dual, Value, dual, value
from svdflow.selfcheck.autodiff.reference import (
    KNOWN,
    OPERATIONS,
    Exact,
    ExpressionCase,
    amplification,
    evaluate,
    random_cases,
)

EPS = np.finfo(float).eps
NUMBERS = [2, 0.5, True, np.float32(1.5), np.int64(3), np.array(0.75)]
ARRAYS = [np.array([1.0, 2.0, 3.0]), np.arange(1, 7).reshape(2, 3)]
ARITHMETIC = {name: OPERATIONS[name] for name in ("+", "-", "*", "/", "**")}


def by_dual(f, x):
    return f(Dual(x, 1.0)).tangent


def by_value(f, x):
    leaf = Value(x)
    result = f(leaf)
    result.backward(np.ones(result.shape))
    return leaf.grad


ENGINES = [by_dual, by_value]


@pytest.mark.parametrize("module", [dual, value])
def test_examples(module):
    assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)


# -- the reference


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh"])
def test_exact_functions_agree_with_mpmath(name):
    from decimal import Decimal, localcontext

    for x in (0.001, 0.7, 1.25, 2.75, 6.0, 20.0):
        with localcontext() as context, mpmath.workdps(70):
            context.prec = 60
            mine = mpmath.mpf(str(getattr(Exact(Decimal(x)), name)().number))
            assert abs(mine / getattr(mpmath, name)(mpmath.mpf(x)) - 1) < mpmath.mpf(10) ** -55


def test_exact_derivatives_agree_with_mpmath():
    """mpmath differentiates the same programs by a difference of its own, at 60 digits."""
    to_mpmath = {name: getattr(mpmath, name) for name in ("exp", "log", "sin", "cos", "tanh")}
    to_mpmath["relu"] = lambda x: max(x, mpmath.mpf(0))

    def run(program, x):
        nodes = [x]
        for name, operands in program:
            given = [nodes[a] if isinstance(a, int) else mpmath.mpf(float(a)) for a in operands]
            nodes.append((to_mpmath.get(name) or OPERATIONS[name])(*given))
        return nodes[-1]

    with mpmath.workdps(60):
        for case in (ExpressionCase.of(KNOWN, 1.5), *random_cases(0)[:40]):
            expected = mpmath.diff(lambda x, case=case: run(case.program, x), mpmath.mpf(case.x), h=1e-30)
            assert abs(mpmath.mpf(str(case.derivative)) / expected - 1) < mpmath.mpf(10) ** -40


def test_known_derivative():
    known = ExpressionCase.of(KNOWN, 1.5)
    assert str(known.derivative).startswith("0.072561626520431690765")  # reference, section 1.3
    assert known.doubt < 1e-40
    assert known.ulps(float("nan")) == known.ulps(float("inf")) == float("inf")
    assert known.ulps(float(known.derivative)) <= 0.5


def test_random_expressions_cover_the_engine():
    cases = random_cases(0)
    used = {name for case in cases for name, _ in case.program}
    assert used == set(OPERATIONS)
    assert len(set(cases)) == len(cases) == 200
    assert random_cases(0, 10) == cases[:10]


def test_amplification_sees_cancellation():
    """f = (x + c) - c loses c / x in f; in f' = 1 + c - c the slopes cancel likewise."""
    harmless = (("*", (0, 2.0)), ("sin", (1,)))
    cancelling = (("*", (0, 1000.0)), ("sin", (0,)), ("+", (1, 2)), ("-", (3, 1)))
    assert amplification(harmless, 0.5) < 2
    assert amplification(cancelling, 0.5) == pytest.approx(1000 / np.cos(0.5), rel=0.01)


# -- both engines


@pytest.mark.parametrize("engine", ENGINES)
def test_within_eight_ulps(engine):
    cases = random_cases(0)
    errors = [case.ulps(float(engine(lambda x, c=case: evaluate(c.program, x), case.x))) for case in cases]
    assert max(errors) <= 8
    known = ExpressionCase.of(KNOWN, 1.5)
    assert known.ulps(float(engine(lambda x: evaluate(KNOWN, x), 1.5))) <= 8


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh"])
def test_functions_against_mpmath(engine, name):
    x = np.linspace(0.05, 20, 60)
    slopes = engine(lambda x: getattr(x, name)(), x)
    with mpmath.workdps(40):
        expected = [mpmath.diff(getattr(mpmath, name), mpmath.mpf(t)) for t in x]
        # Relative accuracy even where tanh saturates; sin and cos near their zeros in the argument's condition.
        errors = [abs(float(s / e - 1)) for s, e in zip(slopes, expected)]
    assert max(errors) < 4 * EPS


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("other", NUMBERS + ARRAYS, ids=repr)
def test_operands_on_either_side(engine, name, other):
    """Against autograd, for Python and NumPy numbers and arrays that broadcast."""
    operation, x = ARITHMETIC[name], np.array([[0.5], [2.0]])
    double = np.asarray(other, dtype=float)  # autograd takes the logarithm of a float32 base in float32
    if engine is by_dual:  # the two entries of x stand in different rows, which do not mix
        left, right = (
            np.atleast_2d(by_dual(f, x))
            for f in (lambda x: operation(x, other), lambda x: operation(other, x))
        )
        left, right = left.sum(axis=1, keepdims=True), right.sum(axis=1, keepdims=True)
    else:
        left, right = by_value(lambda x: operation(x, other), x), by_value(lambda x: operation(other, x), x)
    np.testing.assert_allclose(left, autograd.grad(lambda x: anp.sum(operation(x, double)))(x), rtol=16 * EPS)
    np.testing.assert_allclose(
        right, autograd.grad(lambda x: anp.sum(operation(double, x)))(x), rtol=16 * EPS
    )


@pytest.mark.parametrize("made", [Dual, Value])
@pytest.mark.parametrize("bad", [1j, "a", None, pytest.param([object()], id="object"), {}], ids=repr)
def test_operands_that_are_refused(made, bad):
    with pytest.raises(TypeError, match="real numbers only"):
        made(bad)
    for name, operation in ARITHMETIC.items():
        with pytest.raises(TypeError):
            operation(made(1.0), bad)
        if not (name in ("*", "+") and isinstance(bad, str | list)):
            with pytest.raises(TypeError):
                operation(bad, made(1.0))


def test_engines_do_not_mix():
    for a, b in ((Dual(1.0), Value(1.0)), (Value(1.0), Dual(1.0))):
        with pytest.raises(TypeError):
            a + b
    with pytest.raises(TypeError):
        np.sin(Value(1.0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kinks_poles_and_nan(engine):
    relu = [engine(lambda x: x.relu(), x) for x in (-1.0, 0.0, 1.0, np.nan)]
    np.testing.assert_array_equal(relu, [0, 0, 1, np.nan])
    powers = [engine(lambda x, p=p: x**p, 0.0) for p in (0, 0.5, 1, 2)]
    np.testing.assert_array_equal(powers, [0, np.inf, 1, 0])
    assert engine(lambda x: x**x, 2.0) == pytest.approx(4 * (np.log(2) + 1), rel=4 * EPS)
    assert engine(lambda x: x**x, 0.0) == -np.inf  # ln x + 1
    for f in (lambda x: x.exp(), lambda x: x.sin(), lambda x: x * np.nan, lambda x: np.nan / x):
        assert np.isnan(engine(f, np.nan))
    for f in (lambda x: x.exp(), lambda x: x * np.inf, lambda x: x * x):
        assert engine(f, np.inf) == np.inf


@pytest.mark.parametrize("made", [Dual, Value])
def test_numbers_are_copied_and_in_double_precision(made):
    x = np.ones(3, dtype=np.float32)
    subject = made(x)
    x[0] = 7
    data = subject.value if made is Dual else subject.data
    assert data.tolist() == [1, 1, 1] and data.dtype == np.float64
    assert (np.float32(0.5) * made(np.array(3, dtype=np.int8))).tanh().shape == ()


def test_dual_tangent_must_fit():
    with pytest.raises(ValueError, match="broadcast"):
        Dual(1.0, np.ones(3))
    assert Dual(np.zeros((2, 3)), 1.0).tangent.shape == (2, 3)


# -- the graph


def test_shared_nodes():
    a = Value(3.0)
    square = a * a
    (square * square + a).backward()
    assert float(a.grad) == 4 * 27 + 1
    assert float(square.grad) == 18


def test_backward_twice_gives_the_same():
    """micrograd gives 4 and then 8."""
    a = Value(2.0)
    y = a * a
    y.backward()
    y.backward()
    assert float(a.grad) == 4
    y.backward(accumulate=True)
    assert float(a.grad) == 8


def test_vector_output_needs_a_seed():
    x = Value([1.0, 2.0])
    with pytest.raises(ValueError, match="seed"):
        (x * x).backward()
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2, 40]


def test_data_is_read_only():
    x = Value([1.0, 2.0])
    for node in (x, x * x, x.T, x.sum()):
        with pytest.raises(ValueError, match="read-only"):
            node.data[...] = 0


def test_gradients_are_not_aliases():
    a, b = Value([1.0, 2.0]), Value([3.0, 4.0])
    (a + b).sum().backward()
    a.grad[0] = 50
    assert b.grad.tolist() == [1, 1]


def test_deep_chain_is_built_differentiated_and_freed():
    x = Value(1.0)
    y = x
    for _ in range(50_000):
        y = y + x
    y.backward()
    assert float(x.grad) == 50_001
    del y


def test_against_autograd_on_a_program_of_arrays():
    """Sums of about 60 terms of size 1 on both sides."""
    rng = np.random.default_rng(0)
    A, B, x = rng.standard_normal((3, 4)), rng.standard_normal((2, 4, 5)), rng.standard_normal((2, 1, 5))

    def program(A, B, x, tanh, exp, sin):
        y = tanh(A @ B / 4 + x) * exp(-x * x) + sin(A).sum(axis=1, keepdims=True)
        return (y.T * 0.5).mean() + y.mean(axis=(0, 2)).sum() + (y**3).sum() / 60

    leaves = [Value(A), Value(B), Value(x)]
    program(*leaves, Value.tanh, Value.exp, Value.sin).backward()
    expected = autograd.grad(lambda *p: program(*p, anp.tanh, anp.exp, anp.sin), (0, 1, 2))(A, B, x)
    for leaf, e in zip(leaves, expected):
        np.testing.assert_allclose(leaf.grad, e, rtol=0, atol=64 * EPS)

    # Forward along a random direction: the same number.
    directions = [rng.standard_normal(p.shape) for p in (A, B, x)]
    duals = [Dual(p, d) for p, d in zip((A, B, x), directions)]
    tangent = float(program(*duals, Dual.tanh, Dual.exp, Dual.sin).tangent)
    assert tangent == pytest.approx(sum(np.sum(d * e) for d, e in zip(directions, expected)), abs=256 * EPS)

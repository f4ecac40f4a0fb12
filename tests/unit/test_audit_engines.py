"""The audits of the engines: quiet on the engines, loud on each planted fault."""

import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from svdflow.audit.records import attempt
from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import engines
from svdflow.selfcheck.autodiff import Dual, Value
from svdflow.selfcheck.engines import (
    EDGES,
    FORMS,
    XOR_INPUTS,
    XOR_TARGETS,
    audit_dual_exact,
    audit_value_engine,
    audit_value_exact,
    forward,
    reverse,
    train_xor,
    xor_gradient,
)
from svdflow.selfcheck.mutants.differentiation import (
    CosineSign,
    HalfProduct,
    Recursive,
    SlopeOfOutput,
    Stale,
    Unfolded,
    Unshared,
)
from unit.declared_audits import audits_of

AUDITS = audits_of(engines)
LIMITS = resolve()
DUAL, EXACT, ENGINE = audit_dual_exact, audit_value_exact, audit_value_engine


def failed(audit, subject, seed=0):
    """Subjects of the rows that fail or stop the audit."""
    records = attempt("gradients", "x", "x", lambda: audit(seed, LIMITS, subject), seed)
    assert not [r for r in records if r.verdict is Verdict.ERROR and "not a number" not in r.reason], records
    return {r.subject for r in records if r.verdict in (Verdict.FAIL, Verdict.ERROR)}


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(2))
def test_no_false_alarm(name, seed):
    records = list(AUDITS[name](seed, LIMITS))
    assert 4 <= len(records) <= 15
    for record in records:
        assert record.verdict is Verdict.PASS, str(record)
        assert record.family == "gradients" and record.seed == seed and record.reason
        assert record.reproduce == f"python -m svdflow audit {name} --seed {seed}"
        assert np.isfinite([record.value, record.fail, record.resolution]).all()


def test_same_seed_same_rows():
    for audit in AUDITS.values():
        assert [str(r) for r in audit(0, LIMITS)] == [str(r) for r in audit(0, LIMITS)]


def test_dual_numbers_are_within_eight_ulps():
    known, random, *_ = audit_dual_exact(0, LIMITS)
    assert known.value <= 8
    assert float(random.reason.split("at most ")[1].split()[0]) <= 8


@pytest.mark.parametrize("seed", range(3))
def test_network_gradients_equal_autograd(seed):
    """To 1e-12 of the largest entry at each 100th step; the loss ends below 1e-3."""

    def loss(point):
        W, b, v, c = point
        return anp.mean((anp.tanh(XOR_INPUTS @ W + b) @ v + c - XOR_TARGETS) ** 2)

    run = train_xor(seed, reverse())
    assert run.loss < 1e-3 and len(run.visited) == math.ceil(run.steps / 100) + 1
    for point, found in run.visited:
        expected = autograd.grad(loss)(point)
        largest = max(np.abs(e).max() for e in expected)
        for g, e, closed in zip(found, expected, xor_gradient(point)[0]):
            assert np.abs(g - e).max() <= 1e-12 * largest
            assert np.abs(closed - e).max() <= 1e-12 * largest


def test_network_resolution_bounds_what_is_seen():
    """The predicted rounding is not below the difference of two right gradients."""
    for point, found in train_xor(5, reverse()).visited:
        closed, rounding = xor_gradient(point)
        largest = max(np.abs(c).max() for c in closed)
        assert max(np.abs(c - g).max() for c, g in zip(closed, found)) <= rounding * largest < 1e-12 * largest


# -- planted faults


class FirstOfBroadcast(Value):
    """Gradients of what was repeated take the first copy instead of the sum: the shape is right."""

    __slots__ = ()

    @staticmethod
    def _folded(share, shape):
        share = np.asarray(share)
        while share.ndim > len(shape):
            share = share[0]
        return share[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


class Single(Value):
    """tanh passes through float32."""

    __slots__ = ()

    def tanh(self):
        slope = 1 / np.cosh(self.data.astype(np.float32)) ** 2
        return self._node(np.tanh(self.data), (self,), lambda g: (g * slope,))


class Transposed(Value):
    """The left factor's gradient is B G^T for G B^T: right in shape only for square matrices."""

    __slots__ = ()

    def __matmul__(self, other):
        other = self._lift(other)
        a, b = self.data, other.data
        right = super().__matmul__(other)
        if a.ndim != 2 or a.shape[0] != a.shape[1] or b.ndim != 1:
            return right
        return self._node(right.data, (self, other), lambda g: (np.outer(b, g), a.T @ g))


class SubtractedRight(Value):
    """a - b gives b the sign of a."""

    __slots__ = ()

    def __sub__(self, other):
        other = self._lift(other)
        return self._node(self.data - other.data, (self, other), lambda g: (g, g))


class KinkOne(Value):
    """relu has the derivative 1 at 0, against what is documented."""

    __slots__ = ()

    def relu(self):
        return self._node(np.maximum(self.data, 0), (self,), lambda g: (g * (self.data >= 0),))


class NumPyLeft(Value):
    """NumPy arrays on the left take the subject for an object."""

    __slots__ = ()
    __array_ufunc__ = np.ndarray.__array_ufunc__


@pytest.mark.parametrize(
    ("audit", "subject", "rows"),
    [
        (ENGINE, Stale, {"backward called again"}),
        (EXACT, Unshared, {"kinks, poles and shared nodes", "random expressions"}),
        (ENGINE, Unshared, {"backward called again", "chain of 10,000 operations"}),
        (EXACT, Unfolded, {"matrix forms in integers"}),
        (ENGINE, Unfolded, {"2-8-1 network against backprop"}),
        (EXACT, FirstOfBroadcast, {"matrix forms in integers"}),
        (ENGINE, FirstOfBroadcast, {"2-8-1 network against backprop", "2-8-1 network against dual numbers"}),
        (EXACT, SlopeOfOutput, {"random expressions"}),
        (ENGINE, SlopeOfOutput, {"tanh neuron", "2-8-1 network against backprop"}),
        (EXACT, Single, {"random expressions"}),
        (ENGINE, Single, {"tanh neuron", "2-8-1 network against backprop"}),
        (ENGINE, Recursive, {"chain of 10,000 operations"}),
        (EXACT, Transposed, {"matrix forms in integers"}),
        (EXACT, SubtractedRight, {"matrix forms in integers", "kinks, poles and shared nodes"}),
        (EXACT, KinkOne, {"kinks, poles and shared nodes"}),
        (EXACT, NumPyLeft, {"matrix forms in integers"}),
    ],
)
def test_reverse_faults_are_caught(audit, subject, rows):
    assert rows <= failed(audit, subject)


def test_recursion_fails_on_depth_alone():
    assert failed(ENGINE, Recursive) == {"chain of 10,000 operations"}


class SingleDual(Dual):
    """exp passes through float32."""

    __slots__ = ()

    def exp(self):
        return type(self)(np.exp(self.value), np.exp(self.value.astype(np.float32)) * self.tangent)


class CancellingTanh(Dual):
    """1 - y^2, which loses e^(2|x|) / 4 ulps to cancellation; the textbook formula."""

    __slots__ = ()

    def tanh(self):
        y = np.tanh(self.value)
        return type(self)(y, (1 - y * y) * self.tangent)


class ReflectedMinus(Dual):
    """c - x is taken for x - c."""

    __slots__ = ()

    def __rsub__(self, other):
        return self - other


class LogAbs(Dual):
    """The derivative of ln divides by |x| + 1e-9."""

    __slots__ = ()

    def log(self):
        return type(self)(np.log(self.value), self.tangent / (self.value + 1e-9))


class PowerAtZero(Dual):
    """x^p always by p x^(p-1), NaN for x^0 at 0."""

    __slots__ = ()

    def __pow__(self, other):
        if isinstance(other, Dual):
            return super().__pow__(other)
        return type(self)(self.value**other, other * self.value ** (other - 1.0) * self.tangent)


@pytest.mark.parametrize(
    ("subject", "rows"),
    [
        (HalfProduct, {"random expressions", "matrix forms in integers", "kinks, poles and shared nodes"}),
        (CosineSign, {"random expressions", "single operations over their ranges"}),
        (CancellingTanh, {"single operations over their ranges"}),
        (SingleDual, {"random expressions", "sin(x^2) exp(-x) + ln x at 1.5"}),
        (ReflectedMinus, {"random expressions", "matrix forms in integers"}),
        (LogAbs, {"random expressions", "sin(x^2) exp(-x) + ln x at 1.5", "kinks, poles and shared nodes"}),
        (PowerAtZero, {"kinks, poles and shared nodes"}),
    ],
)
def test_forward_faults_are_caught(subject, rows):
    assert rows <= failed(DUAL, subject)


def test_a_subject_that_raises_is_reported_and_the_rest_runs():
    class Broken(Value):
        __slots__ = ()

        def __matmul__(self, other):
            raise RuntimeError("no product")

    records = list(EXACT(0, LIMITS, Broken))
    forms = next(r for r in records if r.subject == "matrix forms in integers")
    assert forms.verdict is Verdict.FAIL and "raises RuntimeError" in forms.reason
    assert [r.verdict for r in records if r is not forms] == [Verdict.PASS] * 4


def test_tables_are_of_use():
    """Each law can be broken: an engine that always says 7 holds none of them."""

    class Seven(Dual):
        __slots__ = ()

        def __init__(self, value, tangent=0.0):
            super().__init__(value, tangent)
            self.tangent = np.full(self.value.shape, 7.0)

    values = {r.subject: r.value for r in DUAL(0, LIMITS, Seven)}
    assert values["matrix forms in integers"] == len(FORMS)
    assert values["kinks, poles and shared nodes"] == len(EDGES)


def test_forward_and_reverse_agree():
    rng = np.random.default_rng(2)
    points = [rng.standard_normal(s) for s in ((2, 8), (8,), (8, 1), (1,))]

    def f(W, b, v, c):
        return (((XOR_INPUTS @ W + b).sin().exp() @ v + c).tanh() / (2 + (W * W).sum())).sum()

    for x, y in zip(forward()(f, points), reverse()(f, points)):
        np.testing.assert_allclose(x, y, rtol=0, atol=64 * np.finfo(float).eps)

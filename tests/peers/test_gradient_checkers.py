"""What other checkers of gradients pass, though it is wrong; tests/unit/test_audit_traps.py has svdflow's verdicts."""

from itertools import pairwise
from math import log2

import numpy as np
import pytest
import scipy.optimize
from autograd import extend
from autograd.test_util import check_grads

SHIFTS = np.linspace(0.1, 1.0, 10_000)
PASSES = 1.9  # the order that users of Taylor tests assert


def five_percent(size, mode):
    """jax.test_util.check_grads on sines, entry by entry, whose derivatives are all 5 % too large."""
    jax = pytest.importorskip("jax", reason="jax weighs 400 MB and is no requirement of the tests")
    from jax import test_util

    with jax.enable_x64(True):
        wrong = jax.custom_jvp(jax.numpy.sin)
        wrong.defjvp(lambda x, dx: (jax.numpy.sin(x[0]), 1.05 * jax.numpy.cos(x[0]) * dx[0]))
        test_util.check_grads(wrong, (jax.numpy.asarray(SHIFTS[:size]),), order=1, modes=[mode])


def test_jax_passes_five_percent_in_ten_thousand_entries():
    # Its tolerances are multiplied by the number of entries compared: all of them forward, one number in reverse.
    for size, mode in ((1_000, "fwd"), (10_000, "rev")):
        with pytest.raises(AssertionError):
            five_percent(size, mode)
    five_percent(10_000, "fwd")


def flipped_sine(scale):
    """scale * sin with the sign of its derivative wrong, as a primitive of autograd."""
    f = extend.primitive(lambda x: scale * np.sin(x))
    extend.defvjp(f, lambda ans, x: lambda g: -scale * g * np.cos(x))
    return f


def test_autograd_passes_a_small_gradient_with_the_wrong_sign():
    with pytest.raises(AssertionError):
        check_grads(flipped_sine(1.0), modes=["rev"], order=1)(0.5)
    check_grads(flipped_sine(1e-7), modes=["rev"], order=1)(0.5)


def taylor_rates(f, slope, x, h):
    """Orders at which |f(x + eps h) - f(x) - eps slope| falls, eps halved from 1e-2 (pyadjoint's taylor_test)."""
    eps = [0.01 / 2**i for i in range(4)]
    left = [abs(f(x + e * h) - f(x) - e * slope) for e in eps]
    return [log2(a / b) for a, b in pairwise(left)]


def test_the_taylor_test_passes_an_error_of_a_thousandth():
    def f(x):
        return np.exp(3 * x).sum()

    x = h = np.full(4, 0.5)
    slope = float(3 * np.exp(3 * x) @ h)
    assert min(taylor_rates(f, slope, x, h)) > PASSES
    assert min(taylor_rates(f, 2 * slope, x, h)) < PASSES
    assert min(taylor_rates(f, 1.001 * slope, x, h)) > PASSES


def test_scipy_check_grad_has_no_scale():
    x = np.random.default_rng(0).standard_normal(20)
    right = scipy.optimize.check_grad(lambda x: 1e6 * np.sum(x**4), lambda x: 4e6 * x**3, x)
    wrong = scipy.optimize.check_grad(lambda x: 1e-9 * np.sum(x**2), lambda x: -2e-9 * x, x)
    assert right > 1
    assert wrong < 1e-7

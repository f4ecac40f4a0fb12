"""Taylor orders and errors against the step: exactness, planted faults, the figures of the reference."""

from dataclasses import replace

import numpy as np
import pytest

from svdflow.audit.step_errors import error_against_step
from svdflow.audit.taylor import taylor_order
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.registry.limits import resolve
from svdflow.selfcheck.taylor_orders import CASES, audit_taylor_order

LIMITS = resolve()
X = np.linspace(0.2, 1.1, 6)


def exponentials(x):
    return np.exp(x).sum()


def product(x, v):
    return np.exp(x) * v


# --- orders


def test_orders_of_a_smooth_function():
    report = taylor_order(exponentials, np.exp, X, product)
    assert report.verdict is Verdict.PASS
    np.testing.assert_allclose(report.slopes, (1, 2, 3), atol=0.02)
    assert report.steps[0] == 0.5 and report.steps[-1] == 2.0**-40
    assert report.remainders.shape == (3, 40)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("error", [-1e-6, 1e-5, 1e-3, 0.5, -2.0])
def test_wrong_gradients_fail_far_below_the_error_that_fixed_steps_pass(error, seed):
    # Remainders at steps of 1e-2 to 1e-3 show rates of 2.2 and above for an error of 0.1 %: a pass.
    right = taylor_order(exponentials, np.exp, X, seed=seed)
    assert right.verdict is Verdict.PASS
    wrong = taylor_order(exponentials, lambda x: (1 + error) * np.exp(x), X, seed=seed)
    assert wrong.verdict is Verdict.FAIL, str(wrong)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("error", [1e-3, 0.5, -2.0])
def test_a_large_error_of_a_gradient_is_measured(error, seed):
    wrong = taylor_order(exponentials, lambda x: (1 + error) * np.exp(x), X, seed=seed)
    assert wrong.slopes[1] == pytest.approx(1, abs=0.05)
    # Relative to the larger of the given and the true slope.
    assert wrong.value == pytest.approx(abs(error) / max(1, abs(1 + error)), rel=0.05)


@pytest.mark.parametrize("seed", range(10))
def test_what_lies_below_the_resolution_passes_and_what_lies_above_fails(seed):
    blind = taylor_order(exponentials, np.exp, X, seed=seed).resolution
    assert 1e-9 < blind < 1e-5  # a tenth of curvature times the finest usable step, some 1e-6
    for share, verdicts in ((0.01, [Verdict.PASS]), (20, [Verdict.FAIL])):
        report = taylor_order(exponentials, lambda x, s=share: (1 + s * blind) * np.exp(x), X, seed=seed)
        assert report.verdict in verdicts, str(report)


@pytest.mark.parametrize("error", [1e-2, -1e-2, 1.0])
def test_wrong_hessians_fail(error):
    report = taylor_order(exponentials, np.exp, X, lambda x, v: (1 + error) * product(x, v))
    assert report.verdict is Verdict.FAIL
    assert report.slopes[2] == pytest.approx(2, abs=0.1)
    assert "Hessian" in report.reason


def test_a_zero_gradient_fails_where_there_is_a_slope():
    report = taylor_order(exponentials, np.zeros_like, X)
    assert report.verdict is Verdict.FAIL
    assert report.value == pytest.approx(1, rel=0.05)


# --- exactness: the usual formula gives rates of 0.95 to 1 for a linear function, a false alarm


@pytest.mark.parametrize("seed", range(5))
def test_linear_and_quadratic_functions_are_exact(seed):
    rng = np.random.default_rng(seed)
    a, A = rng.standard_normal(6), rng.standard_normal((6, 6))
    A = A + A.T
    flat = taylor_order(lambda x: a @ x + 3, lambda x: a, X, seed=seed)
    assert flat.verdict is Verdict.PASS and "linear" in flat.reason
    assert flat.slopes[1] == np.inf and flat.resolution < 1e-11
    bowl = (lambda x: x @ A @ x / 2, lambda x: A @ x, X, lambda x, v: A @ v)
    curved = taylor_order(*bowl, seed=seed)
    assert curved.verdict is Verdict.PASS and "quadratic" in curved.reason
    assert taylor_order(*bowl[:3], seed=seed).slopes[1] == pytest.approx(2, abs=1e-2)
    for error in (1e-10, 1e-3, 1.0):
        wrong = taylor_order(lambda x: a @ x + 3, lambda x, e=error: (1 + e) * a, X, seed=seed)
        assert wrong.verdict is Verdict.FAIL
    assert taylor_order(*bowl[:3], lambda x, v: (1 + 1e-6) * (A @ v), seed=seed).verdict is Verdict.FAIL


def test_a_second_derivative_that_vanishes_is_no_fault():
    """tanh at 0 is odd, so R1 falls like h^3."""
    limit = Threshold(0.05, 0.1, 1e-2)
    report = taylor_order(
        lambda x: np.tanh(x).sum(), lambda x: 1 - np.tanh(x) ** 2, np.zeros(4), threshold=limit
    )
    assert report.verdict is Verdict.PASS
    assert report.slopes[1] == pytest.approx(3, abs=0.05)
    assert "vanishes" in report.reason


# --- where the order says nothing


def test_few_usable_steps_are_inconclusive():
    """In float32 the small curvature stands out of the rounding at the largest steps only."""
    report = taylor_order(lambda x: float(np.float32((x + 3e-4 * x**2).sum())), lambda x: 1 + 6e-4 * x, X)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "fewer than 4 usable steps" in report.reason


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_kinks_are_inconclusive(power):
    report = taylor_order(lambda x: (np.abs(x) ** power).sum(), np.zeros_like, np.zeros(3))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "kink" in report.reason


def test_a_minimum_has_no_scale():
    report = taylor_order(lambda x: x @ x, lambda x: 2 * x, np.zeros(3))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert taylor_order(lambda x: 1.0, np.zeros_like, X).verdict is Verdict.INCONCLUSIVE


def test_the_radius_bounds_the_steps():
    seen = []

    def f(x):
        seen.append(np.abs(x - X).max())
        return exponentials(x)

    assert taylor_order(f, np.exp, X, radius=1e-3).verdict is Verdict.PASS
    assert max(seen) <= 1e-3 * 4  # a Gaussian direction reaches some standard deviations


def test_limits_can_be_set():
    strict = Threshold(0.05, 0.1, 1e-12)
    report = taylor_order(exponentials, np.exp, X, threshold=strict)
    assert report.verdict is Verdict.INCONCLUSIVE and "worse than required" in report.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((exponentials, np.exp, []), "empty"),
        ((exponentials, np.exp, [np.nan]), "nan at (0,)"),
        ((exponentials, np.exp, np.array([object()])), "dtype object"),
        ((np.exp, np.exp, X), "scalar"),
        ((exponentials, lambda x: x[:2], X), "shape (2,)"),
        ((exponentials, np.exp, X, lambda x, v: 1.0), "Hessian product has shape ()"),
        ((exponentials, np.exp, X, lambda x, v: v * np.nan), "Hessian product holds nan"),
        ((exponentials, np.exp, X, lambda x, v: 1 / 0), "ZeroDivisionError"),
    ],
)
def test_bad_input_is_an_error_with_its_reason(arguments, said):
    report = taylor_order(*arguments)
    assert report.verdict is Verdict.ERROR and said in report.reason
    assert not report


# --- the audit


@pytest.mark.parametrize("seed", range(8))
def test_the_right_cases_raise_no_alarm(seed):
    records = list(audit_taylor_order(seed, LIMITS))
    assert len(records) == 9
    for record in records:
        assert record.verdict is Verdict.PASS, str(record)
        assert record.resolution <= 1e-2 and "blind to relative errors" in record.reason
        assert record.reproduce == f"python -m svdflow audit taylor_order --seed {seed}"


@pytest.mark.parametrize("name", CASES)
def test_a_planted_fault_fails(name):
    def wrong(rng):
        case = CASES[name](rng)
        product = case.hessian_product and (lambda x, v: 1.05 * case.hessian_product(x, v))
        return replace(case, grad=lambda x: 1.001 * case.grad(x), hessian_product=product)

    for record in audit_taylor_order(0, LIMITS, {name: wrong}):
        assert record.verdict is Verdict.FAIL, str(record)


# --- error against step


def test_figures_of_the_reference():
    """f = sin(x^2) exp(-x) + ln x at 1.5; its derivative to 20 digits was computed with 40."""

    def f(x):
        return np.sin(x**2) * np.exp(-x) + np.log(x)

    def grad(x):
        return (2 * x * np.cos(x**2) - np.sin(x**2)) * np.exp(-x) + 1 / x

    steps = [0.1, 6.1e-6, 1.5e-8, 1e-10, 1e-20]
    errors = error_against_step(f, grad, 1.5, steps=steps, exact=0.072561626520431690766)
    np.testing.assert_array_equal(errors.h, steps)
    # Truncation is law; what rounding leaves depends on the libm, so its figures hold within a factor.
    assert 7e-8 / 4 < errors.forward[2] < 7e-8 * 4
    assert 5.1e-10 / 4 < errors.central[1] < 5.1e-10 * 4
    assert 3e-6 / 4 < errors.central[3] < 3e-6 * 4
    assert errors.richardson[0] < 4 * 3e-14
    assert errors.complex_step[4] < 4 * 1e-15


def test_the_v_of_truncation_and_rounding():
    errors = error_against_step(lambda x: np.exp(x).sum(), np.exp, np.array([0.3, 0.7]))
    assert len(errors.h) == 61 and errors.h[0] == 0.1 and errors.h[-1] == pytest.approx(1e-16)
    # forward h |f''| / 2f' = h / 2, central h^2 |f'''| / 6 f' = h^2 / 6, for exp
    assert errors.forward[8] == pytest.approx(errors.h[8] / 2, rel=1e-2)
    assert errors.central[4] == pytest.approx(errors.h[4] ** 2 / 6, rel=1e-2)
    eps = np.finfo(float).eps
    assert errors.h[np.argmin(errors.forward)] == pytest.approx(eps ** (1 / 2), rel=20)
    assert errors.central.min() < 10 * eps ** (2 / 3)
    assert errors.complex_step[16:].max() < 1e-9 and errors.complex_step[-1] < 4 * eps


def test_a_function_without_complex_arguments_has_no_complex_step():
    errors = error_against_step(lambda x: float(np.abs(x)), np.sign, 2.0, steps=[1e-3])
    assert np.isnan(errors.complex_step).all() and errors.central[0] < 1e-12
    with pytest.raises(ValueError, match="derivative along the direction is 0"):
        error_against_step(np.cos, lambda x: 0 * x, 0.0)

"""Gradient checks against autograd, the complex step and planted faults."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from svdflow.audit import check_gradient
from svdflow.audit.gradients import PROBLEMS, Problem
from svdflow.audit.verdicts import Threshold, Verdict
from svdflow.store import read_table


def problem(name: str, seed: int = 3) -> Problem:
    return PROBLEMS[name](np.random.default_rng(seed))


def check(p: Problem, grad=None, **options):
    return check_gradient(p.f, grad or p.grad, p.x, radius=p.radius, rtol=p.rtol, **options)


# --- the identities: closed form, autograd, complex step and differences agree


def autograd_of(name, rng):
    """The same functions, written for autograd, and the point, drawn in the same order."""
    if name == "trace_axb":
        A, X, B = rng.standard_normal((6, 8)), rng.standard_normal((8, 5)), rng.standard_normal((5, 6))
        return lambda X: anp.trace(anp.dot(anp.dot(A, X), B)), X
    if name == "frobenius_norm":
        return lambda X: anp.linalg.norm(X) ** 2, rng.standard_normal((12, 9))
    if name == "log_det":
        return lambda X: anp.linalg.slogdet(X)[1], problem(name).x
    if name == "linear_regression":
        X, y, w = rng.standard_normal((40, 6)), rng.standard_normal(40), rng.standard_normal(6)
        return lambda w: anp.sum((anp.dot(X, w) - y) ** 2) / 40, w
    z = rng.standard_normal((12, 5))
    labels = rng.integers(5, size=12)
    return lambda z: -anp.mean((z - anp.log(anp.sum(anp.exp(z), axis=1))[:, None])[range(12), labels]), z


@pytest.mark.parametrize("name", PROBLEMS)
def test_closed_form_equals_autograd(name):
    f, x = autograd_of(name, np.random.default_rng(3))
    p = problem(name)
    np.testing.assert_array_equal(x, p.x)
    np.testing.assert_allclose(p.f(x), f(x), rtol=1e-13)
    # n eps kappa, kappa at most 10 (log_det), n at most 108
    np.testing.assert_allclose(
        p.grad(p.x), autograd.grad(f)(x), rtol=0, atol=1e-12 * np.abs(p.grad(p.x)).max()
    )


@pytest.mark.parametrize("name", ["trace_axb", "frobenius_norm", "linear_regression"])
def test_closed_form_equals_the_complex_step(name):
    p = problem(name)
    exact = np.empty(p.x.shape)
    for index in np.ndindex(p.x.shape):
        moved = p.x.astype(complex)
        moved[index] += 1e-20j
        exact[index] = p.f(moved).imag / 1e-20
    np.testing.assert_allclose(p.grad(p.x), exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("seed", range(4))
def test_identities_pass_with_a_fine_resolution(name, seed):
    report = check(problem(name, seed), seed=seed)
    assert report.verdict is Verdict.PASS, str(report)
    assert report.resolution <= 1e-9


# --- planted faults


def one_large_entry(g: np.ndarray) -> np.ndarray:
    g = g.copy()
    g.flat[np.argmax(np.abs(g))] *= 1.1
    return g


def one_small_entry_negated(g: np.ndarray) -> np.ndarray:
    g = g.copy()
    g.flat[np.argmin(np.abs(g))] *= -1
    return g


MUTANTS = {
    "sign flip": np.negative,
    "factor 2": lambda g: 2 * g,
    "missing term": lambda g: g - np.abs(g).max() / 2,
    "one large entry 10 % wrong": one_large_entry,
    "relative error 1e-9": lambda g: g * (1 + 1e-9),
    "float32 leak": lambda g: g.astype(np.float32).astype(np.float64),
    "zero": np.zeros_like,
}


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_mutants_fail(name, mutant):
    p = problem(name)
    report = check(p, lambda x: MUTANTS[mutant](p.grad(x)))
    assert report.verdict is Verdict.FAIL, str(report)
    assert not report
    assert report.value >= report.fail


def test_a_transposed_gradient_fails():
    p = problem("log_det")
    assert check(p, lambda x: p.grad(x).T).verdict is Verdict.FAIL


def test_a_forgotten_term_fails():
    p = problem("softmax_cross_entropy")
    assert check(p, lambda z: p.grad(z) + 1 / 12 * (z == z.max())).verdict is Verdict.FAIL  # y dropped once


def test_one_small_wrong_sign_is_found_where_all_entries_are_checked():
    p = problem("linear_regression")
    report = check(p, lambda w: one_small_entry_negated(p.grad(w)))
    assert report.verdict is Verdict.FAIL
    assert report.worst[0].index == (int(np.argmin(np.abs(p.grad(p.x)))),)


def test_one_wrong_sign_in_ten_thousand_entries_is_found_by_directions():
    A = np.random.default_rng(0).standard_normal((100, 100))

    def wrong(x):
        g = A * np.cos(x)
        g[17, 61] *= -1
        return g

    report = check_gradient(lambda x: np.sum(A * np.sin(x)), wrong, np.full((100, 100), 0.3))
    assert report.verdict is Verdict.FAIL
    assert report.worst[0].is_direction


def test_a_tiny_gradient_of_the_wrong_sign_fails():
    # autograd's check_grads passes it by its absolute tolerance
    x = np.linspace(0.1, 1, 5)
    assert (
        check_gradient(lambda x: 1e-7 * np.sin(x).sum(), lambda x: -1e-7 * np.cos(x), x).verdict
        is Verdict.FAIL
    )


def test_an_absolute_tolerance_only_excuses():
    x = np.linspace(0.1, 1, 5)
    lenient = Threshold(4, 8, 1e-6, excuse=1e-3)
    report = check_gradient(
        lambda x: 1e-7 * np.sin(x).sum(), lambda x: -1e-7 * np.cos(x), x, threshold=lenient
    )
    assert report.verdict is Verdict.INCONCLUSIVE


# --- where differences cannot decide


@pytest.mark.parametrize(
    ("f", "grad"),
    [
        (lambda x: np.maximum(x, 0).sum(), lambda x: (x > 0) * 1.0),
        (lambda x: np.abs(x).sum(), np.sign),
        (lambda x: (np.abs(x) ** 1.5).sum(), lambda x: 1.5 * np.sign(x) * np.sqrt(np.abs(x))),
    ],
)
def test_kinks_are_inconclusive(f, grad):
    report = check_gradient(f, grad, np.array([0.0, 1.0, 2.0]))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "kink" in report.reason
    assert check_gradient(f, lambda x: 2 * grad(x), np.array([0.0, 1.0, 2.0])).verdict is Verdict.FAIL


def test_float32_inside_is_coarse_and_says_so():
    x = np.linspace(0.1, 1, 5)
    report = check_gradient(lambda x: np.sin(x.astype(np.float32)).sum(), np.cos, x)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert 1e-6 < report.resolution < 1e-2
    wrong = check_gradient(lambda x: np.sin(x.astype(np.float32)).sum(), lambda x: 1.1 * np.cos(x), x)
    assert wrong.verdict is Verdict.FAIL


@pytest.mark.parametrize("radius", [np.inf, 1e-11])
def test_ln_det_at_kappa_1e10_is_never_a_false_alarm(radius):
    rng = np.random.default_rng(1)
    Q, P = (np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(2))
    X = (Q * np.geomspace(1, 1e-10, 8)) @ P
    report = check_gradient(
        lambda X: np.linalg.slogdet(X)[1], lambda X: np.linalg.inv(X).T, X, radius=radius, rtol=1e-2
    )
    assert report.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("slope", [8.0, 10.0, 15.0, 18.0, 25.0, 300.0])
@pytest.mark.parametrize("seed", range(4))
def test_terms_that_cancel_at_x_are_no_false_alarm(slope, seed):
    # f(x) = tanh(w) - tanh(w) = 0 says nothing of the rounding of its terms, which drowns 4 w exp(-2 w).
    W = np.diag([slope, -slope])

    def grad(x):
        return W.T @ (1 / np.cosh(W @ x) ** 2)

    report = check_gradient(lambda x: np.tanh(W @ x).sum(), grad, np.ones(2), seed=seed)
    assert report.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), str(report)
    if slope >= 18:  # 4 w exp(-2 w) < eps
        assert report.verdict is Verdict.INCONCLUSIVE
    wrong = check_gradient(lambda x: np.tanh(W @ x).sum(), lambda x: grad(x) + 1e-3, np.ones(2), seed=seed)
    assert wrong.verdict is Verdict.FAIL


@pytest.mark.parametrize("size", [1e-161, 1.6e-162, 1e-165, 1e-170, 1e-300])
@pytest.mark.parametrize("n", [1, 5, 200])
def test_underflow_is_inconclusive(size, n):
    report = check_gradient(lambda x: x @ x, lambda x: 2 * x, size * np.linspace(1, 2, n))
    assert report.verdict is Verdict.INCONCLUSIVE, str(report)


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e200])
def test_squares_that_overflow_or_vanish_do_not_matter_where_f_takes_none(size):
    a, x = np.linspace(1, 2, 5), size * np.linspace(-1, 1, 5)
    assert check_gradient(lambda x: a @ x, lambda x: a, x).verdict is Verdict.PASS
    assert check_gradient(lambda x: a @ x, lambda x: 2 * a, x).verdict is Verdict.FAIL


def test_a_constant_with_a_slope_fails():
    for constant in (0.0, 1.0):
        report = check_gradient(lambda x, c=constant: c, np.ones_like, np.ones(3))
        assert report.verdict is Verdict.FAIL


def test_a_zero_gradient_has_no_scale():
    report = check_gradient(lambda x: 1.0, np.zeros_like, np.ones(3))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "scale" in report.reason


def test_steps_may_leave_the_domain():
    x = np.array([0.01, 1.0, 5.0])  # a quarter of the typical entry below 0.01 is negative
    assert check_gradient(lambda x: np.log(x).sum(), lambda x: 1 / x, x)


# --- smooth functions: no false alarm, no miss


def smooth(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    a, b, C = (
        rng.standard_normal(n) * 10.0 ** rng.integers(-3, 2),
        rng.standard_normal(n),
        rng.standard_normal((n, n)),
    )
    kinds = [
        (lambda x: np.sum(a * np.sin(b * x)), lambda x: a * b * np.cos(b * x)),
        (lambda x: np.exp(b @ x) + x @ C @ x, lambda x: b * np.exp(b @ x) + (C + C.T) @ x),
        (lambda x: np.logaddexp(0, C @ x).sum(), lambda x: C.T @ (1 / (1 + np.exp(-C @ x)))),
        (lambda x: np.tanh(C @ x) @ a, lambda x: C.T @ (a * (1 - np.tanh(C @ x) ** 2))),
    ]
    return *kinds[seed % 4], rng.standard_normal(n)


@pytest.mark.parametrize("seed", range(100))
def test_smooth_functions(seed):
    f, grad, x = smooth(seed)
    assert check_gradient(f, grad, x, seed=seed).verdict is Verdict.PASS
    assert check_gradient(f, lambda x: grad(x) * (1 + 1e-9), x, seed=seed).verdict is Verdict.FAIL


def test_same_seed_same_report():
    p = problem("trace_axb")
    assert check(p, seed=5) == check(p, seed=5)


# --- input that cannot be audited


@pytest.mark.parametrize(
    ("f", "grad", "x", "said"),
    [
        (np.sum, np.ones_like, [1.0, np.nan], "nan at (1,)"),
        (np.sum, np.ones_like, [], "empty"),
        (np.sum, np.ones_like, np.array([object()]), "dtype object"),
        (np.sum, np.ones_like, [1j], "complex"),
        (lambda x: x, np.ones_like, [1.0, 2.0], "scalar"),
        (lambda x: np.nan, np.ones_like, [1.0], "f(x) is nan"),
        (np.sum, lambda x: np.ones(3), [1.0, 2.0], "shape (3,)"),
        (np.sum, lambda x: x * np.inf, [1.0, 2.0], "not finite"),
        (lambda x: 1 / 0, np.ones_like, [1.0], "ZeroDivisionError"),
    ],
)
def test_bad_input_is_an_error_with_its_reason(f, grad, x, said):
    report = check_gradient(f, grad, x)
    assert report.verdict is Verdict.ERROR
    assert said in report.reason


def test_the_stage_publishes_a_row_an_identity(tmp_path):
    from svdflow.audit.gradients import audit_gradients

    audit_gradients(tmp_path / "gradients.h5", seed=42, thresholds={"gradient.resolution": 1e-8})
    table = read_table(tmp_path / "gradients.h5", "audit")
    assert list(table["subject"]) == list(PROBLEMS)
    assert set(table["verdict"]) == {"PASS"}
    assert table["reproduce"][0] == "python -m svdflow audit trace_axb --seed 42"
    assert read_table(tmp_path / "gradients.h5", "errors").empty

"""Closed forms against autograd, the complex step and differences; each leg in turn is made to fail."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
import pytest

from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import gradient_identities
from svdflow.selfcheck.gradient_identities import (
    PROBLEMS,
    audit_identity,
    audit_lndet_kappa,
    complex_step_gradient,
    inverse_transposed,
    log_det,
)
from unit.declared_audits import audits_of

AUDITS = audits_of(gradient_identities)
LIMITS = resolve()


def problem(name, seed=3):
    return PROBLEMS[name](np.random.default_rng(seed))


def softmax(z):
    e = anp.exp(z)
    return e / anp.sum(e, axis=-1, keepdims=True)


def autograd_of(name, rng):
    """The same functions, written for autograd, and the point, drawn in the same order."""
    normal = rng.standard_normal
    if name == "trace_axb":
        A, X, B = normal((6, 8)), normal((8, 5)), normal((5, 6))
        return lambda X: anp.trace(anp.dot(anp.dot(A, X), B)), X
    if name == "trace_gradient":
        return anp.trace, normal((7, 7))
    if name == "frobenius_norm":
        return lambda X: anp.linalg.norm(X) ** 2, normal((12, 9))
    if name == "frobenius_product":
        A, X = normal((7, 5)), normal((5, 6))
        return lambda X: anp.linalg.norm(anp.dot(A, X)) ** 2, X
    if name == "log_det":
        return lambda X: anp.linalg.slogdet(X)[1], problem(name).x
    if name == "inverse_gradient":
        X = problem(name).x
        normal((2, 8, 8))  # the two factors of X
        a, b = normal(8), normal(8)
        return lambda X: anp.dot(a, anp.dot(anp.linalg.inv(X), b)), X
    if name == "linear_regression":
        X, y, w = normal((40, 6)), normal(40), normal(6)
        return lambda w: anp.sum((anp.dot(X, w) - y) ** 2) / 40, w
    if name == "softmax_cross_entropy":
        z, labels = normal((12, 5)), rng.integers(5, size=12)
        return lambda z: -anp.mean((z - anp.log(anp.sum(anp.exp(z), axis=1))[:, None])[range(12), labels]), z
    if name == "softmax_gradient":
        x, a = normal(9), normal(9)
        return lambda x: anp.dot(softmax(x), a), x
    if name == "layer_norm_gradient":
        x, gain, weights = normal((6, 8)), normal(8), normal((6, 8))

        def layer_norm(x):
            mean, var = anp.mean(x, axis=1)[:, None], anp.var(x, axis=1)[:, None]
            return anp.sum(weights * gain * (x - mean) / anp.sqrt(var + 1e-5))

        return layer_norm, x
    x, W = normal((3, 5, 4)), normal((5, 4))
    return lambda x: anp.sum(W * anp.dot(softmax(anp.dot(x[0], x[1].T) / 2), x[2])), x


@pytest.mark.parametrize("name", PROBLEMS)
def test_closed_form_equals_autograd(name):
    f, x = autograd_of(name, np.random.default_rng(3))
    p = problem(name)
    np.testing.assert_array_equal(x, p.x)
    scale = np.abs(p.grad(x)).max()
    # n eps kappa^2, kappa at most 10 (autograd inverts), n at most 108; f may cancel, its gradient does not.
    np.testing.assert_allclose(p.f(x), f(x), rtol=1e-11)
    np.testing.assert_allclose(p.grad(x), autograd.grad(f)(x), rtol=0, atol=1e-12 * p.kappa * scale)


@pytest.mark.parametrize("name", PROBLEMS)
def test_complex_step_equals_autograd(name):
    f, x = autograd_of(name, np.random.default_rng(3))
    p = problem(name)
    exact = complex_step_gradient(p.analytic or p.f, p.x)
    np.testing.assert_allclose(exact, autograd.grad(f)(x), rtol=0, atol=1e-12 * p.kappa * np.abs(exact).max())


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(3))
def test_right_identities_raise_no_alarm(name, seed):
    for record in AUDITS[name](seed, LIMITS):
        assert record.family in ("gradients", "peers") and record.seed == seed
        assert record.reason and np.isfinite(record.value) and record.resolution > 0
        assert record.reproduce == f"python -m svdflow audit {name} --seed {seed}"
        if record.audit == "lndet_naive":
            continue
        beyond = record.subject == "ln det, kappa 1e+10" and record.audit == "gradient"
        assert record.verdict is (Verdict.INCONCLUSIVE if beyond else Verdict.PASS), str(record)


def rows(name, change, seed=0):
    """Rows by audit, with the problem changed."""
    return {
        r.audit: r for r in audit_identity(seed, LIMITS, lambda rng: change(PROBLEMS[name](rng)), name=name)
    }


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_wrong_closed_form_is_named(name):
    found = rows(name, lambda p: replace(p, grad=lambda x: p.grad(x) * (1 + 1e-9)))
    assert found["gradient"].verdict is Verdict.FAIL
    assert found["identity"].verdict is Verdict.FAIL
    assert found["identity"].value == pytest.approx(1e-9, rel=1e-3)
    assert "the closed form disagrees" in found["identity"].reason


def test_the_identity_sees_what_no_difference_can():
    found = rows("attention_gradient", lambda p: replace(p, grad=lambda x: p.grad(x) * (1 + 1e-11)))
    assert found["gradient"].verdict is Verdict.PASS
    assert found["identity"].verdict is Verdict.FAIL


def test_a_function_that_is_not_analytic_is_named():
    found = rows("softmax_gradient", lambda p: replace(p, analytic=lambda z: np.abs(p.f(z))))
    assert found["gradient"].verdict is Verdict.PASS
    assert found["identity"].verdict is Verdict.FAIL
    assert "the complex step disagrees" in found["identity"].reason


def test_wrong_differences_are_named():
    found = rows("linear_regression", lambda p: replace(p, f=lambda w: 1.001 * p.f(w), analytic=p.f))
    assert found["gradient"].verdict is Verdict.FAIL
    assert found["identity"].verdict is Verdict.PASS
    assert "the difference disagrees" in found["identity"].reason


def test_three_ways_apart():
    found = rows(
        "trace_axb",
        lambda p: replace(p, f=lambda X: 2 * p.f(X), analytic=p.f, grad=lambda X: 3 * p.grad(X)),
    )
    assert found["identity"].verdict is Verdict.FAIL
    assert "no two of" in found["identity"].reason


def test_a_gradient_of_the_wrong_shape_or_not_finite_is_an_error():
    for grad in (lambda X: np.ones(3), lambda X: X * np.nan):
        found = rows("trace_axb", lambda p, grad=grad: replace(p, grad=grad))
        assert found["gradient"].verdict is Verdict.ERROR
        assert found["identity"].verdict is Verdict.ERROR


# --- ln det and the smallest singular value


def lndet(subject=inverse_transposed, seed=0):
    return {(r.audit, r.subject.split()[-1]): r for r in audit_lndet_kappa(seed, LIMITS, subject)}


@pytest.mark.parametrize("seed", range(3))
def test_scaled_steps_keep_their_bound_and_naive_ones_err_by_100_percent(seed):
    found = lndet(seed=seed)
    for kappa in ("1e+01", "1e+06", "1e+10"):
        assert found["lndet_kappa", kappa].verdict is Verdict.PASS
        assert found["lndet_kappa", kappa].value < found["lndet_kappa", kappa].fail < 2e-3
    # Reference figures: 0.76 and 1.0 for a step of 6e-6; 3.9e-8 and 1e-4 for steps of about s_min / 1000.
    assert found["lndet_naive", "1e+06"].value > 0.5
    assert found["lndet_naive", "1e+10"].value == pytest.approx(1, abs=1e-4)
    assert found["lndet_naive", "1e+10"].verdict is Verdict.WARN
    assert found["lndet_naive", "1e+01"].value < 1e-8


@pytest.mark.parametrize(("kappa", "error"), [("1e+01", 1e-8), ("1e+06", 1e-5), ("1e+10", 1e-2)])
def test_ln_det_gradients_that_are_wrong_by_more_than_the_bound_fail(kappa, error):
    found = lndet(lambda X: (1 + error) * inverse_transposed(X))
    assert found["lndet_kappa", kappa].verdict is Verdict.FAIL
    assert found["gradient", kappa].verdict is Verdict.FAIL


def test_a_regularized_inverse_fails_where_the_matrix_is_ill_conditioned():
    found = lndet(lambda X: np.linalg.inv(X @ X.T + 1e-9 * np.eye(len(X))).T @ X)
    assert found["lndet_kappa", "1e+06"].verdict is Verdict.FAIL
    assert found["lndet_kappa", "1e+10"].verdict is Verdict.FAIL


@pytest.mark.parametrize("kappa", [10.0, 1e6, 1e10])
def test_the_inverse_is_as_good_as_the_audit_takes_it_to_be(kappa):
    X = log_det(np.random.default_rng(0), kappa).x
    with mpmath.workdps(50):
        exact = np.array((mpmath.matrix(X.tolist()) ** -1).T.tolist(), dtype=float)
    error = np.abs(inverse_transposed(X) - exact).max() / np.abs(exact).max()
    assert error <= 8 * np.finfo(float).eps * kappa

"""The gradient checker: planted faults it must see, right gradients it must leave alone, points it cannot judge."""

from itertools import product
from zlib import crc32

import numpy as np
import pytest

from svdflow.audit import check_gradient
from svdflow.audit.difference import singular_radius
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.gradient_identities import PROBLEMS, Problem


def problem(name: str, seed: int = 3) -> Problem:
    return PROBLEMS[name](np.random.default_rng(seed))


def check(p: Problem, grad=None, **options):
    return check_gradient(p.f, grad or p.grad, p.x, radius=p.radius, rtol=p.rtol, **options)


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


UNCHANGED = ("trace_gradient", "float32 leak")  # the identity matrix is the same in float32


@pytest.mark.parametrize(("name", "mutant"), sorted({*product(PROBLEMS, MUTANTS)} - {UNCHANGED}))
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


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-5])
def test_a_corner_some_way_off_does_not_matter(distance):
    x = np.array([distance, 1.0, 2.0])
    report = check_gradient(lambda x: np.maximum(x, 0).sum(), np.ones_like, x)
    assert report.verdict is Verdict.PASS, str(report)
    wrong = check_gradient(lambda x: np.maximum(x, 0).sum(), lambda x: np.array([0.0, 1, 1]), x)
    assert wrong.verdict is Verdict.FAIL


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


@pytest.mark.parametrize("sizes", [(1e-8, 1, 1e8), (1e-8, 1), (1e-12, 1e-3, 1, 40), (1, 1e9)])
@pytest.mark.parametrize("seed", range(3))
def test_entries_of_unlike_units_are_no_false_alarm(sizes, seed):
    # f changes along each entry on that entry's own scale, which a step for all would leave far behind.
    s = np.array(sizes, float)
    x = s * np.random.default_rng(seed).uniform(0.3, 0.8, s.size)
    equal = check_gradient(lambda x: np.sin(x / s).sum(), lambda x: np.cos(x / s) / s, x, seed=seed)
    assert equal.verdict is Verdict.PASS, str(equal)
    uneven = check_gradient(lambda x: (s * np.sin(x / s)).sum(), lambda x: np.cos(x / s), x, seed=seed)
    assert uneven.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), str(uneven)
    wrong = check_gradient(lambda x: np.sin(x / s).sum(), lambda x: 1.001 * np.cos(x / s) / s, x, seed=seed)
    assert wrong.verdict is Verdict.FAIL


UNDECIDED = {Verdict.INCONCLUSIVE}
NO_ALARM = {Verdict.PASS, Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("kappa", "verdicts"),
    [(1e2, NO_ALARM), (1e6, NO_ALARM), *((kappa, UNDECIDED) for kappa in (1e8, 1e9, 1e10, 1e11, 1e12))],
)
@pytest.mark.parametrize("seed", range(6))
def test_ln_det_without_a_radius_never_fails_where_its_gradient_is_right(kappa, verdicts, seed):
    # Steps above s_min converge to a wrong slope; only finer ones, few of them, tell.
    rng = np.random.default_rng(seed)
    Q, P = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    X = (Q * np.geomspace(1, 1 / kappa, 6)) @ P
    report = check_gradient(
        lambda X: np.linalg.slogdet(X)[1],
        lambda X: np.linalg.inv(X).T,
        X,
        seed=seed,
        rtol=max(1e-10, kappa * 1e-15),
    )
    assert report.verdict in verdicts, str(report)


@pytest.mark.parametrize(
    ("slope", "verdicts"),  # 4 w exp(-2 w) < eps from 18 on
    [
        (8.0, NO_ALARM),
        (10.0, NO_ALARM),
        (15.0, NO_ALARM),
        (18.0, UNDECIDED),
        (25.0, UNDECIDED),
        (300.0, UNDECIDED),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_terms_that_cancel_at_x_are_no_false_alarm(slope, verdicts, seed):
    # f(x) = tanh(w) - tanh(w) = 0 says nothing of the rounding of its terms, which drowns 4 w exp(-2 w).
    W = np.diag([slope, -slope])

    def grad(x):
        return W.T @ (1 / np.cosh(W @ x) ** 2)

    report = check_gradient(lambda x: np.tanh(W @ x).sum(), grad, np.ones(2), seed=seed)
    assert report.verdict in verdicts, str(report)
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


# --- what is looked at


def test_structured_entries_are_checked():
    """Diagonal, corners and border of a matrix, whatever is sampled."""
    A = np.random.default_rng(0).uniform(1, 2, (40, 60))
    for place in [(0, 0), (17, 17), (31, 31), (39, 59)]:

        def wrong(x, place=place):
            g = A.copy()
            g[place] *= 1.001
            return g

        report = check_gradient(lambda x: np.sum(A * x), wrong, A, entries=0)
        assert report.verdict is Verdict.FAIL
        assert report.worst[0].index == place


def test_the_report_says_what_a_wrong_entry_must_measure():
    """One wrong entry that is not among the checked is seen from `detectable` on, and not below a tenth of it."""
    n = 2000
    a = np.random.default_rng(0).uniform(1, 2, n)
    right = check_gradient(lambda x: a @ np.sin(x), lambda x: a * np.cos(x), np.full(n, 0.3))
    assert right.verdict is Verdict.PASS
    assert right.detection == right.checked / n < 0.05
    assert f"P {right.detection:.2g}" in right.reason
    assert f"from {right.detectable:.1e} on" in right.reason
    largest = 2 * np.cos(0.3)
    for share, verdict in ((1.5, Verdict.FAIL), (0.1, Verdict.PASS)):

        def wrong(x, share=share):
            g = a * np.cos(x)
            g[777] += share * right.detectable * largest
            return g

        assert check_gradient(lambda x: a @ np.sin(x), wrong, np.full(n, 0.3)).verdict is verdict


@pytest.mark.parametrize(("n", "checked"), [(10_000, 30), (100_000, 12)])
def test_large_gradients(n, checked):
    """jax.test_util.check_grads passes 5 % in every entry from 10,000 entries on."""
    a = np.random.default_rng(0).standard_normal(n)
    x = np.random.default_rng(1).standard_normal(n)
    calls = 0

    def f(x):
        nonlocal calls
        calls += 1
        return a @ np.sin(x)

    report = check_gradient(f, lambda x: 1.05 * a * np.cos(x), x)
    assert report.verdict is Verdict.FAIL
    head = report.worst[0]
    assert head.analytic / head.numeric == pytest.approx(1.05, rel=1e-6)
    assert report.checked == checked
    assert calls <= 60 * (checked + 12)


def test_an_error_that_the_taylor_test_passes_fails():
    """An error of 0.1 % is invisible to Taylor remainders at steps of 1e-2 to 1e-3."""
    x = np.linspace(0.1, 1, 5)
    assert check_gradient(lambda x: np.exp(x).sum(), lambda x: 1.001 * np.exp(x), x).verdict is Verdict.FAIL


def test_the_radius_of_a_stack_is_that_of_its_worst_matrix():
    assert singular_radius([np.diag([2.0, 3.0]), np.diag([1.0, 0.5])]) == pytest.approx(0.05)


# --- smooth functions: no false alarm, no miss


def smooth(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    a = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 2)
    b, C, w = rng.standard_normal(n), rng.standard_normal((n, n)), 1 + rng.random(n)

    def sigmoid(t):
        return 1 / (1 + np.exp(-t))

    def bell(x):
        return 1e-6 * np.exp(-x @ x / 2)

    def matrix(x):
        return np.diag(3 + w) + np.outer(x, x)

    kinds = [
        (lambda x: np.sum(a * np.sin(b * x)), lambda x: a * b * np.cos(b * x)),
        (lambda x: np.exp(b @ x) + x @ C @ x, lambda x: b * np.exp(b @ x) + (C + C.T) @ x),
        (lambda x: np.logaddexp(0, C @ x).sum(), lambda x: C.T @ sigmoid(C @ x)),
        (lambda x: np.tanh(C @ x) @ a, lambda x: C.T @ (a * (1 - np.tanh(C @ x) ** 2))),
        (lambda x: a @ x + 3, lambda x: a),
        (lambda x: 1e3 * np.sqrt(1 + x @ x), lambda x: 1e3 * x / np.sqrt(1 + x @ x)),
        (lambda x: w @ x**4 - b @ x**3, lambda x: 4 * w * x**3 - 3 * b * x**2),
        (lambda x: 1 / (1 + w @ x**2), lambda x: -2 * w * x / (1 + w @ x**2) ** 2),
        (
            lambda x: np.log(np.exp(C @ x).sum()),
            lambda x: C.T @ (np.exp(C @ x) / np.exp(C @ x).sum()),
        ),
        (
            lambda x: b @ np.arctan(C @ x) + np.cos(x).prod(),
            lambda x: C.T @ (b / (1 + (C @ x) ** 2)) - np.cos(x).prod() * np.tan(x),
        ),
        (lambda x: bell(x) * np.sin(b @ x), lambda x: bell(x) * (b * np.cos(b @ x) - x * np.sin(b @ x))),
        (lambda x: np.linalg.slogdet(matrix(x))[1], lambda x: 2 * np.linalg.solve(matrix(x), x)),
    ]
    return *kinds[seed % len(kinds)], rng.standard_normal(n)


@pytest.mark.parametrize("kind", range(12))
def test_300_smooth_functions(kind):
    for seed in range(kind, 300, 12):
        f, grad, x = smooth(seed)
        right = check_gradient(f, grad, x, seed=seed)
        assert right.verdict is Verdict.PASS, f"{seed}: {right}"
        assert right.resolution < 1e-7
        wrong = check_gradient(f, lambda x, grad=grad: grad(x) * (1 + 1e-9), x, seed=seed)
        assert wrong.verdict is Verdict.FAIL, f"{seed}: {wrong}"


def noisy(f):
    """f with a relative noise of 1e-6 that is a function of the point."""

    def g(x):
        draw = np.random.default_rng(crc32(np.ascontiguousarray(x).tobytes())).uniform(-1, 1)
        return f(x) * (1 + 1e-6 * draw)

    return g


@pytest.mark.parametrize("rounded", [noisy, lambda f: lambda x: float(np.float32(f(x)))])
def test_noise_and_float32_are_no_false_alarm_and_hide_no_large_error(rounded):
    visible = {}  # seed -> verdict on an error of 50 %, where the check said that it would see 10 %
    for seed in range(24):
        f, grad, x = smooth(seed)
        right = check_gradient(rounded(f), grad, x, seed=seed, entries=2)
        assert right.verdict is Verdict.INCONCLUSIVE, f"{seed}: {right}"
        if right.resolution < 0.1:
            wrong = check_gradient(rounded(f), lambda x, g=grad: 1.5 * g(x), x, seed=seed, entries=2)
            visible[seed] = wrong.verdict
    assert len(visible) >= 12
    assert set(visible.values()) == {Verdict.FAIL}, visible


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

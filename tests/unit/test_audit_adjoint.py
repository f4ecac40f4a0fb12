"""Dot tests, Hessian-vector products and reproducibility: right subjects pass, each planted fault fails."""

from dataclasses import replace

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import hessian_vector_product

from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import adjoint, hessian, reproducibility
from svdflow.selfcheck.adjoint import Operator, dot_test, own_operators
from svdflow.selfcheck.hessian import FUNCTIONS, check_hvp, gradient_difference, remainder_slope
from svdflow.selfcheck.reproducibility import mismatch
from svdflow.svd import truncated_svd
from unit.declared_audits import audits_of

LIMITS = resolve()
AUDITS = audits_of(adjoint, hessian, reproducibility)


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(2))
def test_no_false_alarm(name, seed):
    records = list(AUDITS[name](seed, LIMITS))
    assert {record.verdict for record in records if "CuPy" not in record.subject} == {Verdict.PASS}
    for record in records:
        assert record.verdict in (Verdict.PASS, Verdict.SKIP), str(record)
        assert record.reproduce == f"python -m svdflow audit {name} --seed {seed}"
        assert record.reason


@pytest.mark.parametrize("name", AUDITS)
def test_the_same_seed_gives_the_same_rows(name):
    assert list(map(str, AUDITS[name](7, LIMITS))) == list(map(str, AUDITS[name](7, LIMITS)))


# -- dot tests


def matrix(complex_=True, size=(8, 8)):
    rng = np.random.default_rng(0)
    return rng.standard_normal(size) + (1j * rng.standard_normal(size) if complex_ else 0)


def test_exact_adjoint_of_integers_has_no_error():
    """A permutation moves numbers without rounding; only the order of the inner product's terms may differ."""
    order = np.random.default_rng(0).permutation(9)
    found = dot_test(lambda v: v[order], lambda u: u[np.argsort(order)], 9, 9)
    assert found.value <= found.resolution and found.cases == 12


@pytest.mark.parametrize(
    "fault",
    [
        lambda A, u: A.T @ u,
        lambda A, u: A @ u,
        lambda A, u: A.conj() @ u,
        lambda A, u: (1 + 1e-11) * (A.conj().T @ u),
        lambda A, u: np.abs(A.conj().T @ u),
        lambda A, u: (A.conj().T @ u).astype(np.complex64),
        lambda A, u: (A.conj().T @ u) * np.nan,
    ],
    ids=["conjugate forgotten", "not transposed", "conjugate only", "scale", "not linear", "single", "NaN"],
)
def test_wrong_adjoints_fail(fault):
    A = matrix()
    subject = [("fault", Operator(lambda v: A @ v, lambda u: fault(A, u), 8, 8, True))]
    (record,) = adjoint.audit_adjoint_dot(0, LIMITS, lambda rng: subject)
    assert record.verdict is Verdict.FAIL, str(record)
    assert f"(A v).u - v.(A^H u) is {record.value:.2g} n eps" in record.reason and "n = 8" in record.reason


def test_a_lost_conjugate_needs_complex_vectors_of_a_real_matrix():
    """The operator v -> conj(A v) of a real A is seen by complex modes only."""
    A = matrix(False)
    pair = (lambda v: A @ v.conj(), lambda u: A.T @ u)
    assert dot_test(*pair, 8, 8, complex_=False).value < 10
    assert dot_test(*pair, 8, 8).value > 1e6


def test_conjugate_gram_is_its_own_adjoint_but_not_that_of_the_matrix():
    """conj(A^H A) is Hermitian too, so `gram_operator` holds the product against plain ones."""
    A = matrix(size=(20, 8))
    wrong = (A.conj().T @ A).conj()
    assert dot_test(lambda v: wrong @ v, lambda u: wrong @ u, 8, 8).value < 10
    assert dot_test(lambda v: wrong @ v, lambda u: A.conj().T @ (A @ u), 8, 8).value > 1e6


def test_one_wrong_entry_is_seen():
    A = matrix()
    B = A.copy()
    B[2, 3] *= 1 + 1e-9
    assert dot_test(lambda v: A @ v, lambda u: B.conj().T @ u, 8, 8).value > LIMITS["adjoint_dot"].fail


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="backward made"):
        dot_test(lambda v: v[:3], lambda u: u, 4, 3)


@pytest.mark.parametrize("name", [name for name, _ in own_operators(np.random.default_rng(0))])
def test_each_own_operator_fails_with_a_small_fault(name):
    """An adjoint scaled by 1 + 1e-9, in single precision 1 + 1e-2, is caught whatever the operator."""
    operator = dict(own_operators(np.random.default_rng(0)))[name]
    share = 1e-9 if operator.eps < 1e-10 else 1e-2
    wrong = replace(operator, backward=lambda u: (1 + share) * operator.backward(u))
    (record,) = adjoint.audit_adjoint_dot(0, LIMITS, lambda rng: [(name, wrong)])
    assert record.verdict is Verdict.FAIL, str(record)


# -- Hessian-vector products


def test_hvps_agree_with_autograd():
    problem = FUNCTIONS["quartic"](np.random.default_rng(0))
    A = np.random.default_rng(0).standard_normal((9, 7)) / 3
    v = np.random.default_rng(1).standard_normal(7)
    expected = hessian_vector_product(lambda x: anp.sum(anp.dot(A, x) ** 2) ** 2 / 4)(problem.x, v)
    assert np.allclose(problem.hvp(problem.x, v), expected, rtol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_differences_of_the_gradient_know_their_error(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        problem = FUNCTIONS[name](rng)
        v = rng.standard_normal(problem.x.shape)
        slope, error = gradient_difference(problem, v)
        assert np.linalg.norm(slope - problem.hvp(problem.x, v)) < 3 * error


HVP_FAULTS = {
    "scaled by 1.0001": (lambda p: lambda x, v: 1.0001 * p.hvp(x, v), "hvp"),
    "term missing": (lambda p: lambda x, v: p.hvp(x, v) - 0.1 * v, "hvp_order"),
    "sign": (lambda p: lambda x, v: -p.hvp(x, v), "hvp_order"),
    "not symmetric": (lambda p: lambda x, v: p.hvp(x, v) + 1e-3 * np.roll(v, 1), "hvp"),
    "not linear": (lambda p: lambda x, v: p.hvp(x, v) + 1e-3 * np.abs(v), "hvp"),
    "NaN": (lambda p: lambda x, v: p.hvp(x, v) * np.nan, "hvp"),
    "single precision": (lambda p: lambda x, v: p.hvp(x, v).astype(np.float32).astype(float), "hvp"),
}


@pytest.mark.parametrize("fault", HVP_FAULTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_hvps_are_caught(fault, name):
    plant, audit = HVP_FAULTS[fault]

    def make(rng):
        problem = FUNCTIONS[name](rng)
        return replace(problem, hvp=plant(problem))

    found = {record.audit: record for record in hessian.audit_hvp(0, LIMITS, {name: make})}
    verdict = (
        Verdict.WARN if fault == "single precision" else Verdict.FAIL
    )  # 1e-8 to 1e-5: between the limits
    assert found[audit].verdict is verdict, str(found[audit])


def test_asymmetry_and_nonlinearity_are_told_apart():
    rng = np.random.default_rng(0)
    problem = FUNCTIONS["quartic"](rng)
    lopsided = replace(problem, hvp=lambda x, v: problem.hvp(x, v) + np.roll(v, 1))
    found = check_hvp(lopsided, rng)
    assert found.symmetry > 1e-3 and found.linearity < 1e-14


def test_a_quadratic_has_no_remainder_to_judge():
    quadratic = hessian.Curved(lambda x: float(x @ x), lambda x: 2 * x, lambda x, v: 2 * v, np.ones(4))
    assert np.isnan(remainder_slope(quadratic, np.arange(4.0))[0])
    records = list(hessian.audit_hvp(0, LIMITS, {"quadratic": lambda rng: quadratic}))
    assert [record.verdict for record in records] == [Verdict.PASS, Verdict.INCONCLUSIVE]


@pytest.mark.parametrize(("power", "order"), [(3, 3), (4, 4)])
def test_slope_of_known_remainders(power, order):
    """f = x^p at 0: f, gradient and Hessian vanish, and the remainder is h^p."""
    flat = hessian.Curved(lambda x: float(x[0] ** power), lambda x: 0 * x, lambda x, v: 0 * v, np.zeros(1))
    slope, error = remainder_slope(flat, np.ones(1))
    assert slope == pytest.approx(order, abs=1e-12) and error < 1e-12


# -- reproducibility


def test_classes_of_mismatch():
    a = np.array([[1.0, -2.0], [3.0, 4.0]])
    b = a.copy()
    b[0, 0] += 2 * np.finfo(float).eps
    flipped = a * [1, -1]
    assert mismatch([a], [a.copy()], 1e-12).kind == "bits"
    assert (mismatch([a], [b], 1e-12).kind, mismatch([a], [b], 1e-12).entries) == ("rounding", 1)
    assert mismatch([a], [flipped], 1e-12).kind == "signs"
    assert mismatch([a], [a + 1], 1e-12).kind == "values"
    assert mismatch([a], [a[:1]], 1e-12).kind == "shape"
    assert mismatch([a], [a * np.nan], 1e-12).largest == np.inf
    assert mismatch([np.array([0.0])], [np.array([-0.0])], 1e-12).kind == "signs"
    nan = np.array([np.nan])
    assert mismatch([nan], [nan.copy()], 1e-12).kind == "bits"


def caught(subject):
    records = reproducibility.audit_reproducibility(0, LIMITS, subject)
    return {record.subject: record for record in records if record.verdict is Verdict.FAIL}


def test_a_seed_that_is_not_heeded_is_caught():
    draws = iter(range(100))

    def careless(A, rank, *, seed, **options):
        return truncated_svd(A, rank, seed=next(draws), **options)

    assert "krylov twice" in caught(careless)


def test_sums_that_depend_on_threads_are_caught():
    def racing(A, rank, *, engine, **options):
        found = truncated_svd(A, rank, engine=engine, **options)
        return replace(found, s=found.s if engine == 1 else np.nextafter(found.s, np.inf))

    failed = caught(racing)
    assert set(failed) == {"krylov, 1 and 2 threads, dask", "gram, 1 and 2 threads, dask"}
    assert all("rounding: 5 differ" in record.reason for record in failed.values())


def test_a_container_that_loses_digits_is_caught():
    def blunt(A, rank, **options):
        single = A if isinstance(A, np.ndarray) else A.astype(np.float32).astype(np.float64)
        return truncated_svd(single, rank, **options)

    assert {"array and dask array", "s, chunks of 37 rows"} <= set(caught(blunt))

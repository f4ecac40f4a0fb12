"""Verdicts where other checkers pass what is wrong or say nothing (tests/peers shows that), and of bad input."""

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

from svdflow.audit import Verdict, audit_matrix, check_gradient
from svdflow.audit.own import audit_functions
from svdflow.audit.records import Judge
from svdflow.audit.taylor import taylor_order
from svdflow.registry import AUDITS, Audit
from svdflow.registry.limits import resolve
from svdflow.selfcheck.audits import examine
from svdflow.selfcheck.least_squares_solvers import by_numpy, by_qr
from svdflow.selfcheck.strd import audit_strd, digits, fit

SHIFTS = np.linspace(0.1, 1.0, 10_000)


def verdict_of(records, audit):
    [record] = [record for record in records if record.audit == audit]
    return record


def test_five_percent_in_ten_thousand_entries_fail():
    def f(x):
        return np.sin(x).sum()

    assert check_gradient(f, np.cos, SHIFTS).verdict is Verdict.PASS
    assert check_gradient(f, lambda x: 1.05 * np.cos(x), SHIFTS).verdict is Verdict.FAIL


def test_a_small_gradient_with_the_wrong_sign_fails():
    report = check_gradient(lambda x: 1e-7 * np.sin(x), lambda x: -1e-7 * np.cos(x), np.array(0.5))
    assert report.verdict is Verdict.FAIL
    assert report.value == pytest.approx(2, rel=1e-6)


def test_an_error_of_a_thousandth_fails():
    def f(x):
        return np.exp(3 * x).sum()

    def grad(x):
        return 3 * np.exp(3 * x)

    x = np.full(4, 0.5)
    assert check_gradient(f, grad, x).verdict is Verdict.PASS
    report = check_gradient(f, lambda x: 1.001 * grad(x), x)
    assert report.verdict is Verdict.FAIL
    assert report.value > 0.9e-3
    assert report.resolution < 1e-6
    # Steps down to 2^-40 show it to a Taylor test too.
    assert taylor_order(f, grad, x).verdict is Verdict.PASS
    assert taylor_order(f, lambda x: 1.001 * grad(x), x).verdict is Verdict.FAIL


def test_gradients_of_any_scale_are_judged():
    x = np.random.default_rng(0).standard_normal(20)

    def large(x):
        return 1e6 * np.sum(x**4)

    def small(x):
        return 1e-9 * np.sum(x**2)

    def large_grad(x):
        return 4e6 * x**3

    def small_wrong(x):
        return -2e-9 * x

    assert check_gradient(large, large_grad, x).verdict is Verdict.PASS
    report = check_gradient(small, small_wrong, x)
    assert report.verdict is Verdict.FAIL
    assert report.value == pytest.approx(2, rel=1e-6)


def test_a_condition_number_beyond_floats_is_a_bound_from_below_and_called_one():
    record = verdict_of(audit_matrix(scipy.linalg.hilbert(20)), "condition_number")
    assert record.verdict is Verdict.INCONCLUSIVE
    assert record.value <= 2.45e28  # mpmath, 60 digits: tests/peers/test_linear_algebra.py
    assert "float limit" in record.reason


def test_hilbert_14_is_inconclusive():
    H = scipy.linalg.hilbert(14)
    assert verdict_of(audit_matrix(H), "condition_number").verdict is Verdict.INCONCLUSIVE


def test_lstsq_qr_keeps_the_rank_of_filip():
    data = fit("Filip")
    x, rank = by_qr(data.A, data.b)
    assert rank == data.A.shape[1]
    assert digits(x.tolist(), data.certified) >= 7.5


def test_the_rank_lost_on_filip_is_seen_without_the_certified_answer():
    rows = {(r.audit, r.subject): r for r in audit_strd(0, resolve({})) if "without the answer" in r.subject}
    assert rows["rank_loss", "numpy lstsq, without the answer"].verdict in (Verdict.WARN, Verdict.FAIL)
    seen = rows["peer_backward_error", "numpy lstsq, without the answer"]
    assert seen.verdict in (Verdict.WARN, Verdict.FAIL)
    assert "rank 10 of 11" in seen.reason
    assert rows["ls_backward", "lstsq_qr, without the answer"].verdict is Verdict.PASS
    assert rows["rank_loss", "lstsq_qr, without the answer"].verdict is Verdict.PASS
    # In the place of the recommended solver it is a fault.
    planted = {
        r.audit: r for r in audit_strd(0, resolve({}), by_numpy) if r.subject.startswith("lstsq_qr, without")
    }
    assert planted["ls_backward"].verdict is Verdict.FAIL


BAD_MATRICES = {
    "NaN": (np.array([[1.0, np.nan]]), "nan at row 0, column 1"),
    "infinity": (np.array([[1.0], [np.inf]]), "inf at row 1, column 0"),
    "empty": (np.ones((0, 3)), "is empty"),
    "object": (np.array([[1, None]], dtype=object), "dtype object is not numeric"),
    "vector": (np.ones(3), "is not that of a matrix"),
    "stack": (np.ones((2, 3, 3)), "is not that of a matrix"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_bad_matrices_are_errors(name):
    A, words = BAD_MATRICES[name]
    [record] = audit_matrix(A)
    assert record.verdict is Verdict.ERROR
    assert words in record.reason


def square(x):
    return np.sum(x * x)


def twice(x):
    return 2 * x


BAD_GRADIENTS = {
    "NaN in x": (square, twice, [1.0, np.nan], "x holds nan at (1,)"),
    "NaN in the gradient": (square, lambda x: x * np.nan, [1.0, 2.0], "the gradient holds nan at (0,)"),
    "NaN in f": (lambda x: np.nan, twice, [1.0, 2.0], "f(x) is nan"),
    "empty": (square, twice, [], "x is empty"),
    "object": (square, twice, np.array([1, None], dtype=object), "dtype object"),
    "complex": (square, twice, [1j], "give real numbers"),
    "not scalar": (lambda x: x, twice, [1.0, 2.0], "a gradient needs a scalar"),
    "wrong shape": (square, lambda x: np.ones(3), [1.0, 2.0], "the gradient has shape (3,), x has (2,)"),
    "raises": (square, lambda x: x[5], [1.0, 2.0], "IndexError"),
}


@pytest.mark.parametrize("name", BAD_GRADIENTS)
def test_bad_gradients_are_errors(name):
    f, grad, x, words = BAD_GRADIENTS[name]
    report = check_gradient(f, grad, x)
    assert report.verdict is Verdict.ERROR
    assert words in report.reason


def broken(seed, limits):
    yield Judge("stability", "sum", seed, limits)("sum", "first", 0.0, 0.0)
    raise ArithmeticError("no digits left")


def test_an_audit_that_breaks_leaves_the_others_alone():
    faulty = Audit(name="broken", summary="", family="stability", load=f"{__name__}:broken")
    chosen = {"stability": [faulty, AUDITS["precision"]]}
    rows = [row for found in examine(chosen, 0, resolve({}), cache=False) for row in found.records]
    assert [row.verdict for row in rows[:2]] == [Verdict.PASS, Verdict.ERROR]
    assert rows[1].reason == "ArithmeticError: no digits left"
    assert rows[1].reproduce == "python -m svdflow audit broken --seed 0"
    assert len(rows) > 2
    assert all(row.verdict is Verdict.PASS for row in rows[2:])


def test_bad_input_of_a_users_file_leaves_the_rest_audited(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN_FILE, encoding="utf-8")
    names = [line.split("(")[0][4:] for line in OWN_FILE.splitlines() if line.startswith("def ")]
    rows = audit_functions(file, names)
    verdicts = {
        row.subject: row.verdict for row in rows if row.audit in ("own_function", "matrix", "gradient")
    }
    errors = [name for name in names if name not in ("right_gradient", "right_matrix")]
    assert len(errors) == 7
    assert [verdicts[name] for name in errors] == [Verdict.ERROR] * 7
    assert all(row.reason for row in rows if row.verdict is Verdict.ERROR)
    assert verdicts["right_gradient"] is Verdict.PASS
    matrix = [row for row in rows if row.subject == "right_matrix"]
    assert len(matrix) > 5
    assert all(row.verdict is Verdict.PASS for row in matrix)


OWN_FILE = """
import numpy as np

def holds_nan():
    return np.array([[1.0, np.nan]])

def empty():
    return np.ones((0, 2))

def objects():
    return np.array([[1, None]], dtype=object)

def vector():
    return np.ones(4)

def not_scalar():
    return (lambda x: x), (lambda x: 2 * x), np.ones(3)

def wrong_shape():
    return (lambda x: np.sum(x * x)), (lambda x: np.ones(2)), np.ones(3)

def raises():
    return 1 / 0

def right_gradient():
    return (lambda x: np.sum(x * x)), (lambda x: 2 * x), np.ones(3)

def right_matrix():
    return np.diag([3.0, 2.0, 1.0])
"""

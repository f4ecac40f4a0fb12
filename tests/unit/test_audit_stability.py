"""Stability audits against facts of IEEE arithmetic, and the unstable algorithms they must catch."""

from fractions import Fraction
from math import log

import numpy as np
import pytest
import scipy.special
import scipy.stats

from svdflow.audit.stability import (
    AUDITS,
    audit_log_sum_exp,
    audit_softmax,
    audit_stability,
    audit_sum,
    audit_variance,
    log_sum_exp,
    probe_largest,
    probe_unit,
    softmax,
    two_pass_variance,
    welford_variance,
)
from svdflow.audit.verdicts import Verdict, resolve
from svdflow.store import read_table

LIMITS = resolve()


def verdicts(records, audit):
    return {record.subject: record.verdict for record in records if record.audit == audit}


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(5))
def test_all_pass(name, seed):
    for record in AUDITS[name](seed, LIMITS):
        assert record.verdict is Verdict.PASS, str(record)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_closed_forms(dtype):
    x = np.full(8, 3.0, dtype)
    eps = float(np.finfo(dtype).eps)
    assert log_sum_exp(x).dtype == softmax(x).dtype == dtype
    assert float(log_sum_exp(x)) == pytest.approx(3 + log(8), rel=2 * eps)
    assert softmax(x).tolist() == [0.125] * 8
    assert float(log_sum_exp(np.array([-np.inf, -np.inf], dtype))) == -np.inf


def test_equal_to_scipy():
    x = np.random.default_rng(0).standard_normal(50) * 20
    assert float(log_sum_exp(x)) == pytest.approx(scipy.special.logsumexp(x), rel=1e-15)
    np.testing.assert_allclose(softmax(x), scipy.special.softmax(x), rtol=1e-13)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_softmax_without_a_shift_overflows():
    records = list(audit_softmax(0, LIMITS, lambda x: np.exp(x) / np.exp(x).sum()))
    assert set(verdicts(records, "overflow").values()) == {Verdict.FAIL}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_log_sum_exp_without_a_shift_overflows():
    records = list(audit_log_sum_exp(0, LIMITS, lambda x: np.log(np.exp(x).sum())))
    assert set(verdicts(records, "overflow").values()) == {Verdict.FAIL}


def test_a_float32_leak_is_seen_in_float64_only():
    leaky = verdicts(audit_softmax(0, LIMITS, lambda x: softmax(x.astype(np.float32))), "softmax")
    assert leaky["float64"] is Verdict.FAIL
    assert leaky["float32"] is Verdict.PASS


def test_a_shift_that_leaks_is_seen():
    crooked = verdicts(
        audit_softmax(0, LIMITS, lambda x: softmax(x) * (1 + x.max() / 100)), "shift_invariance"
    )
    assert set(crooked.values()) == {Verdict.FAIL}


def test_a_sum_in_float32_is_seen():
    [record] = audit_sum(0, LIMITS, lambda x: x.astype(np.float32).sum(dtype=np.float32) * np.float32(1.001))
    assert record.verdict is Verdict.FAIL


def textbook(x):
    return float((np.sum(x * x) - np.sum(x) ** 2 / x.size) / (x.size - 1))


def test_the_textbook_variance_breaks_the_bound_of_two_passes():
    bound = {"textbook": (textbook, lambda n, kappa: n * 2**-53 * kappa)}
    found = verdicts(audit_variance(0, LIMITS, bound), "variance")
    assert found["textbook, mean 1e+07"] is Verdict.FAIL


def test_variances_agree_with_exact_arithmetic():
    x = np.random.default_rng(1).standard_normal(101)
    mean = sum(map(Fraction, x)) / 101
    exact = float(sum((Fraction(v) - mean) ** 2 for v in x) / 100)
    assert two_pass_variance(x) == pytest.approx(exact, rel=1e-14)
    assert welford_variance(x) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 11), ("float32", 24), ("float64", 53)])
def test_probing_finds_the_precision(dtype, digits):
    assert probe_unit(dtype) == 2.0**-digits
    assert probe_largest(dtype) == float(np.finfo(dtype).max)


def test_the_stage_publishes(tmp_path):
    audit_stability(tmp_path / "stability.h5", seed=1, thresholds={})
    table = read_table(tmp_path / "stability.h5", "audit")
    assert set(table["family"]) == {"stability"}
    assert set(table["verdict"]) == {"PASS"}
    assert set(table["audit"]) == {*AUDITS, "shift_invariance", "overflow"}

"""Contractions and Kronecker products against closed forms, and the wrong ones that the audits must catch."""

from fractions import Fraction
from math import sqrt

import mpmath
import numpy as np
import pytest

from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck.contractions import (
    EPSILON,
    PATTERNS,
    SIZES,
    audit_einsum,
    audit_kronecker,
    audit_layer_norm,
    exact_layer_norm,
    layer_norm,
    loops,
    roundings,
    shapes,
)
from svdflow.selfcheck.precision import FORMATS, gamma

LIMITS = resolve()


def failed(records):
    return {record.subject for record in records if record.verdict is Verdict.FAIL}


def einsum_that_fails(fault):
    return {subject.rpartition(" ")[0] for subject in failed(audit_einsum(0, LIMITS, fault))}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("i,j->ij", 1),
        ("bhqd,bhkd->bhqk", SIZES["d"]),
        ("ii->", SIZES["i"] - 1),
        ("ij,jl,li->", SIZES["i"] * SIZES["j"] * SIZES["l"] + 1),
    ],
)
def test_roundings_are_counted(spec, expected):
    assert roundings(spec) == expected


@pytest.mark.parametrize("spec", PATTERNS.values())
def test_loops_are_the_contraction_on_integers(spec):
    rng = np.random.default_rng(0)
    operands = [rng.integers(-9, 10, shape) for shape in shapes(spec)]
    exact, magnitude = loops(spec, *operands)
    assert (exact == np.einsum(spec, *operands)).all()
    assert (magnitude == np.einsum(spec, *map(np.abs, operands))).all()


def test_loops_keep_what_floats_lose():
    spec = "ij,ji->"
    A = np.zeros((12, 12))
    A[0, :3] = [2.0**60, 1.0, -(2.0**60)]
    exact, _ = loops(spec, A, np.ones((12, 12)))
    assert exact[()] == Fraction(1)


@pytest.mark.parametrize("seed", range(5, 10))
def test_optimized_and_tensordot_paths_pass(seed):
    assert not failed(audit_einsum(seed, LIMITS, lambda spec, *x: np.einsum(spec, *x, optimize=True)))


def test_a_transposed_operand_is_seen():
    def transposed(spec, *operands):
        first = operands[0]
        square = first.ndim > 1 and first.shape[-1] == first.shape[-2]
        return np.einsum(spec, first.swapaxes(-1, -2) if square else first, *operands[1:])

    assert einsum_that_fails(transposed) == {"batched product", "trace of a product", "trace of three"}


def test_a_transposed_result_is_seen():
    found = einsum_that_fails(
        lambda spec, *x: np.swapaxes(y, -1, -2) if (y := np.einsum(spec, *x)).ndim > 1 else y
    )
    assert found == {n for n, s in PATTERNS.items() if len(s.partition("->")[2]) > 1}


def test_float16_accumulation_is_seen():
    def half(spec, *x):
        return np.einsum(spec, *(v.astype(np.float16) for v in x)).astype(x[0].dtype)

    assert einsum_that_fails(half) == set(PATTERNS)


def test_float32_accumulation_of_float64_is_seen():
    def single(spec, *x):
        return np.einsum(spec, *(v.astype(np.float32) for v in x)).astype(x[0].dtype)

    assert einsum_that_fails(single) == set(PATTERNS)


def test_one_term_short_is_seen():
    def short(spec, *x):
        first = x[0].copy()
        first[..., -1] = 0
        return np.einsum(spec, first, *x[1:])

    assert einsum_that_fails(short) == set(PATTERNS)


def test_one_entry_off_by_a_few_bounds_is_seen():
    """Of 64 roundings, 2 gamma_64 |A| |B| in one entry: nothing but a bound entry by entry would see it."""

    def nudged(spec, *x):
        y = np.einsum(spec, *x)
        if spec == PATTERNS["scores"]:
            magnitude = np.einsum(spec, *map(np.abs, x))
            y[0, 0, 0, 0] += 2 * gamma(64, FORMATS[y.dtype.name].unit) * magnitude[0, 0, 0, 0]
        return y

    assert einsum_that_fails(nudged) == {"scores"}


# -- layer normalization


def test_layer_norm_closed_form():
    x = np.tile([1.0, -1.0], 32).reshape(1, 1, 64)
    expected = x / sqrt(1 + EPSILON)
    np.testing.assert_allclose(layer_norm(x, np.ones(64), np.zeros(64)), expected, rtol=4 * 2.0**-53)


def test_exact_layer_norm_against_40_digits():
    rng = np.random.default_rng(3)
    x, gain, bias = rng.standard_normal((1, 1, 5)) + 3, rng.standard_normal(5), rng.standard_normal(5)
    exact, bound = exact_layer_norm(x, gain, bias)
    with mpmath.workdps(40):
        row = [mpmath.mpf(v) for v in x[0, 0].tolist()]
        mean = mpmath.fsum(row) / 5
        root = mpmath.sqrt(mpmath.fsum([(v - mean) ** 2 for v in row]) / 5 + mpmath.mpf(EPSILON))
        for i, v in enumerate(row):
            wanted = (v - mean) / root * mpmath.mpf(gain[i]) + mpmath.mpf(bias[i])
            got = mpmath.mpf(exact[0, 0, i].numerator) / exact[0, 0, i].denominator
            assert abs(got - wanted) < mpmath.mpf(10) ** -36
    assert (bound > 0).all()
    assert (bound < 1e-13).all()


def one_pass(x, gain, bias):
    mean = x.mean(-1, keepdims=True, dtype=x.dtype)
    variance = np.mean(x * x, -1, keepdims=True, dtype=x.dtype) - mean * mean
    return (x - mean) / np.sqrt(variance + x.dtype.type(EPSILON)) * gain + bias


LAYER_NORM_FAULTS = {
    "variance over n - 1": lambda x, g, b: (layer_norm(x, g, b) - b) * x.dtype.type(sqrt(63 / 64)) + b,
    "no epsilon": lambda x, g, b: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * g + b,
    "no bias": lambda x, g, b: layer_norm(x, g, 0 * b),
    "float16": lambda x, g, b: layer_norm(*(v.astype(np.float16) for v in (x, g, b))).astype(x.dtype),
    "wrong axis": lambda x, g, b: (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-5) * g + b,
}


@pytest.mark.parametrize("name", LAYER_NORM_FAULTS)
def test_wrong_layer_norms_are_seen(name):
    assert failed(audit_layer_norm(0, LIMITS, LAYER_NORM_FAULTS[name])) == {"float32", "float64"}


def test_a_variance_in_one_pass_is_seen_far_from_zero():
    """E[x^2] - E[x]^2 loses 1000^2 u, two passes 64 * 1000 u at most; some of the audit's rows have mean 1000."""
    for seed in range(5):
        assert failed(audit_layer_norm(seed, LIMITS, one_pass)) == {"float32", "float64"}


# -- Kronecker products

KRON_FAULTS = {
    "swapped": lambda A, B: np.kron(B, A),
    "transposed factor": lambda A, B: np.kron(A, B[::-1]),
    "one entry": lambda A, B: np.kron(A, B) + (np.arange(A.size * B.size) == 7).reshape(np.kron(A, B).shape),
    "sign": lambda A, B: -np.kron(A, B) if A.shape == (4, 3) else np.kron(A, B),
    "by columns": lambda A, B: np.einsum("ij,kl->ikjl", A, B).reshape(
        A.shape[0] * B.shape[0], A.shape[1] * B.shape[1], order="F"
    ),
}


@pytest.mark.parametrize("name", KRON_FAULTS)
def test_wrong_kronecker_products_are_seen(name):
    assert "identities, integers" in failed(audit_kronecker(0, LIMITS, KRON_FAULTS[name]))


def test_a_float16_kronecker_product_is_seen():
    def half(A, B):
        return np.kron(A.astype(np.float16), B.astype(np.float16)).astype(A.dtype)

    found = failed(audit_kronecker(0, LIMITS, half))
    assert {"identities, float32", "identities, float64", "s_i(A) s_j(B)"} <= found


def test_a_scaled_product_breaks_the_singular_values():
    found = failed(audit_kronecker(0, LIMITS, lambda A, B: np.kron(A, B) * A.dtype.type(1.0001)))
    assert "s_i(A) s_j(B)" in found

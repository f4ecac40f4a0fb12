"""Certificates against the errors they speak of."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import norm

from svdflow.ranks.spectrum_rules import FLOOR
from svdflow.svd import frobenius_certificate, truncated_svd
from svdflow.svd.certificates import pair_residuals, tail_certificate

EPS = np.finfo(float).eps


def matrix_with_spectrum(s, m, n, seed):
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((side, len(s))))[0] for side in (m, n))
    return (U * s) @ V.T


@settings(max_examples=25, deadline=None)
@given(
    decay=st.floats(0.0, 4.0),
    k=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    method=st.sampled_from(["full", "gram", "krylov"]),
)
def test_frobenius_certificate_is_exact(decay, k, seed, method):
    A = matrix_with_spectrum(np.arange(1.0, 41.0) ** -decay, 90, 60, seed)
    U, s, Vt = result = truncated_svd(A, k, method=method, seed=seed)
    true = norm(A - (U * s) @ Vt)
    # Pythagoras loses what lies below rounding of |A|^2, and nothing else.
    assert abs(result.info.frobenius_error**2 - true**2) <= FLOOR * EPS * norm(A) ** 2
    assert result.info.frobenius_norm == pytest.approx(norm(A), rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("method", ["full", "gram", "krylov"])
def test_certificate_of_single_precision_factors(dtype, method):
    A = (matrix_with_spectrum(np.geomspace(1, 1e-3, 60), 300, 200, 0) * 4000 + 100).clip(0, 255).astype(dtype)
    U, s, Vt = result = truncated_svd(A, 20, method=method)
    true = norm(A - (U.astype(float) * s) @ Vt)
    assert result.info.frobenius_error == pytest.approx(true, rel=1e-5)


def test_floor_is_declared_where_the_matrix_is_captured_whole():
    result = truncated_svd(matrix_with_spectrum(np.ones(3), 80, 50, 0), 5, method="krylov")
    assert result.info.frobenius_kind == "floor"
    floor = np.sqrt(FLOOR * EPS) * np.sqrt(3)
    # What Pythagoras found, noise of either sign, is added to what it cannot see.
    assert floor * (1 - 1e-12) <= result.info.frobenius_error <= 1.2 * floor
    assert result.info.frobenius_resolution == pytest.approx(floor)
    assert result.info.reason == "rank_deficient" and result.info.numerical_rank == 3


def test_zero_matrix_has_error_zero():
    certificate = frobenius_certificate(0.0, np.zeros(3))
    assert (certificate.error, certificate.kind, certificate.relative) == (0.0, "exact", 0.0)


def test_tail_certificate_is_the_root_of_the_tail_energy():
    certificate = tail_certificate(np.array([5.0, 4.0, 3.0]), 1)
    assert certificate.error == 5.0 and certificate.norm == pytest.approx(np.sqrt(50))


def test_a_wrong_singular_value_breaks_the_certificate():
    """Negative control: one value off by a part in a million is seen."""
    A = matrix_with_spectrum(np.linspace(2, 1, 30), 60, 40, 1)
    U, s, Vt = truncated_svd(A, 5)
    true = norm(A - (U * s) @ Vt)
    wrong = frobenius_certificate(norm(A) ** 2, s * (1 + 1e-6))
    assert abs(wrong.error**2 - true**2) > FLOOR * EPS * norm(A) ** 2


@pytest.mark.parametrize("method", ["krylov", "rsvd"])
def test_residuals_bound_the_singular_values(method):
    """Weyl: within the residual of each pair lies a singular value of A."""
    true = np.arange(1.0, 101.0) ** -0.5
    A = matrix_with_spectrum(true, 300, 100, 2)
    for reads in (2, 3):
        result = truncated_svd(A, 8, method=method, max_reads=reads)
        assert result.info.residuals.max() > 1e-6
        distance = np.abs(result.s[:, None] - true[None]).min(axis=1)
        assert np.all(distance <= result.info.residuals + 1e-12)


def test_residuals_of_a_wrong_pair_are_seen():
    A = matrix_with_spectrum(np.array([3.0, 2.0, 1.0]), 20, 10, 3)
    U, s, Vt = truncated_svd(A, 3)
    assert pair_residuals(A.T @ U, s, Vt.T).max() < 1e-13
    assert pair_residuals(A.T @ U, s, -Vt.T).min() > 1.9


def reconstruction_error(A, result):
    """``||A - mean - U s Vt||_F`` and ``||A - mean||_F`` of the factors as they are, in extended precision."""
    wide = np.clongdouble if A.dtype.kind == "c" else np.longdouble
    A = A.astype(wide)
    if result.info.mean is not None:
        A = A - A.mean(axis=0)
    left = A - (result.U.astype(wide) * result.s) @ result.Vt.astype(wide)
    return tuple(float(np.sqrt(np.sum(np.abs(X) ** 2))) for X in (left, A))


def assert_certified(A, result):
    true, total = reconstruction_error(A, result)
    info = result.info
    if info.frobenius_kind == "exact":
        assert abs(info.frobenius_error - true) <= info.frobenius_resolution
        assert info.frobenius_resolution <= 1e-6 * max(total, norm(A) if info.mean is not None else 0)
    else:
        assert true <= info.frobenius_error * (1 + 1e-12)
        assert info.frobenius_error <= 2e-3 * max(total, norm(A))  # a floor that high would say nothing
    return true / total


@settings(max_examples=120, deadline=None)
@given(
    dtype=st.sampled_from([np.float32, np.float64, np.complex64]),
    method=st.sampled_from(["full", "gram", "krylov"]),
    center=st.booleans(),
    sparse=st.booleans(),
    shape=st.sampled_from([(300, 40), (40, 300), (120, 120)]),
    noise=st.sampled_from([0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-3]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    drift=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 999),
)
def test_certificates_hold_for_the_stored_factors(
    dtype, method, center, sparse, shape, noise, offset, drift, seed
):
    rng = np.random.default_rng(seed)
    m, n = shape
    A = rng.integers(-4, 5, (m, 3)) @ rng.integers(-4, 5, (3, n)) + noise * rng.standard_normal(shape)
    A = (A + offset + drift * np.linspace(0, 1, m)[:, None]).astype(dtype)
    result = truncated_svd(sp.csr_array(A) if sparse else A, 5, method=method, center=center, seed=seed)
    assert_certified(A, result)


@pytest.mark.parametrize("method", ["full", "gram", "krylov"])
def test_drift_taken_off_in_single_precision_is_resolved(method):
    """The mean is off by 1e6 roundings of the noise: the norm and the mean must be known in double precision."""
    rng = np.random.default_rng(0)
    A = (np.linspace(0, 1e6, 3000)[:, None] + rng.standard_normal((3000, 200))).astype(np.float32)
    result = truncated_svd(A, 10, method=method, center=True)
    true = assert_certified(A, result)
    assert result.info.frobenius_kind == "exact" and result.info.relative_error == pytest.approx(
        true, rel=0.01
    )


@pytest.mark.parametrize("method", ["full", "gram", "krylov"])
@pytest.mark.parametrize("center", [False, True])
def test_faint_noise_in_single_precision_is_resolved(method, center):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 200))
    A = (A + 1e-6 * rng.standard_normal(A.shape)).astype(np.float32)
    result = truncated_svd(A, 3, method=method, center=center)
    true = assert_certified(A, result)
    assert result.info.frobenius_kind == "exact" and result.info.relative_error == pytest.approx(
        true, rel=0.02
    )


def test_rounding_of_single_precision_factors_is_declared():
    rng = np.random.default_rng(2)
    A = (rng.integers(-4, 5, (300, 4)) @ rng.integers(-4, 5, (4, 100))).astype(np.float32)
    result = truncated_svd(A, 4, method="full")
    true = assert_certified(A, result)
    assert result.info.frobenius_kind == "floor" and 1e-9 < true < result.info.relative_error < 1e-6


def test_a_certificate_of_unrounded_factors_does_not_hold():
    """Negative control: what is claimed for double precision factors fails for single precision ones."""
    A = matrix_with_spectrum(np.ones(4), 300, 100, 2)
    result = truncated_svd(A, 4, method="full")
    assert_certified(A, result)
    rounded = replace(result, U=result.U.astype(np.float32), Vt=result.Vt.astype(np.float32))
    with pytest.raises(AssertionError):
        assert_certified(A, rounded)


def test_relative_error_is_at_most_one_and_never_undefined():
    assert frobenius_certificate(0.0, np.zeros(2), uncentred=1.0).relative == 1.0
    assert frobenius_certificate(0.0, np.zeros(2), uncentred=1.0).kind == "floor"

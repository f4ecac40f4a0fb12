"""Certificates against the errors they speak of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import norm

from svdflow.linalg import frobenius_certificate, truncated_svd
from svdflow.linalg.certificates import FLOOR, pair_residuals, tail_certificate

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
    assert result.info.frobenius_error == pytest.approx(np.sqrt(FLOOR * EPS) * np.sqrt(3))
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

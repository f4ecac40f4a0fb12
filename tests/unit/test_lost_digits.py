"""What a mean that is taken off products costs, and that figures of the factors know of it.

Truth is 80-bit floats, or LAPACK in float64 on entries that were centred in them.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import norm

from svdflow import truncated_svd
from svdflow.matrix import panels
from svdflow.svd import costs
from svdflow.svd.read import kept_rows, last_read

EPS = np.finfo(float).eps


@pytest.fixture
def small_panels(monkeypatch):
    """Panels of a few rows, the first of which cannot know the mean of the rest."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**16)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 2**16)


@pytest.fixture
def in_single(monkeypatch, small_panels):
    monkeypatch.setattr(costs, "GRAM_SINGLE", 0)


def nearly_constant(noise, dtype=np.float64, shape=(300, 40), offset=1000.0):
    """Rank 3 and noise beside a mean whose square is eps^-1 times that of the noise."""
    rng = np.random.default_rng(0)
    m, n = shape
    A = rng.integers(-4, 5, (m, 3)) @ rng.integers(-4, 5, (3, n)) + noise * rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        A = A * np.exp(1j * np.arange(m))[:, None]
    return (A + offset).astype(dtype)


def centred(A):
    wide = A.astype(np.clongdouble if A.dtype.kind == "c" else np.longdouble)
    return wide - wide.mean(axis=0)


def assert_told(A, result, scale=False):
    """Both certificates cover the error of the factors as they are stored, and U and V are orthonormal."""
    U, s, Vt = result
    A = centred(A)
    if scale:
        A = A / result.info.scale
    E = A - (U.astype(A.dtype) * s) @ Vt.astype(A.dtype)
    frobenius = float(np.sqrt(np.sum(np.abs(E) ** 2)))
    double = np.complex128 if A.dtype.kind == "c" else np.float64
    info = result.info
    if info.frobenius_kind == "exact":
        assert abs(info.frobenius_error - frobenius) <= info.frobenius_resolution
    else:
        assert frobenius <= info.frobenius_error * (1 + 1e-12)
    assert norm(E.astype(double), 2) <= info.spectral_error * (1 + 1e-9)
    for X in (U, Vt.conj().T):
        X = X.astype(double)
        assert norm(X.conj().T @ X - np.eye(len(s)), 2) <= 64 * np.sqrt(len(X)) * np.finfo(U.dtype).eps


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-3])
@pytest.mark.parametrize("shape", [(300, 40), (120, 120)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("form", [sp.csr_array, np.asarray])
def test_factors_beside_a_large_mean(noise, shape, dtype, scale, form):
    A = nearly_constant(noise, dtype, shape)
    for method in ("krylov", "gram"):
        assert_told(A, truncated_svd(form(A), 5, method=method, center=True, scale=scale), scale)


def test_rows_that_belie_the_squares_are_not_believed(monkeypatch):
    """Negative control: where they are, certificates do not cover the error."""

    def wrong(noise):
        A = nearly_constant(noise, np.complex128, (400, 200))
        result = truncated_svd(sp.csr_array(A), 1, method="krylov", center=True, scale=True)
        try:
            assert_told(A, result, scale=True)
        except (AssertionError, np.linalg.LinAlgError):
            return True
        return False

    noises = [1e-7, 1e-6, 1e-5]
    assert not any(map(wrong, noises))
    monkeypatch.setattr(kept_rows, "BELIED", np.inf)
    monkeypatch.setattr(kept_rows, "ROUNDING", np.inf)
    assert any(map(wrong, noises))


def test_a_sparse_matrix_that_is_nearly_all_mean_has_no_negative_energy():
    A = nearly_constant(1e-10, np.complex128, (200, 400))
    info = truncated_svd(sp.csr_array(A), 5, method="krylov", center=True, scale=True).info
    assert info.frobenius_error >= 0


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_a_first_panel_without_the_mean_of_the_rest(dtype, small_panels):
    """In single precision the rest's mean is taken off products of it, and rows that were kept hold it."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((2000, 100)) * np.arange(1, 101) ** -0.5
    A[600:] += 1000
    A[::7] += 1000
    A = (
        (A * np.exp(1j * np.arange(2000))[:, None]).astype(dtype)
        if dtype == np.complex64
        else A.astype(dtype)
    )
    for method in ("krylov", "gram"):
        assert_told(A, truncated_svd(A, 5, method=method, center=True))


# A mean that the first read had in single precision.


def rising(m=1500, n=300):
    """A few equal values and a faint tail, beside a mean that is a hundred times larger after a third of the rows."""
    rng = np.random.default_rng(1)
    s = np.concatenate([np.ones(6), np.full(n - 6, 1e-2)])
    A = (np.linalg.qr(rng.standard_normal((m, n)))[0] * s) @ np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = A + np.sqrt(np.mean(A**2)) * np.where(np.arange(m) < m // 3, 3, 303)[:, None]
    return A.astype(np.float32)


def test_the_last_read_makes_up_for_it(in_single, monkeypatch):
    A = rising()
    assert_told(A, truncated_svd(A, 5, method="gram", center=True))
    monkeypatch.setattr(last_read, "_of_a_better_mean", lambda *_: 0.0)  # negative control
    with pytest.raises(AssertionError):
        assert_told(A, truncated_svd(A, 5, method="gram", center=True))


@pytest.mark.parametrize("shape", [(1500, 300), (120, 120), (121, 120)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_a_triangle_has_its_means_with_it(shape, dtype, in_single):
    rng = np.random.default_rng(2)
    A = rng.standard_normal(shape) * 10.0 ** -np.linspace(0, 8, shape[1]) + 30
    A[: shape[0] // 3] -= 30
    A = A.astype(dtype)
    result = truncated_svd(A, shape[1] - 1, method="gram", center=True)
    assert result.info.method == "tsqr"
    wide = A.astype(np.clongdouble if dtype == np.complex64 else np.longdouble)
    assert np.abs(result.info.mean - wide.mean(axis=0)).max() <= 64 * EPS * 30
    true = np.linalg.svd(
        centred(A).astype(np.complex128 if dtype == np.complex64 else float), compute_uv=False
    )
    assert np.abs(result.info.spectrum - true).max() <= result.info.spectrum_resolution


def test_values_that_count_as_zero_are_part_of_the_error():
    """Numerical rank leaves out what lies below ``m eps s_1``, which in 4000 rows is more than rounding."""
    rng = np.random.default_rng(0)
    s = np.exp(-0.5 * np.arange(200))
    A = (np.linalg.qr(rng.standard_normal((4000, 200)))[0] * s) @ np.linalg.qr(
        rng.standard_normal((200, 200))
    )[0]
    U, s, Vt = result = truncated_svd(A, 199, method="gram")
    assert result.info.method == "tsqr" and result.info.numerical_rank < 199
    E = A - (U.astype(np.longdouble) * s) @ Vt
    assert float(np.sqrt(np.sum(E**2))) <= result.info.frobenius_error + result.info.frobenius_resolution
    assert result.info.frobenius_error < 4000 * 200 * EPS


def test_the_norm_of_a_sparse_matrix_in_single_precision(in_single):
    """All of it captured: what is left is rounding of the norm, and nothing may call it an error."""
    rng = np.random.default_rng(4)
    A = (rng.standard_normal((300, 40)) + 30).astype(np.float32)
    result = truncated_svd(sp.csr_array(A), 40, method="gram")
    E = A.astype(float) - (result.U.astype(float) * result.s) @ result.Vt
    assert abs(result.info.frobenius_norm / norm(A.astype(float)) - 1) <= 1e-13
    assert norm(E) <= result.info.frobenius_error <= norm(E) + 2 * result.info.frobenius_resolution


def test_means_of_rows_are_taken_off_in_double():
    """A wide matrix in single precision: their rounding to single would be as large as what is left."""
    rng = np.random.default_rng(5)
    A = (rng.standard_normal((60, 2500)) * 1e-2 + 2.0**14 * (1 + rng.random(2500))).astype(np.float32)
    result = truncated_svd(A, 5, method="krylov", center=True)
    assert_told(A, result)


@pytest.mark.parametrize("method", ["krylov", "lanczos"])
def test_a_sparse_matrix_that_is_all_mean(method):
    """What is left is 0, and vectors that are rounding must not find the mean again."""
    A = np.ones((120, 80))
    result = truncated_svd(sp.csr_array(A), 1, method=method, center=True)
    assert result.s[0] <= 120 * EPS * norm(A) and norm((result.U * result.s) @ result.Vt) <= 1e-11
    # Control: without its mean taken off, the mean is what there is.
    assert truncated_svd(sp.csr_array(A), 1, method=method).s[0] == pytest.approx(norm(A), rel=1e-12)


def test_variances_of_principal_components_beside_a_mean_of_a_thousand():
    """Negative control: a covariance matrix of the same entries in single precision has none of their digits."""
    pytest.importorskip("sklearn")
    from sklearn.decomposition import PCA

    from svdflow.compat import TruncatedSVD

    rng = np.random.default_rng(6)
    A = (0.1 * rng.standard_normal((20000, 60)) * np.arange(1, 61) ** -0.5 + 1000).astype(np.float32)
    wide = centred(A).astype(float)
    true = np.linalg.eigvalsh(wide.T @ wide)[:-11:-1] / (len(A) - 1)
    svd = TruncatedSVD(10, center=True)
    scores = svd.fit_transform(A)
    np.testing.assert_allclose(svd.explained_variance_, true, rtol=1e-6)
    expected = wide @ svd.components_.T.astype(float)
    assert np.abs(scores - expected).max() <= 1e-5 * np.abs(expected).max()
    peer = PCA(10, svd_solver="covariance_eigh").fit(A)
    assert np.abs(peer.explained_variance_ / true - 1).max() > 1


@pytest.mark.parametrize("once", [False, True])
def test_left_vectors_of_rounding_are_orthonormal_too(once, monkeypatch):
    """All vectors are asked of rank 3: most of U is rounding over rounding, which has to be corrected twice."""
    if once:
        monkeypatch.setattr(last_read, "REFINE", 1e15)
    U = truncated_svd(
        sp.csr_array(nearly_constant(0.0, shape=(120, 120), offset=100.0)), 120, method="krylov", center=True
    ).U
    assert (norm(U.T @ U - np.eye(120), 2) <= 8 * 120 * EPS) != once

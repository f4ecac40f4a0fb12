"""Matrices that are known by their products only, against LAPACK on the same matrix formed."""

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import norm
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import svdflow
from svdflow import OperatorSource, truncated_svd
from svdflow.errors import BackendError, ConvergenceWarning, MemoryLimitError, NonFiniteError, SourceError
from svdflow.matrix import as_source
from svdflow.svd import factorize
from unit.svd_promises import pve, with_spectrum

EPS = np.finfo(float).eps
DTYPES = [np.float64, np.float32, np.complex128, np.complex64]
SHAPES = [(900, 400), (400, 900)]
DECAY = 1 / np.arange(1.0, 401.0)


class Counted:
    """A dense matrix as two functions, and what they were asked for."""

    def __init__(self, A):
        self.A, self.columns, self.calls = A, 0, 0

    def matmat(self, X):
        self.columns, self.calls = self.columns + X.shape[1], self.calls + 1
        return self.A @ X

    def rmatmat(self, Y):
        self.columns, self.calls = self.columns + Y.shape[1], self.calls + 1
        return self.A.conj().T @ Y


def operator(A, **known):
    return OperatorSource(A.shape, A.dtype, lambda X: A @ X, lambda Y: A.conj().T @ Y, **known)


def left(A, result):
    """What the stored factors leave."""
    U, s, Vt = (factor.astype(np.result_type(factor, np.float64)) for factor in result)
    return A.astype(np.result_type(A, np.float64)) - (U * s) @ Vt


def assert_factors(A, result, s, tol):
    k, single = len(result.s), result.U.dtype in (np.float32, np.complex64)
    rounding = 1e-5 if single else 1e-12
    U, V = (factor.astype(np.complex128) for factor in (result.U, result.Vt.conj().T))
    assert (
        norm(U.conj().T @ U - np.eye(k)) <= rounding * k and norm(V.conj().T @ V - np.eye(k)) <= rounding * k
    )
    assert pve(A, result, s) <= tol
    E = left(A, result)
    assert result.info.spectral_kind == "probabilistic" and norm(E, 2) <= result.info.spectral_error
    # Residuals are of the pairs before the last half step, so they bound those of the stored ones.
    assert np.all(
        norm(U.conj().T @ A - result.s[:, None] * result.Vt, axis=1) <= result.info.residuals + 1e-5 * s[0]
    )


@pytest.mark.parametrize("method", ["krylov", "shift", "lanczos", "rsvd"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_triplets_and_certificates(method, dtype, shape):
    A = with_spectrum(DECAY, *shape, dtype=dtype)
    counted = Counted(A)
    source = OperatorSource(
        shape, dtype, counted.matmat, counted.rmatmat, norm_squared=float(np.sum(DECAY**2))
    )
    result = truncated_svd(source, 10, method=method)
    s = np.linalg.svd(A.astype(np.result_type(A, np.float64)), compute_uv=False)
    assert_factors(A, result, s, tol=1e-2)
    info, true = result.info, norm(left(A, result))
    assert info.method == method and info.shape == shape and result.U.dtype == dtype
    # Rounding of A to single precision moves its norm by eps at most, and so the square of what is left.
    slack = 0 if np.finfo(dtype).eps < 1e-10 else np.finfo(dtype).eps * norm(A) ** 2 / true
    assert (
        info.frobenius_kind == "exact"
        and abs(info.frobenius_error - true) <= info.frobenius_resolution + slack
    )
    assert info.columns_multiplied == counted.columns == source.columns_multiplied
    # The read for U of `lanczos` is half a one.
    assert 2 * info.reads == counted.calls + (method == "lanczos")


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_operator_of_vectors_only(dtype, shape):
    A = with_spectrum(DECAY, *shape, dtype=dtype)
    L = LinearOperator(shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.conj().T @ y, dtype=dtype)
    result = truncated_svd(L, 8, tol=1e-4)
    assert_factors(A, result, DECAY, tol=1e-4)
    assert result.info.frobenius_kind == "estimated"
    assert result.info.relative_error == pytest.approx(norm(left(A, result)) / norm(A), rel=0.3)


def test_the_estimated_error_is_unbiased_and_knows_its_scatter():
    """E ||E w||^2 = ||E||_F^2, with a variance of 2 ||E^H E||_F^2 over the number of probes, ten."""
    A = with_spectrum(DECAY, 900, 400)
    seeds, squares, scores = range(60), [], []
    for seed in seeds:
        info = truncated_svd(operator(A), 10, seed=seed).info
        squares.append(info.frobenius_error**2)
        scores.append((info.frobenius_error - np.sqrt(np.sum(DECAY[10:] ** 2))) / info.frobenius_resolution)
    true = np.sum(DECAY[10:] ** 2)
    scatter = np.sqrt(2 * np.sum(DECAY[10:] ** 4) / 10)
    assert abs(np.mean(squares) - true) <= 4 * scatter / np.sqrt(len(seeds))
    assert 0.5 <= np.std(squares) / scatter <= 1.5
    assert np.mean(np.abs(scores) < 3) >= 0.9  # Student's t of nine degrees of freedom: 0.985


def test_probes_of_a_known_norm_agree_with_it():
    """The same run with the norm given: what was estimated without it is within four standard errors."""
    A = with_spectrum(DECAY, 900, 400)
    known = truncated_svd(operator(A, norm_squared=norm(A) ** 2), 10).info
    guessed = truncated_svd(operator(A), 10).info
    assert known.frobenius_kind == "exact" and guessed.frobenius_kind == "estimated"
    assert abs(known.frobenius_error - guessed.frobenius_error) <= 4 * guessed.frobenius_resolution
    assert guessed.frobenius_error != known.frobenius_error


@pytest.mark.parametrize("target", [{"error": 0.1}, {"energy": 0.995}])
@pytest.mark.parametrize("method", ["krylov", "shift", "lanczos"])
def test_an_error_or_energy_chooses_the_rank(target, method):
    s = np.exp(-np.arange(300) / 15)
    A = with_spectrum(s, 800, 500)
    result = truncated_svd(operator(A), method=method, tol=1e-3, **target)
    tails = np.sqrt(1 - np.cumsum(s**2) / np.sum(s**2))
    wanted = target.get("error", np.sqrt(1 - target.get("energy", 0)))
    best = 1 + int(np.argmax(tails <= wanted))
    # The square of the estimated tail scatters by a fifth at most for this spectrum; a rank is exp(-2 / 15) of it.
    assert abs(len(result.s) - best) <= 5
    exact = truncated_svd(operator(A, norm_squared=float(np.sum(s**2))), method=method, tol=1e-3, **target)
    assert len(exact.s) in (best, best + 1) and norm(left(A, exact)) <= wanted * norm(A) * (1 + 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_centring(shape, dtype):
    rng = np.random.default_rng(1)
    A = with_spectrum(DECAY, *shape, dtype=dtype) + 1000 * rng.standard_normal(shape[1])
    if np.dtype(dtype).kind == "c":
        A = A + 300j * rng.standard_normal(shape[1])
    C = A - A.mean(axis=0)
    s = np.linalg.svd(C, compute_uv=False)
    result = truncated_svd(operator(A), 8, center=True, tol=1e-3)
    assert_factors(C, result, s, tol=1e-3)
    np.testing.assert_allclose(result.info.mean, A.mean(axis=0), rtol=1e-12, atol=1e-9)
    known = truncated_svd(operator(A, norm_squared=norm(A) ** 2), 8, center=True, tol=1e-3).info
    true = norm(left(C, result))
    # The norm is a difference of sums of 1e11 here, and the resolution says so.
    assert known.frobenius_kind == "exact" and abs(true - known.frobenius_error) <= known.frobenius_resolution
    assert known.frobenius_resolution >= EPS**0.5 * norm(A)
    about = truncated_svd(operator(A).centred(A.mean(axis=0)), 8, tol=1e-3)
    np.testing.assert_allclose(about.s, s[:8], rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_plus_low_rank(dtype):
    rng = np.random.default_rng(3)
    S = sp.random_array((700, 500), density=0.02, rng=rng, format="csr").astype(dtype)
    L, R = rng.standard_normal((700, 3)).astype(dtype), rng.standard_normal((3, 500)).astype(dtype)
    if np.dtype(dtype).kind == "c":
        S, L, R = S * dtype(1 - 2j), L * dtype(1j) + L[::-1], R + dtype(1j) * R[:, ::-1]
    A = S.toarray().astype(np.complex128) + L.astype(np.complex128) @ R
    s = np.linalg.svd(A, compute_uv=False)
    source = OperatorSource.sum(S, (L, R))
    assert source.norm_squared == pytest.approx(
        norm(A) ** 2, rel=1e-5 if np.finfo(dtype).eps > 1e-10 else 1e-12
    )
    assert source.dtype == dtype
    result = truncated_svd(source, 5, method="krylov")
    # The low-rank part is a hundred times larger, so squares in single precision hide 4 % of the smallest of the five.
    near = 2e-2 if np.finfo(dtype).eps > 1e-10 else 5e-3
    np.testing.assert_allclose(result.s, s[:5], rtol=near)
    assert result.info.frobenius_kind == "exact"
    plain = aslinearoperator(S) + aslinearoperator(L) @ aslinearoperator(R)
    np.testing.assert_allclose(truncated_svd(plain, 5, method="krylov").s, s[:5], rtol=near)


def test_a_sum_of_other_parts():
    A, B = with_spectrum(DECAY, 500, 400, seed=1), with_spectrum(DECAY**2, 500, 400, seed=2)
    L, R = np.ones((500, 1)), np.arange(400.0)[None] / 400
    source = OperatorSource.sum(A, aslinearoperator(B), (L, 1j * R))
    assert source.norm_squared is None and source.dtype == np.complex128
    X = np.random.default_rng(0).standard_normal((400, 3))
    np.testing.assert_allclose(source.times(X), (A + B + 1j * L @ R) @ X, rtol=1e-12, atol=1e-12)
    whole = A + B + 1j * L @ R
    gram = whole.conj().T @ (whole @ X)
    np.testing.assert_allclose(source.adjoint_times(source.times(X)), gram, rtol=1e-10, atol=1e-10)
    cancelled = OperatorSource.sum(L @ R, (-L, R))
    assert cancelled.uncentred == pytest.approx(2 * norm(L @ R) ** 2)
    assert (
        cancelled.norm_squared <= 4 * np.finfo(float).eps * cancelled.uncentred
    )  # what rounding leaves of equal sums


def test_scaled():
    A = with_spectrum(DECAY, 500, 400, dtype=np.complex128)
    rows, columns = np.arange(1.0, 501), np.exp(1j * np.arange(400.0)) / np.arange(1.0, 401)
    source = OperatorSource.of(A).scaled(rows, columns)
    B = rows[:, None] * A * columns
    np.testing.assert_allclose(truncated_svd(source, 4, tol=1e-6).s, np.linalg.svd(B)[1][:4], rtol=1e-6)
    np.testing.assert_allclose(source.read(3, 6), B[3:6], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(source.read_columns(3, 6), B[:, 3:6], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["full", "gram", "single_pass", "auto"])
def test_a_small_operator_is_formed(method):
    A = with_spectrum(DECAY[:40], 90, 40)
    counted = Counted(A)
    source = OperatorSource(A.shape, A.dtype, counted.matmat, counted.rmatmat)
    result = truncated_svd(source, 5, method=method, center=True)
    C = A - A.mean(axis=0)
    np.testing.assert_allclose(
        result.s, np.linalg.svd(C)[1][:5], rtol=0.2 if method == "single_pass" else 1e-9
    )
    assert result.info.columns_multiplied == counted.columns == 40
    assert result.info.frobenius_kind == "exact" and "formed" in result.info.notes[-1]
    scaled = truncated_svd(source, 5, scale=True)
    np.testing.assert_allclose(scaled.s, np.linalg.svd(A / A.std(axis=0))[1][:5], rtol=1e-9)


def large():
    return OperatorSource(
        (3000, 2000), float, lambda X: np.ones((3000, X.shape[1])), lambda Y: np.ones((2000, Y.shape[1]))
    )


@pytest.mark.parametrize("method", ["full", "gram", "single_pass"])
def test_a_large_one_is_refused_by_the_name_of_the_method(method):
    with pytest.raises(ValueError, match=f"method '{method}' needs the entries"):
        truncated_svd(large(), 5, method=method)


def test_what_else_needs_entries(tmp_path):
    with pytest.raises(ValueError, match="scale=True needs the entries"):
        truncated_svd(large(), 5, scale=True)
    with pytest.raises(ValueError, match="a checkpoint knows a matrix by its entries"):
        truncated_svd(large(), 5, checkpoint=tmp_path)
    with pytest.raises(BackendError, match="products of an operator are computed on NumPy only"):
        truncated_svd(large(), 5, backend="cupy")


A64 = with_spectrum(DECAY, 600, 400)
AC = with_spectrum(DECAY, 600, 400, dtype=np.complex128)


def nan_at(A, X):
    Y = A @ X
    Y[7, 1] = np.nan
    return Y


@pytest.mark.parametrize(
    ("A", "matmat", "rmatmat", "error", "words"),
    [
        (A64, lambda X: A64.T @ X, lambda Y: A64.T @ Y, ValueError, "matmul"),
        (A64, lambda X: (A64 @ X).T, lambda Y: A64.T @ Y, SourceError, r"matmat of a block .* \(600, "),
        (A64, lambda X: A64 @ X, lambda Y: (A64.T @ Y)[:, 0], SourceError, "rmatmat of a block .* is due"),
        (A64, lambda X: A64 @ X, lambda Y: 2 * A64.T @ Y, SourceError, "rmatmat is not the adjoint"),
        (A64, lambda X: A64 @ X, lambda Y: A64.T @ Y[::-1], SourceError, "rmatmat is not the adjoint"),
        (AC, lambda X: AC @ X, lambda Y: AC.T @ Y, SourceError, "the conjugate transpose"),
        (A64, partial(nan_at, A64), lambda Y: A64.T @ Y, NonFiniteError, r"matmat .* in row 7 "),
        (A64, lambda X: (A64 @ X).astype("f4"), lambda Y: A64.T @ Y, SourceError, "float32, where float64"),
        (A64, lambda X: A64 @ X + 1j, lambda Y: A64.T @ Y, SourceError, "complex128, where float64"),
        (
            A64,
            lambda X: sp.csr_array(A64 @ X),
            lambda Y: A64.T @ Y,
            SourceError,
            "csr_array; return an array",
        ),
        (A64, lambda X: None, lambda Y: A64.T @ Y, SourceError, "NoneType"),
    ],
)
def test_operators_that_do_not_keep_their_word(A, matmat, rmatmat, error, words):
    source = OperatorSource(A.shape, A.dtype, matmat, rmatmat, name="bad one")
    with pytest.raises(error, match=words):
        truncated_svd(source, 5, method="krylov")


def test_an_operator_without_adjoint():
    with pytest.raises(SourceError, match="has no rmatmat"):
        truncated_svd(LinearOperator((600, 400), matvec=lambda x: A64 @ x), 5, method="krylov")


@pytest.mark.parametrize("wrong", [0.01, 100.0])
def test_a_norm_that_contradicts_the_products(wrong):
    with pytest.raises(ValueError, match="contradicts its products"):
        truncated_svd(operator(A64, norm_squared=wrong * norm(A64) ** 2), 5, method="krylov")


@pytest.mark.parametrize("tail", 10.0 ** -np.arange(1, 17, 1.5))
def test_a_right_norm_is_believed_however_little_is_left(tail):
    s = np.where(np.arange(400) < 6, 1.0, tail)
    for seed in range(3):
        A = with_spectrum(s, 600, 400, seed=seed)
        info = truncated_svd(operator(A, norm_squared=norm(A) ** 2), 6, method="krylov", seed=seed).info
        true = tail * np.sqrt(394)
        if info.frobenius_kind == "exact":
            assert abs(info.frobenius_error - true) <= info.frobenius_resolution
        else:
            assert info.frobenius_kind == "floor" and true <= info.frobenius_error <= 1e-6
        guessed = truncated_svd(operator(A), 6, method="krylov", seed=seed).info
        assert abs(guessed.frobenius_error - true) <= 5 * guessed.frobenius_resolution


def test_a_memory_limit_is_obeyed_or_names_what_is_needed():
    source = OperatorSource.of((np.ones((30_000, 1)), np.arange(20_000.0)[None]))
    with pytest.raises(MemoryLimitError, match="set memory_limit to"):
        truncated_svd(source, 4, memory_limit="1MiB")
    limited, plain = truncated_svd(source, 4, memory_limit="1GiB"), truncated_svd(source, 4)
    assert np.array_equal(limited.U, plain.U)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (((5, 4), float, None, abs), TypeError, "matmat must be a function"),
        (((5, 4), float, abs, 3), TypeError, "rmatmat must be a function"),
        (((5, 4, 3), float, abs, abs), ValueError, "2 dimensions"),
        (((5, 0), float, abs, abs), ValueError, "empty"),
        (((5, 4), "U3", abs, abs), ValueError, "not numbers"),
    ],
)
def test_arguments_of_an_operator(arguments, error, words):
    with pytest.raises(error, match=words):
        OperatorSource(*arguments)


@pytest.mark.parametrize("norm_squared", [-1.0, np.nan, np.inf, "2", True])
def test_a_norm_that_is_none(norm_squared):
    with pytest.raises(ValueError, match="norm_squared must be"):
        operator(A64, norm_squared=norm_squared)


def test_sums_and_pairs_that_do_not_fit():
    with pytest.raises(ValueError, match="must be equal"):
        OperatorSource.sum(np.ones((3, 4)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="at least one"):
        OperatorSource.sum()
    with pytest.raises(ValueError, match=r"shapes \(m, r\) and \(r, n\)"):
        OperatorSource.of((np.ones((3, 2)), np.ones((3, 4))))
    with pytest.raises(TypeError, match="neither a matrix nor has matmat"):
        OperatorSource.of("text")
    with pytest.raises(NonFiniteError):
        OperatorSource.of(np.full((3, 4), np.nan))


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e200), (np.float64, 1e-200), (np.float32, 1e30)])
@pytest.mark.parametrize("given", [True, False])
def test_entries_of_any_size(dtype, size, given):
    A = (with_spectrum(DECAY, 600, 400) * size).astype(dtype)
    square = float(np.sum((DECAY * size) ** 2)) if size < 1e100 else np.inf
    # Beyond the range of float64 nobody can give it.
    known = {"norm_squared": square} if given and 0 < square < np.inf else {}
    result = truncated_svd(operator(A, **known), 5, method="krylov")
    np.testing.assert_allclose(result.s / size, DECAY[:5], rtol=1e-3)
    assert result.info.relative_error == pytest.approx(
        np.sqrt(np.sum(DECAY[5:] ** 2) / np.sum(DECAY**2)), rel=0.5
    )


def test_functions_may_use_their_buffers_again():
    """They may write into what they are given, and give the same array every time."""
    out, back = {}, {}

    def matmat(X):
        Y = out.setdefault(X.shape[1], np.empty((600, X.shape[1])))
        np.matmul(A64, X, out=Y)
        X[:] = np.nan
        return Y

    def rmatmat(Y):
        Z = back.setdefault(Y.shape[1], np.empty((400, Y.shape[1])))
        np.matmul(A64.T, Y, out=Z)
        Y[:] = np.nan
        return Z

    reused = truncated_svd(OperatorSource(A64.shape, float, matmat, rmatmat), 5, method="krylov")
    plain = truncated_svd(operator(A64), 5, method="krylov")
    for factor, other in zip(reused, plain, strict=True):
        assert np.array_equal(factor, other)


@pytest.mark.parametrize("method", ["krylov", "shift", "lanczos"])
def test_bits_do_not_depend_on_threads(method):
    results = [truncated_svd(operator(A64), 5, method=method, engine=threads) for threads in (1, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("rank", [1, 150, 399, 400])
def test_ranks_up_to_all(rank):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = truncated_svd(operator(A64), rank, method="krylov")
    np.testing.assert_allclose(result.s**2, DECAY[:rank] ** 2, atol=1e-2 * DECAY[min(rank, 399)] ** 2)


def test_of_low_rank():
    u, v = (
        np.random.default_rng(0).standard_normal((2000, 4)),
        np.random.default_rng(1).standard_normal((4, 1500)),
    )
    result = truncated_svd(OperatorSource.of((u, v)), 8, method="krylov")
    assert result.info.reason == "rank_deficient" and result.info.numerical_rank == 4
    np.testing.assert_allclose(result.s[:4], np.linalg.svd(u @ v)[1][:4], rtol=1e-10)
    zero = truncated_svd(operator(np.zeros((1100, 1000))), 3, method="krylov")
    assert np.all(zero.s == 0) and zero.info.frobenius_error == 0


def test_the_left_factor_goes_to_a_sink():
    rows = np.full((600, 5), np.nan)

    class Writer:
        def write(self, start, block):
            rows[start : start + len(block)] = block

    streamed = factorize(operator(A64), 5, method="krylov", sink=lambda shape, dtype: Writer())
    plain = truncated_svd(operator(A64), 5, method="krylov")
    assert streamed.U is None and np.array_equal(rows, plain.U)


def test_truncating_an_estimate_leaves_it_one(tmp_path):
    result = truncated_svd(operator(A64), 10, method="krylov")
    short = result.truncate(1)
    assert short.info.frobenius_kind == "estimated" and short.info.columns_multiplied > 0
    assert short.info.frobenius_error == pytest.approx(
        np.hypot(result.info.frobenius_error, norm(result.s[1:]))
    )
    loaded = svdflow.SVDResult.load(result.save(tmp_path / "r.h5"))
    assert loaded.info.frobenius_kind == "estimated"
    assert loaded.info.columns_multiplied == result.info.columns_multiplied


def test_what_becomes_an_operator():
    assert as_source(aslinearoperator(A64)).matrix_free
    assert not as_source(A64).matrix_free and not as_source(sp.csr_array(A64)).matrix_free
    assert OperatorSource.of(aslinearoperator(np.ones((3, 4), "f4"))).dtype == np.float32
    assert OperatorSource.of(np.ones((3, 4), "i4")).dtype == np.float64
    again = OperatorSource.of(OperatorSource.of(A64), norm_squared=3.0)
    assert again.norm_squared == 3.0

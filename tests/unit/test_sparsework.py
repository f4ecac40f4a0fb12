"""Sparse products: against dense products, the same bits for any number of threads, and the accuracy stated."""

import numpy as np
import pytest
import scipy.sparse as sp

from svdflow import truncated_svd
from svdflow.compute.engine import Engine
from svdflow.svd.random_blocks import gaussian
from svdflow.svd.read import sparse_work
from svdflow.svd.read.sparse_work import SparseProducts

EPS = {
    "f": np.finfo(np.float32).eps,
    "d": np.finfo(float).eps,
    "F": np.finfo(np.float32).eps,
    "D": np.finfo(float).eps,
}


def sparse(m, n, dtype="f", density=0.01, seed=0):
    rng = np.random.default_rng(seed)
    A = sp.random_array((m, n), density=density, rng=rng, format="csr")
    A.data = A.data - 0.5
    if np.dtype(dtype).kind == "c":
        A = A + 1j * sp.csr_array((rng.standard_normal(A.nnz), A.indices, A.indptr), shape=A.shape)
    return A.astype(dtype)


def block(rows, columns, dtype):
    wide = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    return gaussian(1, rows, columns, dtype=wide)


def rounding(A, X, dtype):
    """Bound on entries of ``A^H (A X)``: gamma_p |A|^H |A| |X|, p the longest sum (Higham 2002, section 3.5)."""
    size = abs(A).toarray().astype(float)
    longest = np.diff(A.indptr).max() + np.diff(A.tocsc().indptr).max() + 4
    return 2 * longest * EPS[dtype] * (size.T @ (size @ abs(X)))


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("columns", [1, 7, 16, 33])
def test_products_are_those_of_the_dense_matrix(dtype, columns):
    A = sparse(9000, 300, dtype)
    products = SparseProducts(A, np.dtype(dtype), Engine(2))
    X = block(300, columns, dtype)
    dense = A.toarray().astype(products.wide)
    bound = rounding(A, X, dtype)

    Z = products.gram_times(X)
    assert Z.shape == X.shape and Z.dtype == products.wide
    assert (abs(Z - dense.conj().T @ (dense @ X)) <= bound).all()

    Y = products.times(X)
    assert Y.shape == (9000, columns) and Y.dtype == products.wide
    row_bound = (np.diff(A.indptr).max() + 2) * EPS[dtype] * (abs(dense) @ abs(X))
    assert (abs(Y - dense @ X) <= 2 * row_bound).all()
    W = dense @ X
    assert (abs(products.adjoint_times(W) - dense.conj().T @ W) <= bound).all()
    # Control: for complex entries the transpose is not the adjoint.
    assert (abs(Z - dense.T @ (dense @ X)) > bound).any() == (products.work.kind == "c")


def test_bands_cover_every_row_once_whatever_their_height(monkeypatch):
    monkeypatch.setattr(sparse_work, "LEAST_BAND", 64)
    monkeypatch.setattr(sparse_work, "BAND_ENTRIES", 0.01)
    A, X = sparse(1001, 200, "d", 0.05), block(200, 5, "d")
    products = SparseProducts(A, np.dtype("d"), Engine(1))
    assert products.band_height == 67  # 15 bands of 1001 rows, as equal as can be
    assert (abs(products.gram_times(X) - A.T @ (A @ X)) <= rounding(A, X, "d")).all()


@pytest.mark.parametrize("dtype", ["f", "d", "F"])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    A, X = sparse(20_000, 500, dtype), block(500, 50, dtype)
    one, *others = [SparseProducts(A, np.dtype(dtype), Engine(threads)) for threads in (1, 2, 4)]
    Y = one.times(X)
    for other in others:
        assert one.gram_times(X).tobytes() == other.gram_times(X).tobytes()
        assert Y.tobytes() == other.times(X).tobytes()
        assert one.adjoint_times(Y).tobytes() == other.adjoint_times(Y).tobytes()


def test_a_column_of_the_block_does_not_depend_on_its_neighbours():
    A, X = sparse(5000, 400), block(400, 40, "f")
    products = SparseProducts(A, np.dtype("f"), Engine(2))
    assert np.array_equal(products.gram_times(X)[:, :16], products.gram_times(X[:, :16]))


@pytest.mark.parametrize("dtype", "fF")
def test_a_wide_matrix_is_worked_on_as_its_adjoint(dtype):
    A, Y = sparse(300, 8000, dtype), block(300, 12, dtype)
    tall = A.conj().T.toarray().astype(Y.dtype)
    products = SparseProducts.of_csc(A.tocsc(), np.dtype(dtype), Engine(2))
    bound = rounding(A.conj().T.tocsr(), Y, dtype)
    assert (abs(products.gram_times(Y) - tall.conj().T @ (tall @ Y)) <= bound).all()


@pytest.mark.parametrize("integer", ["int8", "uint8", "int16", "bool"])
def test_integer_entries_are_converted(integer):
    A = sp.csr_array((np.arange(1, 7) % 5, ([0, 0, 1, 3, 3, 3], [0, 2, 1, 0, 1, 2])), shape=(4, 3)).astype(
        integer
    )
    X = np.arange(6.0).reshape(3, 2)
    dense = A.toarray().astype(float)
    assert np.array_equal(SparseProducts(A, np.dtype("f"), Engine(1)).gram_times(X), dense.T @ (dense @ X))


def test_double_sums_of_bands_hold_what_single_precision_would_lose():
    """A full column of ones: its sum of 2^25 + ... counts on in double precision, and sticks at 2^24 in single."""
    m = 2**20
    A = sp.csr_array((np.ones(m, "f"), np.zeros(m, np.int32), np.arange(m + 1)), shape=(m, 1))
    X = np.full((1, 1), 33.0)
    assert SparseProducts(A, np.dtype("f"), Engine(1)).gram_times(X)[0, 0] == 33.0 * m
    # Control: one running sum in float32, as SciPy's operator does it, does lose them.
    assert float((A.T @ (A @ X.astype("f")))[0, 0]) != 33.0 * m


def test_empty_rows_and_a_matrix_without_entries():
    A = sp.csr_array((10, 4), dtype="f")
    assert not SparseProducts(A, np.dtype("f"), Engine(2)).gram_times(np.ones((4, 20))).any()


@pytest.mark.parametrize("exponent", [-30, 30])
def test_squares_beyond_single_precision_are_kept(exponent):
    A, X = sparse(3000, 100, "d"), block(100, 3, "f")
    scaled = SparseProducts((A * 10.0**exponent).astype("f"), np.dtype("f"), Engine(1))
    Z, bound = scaled.gram_times(X) / 10.0 ** (2 * exponent), rounding(A, X, "f")
    assert (abs(Z - A.T @ (A @ X)) <= 2 * bound).all()
    plain = scaled.matrix.T @ (scaled.matrix @ X.astype("f"))  # control
    assert not plain.any() if exponent < 0 else not np.isfinite(plain).all()


def with_int64(A):
    B = sp.csr_array(A.shape, dtype=A.dtype)
    B.data, B.indices, B.indptr = A.data, A.indices.astype(np.int64), A.indptr.astype(np.int64)
    return B


@pytest.mark.parametrize("wide", [False, True])
def test_formats_and_threads_give_the_same_bits(wide):
    A = sparse(20_000, 300, "d", 0.002)
    A = A.T.tocsr() if wide else A
    expected = truncated_svd(A, 5, engine=1)
    assert expected.info.method == "lanczos" and expected.info.reason == "converged"
    given = [with_int64(A), A.tocsc(), sp.csr_matrix(A), sp.csc_matrix(A), A.tocoo()]
    assert given[0].indices.dtype == np.int64
    for other in (*(truncated_svd(B, 5, engine=1) for B in given), truncated_svd(A, 5, engine=4)):
        assert all(x.tobytes() == y.tobytes() for x, y in zip(other, expected, strict=True))
    other = truncated_svd(A, 5, engine=1, seed=1)  # control
    assert other.U.tobytes() != expected.U.tobytes()


@pytest.mark.parametrize("method", ["lanczos", "krylov"])
def test_the_read_for_U_multiplies_forwards_only(method, monkeypatch):
    counted = {"there and back": [], "there": []}
    both, rows = SparseProducts.gram_times, SparseProducts.write_rows
    monkeypatch.setattr(
        SparseProducts,
        "gram_times",
        lambda self, X, **more: counted["there and back"].append(X.shape[1]) or both(self, X, **more),
    )
    monkeypatch.setattr(
        SparseProducts,
        "write_rows",
        lambda self, X, scratch: counted["there"].append(X.shape[1]) or rows(self, X, scratch),
    )
    A = sparse(6000, 600, "d", 0.01)
    result = truncated_svd(A, 8, method=method)
    assert counted["there"] == [8 + 4] and result.info.reads == len(counted["there and back"]) + 1
    # By LAPACK: the values, and what U leaves of them.
    true = np.sqrt(np.linalg.eigvalsh((A.T @ A).toarray())[::-1])
    squares = np.sum((A.T @ result.U) ** 2, axis=0)
    assert np.max(np.abs(true[:8] ** 2 - squares)) <= 1e-2 * true[8] ** 2
    assert np.linalg.norm(result.U.T @ result.U - np.eye(8)) <= 1e-12
    assert result.info.numerical_rank == 8 and result.info.polished
    truncated_svd(A, 8, method=method, tol=1e-17)  # control: more digits than squares have
    assert len(counted["there"]) == 1

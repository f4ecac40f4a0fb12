"""The method `gram`: ``A^H A`` by one triangle, U by half a read, and the digits that means and squares could cost.

Truth is LAPACK in float64 on the stored entries.
"""

import numpy as np
import pytest
from numpy.linalg import norm

import dask
from svdflow import truncated_svd
from svdflow.compute.engine import Engine
from svdflow.errors import NonFiniteError
from svdflow.matrix import panels
from svdflow.svd import costs, factorize
from svdflow.svd.methods import gram
from svdflow.svd.read import converted_panels, square_sums
from svdflow.svd.read.square_sums import SquareSum, mirrored

SINGLE = float(np.finfo(np.float32).eps)


@pytest.fixture
def in_single(monkeypatch):
    """A^H A in float32 whatever the size, as of large matrices, and panels and slices of a few kilobytes."""
    monkeypatch.setattr(costs, "GRAM_SINGLE", 0)
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**14)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 2**14)
    monkeypatch.setattr(converted_panels, "SQUARE_SLICE", 2**13)
    monkeypatch.setattr(square_sums, "FLUSH_ROWS", 500)


def falling(m, n, seed=0, dtype=np.float64, power=0.5):
    """Singular values near i^-power; complex with a phase of its own for each entry."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((m, n))
    A = A * np.arange(1.0, n + 1) ** -power
    return (A @ np.linalg.qr(rng.standard_normal((n, n)))[0]).astype(dtype)


# Sums of squares.


@pytest.mark.parametrize("kind", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("layout", ["plain", "columns", "fortran", "turned"])
def test_squares_are_those_of_the_products(kind, layout, monkeypatch):
    monkeypatch.setattr(square_sums, "FLUSH_ROWS", 100)
    wide = np.dtype("c16" if kind[0] == "c" else "f8")
    whole = falling(700, 90, dtype=np.dtype(kind))
    A = {
        "plain": whole,
        "columns": whole[:, 10:50],
        "fortran": np.asfortranarray(whole),
        "turned": whole[:, ::-1],
    }[layout]
    total = SquareSum(A.shape[1], np.dtype(kind), wide)
    for start, stop in ((0, 1), (1, 64), (64, 64), (64, 300), (300, 700)):
        total.add(A[start:stop])
    found, true = mirrored(total.triangle()), A.conj().T.astype(wide) @ A.astype(wide)
    assert found.dtype == wide and np.array_equal(found, found.conj().T)
    bound = 20 * np.finfo(np.dtype(kind)).eps * (np.abs(A).T.astype(float) @ np.abs(A))
    assert (np.abs(found - true) <= bound).all()
    if kind[0] == "c":  # negative control: what a lost conjugation leaves
        assert (np.abs(found.T - true) > bound).any()


def test_many_equal_rows_lose_nothing_in_single_precision():
    total = SquareSum(1, np.dtype("f4"), np.dtype("f8"))
    block = np.full((2**12, 1), np.sqrt(1.1), np.float32)
    for _ in range(2**6):
        total.add(block)
    true = 2**18 * float(block[0, 0]) ** 2
    # Equal rows round alike, the worst there is; added up one by one in float32 they are off by 2e-3.
    assert abs(total.triangle()[0, 0] - true) <= 16 * SINGLE * true
    naive = np.cumsum(np.full(2**18, block[0, 0] ** 2), dtype=np.float32)[-1]
    assert abs(naive - true) > 100 * SINGLE * true


# Digits.


def checked(A, result, digits, center=True):
    """Values, vectors and their orthonormality, of the matrix minus its means in double."""
    A = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)
    A = A - A.mean(axis=0) if center else A
    true = np.linalg.svd(A, compute_uv=False)
    U, s, Vt = result
    k = len(s)
    assert np.abs(s / true[:k] - 1).max() <= digits
    # A^H U as the scores of the task say: squares of what U holds, against the next value (tol of the docs).
    held = norm(A.conj().T @ U.astype(A.dtype), axis=0) ** 2
    assert np.abs(held / true[:k] ** 2 - 1).max() <= digits
    for X in (U, Vt.conj().T):
        X = X.astype(A.dtype)
        assert norm(X.conj().T @ X - np.eye(k), 2) <= 8 * np.sqrt(len(A)) * np.finfo(U.dtype).eps
    told = result.info.residuals
    left = norm(A.conj().T @ U.astype(A.dtype) - Vt.conj().T.astype(A.dtype) * s, axis=0)
    work = np.finfo(U.dtype).eps
    assert (np.abs(left - told) <= 64 * work * true[0] ** 2 / s).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("center", [False, True])
def test_half_a_read_gives_all_digits(dtype, center, in_single):
    A = falling(4000, 60, dtype=dtype) + np.linspace(0, 0.1, 60).astype(dtype)
    result = truncated_svd(A, 12, method="gram", center=center)
    assert result.info.method == "gram" and result.info.reads == 2 and result.info.reason == "converged"
    checked(A, result, 1e-5 if result.U.dtype.itemsize < 8 or dtype == np.complex64 else 1e-12, center)
    if center:
        np.testing.assert_allclose(
            result.info.mean, A.mean(axis=0, dtype=np.result_type(dtype, "f8")), atol=1e-7
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_of_a_thousand_keeps_deviations_of_a_tenth(dtype, in_single):
    """Their squares differ by 1e8, the inverse of float32's eps: only a mean that is taken off first leaves digits."""
    A = (0.1 * falling(6000, 40, power=0.25) + 1000).astype(dtype)
    result = truncated_svd(A, 8, method="gram", center=True)
    checked(A, result, 1e-5)
    wide = A.astype(float)
    share = np.sum(result.s**2) / norm(wide - wide.mean(axis=0)) ** 2
    np.testing.assert_allclose(share, 1 - result.info.relative_error**2, rtol=1e-5)


def test_a_mean_that_is_taken_off_afterwards_costs_the_digits(in_single, monkeypatch):
    """Negative control: without the pilot mean, and without reading anew."""
    monkeypatch.setattr(converted_panels, "SMALL_MEAN", np.inf)
    monkeypatch.setattr(gram, "FAR", np.inf)
    A = (0.1 * falling(6000, 40, power=0.25) + 1000).astype(np.float32)
    with pytest.raises(AssertionError):
        checked(A, truncated_svd(A, 8, method="gram", center=True), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_first_panel_that_is_unlike_the_rest_takes_one_read_more(dtype, in_single):
    A = falling(6000, 40, power=0.25)
    A[1000:] += 3000
    A[:1000] += 2000  # most of what is left lies in one direction, and the rest is to keep its digits
    A = A.astype(dtype)
    A[:1000] += 1000
    A[:200] -= 2900
    result = truncated_svd(A, 8, method="gram", center=True, tol=1e-2)
    true = np.linalg.svd(A.astype(float) - A.mean(axis=0, dtype=float), compute_uv=False)
    np.testing.assert_allclose(result.s[:2], true[:2], rtol=1e-5)
    assert result.info.reads >= 3


@pytest.mark.parametrize("scale", [1e-18, 1e17])
def test_entries_near_the_ends_of_single_precision(scale, in_single):
    A = (falling(4000, 30) * scale).astype(np.float32)
    result = truncated_svd(A, 5, method="gram")
    np.testing.assert_allclose(result.s, np.linalg.svd(A.astype(float), compute_uv=False)[:5], rtol=1e-5)


def test_nan_is_named(in_single):
    A = falling(4000, 30).astype(np.float32)
    A[3210, 4] = np.nan
    with pytest.raises(NonFiniteError, match="row 3210 "):
        truncated_svd(A, 5, method="gram")


# Bits.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_workers(dtype, in_single):
    A = falling(6000, 40, dtype=dtype) + dtype(1)
    first, *others = [
        truncated_svd(A, 6, method="gram", center=True, engine=engine)
        for engine in (1, 2, 4, Engine(2, get=dask.get))
    ]
    for other in others:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sink_gets_the_bits_of_the_result_in_memory(dtype, in_single):
    A = falling(6000, 40, dtype=dtype)
    rows = {}

    class Sink:
        def write(self, start, block):
            rows[start] = block.copy()

    factorize(A, 6, method="gram", sink=lambda shape, kind: Sink())
    kept = np.concatenate([rows[start] for start in sorted(rows)])
    assert kept.tobytes() == truncated_svd(A, 6, method="gram").U.tobytes()


def test_wide_matrices_are_their_transposes(in_single):
    A = falling(4000, 40, dtype=np.complex64)
    tall, wide = truncated_svd(A, 6, method="gram"), truncated_svd(A.conj().T, 6, method="gram")
    np.testing.assert_allclose(tall.s, wide.s, rtol=1e-6)
    assert norm((wide.U * wide.s) @ wide.Vt - ((tall.U * tall.s) @ tall.Vt).conj().T) < 1e-4 * tall.s[0]

"""Shifted subspace iteration and thick-restart Lanczos, against known spectra and LAPACK."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import norm
from scipy.sparse.linalg import svds

from svdflow.compute.engine import Engine
from svdflow.svd import truncated_svd
from svdflow.svd.methods import lanczos, shift
from svdflow.svd.methods.lanczos import LanczosSearch, lanczos_columns
from svdflow.svd.methods.lanczos_basis import LanczosBasis
from svdflow.svd.methods.shift import shift_subspace
from svdflow.svd.orthonormal import orthonormalize
from svdflow.svd.plan import Target
from svdflow.svd.subspace import Draw

EPS = np.finfo(float).eps
I = np.arange(1.0, 201.0)
SPECTRA = {
    "1/i": 1 / I,
    "1/sqrt i": I**-0.5,
    "gap": np.where(I <= 20, 50.0, 1.0) * I**-0.1,
    "exponential": np.exp(-I / 20),
    "clustered": np.repeat(1 / np.arange(1.0, 41.0), 5) * (1 - 1e-9 * ((I - 1) % 5)),
    "repeated": np.repeat(1 / np.arange(1.0, 11.0), 20),
}


class Products:
    """A reader whose matrix is in memory, and which is told nothing but to multiply."""

    engine, rows, images = Engine(1), None, None

    def __init__(self, A):
        self.A, self.reads, self.norm_squared = A, 0, float(norm(A) ** 2)

    def gram_times(self, X, *, kept=None):
        self.reads += 1
        return self.A.conj().T @ (self.A @ X)

    def refine(self, K, Z, G):
        """The norm is known."""

    def found(self, V, method, reason, **more):
        return SimpleNamespace(V=V, method=method, reason=reason, reads=self.reads, **more)


class Diagonal(Products):
    """``diag(s)``: every method here is invariant under rotations, so this is any matrix with that spectrum."""

    def __init__(self, s):
        self.s, self.reads, self.norm_squared = s, 0, float(np.sum(s**2))

    def gram_times(self, X, *, kept=None):
        self.reads += 1
        return self.s[:, None] ** 2 * X


def plan_of(shape, rank, widths, tol, dtype=np.float64, **target):
    tall = SimpleNamespace(shape=shape, name="matrix", matrix_free=False)
    wide = np.dtype(dtype)
    return SimpleNamespace(
        tall=tall,
        target=Target(rank=rank, **target),
        widths=tuple(widths),
        tol=tol,
        wide=wide,
        work=wide,
    )


def with_spectrum(s, m, n, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    parts = []
    for side in (m, n):
        X = rng.standard_normal((side, len(s)))
        parts.append(
            np.linalg.qr(X + 1j * rng.standard_normal(X.shape) if np.dtype(dtype).kind == "c" else X)[0]
        )
    return (parts[0] * s) @ parts[1].conj().T


def shifted(s, k, l, reads, tol=0.0, seed=0):
    return shift_subspace(plan_of((2 * len(s), len(s)), k, (l,) * reads, tol), Diagonal(s), seed)


def lanczos_subspace(plan, reader, seed, **more):
    return LanczosSearch(plan, reader, seed, **more).propose()


def lanczosed(s, k, reads=500, tol=1e-10, seed=0, **more):
    return lanczos_subspace(plan_of((2 * len(s), len(s)), k, (8,) * reads, tol), Diagonal(s), seed, **more)


def accuracy(s, V, k):
    """``max_i |s_i^2 - sigma_i(A V)^2| / s_{k+1}^2`` of ``A = diag(s)``, by LAPACK."""
    assert norm(V.conj().T @ V - np.eye(V.shape[1])) <= 1e-12
    values = np.linalg.svd(s[:, None] * V, compute_uv=False)[:k]
    return np.max(np.abs(s[:k] ** 2 - values**2)) / s[k] ** 2


def rounding(s, k):
    """What rounding of ``A^H A V`` moves squared values by, over ``s_{k+1}^2``."""
    return 16 * EPS * s[0] ** 2 / s[k] ** 2


# Shifted subspace iteration.


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("name", SPECTRA)
def test_shift_meets_the_tolerance_and_says_so(name, tol):
    s = SPECTRA[name]
    for seed in range(2):
        found = shifted(s, 20, 32, reads=60, tol=tol, seed=seed)
        assert found.reason == "converged" and found.estimate <= tol
        assert accuracy(s, found.V, 20) <= found.estimate + rounding(s, 20)


def test_shift_takes_no_more_reads_than_its_reference():
    """Reads to an accuracy at n = 2000, k = 50, l = 75, as measured with an independent program."""
    i = np.arange(1.0, 2001.0)
    for s, reads, reached in ((1 / i, 3, 1e-2), (i**-0.5, 8, 1e-4)):
        assert accuracy(s, shifted(s, 50, 75, reads).V, 50) <= reached


def test_without_shifts_the_same_reads_give_less(monkeypatch):
    s = SPECTRA["1/sqrt i"]
    with_shifts = accuracy(s, shifted(s, 20, 32, 10).V, 20)
    monkeypatch.setattr(shift, "_raised", lambda shift, G, R: 0.0)
    assert accuracy(s, shifted(s, 20, 32, 10).V, 20) > 10 * with_shifts


@pytest.mark.parametrize("name", SPECTRA)
def test_shift_never_exceeds_half_of_the_last_value(name):
    """Otherwise directions beyond the block could outgrow those within."""
    s = SPECTRA[name]
    taken = []
    raised = shift._raised
    try:
        shift._raised = lambda *args: taken.append(raised(*args)) or taken[-1]
        shifted(s, 20, 32, reads=12)
    finally:
        shift._raised = raised
    assert np.all(np.diff(taken) >= 0) and max(taken) <= s[31] ** 2 / 2 * (1 + 1e-12)
    assert max(taken) >= 0.3 * s[31] ** 2 / 2  # and it does something


def test_shift_judges_the_wanted_triplets_only():
    """Beyond the k-th value the spectrum is flat, which no iteration resolves, and need not."""
    s = np.concatenate([[9.0, 8.0, 7.0], 1 - 1e-6 * I])
    found = shifted(s, 3, 20, reads=30, tol=1e-6)
    assert found.reason == "converged" and found.reads <= 6
    assert accuracy(s, found.V, 3) <= 1e-6


def test_shift_out_of_reads_is_not_converged():
    found = shifted(SPECTRA["1/sqrt i"], 20, 32, reads=3, tol=1e-8)
    assert found.reason == "max_reads" and found.reads == 3
    assert found.estimate >= accuracy(SPECTRA["1/sqrt i"], found.V, 20) > 1e-8


def test_shift_widens_the_block_until_the_error_is_met():
    s = SPECTRA["1/i"]
    plan = plan_of((400, 200), None, (8,) * 30, 1e-3, error=0.2)
    found = shift_subspace(plan, Diagonal(s), 0)
    needed = next(k for k in range(1, 200) if norm(s[k:]) <= 0.2 * norm(s))
    assert found.reason == "converged" and found.V.shape[1] >= needed > 8
    assert accuracy(s, found.V, needed) <= 1e-3


# Lanczos.


@pytest.mark.parametrize("k", [1, 10, 30])
@pytest.mark.parametrize("name", SPECTRA)
def test_lanczos_meets_a_tight_tolerance(name, k):
    s = SPECTRA[name]
    found = lanczosed(s, k)
    assert found.reason in ("converged", "saturated") and found.estimate <= 1e-10
    assert accuracy(s, found.V, k) <= found.estimate + rounding(s, k)


def test_lanczos_finds_more_copies_than_its_block_has_columns(monkeypatch):
    s = np.concatenate([np.ones(12), 0.5 * I**-0.5])
    assert accuracy(s, lanczosed(s, 14, block=4).V, 14) <= 1e-10
    assert accuracy(s, lanczosed(s, 5, block=4).V, 5) <= 1e-10
    # A block of 4 columns sees 4 copies and converges; probes tell of the others, and so does a random vector.
    monkeypatch.setattr("svdflow.svd.probes.MISSED", np.inf)
    assert accuracy(s, lanczosed(s, 5, block=4).V, 5) <= 1e-10
    monkeypatch.setattr(lanczos, "SEARCHED", 0)
    monkeypatch.setattr(lanczos, "LOOK", 4)  # before rounding has grown to a fifth copy
    missed = lanczosed(s, 5, block=4, tol=1e-2)
    assert missed.reason == "converged"
    assert accuracy(s, missed.V, 5) > 1e-1


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.float64])
def test_the_lanczos_basis_is_what_it_says(dtype):
    """``H K = K T + X S`` to rounding, through a restart, fresh columns and the end of an invariant space."""
    wide = np.dtype(np.complex128 if np.dtype(dtype).kind == "c" else float)
    s = np.concatenate([1 / I[:60], np.zeros(240)])
    A = with_spectrum(s[:60], 400, 300, dtype=wide)
    H = A.conj().T @ A
    draw = Draw(0, 300, wide)
    basis = LanczosBasis(300, 60, np.dtype(dtype), Engine(1), draw)
    basis.begin(orthonormalize(draw(6)))
    for step in range(14):
        basis.expand(H @ basis.X.astype(wide))
        if step == 4:
            # Control: what X tells of is more than rounding.
            K = basis.K.astype(wide)
            assert norm(H @ K - K @ basis.T) > 1e-3
            basis.restart(12)
        if step == 8:
            basis.widen(4)
    K, X = basis.K.astype(wide), basis.X.astype(wide)
    assert K.shape[1] > 60 and X.shape[1] == 10
    rounding = 200 * np.finfo(dtype).eps
    both = np.concatenate([K, X], axis=1)
    assert norm(both.conj().T @ both - np.eye(both.shape[1])) <= rounding
    assert norm(K.conj().T @ H @ K - basis.T) <= rounding
    assert norm(H @ K - basis.images()) <= rounding


@pytest.mark.parametrize("method", ["lanczos", "auto"])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_lanczos_of_the_identity(method, tol):
    result = truncated_svd(sp.eye_array(120, 80, format="csr"), 1, method=method, tol=tol)
    assert abs(result.s[0] - 1) <= 1e-12 and abs(result.info.frobenius_error - 79**0.5) <= 1e-9


def test_lanczos_meets_a_tolerance_of_nothing():
    s = SPECTRA["1/sqrt i"]
    found = lanczosed(s, 5, tol=0.0)
    assert found.reason in ("converged", "saturated") and accuracy(s, found.V, 5) <= rounding(s, 5)


def test_lanczos_keeps_its_basis_small(monkeypatch):
    s = 1 - 0.5 * np.arange(1.0, 401.0) / 400  # slow: many restarts
    columns = []
    expand = LanczosBasis.expand
    monkeypatch.setattr(
        LanczosBasis, "expand", lambda self, *a: (expand(self, *a), columns.append(self.used))
    )
    found = lanczosed(s, 10, block=4)
    assert accuracy(s, found.V, 10) <= 1e-10
    assert max(columns) <= lanczos_columns(10, 400, 4) < 200
    assert sum(np.diff(columns) < 0) >= 2


def test_lanczos_out_of_reads_is_not_converged():
    s = SPECTRA["1/sqrt i"]
    found = lanczosed(s, 20, reads=5)
    assert found.reason == "max_reads" and found.reads == 5
    assert found.estimate >= accuracy(s, found.V, 20) > 1e-10


def test_lanczos_chooses_the_rank_by_energy():
    s = SPECTRA["exponential"]
    plan = plan_of((400, 200), None, (8,) * 300, 1e-10, energy=0.999)
    found = lanczos_subspace(plan, Diagonal(s), 0)
    needed = int(np.argmax(np.cumsum(s**2) >= 0.999 * np.sum(s**2))) + 1
    assert found.reason in ("converged", "saturated")
    assert accuracy(s, found.V, needed) <= 1e-10


def test_lanczos_agrees_with_arpack_on_a_sparse_matrix():
    rng = np.random.default_rng(3)
    A = sp.random_array((900, 400), density=0.02, rng=rng, format="csr")
    A = A.multiply(np.arange(1.0, 401.0) ** -0.4).tocsr()
    expected = np.sort(svds(A, 9, tol=1e-13, random_state=0)[1])[::-1]
    reader = Products(A.toarray())
    found = lanczos_subspace(plan_of(A.shape, 8, (8,) * 500, 1e-10), reader, 1)
    values = np.linalg.svd(A @ found.V, compute_uv=False)[:8]
    assert np.max(np.abs(values**2 - expected[:8] ** 2)) <= 1e-10 * expected[8] ** 2


# Both.

METHODS = [shift_subspace, lanczos_subspace]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(90, 60), (60, 90)])
def test_complex_matrices(method, shape):
    s = 0.8 ** np.arange(60)
    A = with_spectrum(s, *shape, dtype=complex)
    found = method(plan_of(shape, 6, (14,) * 80, 1e-9, complex), Products(A), 0)
    values = np.linalg.svd(A @ found.V, compute_uv=False)[:6]
    assert np.max(np.abs(values**2 - s[:6] ** 2)) <= 1e-9 * s[6] ** 2
    assert norm(found.V.conj().T @ found.V - np.eye(found.V.shape[1])) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [3, 7, 20])
def test_rank_deficiency(method, k):
    s = np.where(I[:50] <= 7, 1 / I[:50], 0)
    A = with_spectrum(s[:7], 80, 50)
    found = method(plan_of((80, 50), k, (30,) * 80, 1e-8), Products(A), 0)
    values = np.linalg.svd(A @ found.V, compute_uv=False)[:k]
    assert found.reason in ("converged", "saturated") and found.reads <= 12
    np.testing.assert_allclose(values, s[:k], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_zero_matrix(method):
    found = method(plan_of((80, 50), 5, (15,) * 20, 1e-8), Products(np.zeros((80, 50))), 0)
    assert found.reason == "converged" and found.reads <= 2 and found.estimate == 0
    assert norm(found.V.T @ found.V - np.eye(found.V.shape[1])) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (30, 1), (1, 30), (12, 12)])
def test_all_triplets(method, shape):
    side = min(shape)
    A = np.random.default_rng(0).standard_normal(shape)
    found = method(plan_of(shape, side, (side,) * 60, 1e-8), Products(A), 0)
    values = np.linalg.svd(A @ found.V, compute_uv=False)
    np.testing.assert_allclose(values, np.linalg.svd(A, compute_uv=False), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bits(method):
    A = with_spectrum(1 / I[:60], 90, 60)
    first, again, other = (
        method(plan_of((90, 60), 6, (14,) * 80, 1e-9), Products(A), seed).V for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert norm(first - other) > 0


# Through the door.


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize(("method", "tol"), [("shift", 1e-4), ("lanczos", 1e-9)])
def test_factors(method, tol, dtype):
    A = with_spectrum(1 / I[:100], 200, 100, dtype=complex if dtype == np.complex128 else float).astype(dtype)
    exact = np.linalg.svd(A.astype(np.complex128), compute_uv=False)
    for given in (A, A.conj().T):
        U, s, Vt = result = truncated_svd(given, 10, method=method, tol=tol)
        assert result.info.method == method and result.info.reason == "converged"
        assert np.max(np.abs(s**2 - exact[:10] ** 2)) <= tol * exact[10] ** 2
        true = norm(given - (U.astype(np.complex128) * s) @ Vt)
        assert abs(true - result.info.frobenius_error) <= 1e-6 * norm(A)

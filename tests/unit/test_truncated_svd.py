"""Truncated SVD against theorems, spectra built by QR, and LAPACK."""

import time
from functools import partial

import array_api_strict
import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import norm

import dask
import svdflow
from svdflow.compute import to_numpy
from svdflow.compute.engine import Engine
from svdflow.matrix import MatrixSource, NonFiniteError, as_source, panels
from svdflow.store import create_array, publish, read_array
from svdflow.svd import MemoryLimitError, factorize, truncated_svd
from svdflow.svd.methods.krylov import KrylovSearch
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormalize
from svdflow.svd.plan import Target, make_plan
from svdflow.svd.random_blocks import COMPLETION, gaussian
from svdflow.svd.read.converted_panels import Panel, Products
from svdflow.svd.signs import phases
from unit.svd_promises import pve, with_spectrum

EPS = np.finfo(float).eps
METHODS = ["full", "gram", "krylov", "rsvd"]


def assert_svd(A, result, s, atol, orthogonality=1e-12):
    """Orthonormal factors, the right values, and ``A v = u s``."""
    U, values, Vt = result
    k = len(values)
    assert U.shape == (A.shape[0], k) and Vt.shape == (k, A.shape[1])
    assert np.all(np.diff(values) <= 0)
    np.testing.assert_allclose(values, s[:k], rtol=0, atol=atol)
    U, Vt = (factor.astype(np.complex128) for factor in (U, Vt))  # so that the check itself does not round
    assert norm(U.conj().T @ U - np.eye(k)) <= orthogonality * k
    assert norm(Vt @ Vt.conj().T - np.eye(k)) <= orthogonality * k


@pytest.fixture
def small_panels(monkeypatch):
    """Panels of 64 kB, so that small matrices have many."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**16)


DECAY = 1 / np.arange(1.0, 121.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.complex64])
@pytest.mark.parametrize("shape", [(400, 120), (120, 400)])
def test_known_spectrum(method, dtype, shape, small_panels):
    A = with_spectrum(DECAY, *shape, dtype=dtype)
    single = np.dtype(dtype).itemsize // (2 if np.dtype(dtype).kind == "c" else 1) == 4
    result = truncated_svd(A, 8, method=method, tol=1e-6, max_reads=8)
    assert_svd(A, result, DECAY, atol=1e-6 if single else 1e-8, orthogonality=1e-6 if single else 1e-12)
    assert result.U.dtype == result.Vt.dtype == dtype and result.s.dtype == np.float64
    # Eckart-Young: the error is the root of the tail energy, for LAPACK and to second order for the others.
    tail = np.sqrt(np.sum(DECAY[8:] ** 2))
    assert norm(A - (result.U * result.s) @ result.Vt) == pytest.approx(tail, rel=1e-5)
    assert result.info.frobenius_error == pytest.approx(tail, rel=1e-5)
    assert result.info.method == method and result.info.shape == shape


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 40),
    seed=st.integers(0, 999),
    data=st.data(),
    method=st.sampled_from(METHODS),
)
def test_agrees_with_lapack_on_any_shape(m, n, seed, data, method):
    k = data.draw(st.integers(1, min(m, n)))
    A = np.random.default_rng(seed).standard_normal((m, n))
    result = truncated_svd(
        A, k, method=method, block_size=min(m, n) if method in ("krylov", "rsvd") else None
    )
    assert_svd(A, result, np.linalg.svd(A, compute_uv=False), atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_squares_are_eigenvalues_of_the_gram_matrix(method):
    A = with_spectrum(np.geomspace(5, 0.1, 40), 90, 60)
    s = truncated_svd(A, 5, method=method, max_reads=6).s
    np.testing.assert_allclose(s**2, np.linalg.eigvalsh(A.T @ A)[::-1][:5], rtol=1e-8)


ROOTS = np.arange(1.0, 601.0) ** -0.5


@pytest.fixture(scope="module")
def slow_decay():
    return with_spectrum(ROOTS, 900, 600, seed=7)


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
def test_tolerance_is_met(slow_decay, tol):
    """max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2, measured, on a spectrum that decays slowly."""
    result = truncated_svd(slow_decay, 20, method="krylov", tol=tol)
    measured = np.max(np.abs(ROOTS[:20] ** 2 - norm(slow_decay.T @ result.U, axis=0) ** 2)) / ROOTS[20] ** 2
    assert measured <= tol
    assert result.info.reason == "converged"


@pytest.mark.parametrize("seed", range(3))
def test_tolerance_is_met_beside_large_values_in_single_precision(seed):
    """Three large values over a slow decay: squares in float32 hide gains of a search, and not of its last read."""
    spectrum = np.concatenate([100 / np.arange(1.0, 4), np.arange(4.0, 601) ** -0.25])
    A = with_spectrum(spectrum, 1800, 600, dtype=np.float32)
    s = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    result = truncated_svd(A, 10, method="krylov", tol=3e-4, seed=seed)
    assert result.info.reason == "converged" and pve(A, result, s) <= 3e-4
    short = truncated_svd(A, 10, method="krylov", tol=1e-1, seed=seed)
    assert pve(A, short, s) > 3e-4  # what a search that believes its own rounding would have left


@pytest.mark.parametrize("seed", range(3))
def test_tolerance_is_met_where_convergence_is_slow(seed):
    """A sparse random matrix: its singular values lie close to each other, and steps shrink slowly."""
    A = sp.random_array((3000, 2000), density=0.002, rng=np.random.default_rng(seed), format="csr")
    result = truncated_svd(A, 10, method="krylov")
    s2 = np.linalg.eigvalsh((A.T @ A).toarray())[::-1][:11]
    assert np.max(np.abs(s2[:10] - norm(A.T @ result.U, axis=0) ** 2)) <= 1e-2 * s2[10]
    assert result.info.reason == "converged"


def test_too_few_reads_are_told(slow_decay):
    info = truncated_svd(slow_decay, 20, method="krylov", tol=1e-8, max_reads=3).info
    assert (info.reason, info.reads) == ("max_reads", 3)


@pytest.mark.parametrize("target", [{"error": 0.6}, {"energy": 0.64}, {"error": 0.45}])
@pytest.mark.parametrize("method", ["gram", "krylov"])
def test_the_rank_is_chosen_by_the_error(slow_decay, target, method):
    total = np.sum(ROOTS**2)
    wanted = 1 - target["error"] ** 2 if "error" in target else target["energy"]
    least = int(np.searchsorted(np.cumsum(ROOTS**2), wanted * total)) + 1
    result = truncated_svd(slow_decay, method=method, **target)
    assert result.info.relative_error <= np.sqrt(1 - wanted)
    assert least <= result.info.rank <= least + 1
    assert result.info.relative_error == pytest.approx(
        np.sqrt(np.sum(ROOTS[result.info.rank :] ** 2) / total), rel=1e-3
    )


def sources_of(A, folder):
    np.save(folder / "a.npy", A)
    with h5py.File(folder / "a.h5", "w") as file:
        file["contiguous"] = A
        file.create_dataset("bands", data=A, chunks=(50, A.shape[1]))
        file.create_dataset("zipped", data=A, chunks=(50, A.shape[1]), compression="gzip")
        file.create_dataset("tiles", data=A, chunks=(40, 30), compression="gzip")
    yield from (
        folder / "a.npy",
        *(f"{folder / 'a.h5'}:/{name}" for name in ("contiguous", "bands", "zipped", "tiles")),
    )
    yield da.from_array(A, chunks=(70, -1))
    yield da.from_array(A, chunks=(70, 50))
    yield sp.csr_array(A)


@pytest.mark.parametrize("shape", [(500, 90), (90, 500)])
@pytest.mark.parametrize("center", [False, True])
def test_every_kind_of_source_gives_the_same(shape, center, tmp_path, small_panels):
    A = with_spectrum(np.geomspace(3, 1e-2, 60), *shape) + 0.5
    centred = A - A.mean(axis=0) if center else A
    s = np.linalg.svd(centred, compute_uv=False)
    for source in sources_of(A, tmp_path):
        for method in ("krylov", "gram"):
            result = truncated_svd(source, 6, method=method, center=center, tol=1e-8)
            assert_svd(A, result, s, atol=1e-8)
            assert norm(centred - (result.U * result.s) @ result.Vt) == pytest.approx(norm(s[6:]), rel=1e-8)
            mean = np.zeros(shape[1]) if result.info.mean is None else result.info.mean
            np.testing.assert_allclose(mean, A.mean(axis=0) * center, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.uint16, np.int64, bool])
def test_integers_and_halves(dtype, small_panels):
    numbers = np.random.default_rng(0).random((600, 80))
    A = numbers > 0.6 if dtype is bool else (numbers * 200).astype(dtype)
    s = np.linalg.svd(A.astype(float), compute_uv=False)
    for method in ("full", "gram", "krylov"):
        result = truncated_svd(A, 5, method=method, tol=1e-6, max_reads=20)
        assert_svd(A, result, s, atol=2e-5 * s[0], orthogonality=1e-6)
        assert result.U.dtype == (np.float64 if dtype is np.int64 else np.float32)


def test_only_panels_are_converted():
    """An integer matrix is never upcast as a whole: the largest piece that is read is a panel."""

    class Watched(MatrixSource):
        shape, dtype, name, largest = (40000, 300), np.dtype(np.uint8), "watched", 0

        def read(self, start, stop):
            Watched.largest = max(Watched.largest, stop - start)
            rows = np.arange(start, stop)[:, None]
            return ((rows * 7 + np.arange(300) * 13 + rows * np.arange(300) % 11) % 251).astype(np.uint8)

    truncated_svd(Watched(), 3, method="krylov", max_reads=3)
    assert Watched.largest * 300 * 4 <= panels.PANEL_BYTES


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("method", METHODS)
def test_extreme_scales(scale, method):
    A = with_spectrum(DECAY, 300, 120)
    result = truncated_svd(A * scale, 5, method=method, max_reads=8, tol=1e-6)
    np.testing.assert_allclose(result.s / scale, DECAY[:5], atol=1e-8)
    assert result.info.relative_error == pytest.approx(norm(DECAY[5:]) / norm(DECAY), rel=1e-6)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(300, 120), (120, 300)])
@pytest.mark.parametrize(("scale", "dtype"), [(1e-310, np.float64), (2e305, np.float64), (1e-40, np.float32)])
def test_the_ends_of_the_range(scale, dtype, shape, method, center):
    """Subnormal entries keep 5 decimals at 1e-310 and 1e-40; at the top s_1 is just a number."""
    A = (np.random.default_rng(0).uniform(-1, 1, shape) + 1) * scale / 2
    A = A.astype(dtype)
    plain = (A / 2.0 ** np.floor(np.log2(float(A.max())))) if scale > 1 else A.astype(np.longdouble) / scale
    plain = plain.astype(np.float64)
    plain = plain - plain.mean(axis=0) if center else plain
    s = np.linalg.svd(plain, compute_uv=False)
    info = truncated_svd(A, 5, method=method, max_reads=12, block_size=20, center=center).info
    assert info.relative_error == pytest.approx(norm(s[5:]) / norm(s), rel=1e-3)
    assert info.frobenius_kind == "exact"


@pytest.mark.parametrize("method", [*METHODS, "shift", "lanczos", "single_pass"])
def test_a_singular_value_that_is_no_number_is_refused(method):
    """Entries are finite, s_1 is above 1.8e308: an error that says so, and no infinity among the results."""
    A = np.full((300, 120), 1e307)
    with pytest.raises(OverflowError, match=r"above the largest float64.*power of two"):
        truncated_svd(A, 5, method=method)


@pytest.mark.parametrize(
    ("method", "rank", "reason", "error"),
    [
        ("full", 40, "converged", 1e-12),
        ("gram", 40, "converged", 1e-12),
        ("krylov", 20, "unresolved", 1.1e-8),
    ],
)
def test_an_error_below_the_root_of_rounding(method, rank, reason, error):
    """It is met where all singular values are known, and told not to be shown where a difference is all there is."""
    s = np.r_[np.ones(20), np.full(20, 1e-8)]
    A = with_spectrum(s, 300, 100)
    result = truncated_svd(A, error=1e-12, method=method)
    assert (result.info.rank, result.info.reason) == (rank, reason)
    assert norm(A - (result.U * result.s) @ result.Vt) <= error * norm(s)


def test_an_error_below_the_rounding_of_the_factors_is_not_called_met():
    A = with_spectrum(np.ones(4), 60, 40, dtype=np.float32)
    assert truncated_svd(A, error=1e-9, method="full").info.reason == "unresolved"


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_single_precision_neither_overflows_nor_vanishes(scale):
    A = with_spectrum(DECAY, 300, 120, dtype=np.float32) * np.float32(scale)
    np.testing.assert_allclose(truncated_svd(A, 5, method="krylov", tol=1e-6).s / scale, DECAY[:5], rtol=1e-5)


AWKWARD = {
    "zero": np.zeros((60, 40)),
    "constant": np.full((60, 40), 7.0),
    "rank 3": with_spectrum(np.array([3.0, 2.0, 1.0]), 80, 50),
    "repeated": np.eye(70, 50),
    "clusters": with_spectrum(np.repeat([4.0, 2.0, 1.0], 12), 90, 60),
    "one row": np.arange(1.0, 41.0)[None],
    "one column": np.arange(1.0, 41.0)[:, None],
    "one entry": np.array([[-3.0]]),
    "steep": np.diag(2.0 ** -np.arange(40)),
    "one hot": np.eye(1, 900, 5).reshape(30, 30),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_matrices(name, method):
    A = AWKWARD[name]
    k = min(15, *A.shape)
    result = truncated_svd(A, k, method=method)
    s = np.linalg.svd(A, compute_uv=False)
    assert_svd(A, result, s, atol=1e-8 * max(1, s[0]))
    assert norm(A - (result.U * result.s) @ result.Vt) <= norm(s[k:]) * (1 + 1e-6) + 1e-7 * s[0]
    rank = min(k, np.linalg.matrix_rank(A))
    assert result.info.numerical_rank == rank
    assert (result.info.reason == "rank_deficient") == (rank < k)


def test_energy_of_the_zero_matrix():
    for method in ("full", "gram", "krylov"):
        assert truncated_svd(np.zeros((30, 20)), energy=0.9, method=method).info.rank == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(300, 80), (80, 300)])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_centring_complex_matrices(method, shape, make, small_panels):
    A = with_spectrum(np.geomspace(3, 0.1, 60), *shape, dtype=np.complex128) + 0.3 - 0.4j
    A *= np.exp(1j * np.arange(shape[1]))
    centred = A - A.mean(axis=0)
    result = truncated_svd(make(A), 5, method=method, center=True, tol=1e-8, max_reads=14)
    assert_svd(A, result, np.linalg.svd(centred, compute_uv=False), atol=1e-8)
    np.testing.assert_allclose(result.U.conj().T @ centred, result.s[:, None] * result.Vt, atol=1e-3)
    np.testing.assert_allclose(result.info.mean, A.mean(axis=0), atol=1e-12)
    # The last read saw the same centred matrix as the iteration, so A v = s u leaves no residual on the other side.
    assert result.info.residuals.max() < 1e-3


def test_centring_a_large_mean_cancels_no_digits():
    """Columns of mean 1e8 and spread 1: subtracting squares would lose all 16 digits."""
    A = np.random.default_rng(0).standard_normal((5000, 30))
    shifted = A + 1e8
    s = np.linalg.svd(shifted - shifted.mean(axis=0), compute_uv=False)
    for method in ("gram", "krylov"):
        np.testing.assert_allclose(
            truncated_svd(shifted, 3, method=method, center=True, tol=1e-8).s, s[:3], rtol=1e-7
        )


@pytest.mark.parametrize(
    ("method", "dtype"), [("krylov", np.float32), ("krylov", np.complex128), ("gram", np.float64)]
)
def test_bits_do_not_depend_on_workers_or_scheduler(method, dtype, small_panels, tmp_path):
    A = with_spectrum(np.geomspace(9, 1e-3, 80), 1000, 100, dtype=dtype)
    engines = [1, 2, 4, Engine(get=dask.get), Engine(3, get=dask.get, shared_memory=False)]
    results = [truncated_svd(A, 7, method=method, engine=engine, center=True) for engine in engines]
    for other in results[1:]:
        for mine, reference in zip(other, results[0]):
            assert mine.tobytes() == reference.tobytes()


def test_another_seed_gives_other_bits():
    """Negative control of the test above."""
    A = with_spectrum(ROOTS[:300], 600, 300)
    first, second = (truncated_svd(A, 5, method="krylov", seed=seed) for seed in (0, 1))
    assert first.U.tobytes() != second.U.tobytes()
    np.testing.assert_allclose(first.s, second.s, rtol=1e-3)


def test_the_memory_limit_does_not_change_bits(small_panels):
    A = with_spectrum(DECAY, 1500, 120)
    free = truncated_svd(A, 5, method="krylov", engine=4)
    tight = truncated_svd(A, 5, method="krylov", engine=4, memory_limit="4MiB")
    assert free.U.tobytes() == tight.U.tobytes()
    with pytest.raises(MemoryLimitError, match="set memory_limit to"):
        truncated_svd(A, 5, method="krylov", memory_limit="100 kB")


def test_a_limit_that_the_message_names_is_enough():
    A = with_spectrum(DECAY, 3000, 120)
    with pytest.raises(MemoryLimitError) as caught:
        truncated_svd(A, 5, method="krylov", memory_limit=1)
    named = str(caught.value).split("set memory_limit to ")[1].split(" ")[0]
    truncated_svd(A, 5, method="krylov", memory_limit=int(float(named[:-3]) + 1) * 2**20)


@pytest.mark.parametrize("shape", [(1500, 100), (100, 1500)])
@pytest.mark.parametrize("method", ["krylov", "full"])
def test_a_sink_takes_the_left_factor(shape, method, tmp_path, small_panels):
    A = with_spectrum(DECAY[:90], *shape, dtype=np.float32)
    plain = truncated_svd(A, 6, method=method)
    path = tmp_path / "factors.h5"
    with publish(path, "factors") as file:
        writers = []

        def sink(shape, dtype):
            writers.append(create_array(file, "U", shape, dtype))
            return writers[0]

        streamed = factorize(A, 6, method=method, sink=sink, scratch=tmp_path)
        writers[0].close()
    assert streamed.U is None
    with h5py.File(path) as file:
        assert read_array(file, "U").tobytes() == plain.U.tobytes()
    assert [p.name for p in tmp_path.glob("[!.]*")] == ["factors.h5"] and not list(tmp_path.glob("*.scratch"))


def test_a_failing_sink_leaves_no_scratch(tmp_path, small_panels):
    def sink(shape, dtype):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        factorize(with_spectrum(DECAY, 900, 120), 6, method="krylov", sink=sink, scratch=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["full", "gram", "krylov"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, partial(da.from_array, chunks=(64, 90))])
def test_non_finite_rows_are_named(bad, method, make, small_panels):
    A = with_spectrum(DECAY[:80], 500, 90)
    A[37, 5] = A[41, 3] = bad
    for center in (False, True):
        with pytest.raises(NonFiniteError, match="rows 37, 41 "):
            truncated_svd(make(A), 3, method=method, center=center)


class SlowStart(MatrixSource):
    """NaN in a late row is found long before the one in an early row."""

    shape, dtype, name = (400, 100), np.dtype(np.float64), "slow"

    def read(self, start, stop):
        block = np.ones((stop - start, 100))
        for row in (3, 390):
            if start <= row < stop:
                block[row - start] = np.nan
        time.sleep(0.3 if start <= 3 else 0.0)
        return block


@pytest.mark.parametrize("method", ["gram", "krylov"])
def test_the_first_rows_are_named_whoever_is_first_to_find_some(method, small_panels):
    with pytest.raises(NonFiniteError, match="row 3 "):
        truncated_svd(SlowStart(), 3, method=method, engine=4)


def test_non_finite_columns_of_a_wide_matrix_are_named():
    A = with_spectrum(DECAY[:80], 90, 500)
    A[5, 37] = np.nan
    with pytest.raises(NonFiniteError, match="column 37 "):
        truncated_svd(A, 3, method="krylov")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of rank, error and energy; given: none"),
        ({"rank": 2, "energy": 0.9}, "given: rank, energy"),
        ({"rank": 0}, "rank 0 is outside 1 to 20 = min.m, n. of a 30 x 20 matrix"),
        ({"rank": 21}, "rank 21 is outside 1 to 20"),
        ({"rank": 0.9}, "for a share of energy use energy="),
        ({"rank": True}, "must be an integer"),
        ({"error": 1.0}, r"error must be in \[0, 1\)"),
        ({"energy": 0.0}, r"energy must be in \(0, 1\]"),
        ({"energy": float("nan")}, r"energy must be in \(0, 1\]"),
        ({"rank": 2, "method": "arpack"}, "'arpack' is not one of auto, full"),
        ({"rank": 2, "tol": -1.0}, "tol must be"),
        ({"rank": 2, "block_size": 0}, "block_size must be"),
        ({"rank": 2, "max_reads": 1}, "at least 2"),
        ({"rank": 2, "seed": -1}, "seed must be"),
        ({"rank": 2, "memory_limit": "much"}, "such as '1GiB'"),
        ({"rank": 2, "backend": "torch", "method": "gram"}, "'torch' is not one of"),
    ],
)
def test_arguments_are_checked_at_the_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        truncated_svd(np.ones((30, 20)), **arguments)


def test_the_callers_array_is_left_alone():
    for order in "CF":
        A = np.asarray(with_spectrum(DECAY[:30], 60, 40), order=order)
        before = A.copy()
        for method in METHODS:
            for matrix in (A, A.T):
                truncated_svd(matrix, 3, method=method, center=True)
        np.testing.assert_array_equal(A, before)


def test_numpy_integer_rank_and_unpacking():
    result = svdflow.truncated_svd(np.diag([3.0, 2.0, 1.0]), np.int64(2))
    U, s, Vt = result
    assert len(result) == 3 and result[1] is s
    np.testing.assert_allclose(np.abs(U[:, 0] * s[0] * Vt[0, 0]), [3, 0, 0])


# The plan is a function of the problem only.


def plan_of(shape, dtype=np.float64, sparse=False, in_memory=True, **options):
    source = MatrixSource()
    source.shape, source.dtype, source.sparse, source.density = (
        shape,
        np.dtype(dtype),
        sparse,
        1e-3 if sparse else 1.0,
    )
    source.column_access = True
    source.in_memory = in_memory
    target = Target(**({"rank": 20} | options))
    return make_plan(source, target, method="auto", tol=1e-2, block_size=None, max_reads=None, center=False)


@pytest.mark.parametrize(
    ("shape", "method"),
    [
        ((100, 90), "full"),
        ((300, 250), "gram"),
        ((512, 512), "krylov"),
        ((10**6, 100), "gram"),
        ((10**6, 1000), "krylov"),
        ((1000, 10**6), "krylov"),
    ],
)
def test_auto_takes_the_cheap_method(shape, method):
    assert plan_of(shape).method == method
    assert plan_of(shape).tall.shape[0] >= plan_of(shape).tall.shape[1]


def test_where_reading_takes_longest_one_read_is_best():
    assert plan_of((10**6, 1000)).method == "krylov"
    assert plan_of((10**6, 1000), in_memory=False).method == "gram"


def test_sparse_matrices_are_iterated_on():
    assert plan_of((10**4, 10**4), sparse=True).method == "lanczos"
    # Where a read costs whatever it multiplies, and where the rank is not known, blocks are wide.
    assert plan_of((10**4, 10**4), sparse=True, in_memory=False).method == "krylov"
    assert plan_of((10**4, 10**4), sparse=True, rank=None, error=0.1).method == "krylov"


def test_groups_hold_all_panels_in_order():
    plan = plan_of((10**6, 1000), np.float32)
    assert [bounds for group in plan.groups for bounds in group] == list(plan.bounds)
    assert len(plan.groups) == 32


def test_a_wide_zipped_file_is_worked_on_as_it_lies(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        A = file.create_dataset("A", (2000, 50000), "f4", chunks=(20, 50000), compression="gzip", fillvalue=0)
        A[0] = 1
    source = as_source(f"{tmp_path / 'a.h5'}:/A")
    plan = make_plan(
        source, Target(rank=5), method="auto", tol=1e-2, block_size=None, max_reads=None, center=False
    )
    assert not plan.transposed


# Signs and test matrices.


def test_largest_entry_of_each_right_vector_is_positive():
    for dtype in (np.float64, np.complex128):
        A = with_spectrum(np.geomspace(5, 1, 30), 70, 50, dtype=dtype)
        for matrix in (A, A.conj().T):
            for method in METHODS:
                Vt = truncated_svd(matrix, 4, method=method).Vt
                top = Vt[np.arange(4), np.abs(Vt).argmax(axis=1)]
                assert np.all(top.real > 0)
                np.testing.assert_allclose(top.imag, 0, atol=1e-12)


def test_ties_go_to_the_lowest_index():
    near = np.array([[0.1, -0.7, 0.7 * (1 + 1e-8)], [0.1, -0.7, 0.7 * (1 + 1e-3)]]).T
    np.testing.assert_array_equal(phases(near), [-1, 1])
    np.testing.assert_array_equal(phases(np.zeros((3, 2))), [1, 1])
    np.testing.assert_allclose(phases(np.array([[3j], [1]])), [1j])


def test_test_matrices_depend_on_place_only():
    whole = gaussian(3, 9000, 40)
    np.testing.assert_array_equal(gaussian(3, 9000, 24), whole[:, :24])
    np.testing.assert_array_equal(
        gaussian(3, 900, 7, first_row=4000, first_column=13), whole[4000:4900, 13:20]
    )
    assert not np.array_equal(gaussian(4, 9000, 40), whole)
    assert not np.array_equal(gaussian(3, 9000, 40, domain=COMPLETION), whole)
    assert abs(whole.mean()) < 5 / 600 and abs(whole.var() - 1) < 5 * np.sqrt(2) / 600
    correlation = np.corrcoef(whole.T) - np.eye(40)
    assert np.abs(correlation).max() < 6 / np.sqrt(9000)
    entries = gaussian(3, 5000, 4, dtype=np.complex128)
    assert np.mean(np.abs(entries) ** 2) == pytest.approx(1, abs=0.05)
    assert abs(np.mean(entries**2)) < 0.05


# One code path for every array library: the strictest one runs it too.


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_panel_product_under_the_strict_namespace(kind):
    rng = np.random.default_rng(0)
    P, X = rng.standard_normal((30, 12)).astype(kind), rng.standard_normal((12, 5)).astype(kind)
    products = Products(array_api_strict.asarray(X), np.dtype(kind))
    for rows in (P[:10], P[10:]):
        panel = Panel(array_api_strict.asarray(rows), None, None)
        products.add(panel, products.times(panel))
    np.testing.assert_allclose(to_numpy(products.total).conj().T, P.conj().T @ (P @ X), rtol=1e-12)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_small_side_under_the_strict_namespace(kind):
    rng = np.random.default_rng(0)

    def draw(columns):
        X = rng.standard_normal((40, columns)) + (
            1j * rng.standard_normal((40, columns)) if kind == "complex128" else 0
        )
        return array_api_strict.asarray(X.astype(kind))

    K = orthonormalize(draw(6))
    dependent = array_api_strict.concat(
        [draw(3), K[:, :2], array_api_strict.zeros((40, 1), dtype=K.dtype)], axis=1
    )
    Q = extend_basis(K, dependent, draw)
    whole = to_numpy(array_api_strict.concat([K, Q], axis=1))
    np.testing.assert_allclose(whole.conj().T @ whole, np.eye(12), atol=1e-13)
    np.testing.assert_allclose(to_numpy(adjoint(Q)), to_numpy(Q).conj().T)


@pytest.mark.parametrize("condition", [1e3, 1e9, 1e14])
def test_orthonormal_blocks_whatever_the_condition(condition):
    X = with_spectrum(np.geomspace(1, 1 / condition, 10), 200, 10)
    for Q in (
        extend_basis(np.zeros((200, 0)), X, partial(gaussian, 0, 200)),
        extend_basis(X[:, :0], X, partial(gaussian, 0, 200)),
    ):
        assert norm(Q.T @ Q - np.eye(10)) < 1e-13
        # What is well above rounding of X lies in the basis.
        assert norm(X - Q @ (Q.T @ X)) < 1e-9


def test_the_basis_stays_orthonormal_where_images_are_rounding(monkeypatch):
    """Of a matrix of rank 3 all blocks but the first are rounding, until the basis fills the space."""
    rng = np.random.default_rng(0)
    A = (rng.integers(-4, 5, (120, 3)) @ rng.integers(-4, 5, (3, 120))).astype(np.float32)
    bases = []
    append = KrylovSearch._append

    def recorded(self, X, Z):
        append(self, X, Z)
        bases.append(self.K.copy())

    monkeypatch.setattr(KrylovSearch, "_append", recorded)
    monkeypatch.setattr(KrylovSearch, "_error", lambda self: np.inf)  # it would stop at once
    truncated_svd(A, 5, method="krylov")
    assert bases[-1].shape == (120, 120)
    for K in bases:
        assert norm(K.T @ K - np.eye(K.shape[1]), 2) <= 120 * EPS

"""What the truncated SVD promises: reads, certificates, tolerance, bits, edge cases. Longer runs are in tests/scale.

Truth comes from spectra that matrices were built with and from LAPACK in float64.
"""

import tracemalloc
from dataclasses import replace

import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import norm

from svdflow import truncated_svd
from svdflow.compute.engine import Engine
from svdflow.matrix import panels
from svdflow.svd import assembly
from svdflow.svd.random_blocks import gaussian
from svdflow.svd.read import converted_panels, sparse_work
from svdflow.svd.read import last_read as finish
from svdflow.svd.read.panel_work import Sums
from svdflow.svd.widths import PROBE_COLUMNS
from unit.svd_promises import (
    FIVE,
    SPECTRA,
    assert_certified,
    assert_honest,
    assert_reads,
    judged,
    mixed,
    pve,
    rotated,
)

SEARCHES = ["gram", "krylov", "shift", "rsvd", "lanczos"]
METHODS = [*SEARCHES, "single_pass"]
EPS = np.finfo(float).eps


@pytest.fixture
def small_panels(monkeypatch):
    """Panels, slices and bands of a few kilobytes, so that small matrices have many."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**16)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 2**16)
    monkeypatch.setattr(converted_panels, "SLICE_BYTES", 2**14)
    monkeypatch.setattr(sparse_work, "LEAST_BAND", 64)


# Reads.


@pytest.mark.parametrize(("name", "reads"), [("1/sqrt i", 4), ("1/i", 3)])
def test_reads_to_a_hundredth(name, reads):
    """20,000 x 2,000, k = 50, blocks of 64: (s, V) in 4 and 3 reads, U in one more, and that by itself when asked."""
    m, n, k = 20_000, 2_000, 50
    s = SPECTRA[name](n)
    A = mixed(s, (m, n), seed=1, dtype=np.float32, rounds=1)
    assert_reads(A, s, k, reads, seed=0)


def test_too_few_reads_are_not_enough():
    """Negative control: the measure of accuracy tells one read less from what is promised."""
    s = SPECTRA["1/sqrt i"](500)
    A = mixed(s, (2000, 500), seed=1)
    errors = [pve(A, truncated_svd(A, 30, method="krylov", max_reads=r, tol=0), s) for r in (2, 3, 8)]
    assert errors[0] > 0.1 and errors[1] > 1e-2 > errors[2]


# Certificates.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_certificates_hold(dtype):
    """Five spectra, 20 seeds. Tests/scale has 200, larger matrices and every method."""
    shape, k = (300, 200), 20
    for name in FIVE:
        A = mixed(SPECTRA[name](200), shape, seed=3, dtype=dtype)
        verdicts = [
            judged(A, truncated_svd(A, k, method="krylov", seed=seed, engine=1)) for seed in range(20)
        ]
        assert_certified(verdicts)


def test_a_dropped_triplet_is_caught():
    """Negative control: of 21 triplets the first is lost, and the rest comes with the certificates of the best 20."""
    A = mixed(SPECTRA["1/i"](200), (300, 200))
    good, more = (truncated_svd(A, k, method="krylov") for k in (20, 21))
    broken = replace(more, U=more.U[:, 1:], s=more.s[1:], Vt=more.Vt[1:], info=good.info)
    verdict = judged(A, broken)
    assert not verdict.spectral_holds and not verdict.frobenius_holds
    with pytest.raises(AssertionError, match="spectral bounds"):
        assert_certified([judged(A, good)] * 50 + [verdict])


def test_probes_that_took_part_in_the_search_are_caught(monkeypatch):
    """Negative control: probes within the span of what was found see no error."""
    searched = {}

    def last_read(plan, found, **more):
        searched["V"] = found.V
        return genuine(plan, found, **more)

    def within(seed, rows, wide, work):
        return searched["V"][:, :20] @ gaussian(seed, 20, PROBE_COLUMNS, dtype=wide)

    genuine = assembly.last_read
    monkeypatch.setattr(assembly, "last_read", last_read)
    monkeypatch.setattr(finish, "probe_vectors", within)
    A = mixed(SPECTRA["1/i"](200), (300, 200))
    verdicts = [judged(A, truncated_svd(A, 20, method="krylov", seed=seed)) for seed in range(5)]
    with pytest.raises(AssertionError, match="spectral bounds"):
        assert_certified(verdicts)


def test_probes_within_the_basis_are_caught_where_rows_were_kept(monkeypatch):
    """The same where U takes no read of its own."""

    def kept_factors(plan, found, **more):
        kept = found.kept
        within = kept.AhU[:, :20] @ gaussian(0, 20, kept.probes.shape[1])
        found.kept = replace(kept, probes=within, images=A.T @ (A @ within))
        reads.append(found.reads)
        return genuine(plan, found, **more)

    genuine, reads = assembly.kept_factors, []
    A = mixed(SPECTRA["1/i"](600), (900, 600))
    honest = [judged(A, truncated_svd(A, 20, method="krylov", seed=seed)) for seed in range(5)]
    assert_certified(honest)
    monkeypatch.setattr(assembly, "kept_factors", kept_factors)
    verdicts = [judged(A, truncated_svd(A, 20, method="krylov", seed=seed)) for seed in range(5)]
    assert len(reads) == 5
    with pytest.raises(AssertionError, match="spectral bounds"):
        assert_certified(verdicts)


# The tolerance.


CLOSE = ("flat", "signal and noise")  # values so close that 16 reads may run out below a tenth


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
@pytest.mark.parametrize("name", SPECTRA)
def test_converged_means_within_tol(name, tol):
    n, k = 400, 20
    s = SPECTRA[name](n)
    A = mixed(s, (600, n), seed=5)
    results = [truncated_svd(A, k, method="krylov", tol=tol, seed=seed, engine=1) for seed in range(3)]
    short = [result.info for result in results if result.info.reason == "max_reads"]
    ended = [result for result in results if result.info.reason in ("converged", "saturated")]
    assert len(short) + len(ended) == 3
    assert not short or (name in CLOSE and tol < 0.1)
    assert all(info.estimate > tol for info in short)
    assert_honest([pve(A, result, s) for result in ended], tol)


def test_a_looser_tolerance_does_not_pass_for_a_tighter_one():
    """Negative control of the checker."""
    s = SPECTRA["1/sqrt i"](400)
    A = mixed(s, (600, 400), seed=5)
    errors = [pve(A, truncated_svd(A, 20, method="krylov", tol=0.1, seed=seed), s) for seed in range(3)]
    with pytest.raises(AssertionError, match="of 3 runs missed"):
        assert_honest(errors, 1e-4)


# Bits and chunkings.


def rows_of(kind, A, folder):
    if kind == "array":
        return A
    if kind == "sparse":
        return sp.csr_array(np.where(np.abs(A) > np.quantile(np.abs(A), 0.9), A, 0))
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("A", data=A, chunks=(70, 40))
    return f"{folder / 'a.h5'}:/A"


@pytest.mark.parametrize("kind", ["array", "hdf5", "sparse"])
@pytest.mark.parametrize("method", METHODS)
def test_bits_do_not_depend_on_threads(method, kind, small_panels, tmp_path):
    A = mixed(SPECTRA["1/sqrt i"](90), (1500, 90), seed=2)
    source = rows_of(kind, A, tmp_path)
    one, *others = [
        truncated_svd(source, 7, method=method, engine=threads, center=kind != "sparse")
        for threads in (1, 2, 4)
    ]
    for other in others:
        for mine, reference in zip(other, one):
            assert mine.tobytes() == reference.tobytes()
        np.testing.assert_equal(other.info.spectral_error, one.info.spectral_error)
        assert other.info.frobenius_error == one.info.frobenius_error


@pytest.mark.parametrize("method", SEARCHES)
def test_sums_in_another_order_give_other_bits(method, small_panels, monkeypatch):
    """Negative control: there are several sums, and their order shows."""
    A = mixed(SPECTRA["1/sqrt i"](90), (1500, 90), seed=2)
    one = truncated_svd(A, 7, method=method, engine=1)
    genuine = Sums.plus, Sums.joined

    def reduce(self, task, items, combine, **more):
        parts = [task(item) for item in items]
        if combine not in genuine:
            return genuine_reduce(self, task, items, combine, **more)
        total = parts[-1]
        for part in parts[-2::-1]:
            total = combine(total, part)
        return total

    genuine_reduce = Engine.reduce
    monkeypatch.setattr(Engine, "reduce", reduce)
    other = truncated_svd(A, 7, method=method, engine=1)
    assert other.U.tobytes() != one.U.tobytes()


def chunked(A, folder):
    """The same matrix, stored and cut in different ways; columns are never cut."""
    for number, chunks in enumerate([(64, 30), None]):
        path = folder / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("A", data=A, chunks=chunks)
        yield f"{path}:/A"
    for chunks in ((777, 45), (31, 90)):
        yield da.from_array(A, chunks=chunks)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_chunkings_agree_to_rounding(method, dtype, small_panels, tmp_path):
    """Singular values to 64 eps s_1; vectors of gaps 3 / 4 s_i^2 to 64 eps times 4^6, the inverse of the least gap."""
    s = np.r_[2.0 ** -np.arange(6), 0.01 / np.arange(1.0, 61)]
    A = mixed(s, (1500, 90), seed=4, dtype=dtype)
    whole = truncated_svd(A, 6, method=method, engine=1)
    eps = np.finfo(dtype).eps
    for source in chunked(A, tmp_path):
        other = truncated_svd(source, 6, method=method, engine=2)
        np.testing.assert_allclose(other.s, whole.s, rtol=0, atol=64 * eps)
        for mine, reference in ((other.U, whole.U), (other.Vt, whole.Vt)):
            assert norm(mine - reference) <= 64 * 4**6 * eps


def test_chunkings_agree_to_rounding_where_the_first_block_is_learnt(small_panels, tmp_path):
    """As above, with rows enough for a sample, which is of the same rows in memory and in every file."""
    s = np.r_[2.0 ** -np.arange(6), 0.5**6 * np.arange(1.0, 85.0) ** -0.5]
    A = mixed(s, (6000, 90), seed=4)
    whole = truncated_svd(A, 6, method="krylov", engine=1)
    assert whole.info.sampled_rows
    for source in chunked(A, tmp_path):
        other = truncated_svd(source, 6, method="krylov", engine=1)
        np.testing.assert_allclose(other.s, whole.s, rtol=0, atol=64 * EPS)


# Edge cases, through every method.


ROOTS = 0.5 * np.arange(1.0, 121.0) ** -0.5
REPEATED = {
    "12 ones": (np.r_[np.ones(12), ROOTS], 20),
    "12 of each": (np.repeat(1 / np.arange(1.0, 11.0), 12), 30),
    "40 ones, all wanted": (np.r_[np.ones(40), ROOTS], 50),
    "40 ones, some wanted": (np.r_[np.ones(40), ROOTS], 20),
    "40 of each": (np.r_[np.repeat([1.0, 0.5, 0.25], 40), ROOTS[-60:]], 50),
}
AWKWARD = {
    "zero": np.zeros((60, 40)),
    "constant": np.full((60, 40), 7.0),
    "rank 3": (np.vander(np.arange(80) % 7, 3) @ np.vander(np.arange(50) % 5, 3).T).astype(float),
    "one row": np.arange(1.0, 41.0)[None],
    "one column": np.arange(1.0, 41.0)[:, None],
    "one entry": np.array([[-3.0]]),
    "one hot": np.eye(1, 900, 5).reshape(30, 30),
}


NO_GAP = (
    "40 ones, some wanted",
    "40 of each",
)  # s_{k+1} = s_k, where subspace iteration cannot show that it is done
CASES = [
    (name, method, make)
    for name in REPEATED
    for method in METHODS
    for make in ("dense", "sparse", *(["narrow"] if method == "krylov" else []))
]


@pytest.mark.parametrize(("name", "method", "make"), CASES)
def test_repeated_singular_values(name, method, make):
    """As many copies as there are, or an honest word that there may be more; `narrow` has blocks of 16 columns."""
    s, k = REPEATED[name]
    s = np.sort(s)[::-1]
    A = rotated(s, 400, 200)
    np.testing.assert_allclose(np.linalg.svd(A.toarray(), compute_uv=False)[:k], s[:k], atol=1e-12)
    given, width = A if make == "sparse" else A.toarray(), 16 if make == "narrow" else None
    result = truncated_svd(given, k, method=method, tol=1e-3, block_size=width)
    short = method in ("rsvd", "single_pass") or (method == "shift" and name in NO_GAP)
    # All of the space is as good: narrow blocks may have it all before they are sure of so many copies.
    whole = (method == "lanczos" or make == "narrow") and result.info.reason == "saturated"
    assert ("converged" if whole else result.info.reason) == ("max_reads" if short else "converged")
    assert (result.s <= s[:k] + 1e-12).all()
    # One read tells single triplets to about the gap that is left.
    assert pve(A, result, s) <= (2 if method == "single_pass" else 1e-3)
    assert norm(result.U.T @ result.U - np.eye(k)) <= 1e-12 * k
    assert norm(result.Vt @ result.Vt.T - np.eye(k)) <= 1e-12 * k


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("method", ["shift", "lanczos", "single_pass"])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_matrices(name, method, dtype, make):
    """The methods that tests/unit/test_truncated_svd.py leaves out, and rank above the numerical rank."""
    A = AWKWARD[name].astype(dtype) * (1j if dtype == np.complex128 else 1)
    k = min(15, *A.shape)
    U, s, Vt = result = truncated_svd(make(A), k, method=method)
    true = np.linalg.svd(A.astype(np.complex128), compute_uv=False)
    rank = np.linalg.matrix_rank(AWKWARD[name])
    # single_pass leaves out what lies below 1.5e-8 of s_1; the others know values to rounding.
    atol = (2e-8 if method == "single_pass" else 0) + 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(s, true[:k], rtol=0, atol=atol * max(1, true[0]))
    U, Vt = U.astype(np.complex128), Vt.astype(np.complex128)
    bound = 64 * k * np.finfo(dtype).eps
    assert norm(U.conj().T @ U - np.eye(k)) <= bound and norm(Vt @ Vt.conj().T - np.eye(k)) <= bound
    assert norm(A - (U * s) @ Vt) <= norm(true[k:]) + (1e-7 + bound) * max(1, true[0])
    assert result.info.numerical_rank == min(rank, k)
    assert (result.info.reason == "rank_deficient") == (rank < k)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(np.float16, False), (np.int8, False), (np.uint8, False), (np.uint16, False), (np.uint16, True)],
)
@pytest.mark.parametrize("method", METHODS)
def test_narrow_types_are_never_upcast_as_a_whole(method, dtype, wide, small_panels):
    """The peak, factors and panels included, is below half of the matrix in the precision that the method works in."""
    m, n, k = 6_000, 300, 4
    rng = np.random.default_rng(0)
    numbers = np.outer(rng.integers(0, 8, m), rng.integers(0, 8, n)) + rng.integers(0, 40, (m, n))
    A = numbers.astype(dtype)
    A = np.ascontiguousarray(A.T) if wide else A
    wide_numbers = numbers.astype(float)
    true = np.sqrt(np.linalg.eigvalsh(wide_numbers.T @ wide_numbers)[-1])
    reads = {} if method == "single_pass" else {"max_reads": 4}
    tracemalloc.start()
    try:
        result = truncated_svd(A, k, method=method, engine=1, **reads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    itemsize = 4 if method in ("krylov", "shift", "rsvd") else 8
    assert peak < A.size * itemsize / 2
    assert result.U.dtype == np.float32
    # One read without power iterations resolves little more than this here, and a projection takes nothing but away.
    assert (1 - (1e-2 if method == "single_pass" else 1e-6)) * true <= result.s[0] <= (1 + 1e-6) * true


def test_an_upcast_would_be_seen():
    """Negative control of the measurement."""
    A = np.ones((12_000, 150), np.uint8)
    tracemalloc.start()
    A.astype(np.float32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > A.size * 4 / 2


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
@pytest.mark.parametrize("method", ["full", *METHODS])
def test_factors_lie_in_c_order(method, shape, dtype):
    """Formats of tensor files that write memory as it lies permute other orders without a word."""
    A = mixed(1 / np.arange(1.0, 41.0), shape).astype(dtype)
    for source in (A, sp.csr_array(A), np.asfortranarray(A)):
        for factor in truncated_svd(source, 5, method=method, center=True):
            assert factor.flags.c_contiguous

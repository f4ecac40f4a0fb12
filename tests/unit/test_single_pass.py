"""Factors of a stream of rows in one read, against LAPACK, and its error estimates against their theorems."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import norm

from svdflow.matrix import MatrixSource, NonFiniteError, panels
from svdflow.svd import truncated_svd
from svdflow.svd.methods.single_pass import SinglePassSVD, single_pass_svd
from svdflow.svd.sketch import FLOOR
from unit.svd_promises import with_spectrum as spectrum_of

EPS = np.finfo(float).eps
I = np.arange(1.0, 61.0)
DTYPES = [np.float64, np.float32, np.complex128, np.complex64]
SPECTRA = {
    "slow": 1 / I,
    "fast": np.exp(-I / 2),
    "gap": np.where(I <= 5, 1.0, 1e-3 / I),
    "repeated": np.repeat([1.0, 0.5, 0.01], 20),
    "rank 4": np.where(I <= 4, 1 / I, 0.0),
    "zero": 0 * I,
}


def with_spectrum(s, m=200, n=60, **more):
    return spectrum_of(s, m, n, **more)


def stream(A, rank, *, cut=None, **more):
    made = SinglePassSVD(rank, engine=1, **more)
    for start in range(0, A.shape[0], cut or A.shape[0]):
        made.partial_fit(A[start : start + (cut or A.shape[0])])
    return made.result()


def assert_factors(A, result, orthogonality=1e-12):
    """Orthonormal factors, the projection they stand for, and the Frobenius error they claim."""
    U, s, Vt = (np.asarray(part).astype(np.result_type(part, np.float64)) for part in result)
    A = np.asarray(A).astype(np.result_type(A, np.float64))
    k, info = len(s), result.info
    assert norm(U.conj().T @ U - np.eye(k)) <= orthogonality * k
    assert norm(Vt @ Vt.conj().T - np.eye(k)) <= orthogonality * k
    assert np.all(np.diff(s) <= 0)
    # U^H A = s Vt: what the factors say of the rows in the range of U is exact but for rounding over s.
    assert norm(U.conj().T @ A - s[:, None] * Vt) <= (orthogonality + 100 * FLOOR) * norm(A)
    true = norm(A - (U * s) @ Vt)
    if info.frobenius_kind == "floor":
        assert true <= info.frobenius_error
    elif (
        result.U.dtype.itemsize < np.dtype(A.dtype).itemsize
    ):  # the rounding of the stored factors, by the triangle
        assert abs(true - info.frobenius_error) <= info.frobenius_resolution
    else:
        assert abs(true**2 - info.frobenius_error**2) <= info.frobenius_resolution**2


@pytest.fixture
def small_panels(monkeypatch):
    """Panels of 4 kB, so that a small matrix has many."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**12)
    monkeypatch.setattr("svdflow.svd.methods.single_pass.LEAST_ROWS", 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECTRA)
def test_factors(name, dtype, small_panels):
    A = with_spectrum(SPECTRA[name], dtype=dtype)
    result = stream(A, 8, cut=13)
    single = np.finfo(dtype).dtype.itemsize == 4
    assert result.U.dtype == result.Vt.dtype == dtype
    assert_factors(A, result, 1e-6 if single else 1e-12)
    exact = np.linalg.svd(A.astype(np.complex128), compute_uv=False)
    assert np.all(result.s <= exact[:8] + 1e-12 * exact[0])  # of a projection


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "rows"), [("fast", 8), ("gap", 5)])
def test_values_before_a_fall_are_those_of_lapack(name, rows, dtype, small_panels):
    s = stream(with_spectrum(SPECTRA[name], dtype=dtype), 8, cut=13).s
    assert np.max(np.abs(s - SPECTRA[name][:8])[:rows]) <= 1e-3 * SPECTRA[name][rows]


@pytest.mark.parametrize(
    ("name", "dtype", "rank", "reason"),
    [
        *(("rank 4", dtype, 4, "rank_deficient") for dtype in (np.float64, np.complex128)),
        *(
            ("rank 4", dtype, 4, "unresolved") for dtype in (np.float32, np.complex64)
        ),  # its rounding is a rest
        *(("zero", dtype, 0, "rank_deficient") for dtype in DTYPES),
    ],
)
def test_what_is_deficient_is_called_so(name, dtype, rank, reason, small_panels):
    result = stream(with_spectrum(SPECTRA[name], dtype=dtype), 8, cut=13)
    assert (result.info.numerical_rank, result.info.reason) == (rank, reason)
    np.testing.assert_allclose(
        result.s, SPECTRA[name][:8], rtol=0, atol=FLOOR if reason == "unresolved" else 1e-12
    )


def test_mean_error_obeys_the_theorem():
    """``E ||A - Q Q^H A||_F^2 <= (1 + k / (p - 1)) sum_{j > k} s_j^2`` for width k + p (Halko et al. 2011, 10.5)."""
    s, width = SPECTRA["slow"], 16
    A = with_spectrum(s)
    errors = [stream(A, width, width=width, seed=seed).info.frobenius_error ** 2 for seed in range(60)]
    bound = min((1 + k / (width - k - 1)) * np.sum(s[k:] ** 2) for k in range(1, width - 1))
    assert np.mean(errors) + 4 * np.std(errors) / 60**0.5 <= bound
    assert np.mean(errors) >= np.sum(s[width:] ** 2)  # Eckart and Young


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_cuts_do_not_change_bits(center, sparse, small_panels):
    A = with_spectrum(SPECTRA["slow"]) + 3
    A = sp.csr_array(np.where(np.abs(A - 3) > 0.02, A, 0)) if sparse else A
    whole = SinglePassSVD(6, center=center, engine=2).partial_fit(A).result()
    for cut in (1, 7, 8, 9, 64):
        made = SinglePassSVD(6, center=center, engine=1)
        for start in range(0, 200, cut):
            made.partial_fit(A[start : start + cut])
            if start < 3:
                made.result() if start + cut >= 6 else None  # looking in between changes nothing
        for a, b in zip(whole, made.result(), strict=True):
            np.testing.assert_array_equal(a, b)
    other = SinglePassSVD(6, center=center, seed=1).partial_fit(A).result()
    assert norm(other.s - whole.s) > 0  # the check can fail
    assert_factors(
        (A.toarray() if sparse else A) - (A.toarray() if sparse else A).mean(axis=0) * center, whole
    )


def test_rows_are_copied_where_they_wait():
    A = with_spectrum(SPECTRA["slow"])
    expected = stream(A, 5)
    made, buffer = SinglePassSVD(5, engine=1), np.empty((10, 60))
    for start in range(0, 200, 10):
        buffer[:] = A[start : start + 10]
        made.partial_fit(buffer)
    np.testing.assert_array_equal(made.result().s, expected.s)


def test_sparse_and_dense_rows_agree(small_panels):
    A = sp.random_array((300, 60), density=0.1, rng=np.random.default_rng(0), format="csr")
    dense, sparse = stream(A.toarray(), 6, cut=50), stream(A, 6, cut=50)
    np.testing.assert_allclose(dense.s, sparse.s, rtol=1e-12)
    mixed = SinglePassSVD(6).partial_fit(A[:33]).partial_fit(A[33:].toarray()).result()
    np.testing.assert_allclose(mixed.s, sparse.s, rtol=1e-12)
    centred = stream(A, 6, cut=50, center=True)
    assert_factors(A.toarray() - A.toarray().mean(axis=0), centred)
    np.testing.assert_allclose(centred.info.mean, A.toarray().mean(axis=0), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool, np.float16])
def test_integers_and_half_precision(dtype):
    A = (np.random.default_rng(0).random((200, 60)) * (1 if dtype is bool else 90)).round().astype(dtype)
    result = stream(A, 4)
    assert result.U.dtype == (np.float64 if dtype is np.int64 else np.float32)
    assert_factors(A, result, 1e-6)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (5, 60), (60, 5)])
def test_all_triplets(shape):
    A = np.random.default_rng(0).standard_normal(shape)
    result = stream(A, min(shape))
    np.testing.assert_allclose(result.s, np.linalg.svd(A, compute_uv=False), rtol=1e-10)
    assert result.info.reason == "saturated" and result.info.leave_one_out == result.info.jackknife == 0
    assert_factors(A, result)


def test_extreme_entries():
    """Squares of these leave the range of numbers; also where that shows late in the stream."""
    A = with_spectrum(SPECTRA["fast"])
    expected = stream(A, 5, cut=50)
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        result = stream(A * scale, 5, cut=50)
        np.testing.assert_allclose(result.s / scale, expected.s, rtol=1e-9)
        assert result.info.frobenius_error / scale == pytest.approx(expected.info.frobenius_error, rel=1e-6)
    growing = A.copy()
    growing[:100] *= 1e-200
    np.testing.assert_allclose(stream(growing * 1e180, 5, cut=50).s / 1e180, stream(growing, 5).s, rtol=1e-9)


def test_orthonormal_left_factor_of_an_ill_conditioned_sketch():
    s = 10.0 ** -np.linspace(0, 9, 60)
    U = stream(with_spectrum(s), 40, width=50).U
    assert norm(U.T @ U - np.eye(40)) <= 1e-12


# Estimates.


def test_leave_one_out_is_unbiased_for_one_column_less():
    """``E est(l)^2 = E ||A - Q_{l-1} Q_{l-1}^H A||_F^2`` (Epperly and Tropp 2022)."""
    for dtype, name in ((np.float64, "slow"), (np.complex128, "fast")):
        A, l, seeds = with_spectrum(SPECTRA[name], m=80, dtype=dtype), 8, 100

        def true_squares(width, A=A, seeds=seeds):
            runs = (stream(A, width, width=width, seed=1000 + i) for i in range(seeds))
            return np.array([run.info.frobenius_error**2 for run in runs])

        estimates = np.array([stream(A, l, width=l, seed=i).info.leave_one_out ** 2 for i in range(seeds)])

        def standard_errors(truth, estimates=estimates, seeds=seeds):
            return (estimates.mean() - truth.mean()) / ((estimates.var() + truth.var()) / seeds) ** 0.5

        assert abs(standard_errors(true_squares(l - 1))) <= 4
        assert abs(standard_errors(true_squares(l + 1))) > 5  # a wrong claim would show


def test_leave_one_out_goes_below_the_floor_of_pythagoras():
    s = np.concatenate([[1.0, 0.9, 0.8], 1e-10 / I[:40]])
    A = with_spectrum(s)
    result = stream(A, 3, width=6)
    U, values, Vt = result
    true = norm(A - (U * values) @ Vt)
    assert result.info.frobenius_kind == "floor" and result.info.frobenius_error > 10 * true
    assert 0.5 * true <= result.info.leave_one_out <= 2 * true


@pytest.mark.parametrize("name", ["slow", "gap", "repeated"])
def test_jackknife_is_no_underestimate_on_average(name):
    """``E Jack^2 >= Var`` (Efron and Stein), both over 40 seeds; and not by orders of magnitude."""
    A, k, seeds = with_spectrum(SPECTRA[name], m=80), 5, 40
    runs = [stream(A, k, width=12, seed=seed) for seed in range(seeds)]
    X = np.array([(U * s) @ Vt for U, s, Vt in runs])
    variance = np.sum(np.abs(X - X.mean(axis=0)) ** 2) / (seeds - 1)
    squares = [run.info.jackknife**2 for run in runs]
    assert variance <= np.mean(squares) <= 20 * variance


# What goes wrong.


def test_bad_rows_leave_the_stream_as_it_was():
    A = with_spectrum(SPECTRA["slow"])
    made = SinglePassSVD(5, engine=1).partial_fit(A[:50])
    bad = A[50:].copy()
    bad[7, 3] = np.nan
    with pytest.raises(NonFiniteError, match="row 57"):
        made.partial_fit(bad)
    with pytest.raises(NonFiniteError, match="row 57"):
        made.partial_fit(sp.csr_array(bad))
    with pytest.raises(ValueError, match=r"\(h, 60\), not \(3, 59\)"):
        made.partial_fit(A[:3, :59])
    with pytest.raises(ValueError, match="complex rows after real"):
        made.partial_fit(A[50:] * 1j)
    with pytest.raises(ValueError, match="not numbers"):
        made.partial_fit(np.full((2, 60), "x"))
    np.testing.assert_array_equal(made.partial_fit(A[50:]).result().s, stream(A, 5).s)


def test_results_need_rows():
    with pytest.raises(ValueError, match="no rows"):
        SinglePassSVD(2).result()
    with pytest.raises(ValueError, match="rank 5 is above"):
        stream(np.eye(4), 5)
    with pytest.raises(ValueError, match="rank must be"):
        SinglePassSVD(0)
    with pytest.raises(ValueError, match="width 3 is below"):
        SinglePassSVD(4, width=3)
    with pytest.raises(ValueError, match="rank 4 is above the width 3"):
        single_pass_svd(Once(np.eye(9)), lambda s, total: 4, 3)


# Sources, and the door.


class Once(MatrixSource):
    """Rows that are there once, in order."""

    name = "once"

    def __init__(self, A):
        self._A, self.shape, self.dtype, self.at = A, A.shape, A.dtype, 0

    def read(self, start, stop):
        assert start == self.at, "rows were read twice, or out of order"
        self.at = stop
        return self._A[start:stop]


def test_a_source_is_read_once_in_order(small_panels):
    A = with_spectrum(SPECTRA["slow"])
    source = Once(A)
    result = single_pass_svd(source, lambda s, total: 6, 22, engine=2)
    assert source.at == 200 and result.info.reads == 1
    np.testing.assert_array_equal(result.s, stream(A, 6).s)
    with pytest.raises(AssertionError, match="twice"):
        source.read(0, 5)


def test_rank_is_chosen_after_the_read():
    s = SPECTRA["fast"]
    chosen = single_pass_svd(Once(with_spectrum(s)), lambda s, total: int(np.sum(s**2 > 1e-4 * total)), 20)
    assert len(chosen.s) == np.sum(s**2 > 1e-4 * np.sum(s**2))


def test_left_factor_goes_to_a_sink(small_panels):
    A = with_spectrum(SPECTRA["slow"])
    rows = []

    class Writer:
        def write(self, start, part):
            assert start == sum(map(len, rows))
            rows.append(part.copy())

    made = SinglePassSVD(6, engine=2).partial_fit(A)
    kept = made.result()
    result = made.result(sink=lambda shape, dtype: Writer())
    assert result.U is None
    np.testing.assert_array_equal(np.concatenate(rows), kept.U)


@pytest.mark.parametrize("shape", [(200, 60), (60, 200)])
def test_through_the_door(shape):
    A = with_spectrum(SPECTRA["fast"], *shape)
    result = truncated_svd(A, 6, method="single_pass", seed=4)
    assert result.info.method == "single_pass" and result.info.reads == 1
    assert_factors(A, result)
    np.testing.assert_allclose(result.s, SPECTRA["fast"][:6], rtol=1e-4)

"""The functions with the peers' arguments: accuracy against them, and what they document.

The peers' own tests run in tests/peers.
"""

import inspect
import os
import subprocess
import sys
import textwrap

import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import dask
from svdflow.compat import accuracy, randomized_svd, svd_compressed
from svdflow.matrix.sources import ArraySource
from svdflow.svd.random_blocks import gaussian

# Accuracy and reads -----------------------------------------------------------------------------------------------

SPECTRA = {
    "slow": lambda i: i**-0.5,
    "fast": lambda i: 0.8**i,
    "gap": lambda i: np.where(i <= 20, 2 - i / 20, 0.1),
}
M, N, K = 500, 300, 20


def with_spectrum(s, dtype=np.float64):
    left = np.linalg.qr(gaussian(1, M, N))[0]
    right = np.linalg.qr(gaussian(2, N, N))[0]
    return ((left * s) @ right.T).astype(dtype)


def errors(A, true, u, s, v):
    """Largest error of s_i^2 = ||A^H u_i||^2 and of s_i^2 itself, and the excess of the squared Frobenius error."""
    A, u, s, v = (np.asarray(part, np.float64) for part in (A, u, s, v))
    k = len(s)
    return np.array(
        [
            np.max(np.abs(true[:k] ** 2 - np.linalg.norm(A.T @ u, axis=0) ** 2)),
            np.max(np.abs(true[:k] ** 2 - s**2)),
            np.linalg.norm(A - (u * s) @ v) ** 2 - np.sum(true[k:] ** 2),
        ]
    )


class CountingSource(ArraySource):
    """Counts the rows it hands out."""

    rows = 0

    def read(self, start, stop):
        self.rows += stop - start
        return super().read(start, stop)

    @property
    def reads(self):
        return self.rows / self.shape[0]


def search_only(monkeypatch):
    """Small matrices are factorized exactly; here the iteration itself is on trial."""
    monkeypatch.setattr(accuracy, "choose_method", lambda *_: "krylov")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_at_least_as_accurate_as_sklearn_in_fewer_reads(spectrum, dtype, monkeypatch):
    peer = pytest.importorskip("sklearn.utils.extmath").randomized_svd
    search_only(monkeypatch)
    A = with_spectrum(SPECTRA[spectrum](np.arange(1.0, N + 1)), dtype)
    true = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    floor = 16 * np.finfo(dtype).eps * np.sum(true**2)  # below, rounding decides
    for n_iter in ("auto", 0, 1, 2, 7):
        source = CountingSource(A)
        ours = errors(A, true, *randomized_svd(source, K, n_iter=n_iter, random_state=3))
        theirs = errors(A, true, *peer(A, K, n_iter=n_iter, random_state=3))
        assert (ours <= np.maximum(theirs, floor)).all()
        assert source.reads <= {"auto": 6, 0: 2, 1: 3, 2: 4, 7: 6}[n_iter]


def test_the_comparison_notices_too_few_reads(monkeypatch):
    peer = pytest.importorskip("sklearn.utils.extmath").randomized_svd
    search_only(monkeypatch)
    monkeypatch.setattr(accuracy, "reads_for", lambda *_: 3)
    true = SPECTRA["slow"](np.arange(1.0, N + 1))
    A = with_spectrum(true)
    ours = errors(A, true, *randomized_svd(A, K, n_iter=7, random_state=3))
    assert (ours > errors(A, true, *peer(A, K, n_iter=7, random_state=3))).all()


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_at_least_as_accurate_as_dask(spectrum, monkeypatch):
    search_only(monkeypatch)
    true = SPECTRA[spectrum](np.arange(1.0, N + 1))
    A = with_spectrum(true)
    a = da.from_array(A, chunks=(100, N))
    floor = 16 * np.finfo(float).eps * np.sum(true**2)
    for n_power_iter in (0, 2):
        options = {"n_power_iter": n_power_iter, "iterator": "QR", "seed": 3}
        ours = errors(A, true, *dask.compute(*svd_compressed(a, K, **options, compute=True)))
        theirs = errors(A, true, *dask.compute(*da.linalg.svd_compressed(a, K, **options)))
        assert (ours <= np.maximum(theirs, floor)).all()


@pytest.mark.parametrize("eps", [2.0**-23, 2.0**-52])
def test_reads_make_the_filter_at_least_as_steep(eps):
    """``x^2 T_n(x) >= x^(2q+1)`` wherever the peers' filter is above rounding; n = 2 t - 1, t reads before the last."""
    for q in range(3, 30):
        x = np.linspace(1, (1 / np.sqrt(eps)) ** (1 / (2 * q + 1)), 1000)
        reads = accuracy.reads_for(q, eps)
        degree = 2 * (reads - 1) - 1
        assert (np.cosh(degree * np.arccosh(x)) >= x ** (2 * q - 1) * (1 - 1e-9)).all()
        assert (np.cosh((degree - 2) * np.arccosh(x)) < x ** (2 * q - 1)).any()  # one read fewer is too few
        assert reads <= q + 2


def test_reads_as_documented():
    single, double = np.finfo(np.float32).eps, np.finfo(np.float64).eps
    assert [accuracy.reads_for(q, single) for q in (0, 1, 2, 4, 7)] == [2, 3, 4, 4, 5]
    assert [accuracy.reads_for(q, double) for q in (0, 1, 2, 4, 7)] == [2, 3, 4, 5, 6]


# randomized_svd ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "vectors", "values"),
    [
        (np.float32, np.float32, np.float32),
        (np.float64, np.float64, np.float64),
        (np.float16, np.float64, np.float64),
        (np.int8, np.float64, np.float64),
        (np.uint16, np.float64, np.float64),
        (np.int64, np.float64, np.float64),
        (bool, np.float64, np.float64),
        (np.complex64, np.complex64, np.float32),
        (np.complex128, np.complex128, np.float64),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csc_matrix])
def test_dtypes_and_values(dtype, vectors, values, form):
    if dtype == np.float16 and form is not np.asarray:
        pytest.skip("SciPy has no sparse float16")
    A = 3 * gaussian(5, 40, 25)
    A = A + 3j * gaussian(6, 40, 25) if np.dtype(dtype).kind == "c" else np.abs(A)
    A = A > 3 if dtype is bool else A.astype(dtype)
    u, s, vh = randomized_svd(form(A), 4, random_state=0)
    assert (u.dtype, s.dtype, vh.dtype) == (vectors, values, vectors)
    assert (u.shape, s.shape, vh.shape) == ((40, 4), (4,), (4, 25))
    wide = A.astype(np.result_type(dtype, np.float64))
    true = np.linalg.svd(wide, compute_uv=False)
    eps = np.finfo(values).eps
    assert_allclose(s, true[:4], rtol=100 * eps)
    assert_allclose(np.linalg.norm(wide - (u * s) @ vh), np.linalg.norm(true[4:]), rtol=1000 * eps)
    assert_allclose(u.conj().T @ u, np.eye(4), atol=100 * eps)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_signs_follow_u(shape, dtype):
    A = gaussian(7, *shape, dtype=dtype)
    u, _, vh = randomized_svd(A, 6, random_state=1)
    largest = u[np.argmax(np.abs(u), axis=0), np.arange(6)]
    assert_allclose(largest, np.abs(largest), atol=1e-15)
    right = randomized_svd(A, 6, flip_sign=False, random_state=1)[2]
    assert not np.allclose(vh, right)
    assert_allclose(np.abs(vh), np.abs(right), atol=1e-12)


def test_all_components_where_more_are_asked():
    A = gaussian(8, 7, 12)
    for transpose in (True, False, "auto"):
        u, s, vh = randomized_svd(A, 50, transpose=transpose, random_state=0)
        assert (u.shape, s.shape, vh.shape) == ((7, 7), (7,), (7, 12))
        assert_allclose((u * s) @ vh, A, atol=1e-13)


def test_forms_of_random_state(monkeypatch):
    search_only(monkeypatch)
    A = with_spectrum(SPECTRA["slow"](np.arange(1.0, N + 1)))

    def values(state):
        return randomized_svd(A, 5, n_iter=0, random_state=state)[1]

    assert_array_equal(values(4), values(np.int64(4)))
    assert (values(4) != values(5)).any()
    assert_array_equal(values(np.random.RandomState(4)), values(np.random.RandomState(4)))
    state = np.random.RandomState(4)
    assert (values(state) != values(state)).any()
    np.random.seed(4)  # noqa: NPY002 - the global stream is what None promises to follow
    first = values(None)
    second = values(None)
    np.random.seed(4)  # noqa: NPY002
    assert_array_equal(values(None), first)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n_components": 0}, "n_components"),
        ({"n_components": 2.0}, "n_components"),
        ({"n_oversamples": -1}, "n_oversamples"),
        ({"n_iter": "some"}, "n_iter"),
        ({"power_iteration_normalizer": "qr"}, "power_iteration_normalizer"),
        ({"transpose": 1}, "transpose"),
        ({"flip_sign": None}, "flip_sign"),
        ({"svd_lapack_driver": "gesv"}, "svd_lapack_driver"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": np.random.default_rng(0)}, "random_state"),
        ({"M": None}, "M"),
    ],
)
def test_bad_arguments(arguments, named):
    arguments = {"M": np.eye(4), "n_components": 2, **arguments}
    message = rf"The '{named}' parameter of randomized_svd must be .* Got .* instead\."
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match=message):
            randomized_svd(**arguments)


@pytest.mark.parametrize(
    ("M", "kind"),
    [
        (np.array([[1, np.nan], [0, 1]]), ValueError),
        (np.array([[1, 0], [np.inf, 1]]), ValueError),
        (np.arange(4.0), ValueError),
        (np.ones((2, 2, 2)), ValueError),
        (np.ones((0, 3)), ValueError),
        ([["a", "b"]], ValueError),
        (np.matrix([[1.0, 2.0]]), TypeError),
    ],
)
def test_bad_matrices_as_sklearn_refuses_them(M, kind):
    extmath = pytest.importorskip("sklearn.utils.extmath")
    for door in (extmath.randomized_svd, randomized_svd):
        with pytest.raises(kind):
            door(M, 1, random_state=0)


def test_array_likes():
    lists = [[3, 0], [0, 2], [0, 0]]
    for M in (lists, tuple(lists), np.array(lists, object)):
        assert_allclose(randomized_svd(M, 2, random_state=0)[1], [3, 2], rtol=1e-14)


def test_matrices_that_are_not_in_memory(tmp_path):
    A = gaussian(9, 60, 20)
    np.save(tmp_path / "A.npy", A)
    with h5py.File(tmp_path / "A.h5", "w") as f:
        f["A"] = A
    expected = np.linalg.svd(A, compute_uv=False)[:3]
    for M in (tmp_path / "A.npy", f"{tmp_path}/A.h5:/A", da.from_array(A, chunks=(16, 20)), ArraySource(A)):
        u, s, vh = randomized_svd(M, 3, random_state=0)
        assert isinstance(u, np.ndarray)
        assert_allclose(s, expected, rtol=1e-12)
        assert_allclose(A @ vh.T, u * s, atol=1e-12)


# svd_compressed ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")  # dask's own function raises it
@pytest.mark.parametrize("compute", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.complex64])
@pytest.mark.parametrize("chunks", [((30, 70), (20, 30)), ((100,), (50,)), ((30, 70), (50,))])
def test_layout_as_dask_has_it(chunks, dtype, compute):
    a = (10 * da.from_array(gaussian(3, 100, 50), chunks=chunks)).astype(dtype)
    ours = svd_compressed(a, 5, seed=1, compute=compute)
    for part, peer in zip(ours, da.linalg.svd_compressed(a, 5, seed=1, compute=compute), strict=True):
        assert isinstance(part, da.Array)
        assert (part.chunks, part.dtype, type(part._meta)) == (peer.chunks, peer.dtype, type(peer._meta))
        assert part.compute().dtype == part.dtype
    assert inspect.signature(svd_compressed).parameters.keys() == set(
        inspect.signature(da.linalg.svd_compressed).parameters
    )


def test_complex_is_right_and_signs_follow_v():
    A = gaussian(11, 80, 30, dtype=np.complex128)
    a = da.from_array(A, chunks=(20, 10))
    u, s, v = dask.compute(*svd_compressed(a, 6, seed=2))
    true = np.linalg.svd(A, compute_uv=False)
    assert_allclose(s, true[:6], rtol=1e-12)
    assert_allclose(np.linalg.norm(A - (u * s) @ v), np.linalg.norm(true[6:]), rtol=1e-12)
    total = v.sum(axis=1)
    assert_allclose(total, np.abs(total), atol=1e-13)
    free = svd_compressed(a, 6, seed=2, coerce_signs=False)[2].sum(axis=1).compute()
    assert not np.allclose(free, np.abs(free))


def counted(A, chunks):
    """A dask array of A, and the list of places whose blocks were computed."""
    places = []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        places.append(where)
        return A[tuple(slice(*side) for side in where)]

    array = da.map_blocks(
        block, chunks=da.core.normalize_chunks(chunks, A.shape), dtype=A.dtype, meta=A[:0, :0]
    )
    places.clear()
    return array, places


def test_lazy_until_computed_and_read_once_a_pass(monkeypatch):
    search_only(monkeypatch)
    A = with_spectrum(SPECTRA["slow"](np.arange(1.0, N + 1)))
    a, places = counted(A, (100, N))
    lazy = svd_compressed(a, 5, n_power_iter=2, seed=0)
    assert places == []
    later = dask.compute(*lazy)
    assert len(places) == 4 * a.npartitions  # dask reads 6 times
    places.clear()
    now = svd_compressed(a, 5, n_power_iter=2, seed=0, compute=True)
    assert len(places) == 4 * a.npartitions
    for one, other in zip(later, dask.compute(*now), strict=True):
        assert_array_equal(one, other)
    assert len(places) == 4 * a.npartitions


def test_seeds_of_every_form_and_independent_of_chunks(monkeypatch):
    search_only(monkeypatch)
    A = with_spectrum(SPECTRA["slow"](np.arange(1.0, N + 1)))

    def values(seed, chunks=(100, 100)):
        return svd_compressed(da.from_array(A, chunks=chunks), 5, seed=seed, compute=True)[1].compute()

    rounding = 100 * np.finfo(float).eps
    assert_allclose(values(7), values(7, (250, 300)), rtol=rounding)
    assert not np.allclose(values(7), values(8), rtol=rounding)
    for fresh in (
        lambda: [1, 2],
        lambda: np.random.SeedSequence(3),
        lambda: np.random.PCG64(3),
        lambda: np.random.default_rng(3),
        lambda: np.random.RandomState(3),
        lambda: da.random.default_rng(3),
        lambda: da.random.RandomState(3),
    ):
        assert_array_equal(values(fresh()), values(fresh()))
    assert not np.array_equal(values(None), values(None))


@pytest.mark.parametrize(
    "arguments",
    [
        {"k": 0},
        {"k": 2.5},
        {"iterator": "qr"},
        {"n_power_iter": -1},
        {"n_oversamples": -1},
        {"a": da.ones(5)},
    ],
)
def test_bad_arguments_of_svd_compressed(arguments):
    with pytest.raises(ValueError, match=r"integer|Iterator|dimensions"):
        svd_compressed(**{"a": da.ones((5, 5)), "k": 2, **arguments})


# scikit-learn is optional -----------------------------------------------------------------------------------------


def run_python(code, **environment):
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_without_sklearn():
    run_python("""
        import sys
        sys.modules["sklearn"] = None  # import fails from here on
        import dask.array as da
        import numpy as np
        from svdflow.compat import randomized_svd, svd_compressed
        assert abs(randomized_svd(np.diag([3.0, 2.0]), 1)[1][0] - 3) < 1e-12
        assert abs(svd_compressed(da.ones((4, 4)), 1)[1].compute()[0] - 4) < 1e-12
        try:
            from svdflow.compat import TruncatedSVD
        except ImportError as error:
            assert "svdflow[sklearn]" in str(error)
        else:
            raise AssertionError("imported without scikit-learn")
        """)


def test_singular_values_that_single_precision_does_not_hold_are_refused():
    A = np.full((60, 20), 2e38, np.float32)
    with pytest.raises(OverflowError, match=r"singular values reach 6.9e.* float32"):
        randomized_svd(A, 1, random_state=0)
    with pytest.raises(OverflowError, match=r"singular values reach 6.9e.* float32"):
        svd_compressed(da.from_array(A), 1, compute=True)

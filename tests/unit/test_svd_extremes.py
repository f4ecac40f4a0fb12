"""All that a result says of itself, at the ends: ill-conditioned, graded, low rank, huge, tiny. More in tests/scale."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from svdflow import ConvergenceWarning, truncated_svd
from svdflow.compute.engine import one_blas_thread
from unit.svd_extremes import MATRICES, Truth, complaints, extreme

METHODS = ["full", "gram", "krylov", "shift", "lanczos", "rsvd", "single_pass"]
pytestmark = pytest.mark.filterwarnings("ignore::svdflow.svd.ConvergenceWarning")


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


def said_falsely(A, ranks=(20,), methods=METHODS, **options):
    truth = Truth.of(A)
    found = {}
    for method in methods:
        for k in ranks:
            result = truncated_svd(A, k, method=method, engine=1, **options)
            if wrong := complaints(truth, result):
                found[method, k, result.info.reason] = wrong
    return found


CASES = [(name, dtype) for dtype in ("float32", "float64") for name in MATRICES]


@pytest.mark.parametrize(
    ("name", "dtype"), [case for case in CASES if case not in (("1e200", "float32"), ("largest", "float64"))]
)
def test_every_word_of_a_result_is_true(name, dtype):
    """Certificates, reason, rank, residuals, spectrum and orthogonality, by every method; rank 20 of 150 x 120."""
    assert not said_falsely(extreme(name, dtype))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in ("hilbert", "vandermonde", "graded") for dtype in ("float32", "float64")]
    + [("hilbert", "complex64")],
)
def test_beyond_the_numerical_rank(name, dtype):
    methods = ["gram", "krylov", "shift", "lanczos"]
    assert not said_falsely(extreme(name, dtype), (12, 40), methods)


@pytest.mark.parametrize("name", ["hilbert", "huge row", "largest", "least", "zero"])
@pytest.mark.parametrize("dtype", ["complex64", "float16"])
def test_other_types(name, dtype):
    if dtype == "float16" and name == "huge row":
        pytest.skip("1e12 is no float16")
    assert not said_falsely(extreme(name, dtype), (5,))


def test_complex_doubles():
    for name in ("hilbert", "1e200"):
        assert not said_falsely(extreme(name, "complex128"), (20,), ["gram", "shift", "lanczos"])


@pytest.mark.parametrize(("name", "wide"), [("hilbert", False), ("largest", True), ("least", True)])
def test_sparse_and_wide(name, wide):
    A = extreme(name, "float32")
    A = np.ascontiguousarray(A.T) if wide else A
    truth = Truth.of(A)
    for method in METHODS:
        result = truncated_svd(sp.csr_array(A), 20, method=method, engine=1)
        assert not complaints(truth, result), method


@pytest.mark.parametrize("name", ["least", "1e36"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("method", ["full", "krylov", "shift"])
def test_standardized_columns_do_not_know_of_units(method, wide, name):
    """Columns over their deviations, in float32 near its ends: as of the same matrix times a power of two."""
    A = extreme(name, "float32")
    A = np.ascontiguousarray(A.T) if wide else A
    power = -int(np.floor(np.log2(np.abs(A).max())))
    options = {"method": method, "center": True, "scale": True, "engine": 1, "tol": 1e-6}
    mine = truncated_svd(A, 5, **options)
    plain = truncated_svd(np.ldexp(A, power), 5, **options)
    np.testing.assert_allclose(mine.s, plain.s, rtol=2e-6)
    np.testing.assert_allclose(mine.info.scale, np.ldexp(plain.info.scale, -power), rtol=2e-6)


@pytest.mark.parametrize("method", ["shift", "lanczos"])
@pytest.mark.parametrize("k", [15, 25])
def test_values_that_squares_hide_are_not_called_converged(method, k):
    """Of the Hilbert matrix s_15 is 1e-10 s_1: found through A^H A it is 60 % off, and that is said, aloud."""
    A = extreme("hilbert", "float64")
    with pytest.warns(ConvergenceWarning, match="unresolved|nothing shows"):
        result = truncated_svd(A, k, method=method, engine=1)
    assert result.info.reason == "unresolved" and not result.info.estimate <= 1e-2


def test_what_is_resolved_is_still_called_so():
    """The downgrade takes nothing from sound results: exact low rank, and clear values above the noise of squares."""
    rng = np.random.default_rng(0)
    low = rng.standard_normal((150, 4)) @ rng.standard_normal((4, 120))
    for dtype in (np.float64, np.float32):
        for method in ("gram", "krylov", "shift", "lanczos"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert truncated_svd(low.astype(dtype), 4, method=method).info.reason == "converged"
                assert truncated_svd(extreme("hilbert", dtype), 4, method=method).info.reason == "converged"
    assert truncated_svd(low, 9, method="lanczos").info.reason == "rank_deficient"


FAULTS = {
    "a value off by a hundredth": lambda r: replace(r, s=r.s * np.r_[np.ones(11), 0.99]),
    "a column that leans": lambda r: replace(r, U=r.U + 1e-6 * r.U[:, ::-1]),
    "not a number": lambda r: replace(r, Vt=np.where(r.Vt > 0, r.Vt, np.nan)),
    "a bound too small": lambda r: replace(
        r, info=replace(r.info, spectral_error=r.info.spectral_error / 1e4)
    ),
    "an error too small": lambda r: replace(
        r, info=replace(r.info, frobenius_error=0.0, frobenius_kind="exact")
    ),
    "a rank too low": lambda r: replace(r, info=replace(r.info, numerical_rank=3)),
    "a spectrum of squares": lambda r: replace(r, info=replace(r.info, spectrum=np.full(120, 1e-6))),
    "the wrong triplet": lambda r: replace(
        r, U=r.U[:, ::-1], Vt=r.Vt[::-1], info=replace(r.info, frobenius_resolution=1e9)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_false_word_is_found(fault):
    """Negative control of the checker."""
    A = extreme("hilbert", "float64")
    truth, result = Truth.of(A), truncated_svd(A, 12, method="full")
    assert not complaints(truth, result)
    assert complaints(truth, FAULTS[fault](result))

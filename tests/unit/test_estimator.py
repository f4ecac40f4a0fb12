"""The scikit-learn estimator: its figures against theory and scikit-learn, and matrices on disk.

Its contract is held by check_estimator, in tests/peers.
"""

import pickle
from fractions import Fraction

import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from svdflow.matrix.sources import ArraySource
from svdflow.svd.random_blocks import gaussian

pytest.importorskip("sklearn", reason="the estimator needs scikit-learn")

from sklearn import decomposition
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from svdflow.compat import TruncatedSVD

EPS = np.finfo(float).eps
M, N, K = 60, 20, 5


@pytest.fixture
def X():
    return gaussian(1, M, N) * 2.0 ** -np.arange(N) + gaussian(2, 1, N)  # columns with means


@pytest.mark.parametrize("center", [False, True])
def test_figures_by_theory(X, center):
    svd = TruncatedSVD(K, center=center)
    scores = svd.fit_transform(X)
    A = X - X.mean(axis=0) if center else X
    s = np.linalg.svd(A, compute_uv=False)
    rounding = 100 * EPS * s[0]
    assert_allclose(svd.singular_values_, s[:K], atol=rounding)
    assert_allclose(svd.components_ @ svd.components_.T, np.eye(K), atol=100 * EPS)
    assert_allclose(scores, A @ svd.components_.T, atol=rounding)
    assert_allclose(svd.transform(X), scores, atol=rounding)
    tail = np.linalg.norm(s[K:])
    assert_allclose(np.linalg.norm(svd.inverse_transform(scores) - X), tail, rtol=1e-9)
    assert_allclose(svd.info_.frobenius_error, tail, rtol=1e-6)
    largest = svd.components_[np.arange(K), np.argmax(np.abs(svd.components_), axis=1)]
    assert (largest > 0).all()
    assert list(svd.get_feature_names_out()) == [f"truncatedsvd{i}" for i in range(K)]
    assert svd.n_features_in_ == N


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.coo_matrix, ArraySource])
def test_figures_of_truncated_svd_in_sklearn(X, form):
    ours = TruncatedSVD(K).fit(form(X))
    peer = decomposition.TruncatedSVD(K, algorithm="arpack").fit(X)
    for name in ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_"):
        assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, sp.csc_array, ArraySource])
def test_figures_of_pca_in_sklearn(X, form):
    ours = TruncatedSVD(K, center=True).fit(form(X))
    peer = decomposition.PCA(K, svd_solver="full").fit(X)
    for name in (
        "components_",
        "singular_values_",
        "explained_variance_",
        "explained_variance_ratio_",
        "mean_",
    ):
        assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-9, atol=1e-9)
    assert_allclose(ours.transform(X), peer.transform(X), atol=1e-12)


def test_ratio_of_variance_with_a_large_mean():
    X = gaussian(3, 200, 6) + 1e7
    ratio = TruncatedSVD(2).fit(X).explained_variance_ratio_
    scores = TruncatedSVD(2).fit_transform(X)
    assert_allclose(ratio, scores.var(axis=0) / X.var(axis=0).sum(), rtol=1e-6)


def test_matrices_that_are_not_in_memory(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    with h5py.File(tmp_path / "X.h5", "w") as f:
        f["X"] = X
    lazy = da.from_array(X, chunks=(16, N))
    expected = TruncatedSVD(K, center=True).fit(X)
    for big in (tmp_path / "X.npy", str(tmp_path / "X.npy"), f"{tmp_path}/X.h5:/X", lazy, ArraySource(X)):
        svd = TruncatedSVD(K, center=True).fit(big)
        assert svd.n_features_in_ == N
        assert_allclose(svd.components_, expected.components_, atol=1e-12)
        assert_allclose(svd.transform(big), expected.transform(X), atol=1e-12)
    assert isinstance(svd.transform(lazy), da.Array)
    assert isinstance(svd.inverse_transform(svd.transform(lazy)), da.Array)
    with pytest.raises(ValueError, match="X has 3 features, but TruncatedSVD is expecting 20"):
        svd.transform(ArraySource(np.ones((4, 3))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_dtypes(dtype):
    X = (100 * gaussian(4, 30, 8)).astype(dtype)
    expected = np.float32 if dtype == np.float32 else np.float64
    for center in (False, True):
        svd = TruncatedSVD(3, center=center)
        assert svd.fit_transform(X).dtype == expected
        assert svd.transform(X).dtype == svd.components_.dtype == expected
        assert svd.inverse_transform(svd.transform(X)).dtype == expected


def test_complex_through_a_source():
    X = gaussian(5, 40, 10, dtype=np.complex128)
    with pytest.raises(ValueError, match="Complex data not supported"):
        TruncatedSVD(3).fit(X)
    svd = TruncatedSVD(10).fit(ArraySource(X))
    scores = svd.transform(ArraySource(X))
    assert_allclose(svd.inverse_transform(scores), X, atol=1e-12)
    assert_allclose(svd.explained_variance_ratio_.sum(), 1)


@pytest.mark.parametrize("center", [False, True])
def test_constant_columns_have_no_variance(center):
    svd = TruncatedSVD(1, center=center).fit(np.ones((8, 3)))
    assert_allclose(svd.explained_variance_ratio_, 0, atol=1e-12)


def test_bad_arguments(X):
    for wrong in (0, N + 1, 2.0, True, "mle"):
        with pytest.raises(ValueError, match="n_components"):
            TruncatedSVD(wrong).fit(X)
    with pytest.raises(ValueError, match="random_state"):
        TruncatedSVD(2, random_state=-1).fit(X)
    with pytest.raises(ValueError, match="method"):
        TruncatedSVD(2, method="best").fit(X)
    with pytest.raises(NotFittedError):
        TruncatedSVD(2).transform(X)


def test_in_a_pipeline_cloned_and_pickled(X):
    pipeline = make_pipeline(StandardScaler(), TruncatedSVD(3, random_state=np.random.RandomState(0)))
    scores = pipeline.fit_transform(X)
    again = pickle.loads(pickle.dumps(pipeline))
    assert_allclose(again.transform(X), scores, atol=1e-12)
    assert clone(pipeline[-1]).get_params()["n_components"] == 3


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(gaussian(6, 12, 3), columns=["a", "b", "c"])
    svd = TruncatedSVD(2).set_output(transform="pandas").fit(frame)
    assert list(svd.feature_names_in_) == ["a", "b", "c"]
    assert list(svd.transform(frame).columns) == ["truncatedsvd0", "truncatedsvd1"]
    assert not hasattr(svd.fit(ArraySource(frame.to_numpy())), "feature_names_in_")


def around(mean, dtype, make):
    """800 x 12: two thirds of the rows half above the mean, in another pattern for each column; variances exact."""
    rows, columns = np.ogrid[:800, :12]
    above = (rows * (columns + 3)) % 4 < 2
    A = (mean + np.where(above, 0.5, -0.5)).astype(dtype)
    exact = [Fraction(int(n), 800) * (1 - Fraction(int(n), 800)) for n in above.sum(axis=0)]
    return make(A), A.astype(np.float64), float(sum(exact))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_array, da.from_array])
@pytest.mark.parametrize(
    ("mean", "dtype"), [(1e3, np.float32), (1e5, np.float32), (2.0**20, np.float32), (1e9, np.float64)]
)
def test_variances_beside_large_means(mean, dtype, make):
    """Total variance against rational arithmetic; of the components against two passes over the data in double."""
    X, A, total = around(mean, dtype, make)
    svd = TruncatedSVD(n_components=3, random_state=0).fit(X)
    scores = (A - A.mean(axis=0)) @ svd.components_.T.astype(np.float64)
    explained = np.mean(scores**2, axis=0)
    assert_allclose(svd.explained_variance_, explained, rtol=1e-6, atol=1e-12)
    assert_allclose(svd.explained_variance_ratio_, explained / total, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, da.from_array])
@pytest.mark.parametrize("method", ["shift", "krylov", "full"])
def test_centred_scores_beside_large_means(method, make):
    X, A, total = around(1e5, np.float32, make)
    svd = TruncatedSVD(n_components=3, center=True, method=method, random_state=0).fit(X)
    true = np.linalg.svd(A - A.mean(axis=0), compute_uv=False)
    assert_allclose(svd.singular_values_, true[:3], rtol=1e-2)
    assert_allclose(svd.explained_variance_ratio_, true[:3] ** 2 / (800 * total), rtol=2e-2)
    scores = np.asarray(svd.transform(X))
    wanted = (A - A.mean(axis=0)) @ svd.components_.T.astype(np.float64)
    # The mean is known to eps64 of it, scores to eps32 of theirs.
    assert_allclose(scores, wanted, atol=1e-5)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("power", [600, -600])
def test_shares_of_variance_do_not_know_of_units(center, power):
    X = gaussian(1, M, N) * 2.0 ** -np.arange(N) + gaussian(2, 1, N)
    plain = TruncatedSVD(n_components=3, center=center).fit(X)
    scaled = TruncatedSVD(n_components=3, center=center).fit(np.ldexp(X, power))
    assert_allclose(scaled.explained_variance_ratio_, plain.explained_variance_ratio_, rtol=1e-9)


def test_scores_that_single_precision_does_not_hold_are_refused():
    X = np.full((60, 20), 2e38, np.float32)
    with pytest.raises(OverflowError, match=r"transformed data reach 8.9e"):
        TruncatedSVD(n_components=1).fit_transform(X)


def test_keywords_of_scikit_learn_are_taken():
    theirs, ours = decomposition.TruncatedSVD().get_params(), TruncatedSVD().get_params()
    assert set(theirs) <= set(ours)
    assert clone(
        TruncatedSVD(3, **{name: theirs[name] for name in theirs if name != "n_components"})
    ).get_params()


@pytest.mark.parametrize("keywords", [{"n_iter": 0}, {"n_iter": 2}, {"n_iter": 5, "n_oversamples": 4}])
def test_as_accurate_as_scikit_learn_with_its_keywords(keywords):
    A = gaussian(4, 900, 300) @ np.diag(np.arange(1.0, 301.0) ** -0.5) @ gaussian(5, 300, 300)
    s = np.linalg.svd(A, compute_uv=False)[:K]

    def error(svd):
        return np.max(s**2 - np.linalg.norm(A @ svd.fit(A).components_.T, axis=0) ** 2) / s[0] ** 2

    theirs = [error(decomposition.TruncatedSVD(K, random_state=seed, **keywords)) for seed in range(3)]
    ours = [error(TruncatedSVD(K, random_state=seed, **keywords)) for seed in range(3)]
    assert max(ours) <= max(theirs) + 1e-12


@pytest.mark.parametrize("center", [False, True])
def test_arpack_is_iterated_to_rounding(center):
    A = gaussian(4, 1500, 700) * np.arange(1.0, 701.0) ** -0.5 + 1.0
    svd = TruncatedSVD(K, algorithm="arpack", center=center).fit(A)
    s = np.linalg.svd(A - A.mean(axis=0) if center else A, compute_uv=False)
    assert_allclose(svd.singular_values_, s[:K], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("algorithm", "lanczos"),
        ("n_iter", -1),
        ("n_iter", 2.5),
        ("n_oversamples", 0),
        ("power_iteration_normalizer", "lu"),
        ("random_state", "seed"),
    ],
)
def test_keywords_out_of_range_are_named(X, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of TruncatedSVD must be"):
        TruncatedSVD(2, **{name: value}).fit(X)

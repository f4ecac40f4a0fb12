"""Nonsense in an argument is refused by its name, at every door of factorizations, ranks, least squares and audits."""

from math import inf, nan

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose

from svdflow import ranks, truncated_svd
from svdflow.audit import audit_matrix, certify_svd, check_gradient, singular_radius, taylor_order
from svdflow.audit.verdicts import Verdict, judge
from svdflow.compat import randomized_svd, svd_compressed
from svdflow.least_squares import lstsq_svd, pinv, tikhonov
from svdflow.registry import Threshold
from svdflow.svd import SinglePassSVD

A = np.diag(np.arange(12.0, 0.0, -1.0)) + 0.1
S = np.linalg.svd(A, compute_uv=False)

FACTORIZE = [
    ("rank", {"rank": True}),
    ("rank", {"rank": 2.0}),
    ("rank", {"rank": "3"}),
    ("error", {"error": "0.1"}),
    ("error", {"error": nan}),
    ("error", {"error": False}),
    ("energy", {"energy": True}),
    ("energy", {"energy": inf}),
    ("tol", {"rank": 2, "tol": nan}),
    ("tol", {"rank": 2, "tol": inf}),
    ("tol", {"rank": 2, "tol": True}),
    ("tol", {"rank": 2, "tol": "0.01"}),
    ("center", {"rank": 2, "center": "false"}),
    ("center", {"rank": 2, "center": 0}),
    ("center", {"rank": 2, "center": None}),
    ("scale", {"rank": 2, "scale": 1.0}),
    ("scale", {"rank": 2, "scale": "yes"}),
    ("scale", {"rank": 2, "scale": np.array([True])}),
    ("max_reads", {"rank": 2, "max_reads": 10**9}),
    ("max_reads", {"rank": 2, "max_reads": True}),
    ("max_reads", {"rank": 2, "max_reads": 4.0}),
    ("block_size", {"rank": 2, "block_size": True}),
    ("precision", {"rank": 2, "precision": "half"}),
    ("precision", {"rank": 2, "precision": True}),
    ("precision", {"rank": 2, "precision": ["mixed"]}),
    ("block_size", {"rank": 2, "block_size": nan}),
    ("seed", {"rank": 2, "seed": 1.0}),
    ("seed", {"rank": 2, "seed": True}),
    ("method", {"rank": 2, "method": None}),
    ("method", {"rank": 2, "method": ["krylov"]}),
    ("memory_limit", {"rank": 2, "memory_limit": nan}),
]


@pytest.mark.parametrize(("name", "arguments"), FACTORIZE)
def test_factorizations_refuse_by_name(name, arguments):
    with pytest.raises((ValueError, TypeError), match=name):
        truncated_svd(A, **arguments)


@pytest.mark.parametrize("method", ["shift", "lanczos", "rsvd", "krylov", "single_pass"])
def test_a_billion_reads_are_refused_before_they_are_planned(method):
    with pytest.raises(ValueError, match=r"max_reads .* at most 10,000"):
        truncated_svd(A, 2, method=method, max_reads=10**9)


def test_numpy_scalars_are_numbers_and_flags():
    result = truncated_svd(A, np.int64(2), center=np.False_, tol=np.float32(1e-2), seed=np.uint8(1))
    assert_allclose(result.s, S[:2])


DOORS = {
    "k": lambda: svd_compressed(da.from_array(A), True),
    "compute": lambda: svd_compressed(da.from_array(A), 2, compute="false"),
    "coerce_signs": lambda: svd_compressed(da.from_array(A), 2, coerce_signs="no"),
    "n_power_iter": lambda: svd_compressed(da.from_array(A), 2, n_power_iter=1.5),
    "n_oversamples": lambda: randomized_svd(A, 2, n_oversamples=nan),
    "n_iter": lambda: randomized_svd(A, 2, n_iter=True),
    "flip_sign": lambda: randomized_svd(A, 2, flip_sign="false"),
    "rank": lambda: SinglePassSVD(True),
    "width": lambda: SinglePassSVD(2, width=nan),
    "center": lambda: SinglePassSVD(2, center="false"),
    "seed": lambda: SinglePassSVD(2, seed=-1),
    "damping": lambda: tikhonov(A, S, nan),
    "damping ": lambda: tikhonov(A, S, inf),
    "damping must": lambda: tikhonov(A, S, -1.0),
    "damping must be": lambda: tikhonov(A, S, True),
    "rcond": lambda: pinv(A, nan),
    "rcond must": lambda: pinv(A, -1.0),
    "rcond must be": lambda: lstsq_svd(A, S, rcond="1e-3"),
    "rank must": lambda: lstsq_svd(A, S, rank=2.5),
    "share": lambda: singular_radius(A, nan),
}


@pytest.mark.parametrize("name", DOORS)
def test_other_doors_refuse_by_name(name):
    with pytest.raises((ValueError, TypeError), match=name):
        DOORS[name]()


def test_the_estimator_refuses_by_name():
    pytest.importorskip("sklearn", reason="the estimator needs scikit-learn")
    from svdflow.compat import TruncatedSVD

    for name, arguments in (
        ("center", {"center": "false"}),
        ("tol", {"tol": nan}),
        ("n_components", {"n_components": True}),
    ):
        with pytest.raises(ValueError, match=name):
            TruncatedSVD(**arguments).fit(A)


def test_many_power_iterations_are_as_many_reads_as_mean_something():
    _, s, _ = randomized_svd(np.ones((30, 20)), 1, n_iter=10**12, random_state=0)
    assert_allclose(s, np.sqrt(600))


SHAPE = (12, 12)
RANKS = {
    "sigma": [
        lambda: ranks.gavish_donoho(S, SHAPE, nan),
        lambda: ranks.gavish_donoho(S, SHAPE, inf),
        lambda: ranks.gavish_donoho(S, SHAPE, True),
        lambda: ranks.shrunk_values(S, SHAPE, nan),
        lambda: ranks.shrunk_values(S, SHAPE, -1.0),
        lambda: ranks.sure(S, SHAPE, nan),
        lambda: ranks.sure_soft_threshold(S, SHAPE, "1"),
    ],
    "singular values": [
        lambda: ranks.mp_pca(S * nan, SHAPE),
        lambda: ranks.gavish_donoho(-S, SHAPE, 1.0),
        lambda: ranks.gavish_donoho(np.append(S[:-1], inf), SHAPE),
        lambda: ranks.screenot(S[::-1], SHAPE),
        lambda: ranks.rank_for_error(S * inf, 0.1),
        lambda: ranks.rank_for_energy(S.astype(complex), 0.1),
        lambda: ranks.sigma_from_singular_values(S * nan, SHAPE),
        lambda: ranks.soft_threshold(S * nan, 1.0),
    ],
    "energy": [
        lambda: ranks.rank_for_energy(S, True),
        lambda: ranks.rank_for_energy(S, nan),
        lambda: ranks.rank_for_energy(S, 0.5, total_energy=nan),
    ],
    "error": [lambda: ranks.rank_for_error(S, False), lambda: ranks.rank_for_error(S, "0.1")],
    "shape": [lambda: ranks.mp_pca(S, (12.5, 12)), lambda: ranks.shrunk_values(S, 12, 1.0)],
    "beta": [lambda: ranks.hard_threshold(nan), lambda: ranks.marchenko_pastur_median(True)],
    "threshold": [lambda: ranks.soft_threshold(S, nan)],
    "most": [lambda: ranks.screenot(S, SHAPE, 1.5)],
    "max_rank": [lambda: ranks.bi_cross_validation(A, max_rank=nan)],
    "folds": [lambda: ranks.bi_cross_validation(A, folds=(2, nan))],
    "seed": [lambda: ranks.bi_cross_validation(A, seed=1.5)],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in RANKS.items() for call in calls])
def test_rank_rules_refuse_by_name(name, call):
    with pytest.raises((ValueError, TypeError), match=name):
        call()


def square(x):
    return float((x**2).sum())


WRONG = [
    {"rtol": nan},
    {"rtol": inf},
    {"rtol": -1.0},
    {"rtol": True},
    {"entries": nan},
    {"entries": -1},
    {"radius": nan},
    {"radius": 0.0},
    {"seed": 0.5},
    {"threshold": Threshold(nan, nan)},
    {"threshold": Threshold(2.0, inf)},
    {"threshold": Threshold(2.0, 10.0, resolution=nan)},
    {"threshold": Threshold(2.0, 10.0, excuse=nan)},
]


@pytest.mark.parametrize("arguments", WRONG)
def test_a_gradient_never_passes_on_nonsense(arguments):
    """Not even a right one: three times too large would pass with it, too."""
    report = check_gradient(square, lambda x: 6 * x, [1.0, 2.0], **arguments)
    assert report.verdict == Verdict.ERROR and next(iter(arguments)) in report.reason
    assert check_gradient(square, lambda x: 2 * x, [1.0, 2.0], **arguments).verdict == Verdict.ERROR
    if not arguments.keys() & {"rtol", "entries"}:
        assert taylor_order(square, lambda x: 6 * x, [1.0, 2.0], **arguments).verdict == Verdict.ERROR


def test_no_verdict_passes_on_a_number_that_is_none():
    fair = Threshold(1.0, 10.0, 0.1)
    assert judge(0.5, fair, 0.01)[0] == Verdict.PASS
    assert judge(nan, fair, 0.01)[0] == Verdict.ERROR
    assert judge(0.5, fair, nan)[0] == Verdict.ERROR


@pytest.mark.parametrize("limit", [nan, inf, -1.0, True, "10", None])
def test_limits_of_an_audit_are_numbers(limit):
    with pytest.raises(ValueError, match=r"svd_residual\.fail"):
        audit_matrix(A, thresholds={"svd_residual.fail": limit})


def test_factors_that_are_no_numbers_are_not_certified():
    U, s, Vt = np.linalg.svd(A)
    for wrong in (
        (U * nan, s, Vt),
        (U, s * inf, Vt),
        (U, s, np.where(Vt > 0, Vt, nan)),
        (U, s.astype(bool) * nan, Vt),
    ):
        with pytest.raises(ValueError, match=r"finite|nan|inf"):
            certify_svd(A, *wrong)


@pytest.mark.parametrize("nudge", [0.0, 1e-14, 1e-12])
@pytest.mark.parametrize("mean", [0.1, 3.3, 1e8])
def test_a_constant_column_is_one_for_every_method(mean, nudge):
    """Constant to ``m eps`` of its mean, or not: the same divisor by every method, centred or not."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 60))
    X[:, 7] = mean * (1 + nudge * rng.standard_normal(400))
    deviation = X[:, 7].std()
    constant = deviation <= 400 * np.finfo(float).eps * mean
    cases = [(method, True) for method in ("full", "gram", "krylov", "shift", "lanczos", "rsvd")]
    for method, center in [*cases, ("gram", False)]:
        scale = truncated_svd(X, 5, method=method, scale=True, center=center, tol=1.0).info.scale
        assert_allclose(scale[7], 1.0 if constant else deviation, rtol=1e-2)

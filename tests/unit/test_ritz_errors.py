"""What is estimated of Ritz values, against measures whose moments are known."""

import numpy as np
import pytest

from svdflow import ConvergenceWarning, truncated_svd
from svdflow.svd.methods import krylov
from svdflow.svd.ritz_errors import NEAREST, RISE, SAFETY, at_least, largest_error, ratios, rising
from unit.svd_promises import mixed, pve


def ritz(s2, weights, points):
    """Theta and g of a value that lacks `weights` at `points`, which are shares of it."""
    w = np.asarray(weights, float)
    return s2 - w.sum(), s2 - (w * points).sum()


def two_steps(now, before, points, s2=1.0):
    """Arguments of `ratios` from what is lacking now and was before."""
    (theta, g), (theta_before, g_before) = ritz(s2, now, points), ritz(s2, before, points)
    return [np.array([value]) for value in (theta, g - theta, theta_before, g_before - theta_before)]


@pytest.mark.parametrize("x", [0.01, 0.5, 0.9])
def test_one_point_is_told_exactly(x):
    """All that is lacking has one square: c = 1 / (1 - x), and (c - 1) d is what is lacking after half a step."""
    points = np.array([x])
    theta, d, *before = two_steps([0.01], [0.3], points)
    c = ratios(theta, d, *before)
    np.testing.assert_allclose(c, 1 / (1 - x), rtol=1e-12)
    assert largest_error(c, d, 0.0) == pytest.approx(SAFETY * 0.01 * x, rel=1e-9)


def test_what_is_large_is_missed_until_it_is_all_that_is_left():
    """The first step took off what is small; only then do steps tell of what is large (the reason for `rising`)."""
    points = np.array([0.01, 0.9])
    first = two_steps([1e-4, 0.02], [0.5, 0.022], points)
    late = two_steps([1e-7, 0.015], [1e-4, 0.02], points)
    truth = 0.9 * 0.02
    assert largest_error(ratios(*first), first[1], 0.0) < 0.5 * truth
    assert largest_error(ratios(*late), late[1], 0.0) >= 0.9 * 0.015
    bounded = np.maximum(ratios(*first), at_least(first[0], 0.9, 1e-2))
    assert largest_error(bounded, first[1], 0.0) >= truth


def test_values_that_are_near_share_their_ratio():
    theta, before = np.array([5.0, 1.0, 0.9]), np.array([4.0, 0.9, 0.7])
    d, d_before = np.array([0.1, 0.01, 0.03]), np.array([0.6, 0.11, 0.09])
    c = ratios(theta, d, before, d_before)
    np.testing.assert_allclose(c, [1.3 / 0.66, 0.3 / 0.16, 0.3 / 0.16])
    alone = ratios(theta * [1, 1, 1e-3], d, before * [1, 1, 1e-3], d_before)
    assert alone[2] != pytest.approx(c[2])


def test_nothing_tells_where_gains_do_not_fall():
    one = np.array([1.0])
    assert ratios(one, one * 0.2, one * 0.9, one * 0.2)[0] == np.inf
    assert largest_error(np.array([np.inf]), one * 0.2, 0.0) == np.inf
    assert largest_error(np.array([np.inf]), one * 0.2, 0.3) == 0.0  # the gain is rounding


def test_a_ratio_that_rose_rises_on():
    c, before = np.array([4.0, 6.0, 3.0, 5.0]), np.array([2.0, 5.0, 4.0, np.inf])
    np.testing.assert_allclose(rising(c, before), [8.0, 6.0 * RISE, 3.0, 5.0])
    np.testing.assert_array_equal(rising(c, None), c)
    np.testing.assert_array_equal(rising(c, before[:3]), c)


def test_least_ratios():
    np.testing.assert_allclose(at_least(np.array([4.0, 1.0, 0.5]), 0.5, 0.01), [8 / 7, 2.0, 100 / NEAREST])
    np.testing.assert_array_equal(at_least(np.array([1.0]), 0.0, 0.01), 1.0)


N = 400
SHELF = np.sort(np.where(np.arange(N) < 80, 1 - 0.1 * np.arange(N) / 80, 0.1 * (1 + np.arange(N)) ** -0.3))[
    ::-1
]


def missed(tol, seeds=10, k=20):
    errors = []
    for seed in range(seeds):
        A = mixed(SHELF, (500, N), seed=seed)
        result = truncated_svd(A, k, method="krylov", tol=tol, seed=seed)
        assert result.info.reason == "converged"
        errors.append(pve(A, result, SHELF))
    return sum(error > tol for error in errors)


def test_a_shelf_wider_than_the_basis_is_seen_by_probes_alone(monkeypatch):
    """80 values of 1 to 0.9, of which 20 are wanted: with the steps alone, searches end too early."""
    assert missed(1e-2) == 0
    monkeypatch.setattr(krylov, "at_least", lambda theta, beyond, tol: np.ones_like(theta))
    assert missed(1e-2) >= 2


STEEP = {
    "exp(-i / 5)": (np.exp(-np.arange(1, N + 1) / 5) + 1e-6, 50),
    "i^-3": (np.arange(1.0, N + 1) ** -3, 50),
    "i^-3 in float32": (np.arange(1.0, N + 1) ** -3, 8),
    "1 / i^2 in float32": (np.arange(1.0, N + 1) ** -2, 50),
}


@pytest.mark.parametrize("name", STEEP)
def test_values_far_below_the_first_take_few_reads(name):
    """Squares of the last ones lie near rounding of the search, and reads that could not help took up to 16."""
    s, k = STEEP[name]
    dtype = np.float32 if "float32" in name else np.float64
    for seed in range(2):
        A = mixed(s, (500, N), seed=seed).astype(dtype)
        true = np.linalg.svd(A.astype(np.float64), compute_uv=False)
        result = truncated_svd(A, k, method="krylov", seed=seed)
        assert result.info.reason == "converged" and result.info.reads <= 6
        # Singular values are those of U before it is rounded to the dtype.
        assert np.max(np.abs(true[:k] ** 2 - result.s**2)) / true[k] ** 2 <= 1e-2


def test_a_first_block_that_deviations_narrow_leaves_no_triplets_out(monkeypatch):
    """Columns of the first panel have deviations unlike those of all rows: the block loses directions to them."""
    for place in ("svdflow.matrix.panels.PANEL_BYTES", "svdflow.svd.plan.PANEL_BYTES"):
        monkeypatch.setattr(place, 2**16)
    A = np.random.default_rng(0).standard_normal((2500, 60))
    A[:140] *= np.logspace(0, -8, 60)
    result = truncated_svd(A, 50, method="krylov", scale=True)
    true = np.linalg.svd(A / A.std(axis=0), compute_uv=False)
    np.testing.assert_allclose(result.s, true[:50], rtol=1e-2)
    # As many columns as the matrix has are not enough, and that is what a count of reads allows.
    with pytest.warns(ConvergenceWarning):
        assert len(truncated_svd(A, 50, method="krylov", scale=True, max_reads=2).s) < 50

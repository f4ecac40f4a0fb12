"""Least squares and pseudo-inverse against fractions worked out by hand."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest

from svdflow.least_squares import lstsq_svd, pinv
from svdflow.least_squares.dense import lstsq_qr, tikhonov

A = np.array([[1, 2, 3], [2, 4, 6], [1, -1, 0], [1, -1, 0]])
SINGULAR = np.array([[1, 2, 3], [2, 4, 6], [7, 8, 9]])


def test_least_squares_of_a_rank_two_matrix():
    found = lstsq_svd(A, [1, 2, 3, 4])
    np.testing.assert_allclose(found.x, [37 / 18, -13 / 9, 11 / 18], rtol=1e-13)
    assert found.residual == pytest.approx(1 / sqrt(2), rel=1e-13)
    assert found.rank == 2


def test_pseudo_inverse_of_a_singular_matrix():
    found = pinv(SINGULAR)
    np.testing.assert_allclose(
        found.matrix * 90, [[-13, -26, 20], [-1, -2, 5], [11, 22, -10]], rtol=1e-12, atol=1e-12
    )
    assert found.rank == 2


def test_penrose_equations():
    X = pinv(SINGULAR + 1j * SINGULAR.T).matrix
    M = SINGULAR + 1j * SINGULAR.T
    for left, right in ((M @ X @ M, M), (X @ M @ X, X), ((M @ X).conj().T, M @ X), ((X @ M).conj().T, X @ M)):
        np.testing.assert_allclose(left, right, atol=1e-12)


def test_solution_has_least_norm():
    x = lstsq_svd(A, [1, 2, 3, 4]).x
    null = np.array([1, 1, -1])  # A null = 0
    assert x @ null == pytest.approx(0, abs=1e-14)


def test_several_right_hand_sides_and_truncation():
    b = np.arange(8.0).reshape(4, 2)
    both = lstsq_svd(A, b)
    for column in range(2):
        one = lstsq_svd(A, b[:, column])
        np.testing.assert_allclose(both.x[:, column], one.x)
        assert both.residual[column] == pytest.approx(one.residual)
    np.testing.assert_allclose(both.x, np.linalg.lstsq(A, b, rcond=None)[0])
    assert lstsq_svd(A, b, rank=1).rank == 1 == lstsq_svd(A, b, rcond=0.9).rank
    with pytest.raises(ValueError, match="A has 4 rows"):
        lstsq_svd(A, [1, 2])


def test_qr_gives_an_ill_conditioned_fit_to_the_last_bit():
    # columns 1 and 1 + 2^-20 t: kappa about 1e7, and fractions give the exact line
    t = np.arange(12.0)
    A = np.stack([np.ones(12), 1 + 2.0**-20 * t], axis=1)
    b = t * t
    n, sums = 12, [sum(Fraction(int(v)) ** k for v in t) for k in range(4)]
    slope = (n * sums[3] - sums[1] * sums[2]) / (n * sums[2] - sums[1] ** 2)
    level = (sums[2] - slope * sums[1]) / n
    truth = [float(level - slope * 2**20), float(slope * 2**20)]
    found = lstsq_qr(A, b)
    np.testing.assert_allclose(found.x, truth, rtol=4e-16)
    assert found.rank == 2
    assert np.abs(lstsq_svd(A, b).x / truth - 1).max() > 1e-13  # where the SVD alone does not get there


@pytest.mark.parametrize("size", [1.0, 1e-140, 1e140])
def test_qr_does_not_depend_on_units(size):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((30, 5)), rng.standard_normal((30, 3))
    units = 2.0 ** np.array([0, 40, -40, 3, 100])
    found, other = lstsq_qr(A, b), lstsq_qr(A * units, size * b)
    np.testing.assert_allclose(other.x * units[:, None] / size, found.x, rtol=1e-15)
    np.testing.assert_allclose(found.residual, np.linalg.norm(A @ found.x - b, axis=0))
    assert lstsq_svd(A * units, b).rank < 5 == other.rank


def test_qr_of_complex_data_and_of_several_sides():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((9, 4)) + 1j * rng.standard_normal((9, 4))
    b = rng.standard_normal((9, 2))
    np.testing.assert_allclose(lstsq_qr(A, b).x, np.linalg.lstsq(A, b, rcond=None)[0], rtol=1e-12)
    for column in range(2):
        one = lstsq_qr(A, b[:, column])
        assert one.x.shape == (4,) and one.residual == pytest.approx(lstsq_qr(A, b).residual[column])


def test_qr_warns_where_columns_depend_on_each_other():
    with pytest.warns(np.exceptions.RankWarning, match="rank 2 of 3"):
        found = lstsq_qr(A, [1, 2, 3, 4])
    assert found.rank == 2 and np.count_nonzero(found.x == 0) == 1
    assert found.residual == pytest.approx(1 / sqrt(2), rel=1e-13)
    with pytest.warns(np.exceptions.RankWarning, match="rank 2 of 4"):
        wide = lstsq_qr([[1, 0, 1, 0], [0, 1, 1, 2]], [1.0, 2.0])
    assert wide.residual < 1e-14
    with pytest.warns(np.exceptions.RankWarning, match="rank 0 of 2"):
        assert lstsq_qr(np.zeros((3, 2)), [1, 2, 2]).residual == 3
    assert not lstsq_qr(np.eye(3), np.zeros(3)).x.any()


def test_tikhonov_solves_the_stacked_system():
    rng = np.random.default_rng(2)
    M, b = rng.standard_normal((7, 4)), rng.standard_normal((7, 2))
    for damping in (1e-3, 1.0, 30.0):
        stacked = np.vstack([M, damping * np.eye(4)])
        x = np.linalg.lstsq(stacked, np.vstack([b, np.zeros((4, 2))]), rcond=None)[0]
        found = tikhonov(M, b, damping)
        np.testing.assert_allclose(found.x, x, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found.residual, np.linalg.norm(M @ x - b, axis=0))
        np.testing.assert_allclose(tikhonov(M, b[:, 1], damping).x, found.x[:, 1])
    # (4 s) / (s^2 + 9): 3 gives 12 / 18, 0 gives nothing, also where the squares would overflow
    np.testing.assert_allclose(tikhonov(np.diag([3.0, 0.0]), [4.0, 5.0], 3.0).x, [12 / 18, 0])
    np.testing.assert_allclose(
        tikhonov(np.diag([3e200, 1.0]), [4.0, 5.0], 3e200).x, [4 / 6e200, 0], atol=1e-300
    )
    with pytest.raises(ValueError, match="must be positive"):
        tikhonov(M, b, 0)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_qr_scales_without_overflow(size):
    A = np.random.default_rng(3).standard_normal((9, 4))
    found = lstsq_qr(size * A, size * (A @ np.arange(1.0, 5)))
    np.testing.assert_allclose(found.x, np.arange(1.0, 5), rtol=1e-14)
    # columns of lengths in [1, 2), so no singular value lies above sqrt(4 * 4)
    assert 1 <= found.s[0] <= 4


@pytest.mark.parametrize("solve", [lstsq_qr, lstsq_svd, lambda A, b: tikhonov(A, b, 1.0)])
def test_a_right_hand_side_with_nan_is_refused(solve):
    with pytest.raises(ValueError, match="b: nan in row 1"):
        solve(np.eye(3), [1.0, np.nan, 2.0])

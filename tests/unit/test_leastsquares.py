"""Least squares and pseudo-inverse against fractions worked out by hand."""

from math import sqrt

import numpy as np
import pytest

from svdflow.linalg import lstsq_svd, pinv

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

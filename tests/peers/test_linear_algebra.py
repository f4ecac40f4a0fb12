"""Where NumPy says nothing of digits that it has lost; tests/unit/test_audit_traps.py has svdflow's verdicts."""

import warnings

import mpmath
import numpy as np
import pytest
import scipy.linalg

from svdflow.selfcheck.strd import digits, fit


def hilbert_condition(n):
    """s_1 / s_n of the Hilbert matrix, to 60 digits."""
    with mpmath.workdps(60):
        exact = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                exact[i, j] = mpmath.mpf(1) / (i + j + 1)
        values = mpmath.eigsy(exact, eigvals_only=True)
        return float(max(values) / min(values))


def test_numpy_cond_saturates():
    kappa = hilbert_condition(20)
    assert kappa == pytest.approx(2.45e28, rel=0.01)
    assert np.linalg.cond(scipy.linalg.hilbert(20)) < 1e-8 * kappa


def test_numpy_solve_is_silent_on_hilbert_14():
    H = scipy.linalg.hilbert(14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = np.linalg.solve(H, H @ np.ones(14))
    assert np.abs(x - 1).max() > 1e-2


def test_numpy_lstsq_loses_a_rank_of_filip_and_nothing_is_said():
    data = fit("Filip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _, rank, _ = np.linalg.lstsq(data.A, data.b, rcond=None)
    assert rank < data.A.shape[1]
    assert digits(x.tolist(), data.certified) < 1

"""What the truncated SVD promises, over as many seeds as the promise names; minutes. tests/unit has smaller twins."""

import numpy as np
import pytest

from svdflow import truncated_svd
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
MATRICES = 5  # of each kind; the method is invariant under rotations, so its own seed is what matters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "reads"), [("1/sqrt i", 4), ("1/i", 3)])
def test_reads_to_a_hundredth(name, reads, dtype):
    s = SPECTRA[name](2000)
    A = mixed(s, (20_000, 2000), seed=1, dtype=dtype)
    for seed in range(5):
        assert_reads(A, s, 50, reads, seed)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize(("method", "seeds"), [(m, 200 if m == "krylov" else 20) for m in SEARCHES])
def test_certificates_hold(name, dtype, method, seeds):
    verdicts = []
    for number in range(MATRICES):
        A = mixed(SPECTRA[name](400), (600, 400), seed=number, dtype=dtype)
        verdicts += [
            judged(A, truncated_svd(A, 20, method=method, seed=seed, engine=1))
            for seed in range(number, seeds, MATRICES)
        ]
    assert_certified(verdicts)


TOLERANCES = [
    (name, tol, make, seeds)
    for make, seeds in (("dense", 50), ("sparse", 20))
    for name in SPECTRA
    for tol in (1e-1, 1e-2, 1e-4)
]


@pytest.mark.parametrize(("name", "tol", "make", "seeds"), TOLERANCES)
def test_converged_means_within_tol(name, tol, make, seeds):
    m, n, k = 900, 700, 20
    s = SPECTRA[name](n)
    errors = []
    for number in range(MATRICES):
        A = mixed(s, (m, n), seed=number) if make == "dense" else rotated(s, m, n, number)
        for seed in range(number, seeds, MATRICES):
            result = truncated_svd(A, k, method="krylov", tol=tol, seed=seed, engine=1)
            if result.info.reason == "converged":
                errors.append(pve(A, result, s))
    assert_honest(errors, tol)


FORTIES = np.r_[np.repeat(1 / np.arange(1, 6.0), 40), 0.05 * np.arange(1, 201.0) ** -0.5]


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("method", ["shift", "lanczos", "krylov"])
def test_forty_copies_of_each(method, tol):
    s = np.sort(FORTIES)[::-1]
    errors = []
    for seed in range(20):
        A = rotated(s, 1500, 700, seed)
        result = truncated_svd(A, 50, method=method, tol=tol, seed=seed, engine=1)
        if result.info.reason == "converged":
            errors.append(pve(A, result, s))
    assert_honest(errors, tol)

"""Rank rules against closed forms and simulation."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from svdflow.linalg import ranks


def noisy(shape, rank, strength, seed, sigma=1.0):
    """`rank` equal spikes of `strength` times the noise edge scale, in white noise."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((side, max(rank, 1))))[0][:, :rank] for side in shape)
    return strength * sqrt(max(shape)) * sigma * u @ v.T + sigma * rng.standard_normal(shape)


def test_rank_for_energy_by_hand():
    s = np.array([3.0, 2.0, 1.0, 1.0])  # energies 9, 4, 1, 1 of 15
    assert ranks.rank_for_energy(s, 9 / 15) == 1
    assert ranks.rank_for_energy(s, 0.61) == 2
    assert ranks.rank_for_energy(s, 1.0) == 4
    assert ranks.rank_for_energy(s[:2], 0.9, total_energy=15.0) is None
    assert ranks.rank_for_energy(s[:2], 0.8, total_energy=15.0) == 2
    assert ranks.rank_for_energy(np.zeros(3), 0.9) == 0
    assert ranks.rank_for_error(s, sqrt(2 / 15)) == 2
    assert ranks.rank_for_error(s, 0.0) == 4
    assert ranks.rank_for_error(s[:2], sqrt(2 / 15), total_energy=15.0) == 2
    assert ranks.rank_for_error(s[:2], 0.1, total_energy=15.0) is None


@pytest.mark.parametrize(("error", "rank"), [(1e-12, 40), (0.9e-8, 24), (1.1e-8, 20), (0.1, 20), (0.0, 40)])
def test_small_errors_are_told_apart_by_the_tail(error, rank):
    """Of 20 ones and 20 times 1e-8, k of the small ones left out make the error ``1e-8 sqrt(k / 20)``."""
    assert ranks.rank_for_error(np.r_[np.ones(20), np.full(20, 1e-8)], error) == rank


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.01, 1))
def test_rank_for_energy_is_the_least_that_reaches(values, energy):
    s = np.sort(values)[::-1]
    share = np.cumsum(s**2) / np.sum(s**2)
    k = ranks.rank_for_energy(s, energy)
    assert share[k - 1] >= energy - 1e-12
    assert k == 1 or share[k - 2] < energy + 1e-12


def test_hard_threshold_closed_forms():
    assert ranks.hard_threshold(1.0) == pytest.approx(4 / sqrt(3), rel=1e-15)
    # Equation 11 at 1/2: 2 (3/2) + 4 / (3/2 + sqrt(1/4 + 7 + 1))
    assert ranks.hard_threshold(0.5) == pytest.approx(sqrt(3 + 4 / (1.5 + sqrt(8.25))), rel=1e-15)
    assert ranks.hard_threshold(1e-12) == pytest.approx(sqrt(2), rel=1e-6)


# omega(beta) = lambda_* / sqrt(mu_beta): Gavish and Donoho 2014, table IV, whose last digit is not exact (below).
@pytest.mark.parametrize(("beta", "omega"), [(0.05, 1.5194), (0.5, 2.1711), (1.0, 2.8582)])
def test_median_threshold_agrees_with_the_published_table(beta, omega):
    found = ranks.hard_threshold(beta) / sqrt(ranks.marchenko_pastur_median(beta))
    assert found == pytest.approx(omega, abs=2e-4)


def test_median_of_the_square_law_is_exact():
    """At beta = 1 the singular values follow the quarter circle; its median solves a closed equation."""
    s = sqrt(ranks.marchenko_pastur_median(1.0))
    assert (s * sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / np.pi == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 0.37, 0.9, 1.0])
def test_marchenko_pastur_median_halves_the_mass(beta):
    low, high = (1 - sqrt(beta)) ** 2, (1 + sqrt(beta)) ** 2

    def density(x):
        return sqrt(max(0.0, (high - x) * (x - low))) / (2 * np.pi * beta * x)

    median = ranks.marchenko_pastur_median(beta)
    assert quad(density, median, high, epsabs=1e-10)[0] == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("shape", [(300, 300), (150, 600), (600, 150)])
@pytest.mark.parametrize("known", [True, False])
def test_gavish_donoho_finds_the_planted_rank(shape, known):
    for seed in range(3):
        s = np.linalg.svd(noisy(shape, 4, 4.0, seed, sigma=0.3), compute_uv=False)
        assert ranks.gavish_donoho(s, shape, 0.3 if known else None) == 4
        assert ranks.sigma_from_singular_values(s, shape) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("shape", [(200, 200), (100, 1000)])
def test_pure_noise_has_rank_zero(shape):
    s = np.linalg.svd(noisy(shape, 0, 0.0, 5), compute_uv=False)
    assert ranks.gavish_donoho(s, shape) == 0 == ranks.gavish_donoho(s, shape, 1.0)
    assert not ranks.shrink(s, shape, 1.1).any()


def test_the_larger_side_scales_the_threshold():
    """Negative control for the fault of a peer, which takes the smaller side."""
    shape, just_above = (100, 1000), ranks.hard_threshold(0.1) * sqrt(1000) * 1.001
    assert ranks.gavish_donoho(np.array([just_above, just_above / 1.002]), shape, 1.0) == 1


def test_unknown_noise_needs_all_singular_values():
    with pytest.raises(ValueError, match="all 50 singular values"):
        ranks.gavish_donoho(np.ones(10), (50, 80))


@pytest.mark.parametrize("shape", [(400, 400), (200, 800)])
def test_frobenius_shrinkage_loses_what_theory_says(shape):
    """Asymptotic loss of one spike x: x^2 (1 - c^2 c~^2) (Gavish and Donoho 2017, section 3)."""
    x, beta = 3.0, min(shape) / max(shape)
    c2 = (x**4 - beta) / (x**4 + beta * x**2)
    ct2 = (x**4 - beta) / (x**4 + x**2)
    losses = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        u, v = (np.linalg.qr(rng.standard_normal((side, 1)))[0] for side in shape)
        clean = x * sqrt(max(shape)) * u @ v.T
        U, s, Vt = np.linalg.svd(clean + rng.standard_normal(shape), full_matrices=False)
        denoised = (U * ranks.shrink(s, shape, 1.0)) @ Vt
        losses.append(np.sum((denoised - clean) ** 2) / max(shape))
    assert np.mean(losses) == pytest.approx(x**2 * (1 - c2 * ct2), rel=0.12)


def test_shrinkers_by_hand():
    # beta = 1, y = 4: sqrt((16 - 2)^2 - 4) / 4 = sqrt(192) / 4; a published package gives 7.2 here.
    assert ranks.shrink(np.array([4.0]), (1, 1), 1.0)[0] == pytest.approx(sqrt(192) / 4)
    x2 = 0.5 * (14 + sqrt(192))
    assert ranks.shrink(np.array([4.0]), (1, 1), 1.0, "operator")[0] == pytest.approx(sqrt(x2))
    nuclear = (x2**2 - sqrt(x2) * 4 - 1) / (x2 * 4)
    assert ranks.shrink(np.array([4.0]), (1, 1), 1.0, "nuclear")[0] == pytest.approx(nuclear)
    assert ranks.shrink(np.array([5.0, 1.0]), (3, 3), 0.0).tolist() == [5.0, 1.0]
    with pytest.raises(ValueError, match="not one of"):
        ranks.shrink(np.array([4.0]), (1, 1), 1.0, "median")


def test_elbow_stands_before_the_floor():
    assert ranks.elbow(np.array([10.0**-i for i in range(5)] + [1e-5] * 20)) == 5
    assert ranks.elbow(np.zeros(4)) == 0
    assert ranks.elbow(np.array([1.0])) == 1

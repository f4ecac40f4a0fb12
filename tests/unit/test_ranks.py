"""Rank rules against closed forms and simulation."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from svdflow import ranks


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
    assert np.r_[0.0, share][k - 1] < energy + 1e-12


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
    assert not ranks.shrunk_values(s, shape, 1.1).any()


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
        denoised = (U * ranks.shrunk_values(s, shape, 1.0)) @ Vt
        losses.append(np.sum((denoised - clean) ** 2) / max(shape))
    assert np.mean(losses) == pytest.approx(x**2 * (1 - c2 * ct2), rel=0.12)


def test_shrinkers_by_hand():
    # beta = 1, y = 4: sqrt((16 - 2)^2 - 4) / 4 = sqrt(192) / 4; a published package gives 7.2 here.
    assert ranks.shrunk_values(np.array([4.0]), (1, 1), 1.0)[0] == pytest.approx(sqrt(192) / 4)
    x2 = 0.5 * (14 + sqrt(192))
    assert ranks.shrunk_values(np.array([4.0]), (1, 1), 1.0, "operator")[0] == pytest.approx(sqrt(x2))
    nuclear = (x2**2 - sqrt(x2) * 4 - 1) / (x2 * 4)
    assert ranks.shrunk_values(np.array([4.0]), (1, 1), 1.0, "nuclear")[0] == pytest.approx(nuclear)
    assert ranks.shrunk_values(np.array([5.0, 1.0]), (3, 3), 0.0).tolist() == [5.0, 1.0]
    with pytest.raises(ValueError, match="not one of"):
        ranks.shrunk_values(np.array([4.0]), (1, 1), 1.0, "median")


def test_elbow_stands_before_the_floor():
    assert ranks.elbow(np.array([10.0**-i for i in range(5)] + [1e-5] * 20)) == 5
    assert ranks.elbow(np.zeros(4)) == 0
    assert ranks.elbow(np.array([1.0])) == 1


SPIKES = np.array([4.0, 3.4, 2.8, 2.2, 1.6])  # over sqrt(larger side) sigma
SHAPES = [(200, 200), (200, 800), (100, 4000)]


def spiked(shape, seed):
    """Signal and white noise of level 1."""
    rng = np.random.default_rng(1000 + seed)
    u, v = (np.linalg.qr(rng.standard_normal((side, len(SPIKES))))[0] for side in shape)
    return (u * SPIKES * sqrt(max(shape))) @ v.T, rng.standard_normal(shape)


def spectrum(A):
    return np.linalg.svd(A, compute_uv=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_rules_find_the_rank_that_theory_gives(shape):
    """A spike x is seen at sqrt((x + 1/x)(x + beta/x)) (Benaych-Georges and Nadakuditi 2012, section 3.1)."""
    beta = min(shape) / max(shape)
    seen = np.sqrt((SPIKES + 1 / SPIKES) * (SPIKES + beta / SPIKES))
    due = int(np.sum(seen > ranks.hard_threshold(beta)))
    hits = dict.fromkeys(["known", "median", "screenot", "silent"], 0)
    for seed in range(40):
        signal, noise = spiked(shape, seed)
        s, alone = spectrum(signal + noise), spectrum(noise)
        hits["known"] += ranks.gavish_donoho(s, shape, 1.0) == due
        hits["median"] += ranks.gavish_donoho(s, shape) == due
        hits["screenot"] += ranks.screenot(s, shape) == due
        hits["silent"] += (
            ranks.gavish_donoho(alone, shape, 1.0)
            + ranks.gavish_donoho(alone, shape)
            + ranks.screenot(alone, shape)
            == 0
        )
    assert all(n >= 38 for n in hits.values()), hits
    assert hits["silent"] == 40


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_noise_level_are_those_of_theory(shape):
    beta, scale = min(shape) / max(shape), max(shape)
    aligned = (1 - beta / SPIKES**4) ** 2 / (
        (1 + beta / SPIKES**2) * (1 + 1 / SPIKES**2)
    )  # cos^2 of u times that of v
    due = np.sum(SPIKES**2 * (1 - aligned))  # Gavish and Donoho 2017, section III.A
    losses, sigmas = [], []
    for seed in range(40):
        signal, noise = spiked(shape, seed)
        U, s, Vt = np.linalg.svd(signal + noise, full_matrices=False)
        estimate = (U * ranks.shrunk_values(s, shape, 1.0)) @ Vt
        losses.append(np.sum((estimate - signal) ** 2) / scale)
        sigmas.append(ranks.sigma_from_singular_values(s, shape))
    assert np.mean(losses) == pytest.approx(due, rel=0.03)
    assert np.mean(sigmas) == pytest.approx(1, abs=0.015)  # the median stands half the rank too high


def test_mp_pca_counts_what_rises_above_the_bulk():
    found = [ranks.mp_pca(spectrum(sum(spiked((100, 400), seed))), (100, 400)) for seed in range(20)]
    assert np.mean(np.array(found) == 5) >= 0.8
    pure = [ranks.mp_pca(spectrum(spiked((100, 400), seed)[1]), (100, 400)) for seed in range(20)]
    assert np.mean(np.array(pure) == 0) >= 0.8 and max(pure) <= 1
    assert ranks.mp_pca(np.zeros(5), (5, 9)) == 0
    with pytest.raises(ValueError, match="all 5 singular values"):
        ranks.mp_pca(np.ones(3), (5, 9))


@pytest.mark.parametrize(("shape", "most", "threshold"), [((100, 100), 5, 4 / sqrt(3)), ((60, 240), 5, None)])
def test_screenot_tends_to_the_threshold_of_white_noise(shape, most, threshold):
    """Donoho, Gavish and Romanov (2023), section 1.3: for white noise it is that of Gavish and Donoho."""
    threshold = threshold or ranks.hard_threshold(min(shape) / max(shape))
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        big = tuple(4 * side for side in shape)
        found.append(ranks.screenot_threshold(spectrum(rng.standard_normal(big)), big, most) / sqrt(max(big)))
    assert np.mean(found) == pytest.approx(threshold, rel=0.02)


AUTHORS = (8.060941173088123, 5.834035004943539)


def test_screenot_equals_the_authors_package():
    """screenot 0.0.2, ``adaptiveHardThresholding(np.diag(s), k)`` on these values, bisection to 1e-5."""
    s = 10.0 / np.arange(1, 41) ** 0.5
    assert ranks.screenot_threshold(s, (40, 40), 3) == pytest.approx(AUTHORS[0], rel=1e-4)
    assert ranks.screenot_threshold(s, (40, 40), 8) == pytest.approx(AUTHORS[1], rel=1e-4)


def test_screenot_sees_through_coloured_noise():
    """Rows of unequal noise: the white-noise rule with the median takes noise for signal, ScreeNOT does not."""
    rng = np.random.default_rng(3)
    level = np.r_[np.ones(80), np.full(20, 3.0)]
    noise = level[:, None] * rng.standard_normal((100, 300))
    s = spectrum(noise)
    assert ranks.gavish_donoho(s, noise.shape) > 5
    assert ranks.screenot(s, noise.shape) == 0


def by_definition(s, shape, sigma, threshold):
    """The risk as Candes, Sing-Long and Trzasko write it."""
    divergence = sum((v > threshold) + abs(shape[0] - shape[1]) * max(0, 1 - threshold / v) for v in s)
    for i, a in enumerate(s):
        divergence += 2 * sum(a * max(a - threshold, 0) / (a**2 - b**2) for j, b in enumerate(s) if j != i)
    return -np.prod(shape) * sigma**2 + np.sum(np.minimum(threshold**2, s**2)) + 2 * sigma**2 * divergence


@pytest.mark.parametrize("shape", [(30, 20), (25, 25), (12, 40)])
def test_no_threshold_has_less_unbiased_risk(shape):
    rng = np.random.default_rng(shape[0])
    A = 4 * rng.standard_normal((shape[0], 2)) @ rng.standard_normal((2, shape[1])) + rng.standard_normal(
        shape
    )
    s = spectrum(A)
    threshold = ranks.sure_soft_threshold(s, shape, 1.0)
    least = by_definition(s, shape, 1.0, threshold)
    assert all(
        by_definition(s, shape, 1.0, t) >= least - 1e-9 * abs(least) for t in np.linspace(0.01, s[0], 500)
    )
    assert ranks.sure(s, shape, 1.0) == np.sum(s > threshold)


def test_the_unbiased_risk_is_unbiased():
    """Its mean over draws is the true error of the soft threshold, to three standard errors."""
    rng = np.random.default_rng(8)
    X = 6 * np.outer(rng.standard_normal(15), rng.standard_normal(12)) / 5
    gaps = []
    for _ in range(300):
        U, s, Vt = np.linalg.svd(X + rng.standard_normal(X.shape), full_matrices=False)
        estimate = (U * ranks.soft_threshold(s, 4.0)) @ Vt
        gaps.append(by_definition(s, X.shape, 1.0, 4.0) - np.sum((estimate - X) ** 2))
    assert abs(np.mean(gaps)) <= 3 * np.std(gaps) / sqrt(len(gaps))


def test_soft_threshold_of_coincident_values_is_finite():
    s = np.array([3.0, 3.0, 3.0, 1.0, 1.0])
    assert 0 <= ranks.sure_soft_threshold(s, (5, 7), 0.5) <= 3
    assert ranks.sure_soft_threshold(np.zeros(4), (4, 4), 1.0) == 0 == ranks.sure(np.zeros(4), (4, 4), 1.0)


def test_divergence_counts_the_zeros_of_a_deficient_matrix():
    """Zero values are partners to every component above the threshold; leaving them out halves the threshold here."""
    shape, s = (20, 30), np.r_[9.0, 6.0, np.zeros(18)]
    grid = np.linspace(0.01, 9, 3000)
    # Values of 1e-6 stand for the zeros in the definition, whose pairs of zeros are 0 / 0.
    apart = np.r_[9.0, 6.0, 1e-6 * np.arange(18, 0, -1)]
    least = min(by_definition(apart, shape, 1.0, t) for t in grid)
    found = by_definition(apart, shape, 1.0, ranks.sure_soft_threshold(s, shape, 1.0))
    assert found <= least + 1e-6 * abs(least)
    assert by_definition(apart, shape, 1.0, 1.4555) > least + 40  # the threshold without the zeros


@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_rules_do_not_depend_on_the_unit(scale):
    A = noisy((60, 90), 3, 4.0, 1)
    s = spectrum(A)
    for rule in (ranks.screenot, ranks.mp_pca, ranks.gavish_donoho):
        assert rule(s * scale, A.shape) == rule(s, A.shape)
    assert ranks.sure(s * scale, A.shape, scale) == ranks.sure(s, A.shape, 1.0)


def test_rounding_is_no_signal():
    """A noise-free matrix of rank 1 has one component, whatever its last digits say."""
    A = np.outer(np.arange(1.0, 21), np.ones(30))
    s = spectrum(A)
    for rule in (ranks.gavish_donoho, ranks.mp_pca, ranks.screenot):
        assert rule(s, A.shape) == 1
    assert ranks.gavish_donoho(s, A.shape, 0.0) == 1


def test_bi_cross_validation_by_definition():
    """Errors of all ranks against the formula itself, pseudo-inverses by NumPy."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((9, 8))
    from svdflow.ranks.cross_validation import _errors

    rows, columns = np.array([0, 3, 5]), np.array([1, 2, 6, 7])
    others = [i for i in range(9) if i not in rows], [j for j in range(8) if j not in columns]
    U, s, Vt = np.linalg.svd(A[np.ix_(*others)], full_matrices=False)
    for k, error in enumerate(_errors(A, rows, columns, 4)):
        low = (U[:, :k] * s[:k]) @ Vt[:k]
        guess = A[np.ix_(rows, others[1])] @ np.linalg.pinv(low) @ A[np.ix_(others[0], columns)]
        assert error == pytest.approx(np.sum((A[np.ix_(rows, columns)] - guess) ** 2), rel=1e-9)


def test_bi_cross_validation_finds_planted_ranks():
    for rank in (0, 1, 5):
        found = [
            ranks.bi_cross_validation(noisy((80, 100), rank, 4.0, seed), max_rank=20, seed=seed)
            for seed in range(8)
        ]
        assert np.mean(np.array(found) == rank) >= 0.75, (rank, found)
    with pytest.raises(ValueError, match="cannot be held out"):
        ranks.bi_cross_validation(np.ones((1, 5)))
    with pytest.raises(ValueError, match="finite"):
        ranks.bi_cross_validation(np.full((5, 5), np.nan))


def test_rules_say_why_they_cannot_be_applied():
    A = noisy((30, 40), 3, 4.0, 0)
    s = spectrum(A)
    whole = ranks.Evidence(s, A.shape, 1.0, float(np.linalg.norm(A)), True, lambda: A)
    part = ranks.Evidence(s[:5], A.shape, None, whole.norm, False, None)
    for name, rule in ranks.RANK_RULES.items():
        assert ranks.applicable(rule, whole) == ""
        assert 0 <= rule.code()(whole) <= 30, name
        assert bool(ranks.applicable(rule, part)) == bool(rule.needs), name
    assert ranks.RANK_RULES["gavish_donoho"].code()(whole) == 3
    assert "max_rank" in ranks.applicable(ranks.RANK_RULES["mp_pca"], part)


@pytest.mark.parametrize("name", ranks.RANK_RULES)
@pytest.mark.parametrize("A", [np.zeros((6, 9)), np.ones((6, 9)), np.eye(7), np.ones((2, 2))], ids=str)
def test_rules_survive_awkward_matrices(name, A):
    evidence = ranks.Evidence(spectrum(A), A.shape, 0.0, float(np.linalg.norm(A)), True, lambda: A)
    assert 0 <= ranks.RANK_RULES[name].code()(evidence) <= min(A.shape)

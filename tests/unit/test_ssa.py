"""Singular spectrum analysis against the algebra of Hankel matrices and bounds on the error of a sinusoid."""

import numpy as np
import pytest
import scipy.linalg

from svdflow.denoisers.methods.ssa import noise_edge, ssa

EPS = np.finfo(np.float64).eps
T = np.arange(120)

# Series of known Hankel rank: a pole each, as often as it is repeated.
EXACT = {
    "constant": (np.full(120, 4.0), 1),
    "line": (3.0 + 0.5 * T, 2),
    "parabola": (1.0 - T + 0.02 * T**2, 3),
    "exponential": (np.exp(-T / 40), 1),
    "sinusoid": (np.sin(0.7 * T + 0.3), 2),
    "damped": (np.exp(-T / 50) * np.cos(0.4 * T), 2),
    "alternating": ((-1.0) ** T, 1),
    "sum": (2 + np.exp(-T / 30) + np.exp(-T / 60) * np.cos(0.9 * T), 4),
    "complex": (np.exp((0.6j - 0.01) * T), 1),
}


@pytest.mark.parametrize("window", [None, 20, 100])
@pytest.mark.parametrize("name", EXACT)
def test_a_sum_of_damped_exponentials_comes_back_at_its_rank(name, window):
    series, rank = EXACT[name]
    L = window or 60
    assert np.linalg.matrix_rank(scipy.linalg.hankel(series[:L], series[L - 1 :])) == rank
    got = ssa(series, window=window, rank=rank)
    # The truncated part is rounding of the SVD: 120 eps of the norm, about sqrt(L K) times the values.
    np.testing.assert_allclose(got.values, series, atol=120 * EPS * 60 * np.abs(series).max())
    less = ssa(series, window=window, rank=rank - 1).values
    assert np.abs(less - series).max() > 1e-3 * np.abs(series).max()


def test_the_steps_are_those_of_the_book():
    """Embedding, SVD and diagonal averaging with scipy's hankel and explicit means."""
    rng = np.random.default_rng(0)
    series = rng.standard_normal(23)
    U, s, Vt = np.linalg.svd(scipy.linalg.hankel(series[:9], series[8:]))
    low = np.fliplr((U[:, :3] * s[:3]) @ Vt[:3])
    means = [np.diagonal(low, offset).mean() for offset in range(14, -9, -1)]
    np.testing.assert_allclose(ssa(series, window=9, rank=3).values, means, atol=50 * EPS)
    # The transposed trajectory matrix holds the same series.
    np.testing.assert_allclose(ssa(series, window=15, rank=3).values, means, atol=50 * EPS)


def test_the_error_of_a_sinusoid_lies_between_its_bounds():
    """Noise of variance 1 on r = 2 exponentials, T = 400, L = K = 200.

    Below: a real sinusoid has three parameters, so unbiased estimates of its values have a summed variance of 3 at
    least (Cramer and Rao). Above: a projection of rank r of the trajectory matrix keeps at most r (L + K) of the
    noise, each row or column of which has the covariance of white noise; averaging along diagonals only lowers
    it. In the norm that counts a value as often as the matrix does, that is r (L + K) / (L K) = 0.02.
    """
    length, draws = 400, 40
    clean = 2 * np.sin(0.31 * np.arange(length))
    noise = np.random.default_rng(1).standard_normal((length, draws))
    found = ssa(clean[:, None] + noise, rank=2)
    squares = np.mean((found.values - clean[:, None]) ** 2, axis=1)
    assert squares.sum() > 3 * (1 - 4 * np.sqrt(2 / (3 * draws)))
    counts = np.minimum(np.arange(length) + 1, length - np.arange(length))
    counts = np.minimum(counts, 200)
    assert np.sum(counts * squares) / np.sum(counts) < 0.02
    # So the root of the mean square falls sevenfold at the least.
    assert np.sqrt(squares.mean()) < 1 / 7


def test_noise_passes_the_edge_about_once_in_twenty():
    noise = np.random.default_rng(2).standard_normal((100, 2000))
    passed = np.mean(ssa(noise, sigma=1.0).maps["rank"] > 0)
    assert 0.02 < passed < 0.1
    # The edge of independent entries, sqrt 50 + sqrt 51, is no edge here.
    largest = [scipy.linalg.svdvals(scipy.linalg.hankel(x[:50], x[49:]))[0] for x in noise[:, :200].T]
    assert np.mean(np.array(largest) > 50**0.5 + 51**0.5) > 0.2
    assert noise_edge((50, 51)) == noise_edge((51, 50)) > 50**0.5 + 51**0.5


@pytest.mark.parametrize("window", [50, 100, 200])
def test_the_noise_level_is_found(window):
    noise = 3.0 * np.random.default_rng(3).standard_normal((400, 60))
    sigma = ssa(noise, window=window).maps["sigma"]
    # One series of 400 tells a deviation to 1 / sqrt(800) at best, and its median singular value to twice that.
    assert sigma.mean() == pytest.approx(3.0, rel=0.03 + 3 * 2 / np.sqrt(800 * 60))


@pytest.mark.parametrize("sigma", [None, 1.0])
def test_the_edge_finds_the_rank(sigma):
    t = np.arange(400)
    clean = 3 * np.sin(0.31 * t) + 3 * np.exp(-t / 130)
    noise = np.random.default_rng(4).standard_normal((400, 30))
    found = ssa(clean[:, None] + noise, sigma=sigma)
    assert np.mean(found.maps["rank"] == 3) > 0.9
    # The threshold for independent entries lets noise in.
    other = ssa(clean[:, None] + noise, sigma=sigma, rule="gavish_donoho")
    assert np.linalg.norm(other.values - clean[:, None]) > np.linalg.norm(found.values - clean[:, None])


def test_shrinkage_keeps_what_is_far_above_noise():
    series, _ = EXACT["sum"]
    np.testing.assert_allclose(ssa(series, sigma=0.0, rule="shrink").values, series, atol=1e-12)
    assert np.abs(ssa(series, sigma=1e6, rule="shrink").values).max() == 0


def test_columns_are_independent_and_threads_change_no_bits():
    series = np.random.default_rng(5).standard_normal((300, 70))
    whole = ssa(series, threads=1)
    np.testing.assert_array_equal(ssa(series, threads=3).values, whole.values)
    assert whole.maps["rank"].shape == whole.maps["sigma"].shape == (70,)
    for column in (0, 69):
        np.testing.assert_array_equal(ssa(series[:, column]).values, whole.values[:, column])


def test_types_and_the_shortest_series():
    assert ssa(np.arange(4), rank=2).values == pytest.approx(np.arange(4), abs=1e-14)
    for given, returned in (("int16", "float64"), ("float32", "float32"), ("complex64", "complex64")):
        assert ssa(np.arange(9).astype(given)).values.dtype == returned


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        (np.ones(3), {}, "too short"),
        (np.ones((5, 5, 5)), {}, r"\(T,\)"),
        (np.array([1.0, np.nan, 2.0, 3.0]), {}, "NaN"),
        (np.array(["a"] * 9), {}, "numbers"),
        (np.ones(9), {"window": 9}, "between 2 and 8"),
        (np.ones(9), {"window": 1}, "between 2 and 8"),
        (np.ones(9), {"rank": 5}, "between 0 and 4"),
        (np.ones(9), {"rule": "edges"}, "edge"),
        (np.ones((9, 3)), {"sigma": np.ones(2)}, "sigma"),
        (np.ones(9), {"sigma": -1.0}, "sigma"),
    ],
)
def test_bad_input_is_named(series, options, message):
    with pytest.raises(ValueError, match=message):
        ssa(series, **options)

"""The Anscombe transform against sums over the Poisson law, and the bias of the algebraic inverse as the control."""

import numpy as np
import pytest
from scipy.stats import poisson

from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.poisson import anscombe, denoise_poisson, inverse_anscombe

COUNTS = np.arange(2000)


def moments(rate, read=0.0):
    """Mean and deviation of the transform of Poisson counts plus normal noise: a sum, and Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = anscombe(COUNTS[:, None] + read * nodes, sigma=read)
    law = poisson.pmf(COUNTS, rate)[:, None] * (weights / weights.sum())
    mean = np.sum(law * values)
    return mean, np.sqrt(np.sum(law * values**2) - mean**2)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 1, 2, 4, 8, 30, 300])
def test_the_inverse_is_unbiased_and_the_algebraic_one_is_not(rate):
    mean, _ = moments(rate)
    assert inverse_anscombe(mean) == pytest.approx(rate, rel=0.01)
    bias = mean**2 / 4 - 3 / 8 - rate
    assert bias < -0.01 * max(rate, 1) or rate > 25
    # Anscombe (1948): E f = 2 sqrt(rate) (1 + 1 / (8 rate) + ...), so the bias tends to -1/4.
    assert rate < 4 or bias == pytest.approx(-0.25, abs=0.002)


@pytest.mark.parametrize("read", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("rate", [0.5, 1, 4, 30])
def test_read_noise(rate, read):
    mean, deviation = moments(rate, read)
    # Makitalo and Foi (2013) report errors of the closed form of a few hundredths of a count.
    assert inverse_anscombe(mean, sigma=read) == pytest.approx(rate, abs=0.05)
    assert deviation == pytest.approx(1, abs=0.12 if rate < 4 else 0.035)


@pytest.mark.parametrize("rate", [4, 6, 10, 100])
def test_the_noise_is_one(rate):
    assert moments(rate)[1] == pytest.approx(1, abs=0.003)


def test_scale_and_offset_are_units_only():
    counts = np.array([0.0, 1.0, 7.0, 400.0])
    f = anscombe(3.0 * counts + 100, gain=3.0, sigma=6.0, offset=100.0)
    np.testing.assert_allclose(f, anscombe(counts, sigma=2.0), rtol=1e-14)
    np.testing.assert_allclose(
        inverse_anscombe(f, gain=3.0, sigma=6.0, offset=100.0),
        3 * inverse_anscombe(f, sigma=2.0) + 100,
        rtol=1e-14,
    )


def test_nothing_lies_below_zero_counts():
    assert anscombe(np.array([-5.0]))[0] == 0
    np.testing.assert_allclose(inverse_anscombe(np.array([0.0, 1.0, 2 * np.sqrt(3 / 8)])), 0, atol=1e-15)
    f = np.linspace(2 * np.sqrt(3 / 8), 50, 5000)
    assert np.all(np.diff(inverse_anscombe(f)) > 0)


def test_a_method_sees_unit_noise_and_its_result_comes_home():
    rate = np.repeat([2.0, 20.0, 200.0], 20_000).reshape(3, -1)
    image = 4.0 * np.random.default_rng(0).poisson(rate) + 10
    seen = {}

    def means(values, *, sigma, data_range):
        seen.update(sigma=sigma, range=data_range, deviation=values.std(axis=1))
        return Denoised(
            np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape), 1.0, {"rank": rate}
        )

    found = denoise_poisson(image, means, gain=4.0, offset=10.0, data_range=1020.0)
    assert seen["sigma"] == 1
    assert seen["range"] == pytest.approx(2 * np.sqrt(255 + 3 / 8) - 2 * np.sqrt(3 / 8))
    np.testing.assert_allclose(seen["deviation"][1:], 1, atol=0.02)
    # The mean of 20,000 values, of deviation sqrt(rate / 20,000), and the 0.4 % of the closed form.
    np.testing.assert_allclose((found.values[:, 0] - 10) / 4, rate[:, 0], rtol=0.004 + 4 / np.sqrt(20_000))
    assert found.rank == 1
    assert "rank" in found.maps


def test_the_range_is_that_of_the_image_where_none_is_given():
    ranges = []

    def method(values, *, sigma, data_range=255.0):
        ranges.append(data_range)
        return Denoised(values)

    def other(values, *, sigma):
        return Denoised(values)

    counts = np.array([[0.0, 3.0], [24.0, 8.0]])
    for apply in (method, other):
        found = denoise_poisson(counts, apply).values
        np.testing.assert_allclose(found, inverse_anscombe(anscombe(counts)))
    assert ranges == [pytest.approx(2 * np.sqrt(24 + 3 / 8) - 2 * np.sqrt(3 / 8))]


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([1.0], {"gain": 0.0}, "gain"),
        ([1.0], {"sigma": -1.0}, "sigma"),
        ([1.0], {"offset": np.inf}, "offset"),
        ([np.nan], {}, "finite"),
        ([1j], {}, "real"),
    ],
)
def test_bad_input_is_named(x, options, message):
    with pytest.raises(ValueError, match=message):
        anscombe(np.array(x), **options)

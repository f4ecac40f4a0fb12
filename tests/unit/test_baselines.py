"""scikit-image's denoisers behind one interface: the same numbers as its functions, units, colour, bad input."""

import builtins

import numpy as np
import pytest
from skimage import data, restoration

from svdflow.denoisers import nl_means, tv, wavelet

BASELINES = {"tv": tv, "wavelet": wavelet, "nl_means": nl_means}
SIGMA = 25.0
CAMERA = data.camera()[100:228, 150:278].astype(np.float64)
ASTRONAUT = data.astronaut()[0:128, 160:288].astype(np.float64)


def noisy(clean, sigma=SIGMA):
    return clean + sigma * np.random.Generator(np.random.Philox(7)).standard_normal(clean.shape)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


@pytest.fixture(params=BASELINES)
def method(request):
    if request.param == "wavelet":
        pytest.importorskip("pywt")
    return BASELINES[request.param]


@pytest.mark.parametrize("clean", [CAMERA, ASTRONAUT], ids=["grey", "colour"])
def test_noise_falls(method, clean):
    found = method(noisy(clean), SIGMA, data_range=255.0)
    assert found.values.shape == clean.shape
    assert found.values.dtype == np.float64
    assert np.isnan(found.rank)
    # On six photographs of 192 pixels the weakest of the three, wavelets, gained 8 dB.
    assert psnr(found.values, clean) > psnr(noisy(clean), clean) + 5
    assert np.abs(found.values.mean() - noisy(clean).mean()) < 1


def test_the_numbers_are_those_of_scikit_image():
    image = noisy(CAMERA)
    expected = restoration.denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=17.5, sigma=25.0, fast_mode=True
    )
    np.testing.assert_array_equal(nl_means(image, SIGMA).values, expected)
    expected = restoration.denoise_tv_chambolle(image, weight=22.5, eps=1e-5, max_num_iter=1000)
    np.testing.assert_array_equal(tv(image, SIGMA).values, expected)


def test_wavelets_are_averaged_as_cycle_spin_does():
    pytest.importorskip("pywt")
    options = {"sigma": SIGMA, "wavelet": "db2", "wavelet_levels": 5, "method": "BayesShrink", "mode": "soft"}
    image = noisy(CAMERA)  # 128 pixels: five levels of a filter of 4
    expected = restoration.cycle_spin(image, restoration.denoise_wavelet, max_shifts=3, func_kw=options)
    np.testing.assert_allclose(wavelet(image, SIGMA).values, expected, atol=1e-10)


@pytest.mark.parametrize("other", [0.5, 1.6])
def test_the_weight_of_total_variation_is_near_the_best(other):
    image = noisy(CAMERA)
    worse = restoration.denoise_tv_chambolle(image, weight=other * SIGMA, eps=1e-5, max_num_iter=1000)
    assert psnr(tv(image, SIGMA).values, CAMERA) > psnr(worse, CAMERA)


def test_the_unit_of_the_image_does_not_matter(method):
    image = noisy(CAMERA)
    counts = method(image, SIGMA, data_range=255.0).values
    shares = method(image / 255, SIGMA / 255, data_range=1.0).values
    # Iterations stop, and weights of patches are cut off, at rounding of another scale.
    np.testing.assert_allclose(255 * shares, counts, atol=0.02)


def test_integers_are_taken_as_they_are(method):
    image = np.clip(np.rint(noisy(CAMERA)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(method(image, SIGMA).values, method(image.astype(float), SIGMA).values)
    deep = (image.astype(np.uint16) * 257).astype(np.uint16)
    values = method(deep, 257 * SIGMA, data_range=65535.0).values
    np.testing.assert_allclose(values / 257, method(image, SIGMA).values, atol=0.02)


def test_without_noise_nothing_changes(method):
    np.testing.assert_array_equal(method(CAMERA, 0.0).values, CAMERA)


def test_small_images(method):
    for shape in ((1, 1), (2, 3), (1, 9)):
        assert method(np.ones(shape), 1.0).values == pytest.approx(np.ones(shape))


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pywt":
            raise ImportError("No module named 'pywt'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"svdflow\[wavelets\]"):
        wavelet(CAMERA, SIGMA)


@pytest.mark.parametrize(
    ("image", "sigma", "message"),
    [
        (np.ones(5), 1.0, r"\(H, W\)"),
        (np.ones((5, 5), complex), 1.0, "real"),
        (np.full((5, 5), np.inf), 1.0, "infinity"),
        (np.ones((5, 5)), -1.0, "sigma"),
        (np.ones((5, 5)), np.nan, "sigma"),
    ],
)
@pytest.mark.parametrize("name", BASELINES)
def test_bad_input_is_named(name, image, sigma, message):
    with pytest.raises(ValueError, match=message):
        BASELINES[name](image, sigma)

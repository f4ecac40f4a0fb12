"""Metrics equal scikit-image's and their closed forms."""

import warnings
from math import inf, isnan, log10

import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from svdflow.images.metrics import (
    SharedReference,
    bits_per_pixel,
    losses,
    psnr,
    relative_error,
    snr,
    ssim,
    window_count,
)


def peer_ssim(reference, image, data_range):
    return structural_similarity(
        reference.astype(float),
        image.astype(float),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def pictures():
    rng = np.random.default_rng(7)
    camera = data.camera()
    noisy = camera[:201, :163] + rng.normal(0, 20, (201, 163))
    deep = (data.moon()[:97, :130].astype(np.uint16) * 257, 65535)
    field = rng.standard_normal((60, 75)) * 1e-3 + 40.0
    return {
        "8 bit, odd size": (camera[:201, :163], noisy, 255),
        "window barely fits": (camera[:11, :11], camera[50:61, 50:61], 255),
        "one row of windows": (camera[:11, :300], camera[100:111, :300], 255),
        "strip boundary": (camera[:58, :58], noisy[:58, :58], 255),
        "one row beyond": (camera[:59, :107], noisy[:59, :107], 255),
        "16 bit": (deep[0], deep[0] // 3 + 100, deep[1]),
        "float far from zero": (field, field + 2e-4 * rng.standard_normal(field.shape), float(np.ptp(field))),
    }


PICTURES = pictures()


@pytest.mark.parametrize("case", PICTURES)
def test_psnr_is_that_of_scikit_image(case):
    reference, image, data_range = PICTURES[case]
    expected = peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=data_range)
    assert psnr(reference, image, data_range=data_range) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("case", PICTURES)
def test_ssim_is_that_of_scikit_image(case):
    reference, image, data_range = PICTURES[case]
    # float64 loses what |mean|^2 exceeds C2 by; "far from zero" is where scikit-image itself loses digits.
    tolerance = 1e-10 if case != "float far from zero" else 1e-6
    assert ssim(reference, image, data_range=data_range) == pytest.approx(
        peer_ssim(reference, image, data_range), abs=tolerance
    )


@pytest.mark.parametrize("case", PICTURES)
def test_fast_ssim_stays_within_its_promise(case):
    reference, image, data_range = PICTURES[case]
    image = image.astype(float)
    (loss,) = losses(reference, lambda i, j: [image[i:j]], 1, data_range=data_range)
    assert loss.ssim == pytest.approx(peer_ssim(reference, image, data_range), abs=1e-5)
    assert loss.squared_error == pytest.approx(np.sum((reference - image) ** 2.0), rel=1e-12)
    assert loss.squared_reference == pytest.approx(np.sum(reference.astype(float) ** 2), rel=1e-12)


def test_unsigned_differences_do_not_wrap():
    dark, light = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    assert psnr(dark, light, data_range=255) == pytest.approx(0.0, abs=1e-12)
    assert psnr(light, dark, data_range=255) == pytest.approx(0.0, abs=1e-12)


def test_closed_forms():
    image = np.full((20, 30), 100.0)
    # A constant shift d: mse = d^2. Constant images: SSIM is its luminance term.
    assert psnr(image, image + 5, data_range=255) == pytest.approx(20 * log10(255 / 5))
    luminance = (2 * 100 * 150 + (0.01 * 255) ** 2) / (100**2 + 150**2 + (0.01 * 255) ** 2)
    assert ssim(image, image + 50, data_range=255) == pytest.approx(luminance, abs=1e-12)
    assert relative_error(image, 1.25 * image) == pytest.approx(0.25)
    assert snr(image, 1.1 * image) == pytest.approx(20.0)
    assert bits_per_pixel(600, (20, 30)) == 8


def test_equal_images_are_perfect():
    camera = data.camera()[:64, :64]
    assert psnr(camera, camera, data_range=255) == inf
    assert snr(camera, camera) == inf
    assert relative_error(camera, camera) == 0
    assert ssim(camera, camera, data_range=255) == pytest.approx(1, abs=1e-12)
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.zeros(3), np.ones(3)) == inf


@pytest.mark.parametrize("shape", [(10, 50), (50, 10), (1, 1)])
def test_no_window_gives_nan_not_an_error(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isnan(ssim(np.ones(shape), np.ones(shape), data_range=1.0))
        (loss,) = losses(np.ones(shape), lambda i, j: [np.zeros((j - i, shape[1]))], 1, data_range=1.0)
    assert isnan(loss.ssim)
    assert loss.squared_error == np.prod(shape)


def test_psnr_takes_complex_values_and_ssim_refuses_them():
    state = np.full((16, 16), 3 + 4j)
    assert psnr(state, 0 * state, data_range=5) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="real 2-D planes"):
        ssim(state, state, data_range=5)


@pytest.mark.parametrize("data_range", [0, -1, float("nan"), inf])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_a_senseless_range_is_refused(metric, data_range):
    with pytest.raises(ValueError, match="data_range"):
        metric(np.ones((16, 16)), np.ones((16, 16)), data_range=data_range)


@pytest.mark.parametrize("metric", [relative_error, snr])
def test_other_shapes_are_refused(metric):
    with pytest.raises(ValueError, match="differ"):
        metric(np.ones((3, 4)), np.ones((4, 3)))


def test_ssim_sees_a_planted_fault():
    """Negative control: one pixel moved by one level changes the figure."""
    camera = data.camera()[:64, :64]
    spoiled = camera.copy()
    spoiled[30, 30] ^= 1
    assert ssim(camera, spoiled, data_range=255) < 1 - 1e-8


def test_one_reference_serves_many_images():
    camera = data.camera()[:40, :60]
    shared = SharedReference(camera, 255)
    for shift in (0, 3, 9):
        image = np.roll(camera, shift, axis=1)
        got = shared.ssim_sum(image) / window_count(camera.shape)
        assert got == pytest.approx(peer_ssim(camera, image, 255), abs=1e-10)

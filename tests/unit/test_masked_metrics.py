"""Metrics of valid pixels alone: a mask that leaves a rectangle is the crop; others by their definitions."""

import numpy as np
import pytest
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from svdflow import metrics

RNG = np.random.default_rng(5)
CLEAN = np.clip(120 + 40 * RNG.standard_normal((14, 12)).repeat(16, 0).repeat(18, 1), 0, 255)  # 224 x 216
IMAGE = CLEAN + 12 * RNG.standard_normal(CLEAN.shape)
IMAGE[2, 3] += 200
BOX = (slice(16, 208), slice(16, 192))  # 192 x 176, even offsets
RECTANGLE = np.zeros(CLEAN.shape, bool)
RECTANGLE[BOX] = True
SCATTERED = RNG.random(CLEAN.shape) > 0.001


def spoiled(image, mask):
    return np.where(mask, image, np.nan)


RELATIVE = {
    "psnr": lambda a, b, **k: metrics.psnr(a, b, data_range=255, **k),
    "relative_error": metrics.relative_error,
    "min-max": lambda a, b, **k: metrics.nrmse(a, b, normalization="min-max", **k),
    "mean": lambda a, b, **k: metrics.nrmse(a, b, normalization="mean", **k),
    "max_error": metrics.max_error,
    "snr": metrics.snr,
    "energy": lambda a, b, **k: metrics.explained_energy(a, b, centered=False, **k),
    "centred_energy": lambda a, b, **k: metrics.explained_energy(a, b, centered=True, **k),
    "ssim": lambda a, b, **k: metrics.ssim(a, b, data_range=255, **k),
    "ms_ssim": lambda a, b, **k: metrics.ms_ssim(a, b, data_range=255, **k),
    "whiteness": lambda a, b, **k: metrics.whiteness(b - a, **k),
    "residual_ratio": lambda a, b, **k: metrics.residual_ratio(b, a, 12.0, **k),
}


@pytest.mark.parametrize("name", RELATIVE)
def test_a_mask_that_leaves_a_rectangle_is_the_crop(name):
    figure = RELATIVE[name]
    masked = figure(spoiled(CLEAN, RECTANGLE), spoiled(IMAGE, RECTANGLE), mask=RECTANGLE)
    assert masked == pytest.approx(figure(CLEAN[BOX], IMAGE[BOX]), rel=1e-10)
    assert masked != pytest.approx(figure(CLEAN, IMAGE), rel=1e-10)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_mask_of_valid_pixels_alone_changes_nothing_and_one_of_none_gives_nan(name):
    figure, whole = RELATIVE[name], np.ones(CLEAN.shape, bool)
    assert figure(CLEAN, IMAGE, mask=whole) == pytest.approx(figure(CLEAN, IMAGE), rel=1e-12)
    assert np.isnan(figure(CLEAN, IMAGE, mask=~whole))


def test_the_crop_is_what_scikit_image_says_of_it():
    spoilt = spoiled(CLEAN, RECTANGLE), spoiled(IMAGE, RECTANGLE)
    a, b = CLEAN[BOX], IMAGE[BOX]
    found = metrics.psnr(*spoilt, data_range=255, mask=RECTANGLE)
    assert found == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-12)
    found = metrics.nrmse(*spoilt, normalization="min-max", mask=RECTANGLE)
    assert found == pytest.approx(normalized_root_mse(a, b, normalization="min-max"), rel=1e-12)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    found = metrics.ssim(*spoilt, data_range=255, mask=RECTANGLE)
    assert found == pytest.approx(structural_similarity(a, b, **options), abs=1e-10)


def test_scattered_holes_by_definition():
    a, b = CLEAN[SCATTERED], IMAGE[SCATTERED]
    spoilt = spoiled(CLEAN, SCATTERED), spoiled(IMAGE, SCATTERED)
    mse = np.mean((a - b) ** 2)
    assert metrics.psnr(*spoilt, data_range=255, mask=SCATTERED) == pytest.approx(10 * np.log10(255**2 / mse))
    assert metrics.max_error(*spoilt, mask=SCATTERED) == np.abs(a - b).max()
    # SSIM: scikit-image's map, of the windows that no hole touches.
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, full = structural_similarity(CLEAN, IMAGE, full=True, **options)
    kept = np.lib.stride_tricks.sliding_window_view(SCATTERED, (11, 11)).all(axis=(2, 3))
    assert 0.2 < kept.mean() < 0.99
    expected = full[5:-5, 5:-5][kept].mean()
    assert metrics.ssim(*spoilt, data_range=255, mask=SCATTERED) == pytest.approx(expected, abs=1e-10)


def test_where_no_window_is_whole_there_is_no_ssim():
    holes = np.ones(CLEAN.shape, bool)
    holes[::10, ::10] = False
    assert np.isnan(metrics.ssim(CLEAN, IMAGE, data_range=255, mask=holes))
    assert np.isnan(
        metrics.ms_ssim(CLEAN, IMAGE, data_range=255, mask=SCATTERED)
    )  # the coarsest scale has none
    assert np.isfinite(metrics.psnr(CLEAN, IMAGE, data_range=255, mask=holes))


@pytest.mark.parametrize("mask", [RECTANGLE, SCATTERED], ids=["rectangle", "scattered"])
def test_the_sweep_agrees_with_the_single_figures(mask):
    images = [spoiled(IMAGE, mask), CLEAN + 3.0]
    found = metrics.losses(
        spoiled(CLEAN, mask),
        lambda start, stop: (image[start:stop] for image in images),
        2,
        data_range=255,
        mask=mask,
    )
    for image, loss in zip(images, found, strict=True):
        assert loss.relative_error == pytest.approx(metrics.relative_error(CLEAN, image, mask=mask))
        assert loss.max_error == pytest.approx(metrics.max_error(CLEAN, image, mask=mask))
        assert loss.ssim == pytest.approx(metrics.ssim(CLEAN, image, data_range=255, mask=mask), abs=1e-5)
    (loss,) = metrics.losses(CLEAN, lambda a, b: [IMAGE[a:b]], 1, data_range=255, mask=np.zeros_like(mask))
    assert loss.squared_error == 0 and np.isnan(loss.ssim)


def test_a_residual_is_white_between_its_holes():
    """White noise of 40,000 values, a third of them missing, is white; a slope beneath it is not."""
    noise = RNG.standard_normal((200, 200))
    mask = RNG.random(noise.shape) > 1 / 3
    assert metrics.whiteness(spoiled(noise, mask), mask=mask) < 2.5
    assert metrics.whiteness(spoiled(noise + np.linspace(-2, 2, 200), mask), mask=mask) > 20
    sigma = np.where(mask, 2.0, 0.0)  # a map of the noise need not know what is missing
    assert metrics.residual_ratio(2 * noise, np.zeros_like(noise), sigma, mask=mask) == pytest.approx(
        1, abs=0.02
    )


@pytest.mark.parametrize("mask", [np.ones((3, 3), bool), RECTANGLE.astype(np.uint8)], ids=["shape", "type"])
@pytest.mark.parametrize("name", RELATIVE)
def test_a_mask_of_another_shape_or_type_is_refused(name, mask):
    with pytest.raises(ValueError, match="array of bool of shape"):
        RELATIVE[name](CLEAN, IMAGE, mask=mask)

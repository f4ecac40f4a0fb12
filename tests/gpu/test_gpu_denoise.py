"""Denoisers whose eigenproblems run on a CUDA device: the figures of NumPy, within a hundredth of a decibel."""

import numpy as np
import pytest
from skimage import data

from svdflow.denoisers import mppca, patch_svd, wnnm

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("cupy")]


def psnr(clean, image):
    return 10 * np.log10(255**2 / np.mean((clean - image) ** 2))


@pytest.mark.parametrize("method", [patch_svd, wnnm])
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_pictures_are_those_of_the_host(method, sigma):
    clean = data.camera()[::2, ::2].astype(float)
    noisy = clean + np.random.default_rng(1000).normal(0, sigma, clean.shape)
    host, device = (psnr(clean, method(noisy, sigma, passes=2, backend=b).values) for b in ("numpy", "cupy"))
    assert abs(host - device) <= 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_series_are_those_of_the_host(dtype):
    rng = np.random.default_rng(0)
    series = (
        rng.normal(size=(16, 14, 10, 1)) * rng.normal(size=40) + rng.normal(size=(16, 14, 10, 40))
    ).astype(dtype)
    host, device = (mppca(series, backend=b).values for b in ("numpy", "cupy"))
    # Decisions at a threshold may differ for a few windows; where they agree, so do values.
    assert np.linalg.norm(host - device) <= 1e-3 * np.linalg.norm(host)

"""Denoisers whose eigenproblems run on a CUDA device: the figures of NumPy, within a hundredth of a decibel."""

import numpy as np
import pytest
from skimage import data

from svdflow.compute import device_of
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


@pytest.mark.parametrize("method", [patch_svd, wnnm])
def test_flat_groups_are_left_as_they_are(method):
    """Their Gram matrices are zero, of which cuSOLVER has given NaN (cupy#6539)."""
    flat = np.full((64, 64), 100.0)
    flat[:, 40:] += np.random.default_rng(0).normal(0, 20, (64, 24))
    found = method(flat, 20, passes=1, backend="cupy").values
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[8:-8, 4:12], 100, atol=1e-3)


@pytest.mark.parametrize("k", [16, 36, 49, 81])
def test_a_batch_of_eigenproblems_is_right(cupy, k):
    """Residuals and orthogonality, not only pictures: batches have come back undone without an error (cupy#4847)."""
    rng = np.random.default_rng(k)
    G = rng.normal(size=(200, k, 2 * k)).astype(np.float32)
    G = G @ G.transpose(0, 2, 1)
    with device_of("cupy").errors():
        values, vectors = (
            np.asarray(device_of("cupy").get(part)) for part in cupy.linalg.eigh(cupy.asarray(G))
        )
    scale = np.abs(values).max(axis=1)[:, None, None]
    rounding = 16 * k * np.finfo(np.float32).eps
    assert (np.abs(G @ vectors - vectors * values[:, None, :]) / scale).max() < rounding
    assert np.abs(vectors.transpose(0, 2, 1) @ vectors - np.eye(k)).max() < rounding

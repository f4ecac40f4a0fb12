"""Weighted nuclear norms: the shrinker against brute force, the group kernel on host and device, and the denoiser."""

import array_api_compat.numpy as xp
import numpy as np
import pytest
from scipy.optimize import brentq
from skimage import data, restoration

from svdflow.compute import Device
from svdflow.denoisers.groups import BULK_EDGE, filter_groups, filter_groups_on_host
from svdflow.denoisers.methods.wnnm import WEIGHTED_NUCLEAR, wnnm
from svdflow.denoisers.passes import GroupFilter, denoise_planes
from unit.strict_device import StrictDevice, no_implicit_transfers


def noise(shape, sigma=1.0, seed=0):
    return sigma * np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def test_factors_are_the_fixed_point_of_the_weights():
    """x = s - C / x, its larger root; nothing where the weight at the best x = sqrt C exceeds s."""
    n, k = 90, 49
    C = 2 * np.sqrt(2 * n)
    s = np.linspace(0.1, 60, 200)
    ratio = s**2 / WEIGHTED_NUCLEAR.limit(n, k)
    for value, x in zip(s, ratio, strict=True):
        if value <= 2 * np.sqrt(C):
            assert x <= 1 + 1e-12
            continue
        assert x > 1
        root = brentq(lambda t, value=value: t - value + C / t, np.sqrt(C), value)
        assert WEIGHTED_NUCLEAR.factor(np, x) * value == pytest.approx(root, rel=1e-9)


@pytest.mark.parametrize("rule", [BULK_EDGE, WEIGHTED_NUCLEAR])
def test_silent_groups_are_the_ones_that_keep_nothing(rule):
    """The quick way and the eigenproblems agree on pure noise, weak and strong components, at all strengths."""
    # Eigenvalues of up to 2e3 limits: single precision turns subspaces by about 6e-8 x 2e3 over their gap.
    strength = np.geomspace(0.01, 30, 60)[:, None, None]
    Y = noise((60, 80, 36)) + strength * noise((60, 80, 1), seed=1) * noise((60, 1, 36), 0.3, seed=2)
    Y, variance = Y.astype(np.float32), np.linspace(4, 0.5, 60).astype(np.float32)
    for rank in (None, 1):
        quick, kept = filter_groups_on_host(Y, variance, rule, rank)
        plain, ranks = filter_groups(xp, Y, variance, rule, rank)
        np.testing.assert_array_equal(kept, ranks)
        assert np.max(np.abs(quick - plain) / np.abs(Y).max((1, 2), keepdims=True)) < 2e-4
    assert (ranks == 0).any() and (ranks > 0).any()


def test_device_computes_the_same():
    planes = (noise((1, 40, 44), 5) + 20 * (np.arange(44) > 20)).astype(np.float32)
    method = GroupFilter(6, 4, 6, (20, 20, 20), WEIGHTED_NUCLEAR, 0.1, 0.54, by_rank=False)
    host = denoise_planes(planes, 5.0, method, Device(), 1)
    with no_implicit_transfers():
        there = denoise_planes(planes, 5.0, method, StrictDevice(), 2)
    np.testing.assert_allclose(there.planes, host.planes, atol=1e-2)


def test_beats_non_local_means_and_does_not_depend_on_threads():
    clean = data.camera()[190:254, 200:264].astype(np.float64)
    noisy = clean + noise(clean.shape, 25)
    one, two = (wnnm(noisy, 25, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.values, two.values)
    peer = restoration.denoise_nl_means(noisy, h=15, sigma=25, patch_size=5, patch_distance=6)
    assert psnr(one.values, clean) > psnr(peer, clean) + 0.3
    assert one.maps["rank"].shape == clean.shape and one.maps["rank"].mean() > 0
    few = wnnm(noisy, 25, passes=1).values  # negative control: the weights need the passes
    assert psnr(few, clean) < psnr(peer, clean)


def test_no_noise_no_change_and_small_images():
    image = noise((9, 11), 10)
    np.testing.assert_array_equal(wnnm(image, 0).values, image)
    for shape in ((1, 3), (6, 6), (7, 7, 3)):
        assert np.isfinite(wnnm(noise(shape, 10), 10, passes=3).values).all()


def test_refuses():
    with pytest.raises(ValueError, match="wnnm: passes must be"):
        wnnm(np.ones((8, 8)), 1, passes=0)
    with pytest.raises(ValueError, match="wnnm: image must be"):
        wnnm(np.ones(8), 1)

"""MP-PCA of windows against dipy, random-matrix theory, and windows taken one by one with LAPACK's SVD."""

import sys
from pathlib import Path

import numpy as np
import pytest

from svdflow import ranks
from svdflow.denoisers.methods.mppca import mppca
from svdflow.denoisers.window_law import largest_of_noise, noise_of_spectrum
from svdflow.denoisers.windows import Windows, smallest_window
from unit.strict_device import StrictDevice, no_implicit_transfers

module = sys.modules[mppca.__module__]  # whose name is that of its function

EPS = np.finfo(np.float64).eps
# dipy 1.12.1: mppca(series.astype(float), patch_radius=1, return_sigma=True); no value is negative there.
DIPY = np.load(Path(__file__).parent / "data" / "mppca_dipy.npz")
AS_DIPY = {"estimator": "veraart", "weighting": "rank"}


def planted(space, length, rank, *, seed=0, scale=2.0, complex_=False):
    """A series of low rank about 50, and white noise of deviation 1."""
    rng = np.random.default_rng(seed)
    clean = 50 + scale * rng.standard_normal((*space, rank)) @ rng.standard_normal((rank, length))
    noise = rng.standard_normal(clean.shape)
    if complex_:
        noise = (noise + 1j * rng.standard_normal(clean.shape)) / np.sqrt(2)
    return clean, noise


# ---- against dipy


def test_the_mode_of_dipy_gives_its_stored_output():
    got = mppca(DIPY["series"], window=3, **AS_DIPY)
    # Same formulas in another order: a few eps times the ratio of the data to a weight.
    np.testing.assert_allclose(got.values, DIPY["values"], rtol=1e-10)
    np.testing.assert_allclose(got.maps["sigma"], DIPY["sigma"], rtol=1e-9)


@pytest.mark.parametrize("other", [{"estimator": "corrected"}, {"weighting": "uniform"}, {"demean": False}])
def test_other_modes_are_not_that_of_dipy(other):
    got = mppca(DIPY["series"], window=3, **(AS_DIPY | other))
    assert np.abs(got.values / DIPY["values"] - 1).max() > 1e-4


# ---- against theory


@pytest.mark.parametrize(
    ("space", "length", "rank"), [((24, 24), 60, 6), ((9, 9, 8), 64, 5), ((12, 12, 10), 20, 3)]
)
@pytest.mark.parametrize("complex_", [False, True])
def test_planted_rank_and_noise_are_found(space, length, rank, complex_):
    clean, noise = planted(space, length, rank, complex_=complex_)
    found = mppca(clean + noise)
    assert found.maps["rank"].shape == found.maps["sigma"].shape == space
    assert found.maps["sigma"].mean() == pytest.approx(1, rel=0.02)
    # Noise passes the edge of its law in few windows (Tracy-Widom), so a mean rank lies a little above.
    assert np.mean(np.abs(found.maps["rank"] - rank) < 0.5) > 0.95
    assert found.rank == pytest.approx(rank, abs=0.1)


def test_the_estimator_of_veraart_finds_too_little_noise():
    clean, noise = planted((12, 12, 10), 20, 3)
    # Of 20 components and 27 rows, 3 components take 3 rows of noise along: sqrt(1 - 3 / 27) = 0.94, or less.
    assert mppca(clean + noise, estimator="veraart").maps["sigma"].mean() < 0.95


def test_the_error_is_that_of_the_degrees_of_freedom():
    """Without overlap, a projection of rank p keeps the share (p (n - 1 + T - p) + T) / (n T) of the noise."""
    clean, noise = planted((40, 40), 50, 4, scale=20.0)
    found = mppca(clean + noise, window=10, stride=10, rank=4)
    share = (4 * (99 + 50 - 4) + 50) / (100 * 50)
    # Second-order terms are (sigma / s)^2, s about 20 sqrt(100 * 50); 16 windows of 630 freedoms: 1.4 % a deviation.
    assert np.mean((found.values - clean) ** 2) == pytest.approx(share, rel=0.06)
    assert np.all(found.maps["rank"] == 4)
    assert found.maps["sigma"].mean() == pytest.approx(1, rel=0.01)


def test_overlap_and_shrinkage_lower_the_error():
    clean, noise = planted((20, 20), 40, 3, scale=0.7)
    errors = [
        np.linalg.norm(mppca(clean + noise, window=7, sigma=1.0, **options).values - clean)
        for options in ({"stride": 7}, {"stride": 1}, {"stride": 1, "shrink": "frobenius"})
    ]
    assert errors[0] > errors[1] > errors[2]


def test_pure_noise_is_taken_to_its_mean():
    noise = np.random.default_rng(1).standard_normal((20, 20, 30))
    found = mppca(noise, threshold="gavish_donoho")
    assert found.rank == 0
    assert found.maps["sigma"].mean() == pytest.approx(1, rel=0.02)
    # What is left are means over 36 voxels.
    assert not mppca(noise, threshold="gavish_donoho", demean=False).values.any()
    assert np.std(found.values) < 1 / 6


def test_a_series_of_exact_rank_comes_back():
    clean, _ = planted((9, 8, 7), 30, 3)
    for options in ({}, {"rank": 3}, {"sigma": 0.0}, {"shrink": "frobenius", "sigma": 0.0}):
        np.testing.assert_allclose(mppca(clean, **options).values, clean, rtol=1e-11)
    constant = mppca(np.full((6, 6, 12), 7))
    np.testing.assert_array_equal(constant.values, 7.0)
    assert constant.rank == 0
    assert not constant.maps["sigma"].any()


# ---- against windows taken one by one


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(7, 6, 9), (7, 6, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize(
    ("options", "unit"),
    [
        ({"threshold": "edge"}, lambda n, t: n**0.5 + t**0.5),
        (
            {"threshold": "gavish_donoho"},
            lambda n, t: ranks.hard_threshold(min(n, t) / max(n, t)) * max(n, t) ** 0.5,
        ),
        ({"rank": 2}, None),
        ({"shrink": "nuclear"}, None),
    ],
    ids=["edge", "gavish_donoho", "rank", "shrink"],
)
def test_windows_one_by_one(shape, complex_, options, unit):
    clean, noise = planted(shape[:2], shape[2], 2, complex_=complex_, scale=1.0)
    series = clean + noise
    sigma = np.linspace(0.8, 1.4, 42).reshape(7, 6)
    total, weight = np.zeros_like(series), np.zeros(shape[:2])
    for i in (0, 2, 4):  # 7 = 3 + 2 * 2
        for j in (0, 2, 3):  # 6: the last window touches the border
            part = (slice(i, i + 3), slice(j, j + 3))
            X = series[part].reshape(9, -1)
            mean = X.mean(axis=0)
            U, s, Vt = np.linalg.svd(X - mean, full_matrices=False)
            level = np.sqrt(np.mean(sigma[part] ** 2))
            if "shrink" in options:
                s = ranks.shrunk_values(s, X.shape, level, "nuclear")
            elif "rank" in options:
                s[2:] = 0
            else:
                s[s < unit(*X.shape) * level] = 0
            kept = np.count_nonzero(s)
            total[part] += ((U * s) @ Vt + mean).reshape(3, 3, -1) / (1 + kept)
            weight[part] += 1 / (1 + kept)
    got = mppca(series, window=3, stride=2, sigma=sigma, weighting="rank", **options)
    # Squared singular values lose half of the digits only far below the largest.
    np.testing.assert_allclose(got.values, total / weight[..., None], rtol=1e-9)


def test_the_nordic_threshold_is_the_mean_norm_of_noise():
    # Mean norm of 25 x 16 Gaussian matrices: the edge, lowered by 1.21 Tracy-Widom scales (Johnstone 2001).
    n, t = 25, 16
    edge = n**0.5 + t**0.5
    scale = edge * (n**-0.5 + t**-0.5) ** (1 / 3) / (2 * edge)
    found = largest_of_noise(n, t, False)
    assert found == pytest.approx(edge - 1.2065 * scale, abs=4 * 1.27 * scale / 10**0.5)
    noise = np.random.default_rng(3).standard_normal((15, 15, t))
    assert mppca(noise, sigma=1.0, threshold="nordic", window=5).rank > mppca(noise, sigma=1.0, window=5).rank


# ---- the Marchenko-Pastur search


def test_the_search_finds_the_edge_of_a_drawn_spectrum():
    rng = np.random.default_rng(5)
    Y = 3.0 * rng.standard_normal((20, 200, 80))
    Y[:, :, :4] += 60 * rng.standard_normal((20, 200, 4))
    spectra = np.linalg.eigvalsh(np.swapaxes(Y, 1, 2) @ Y)
    variance, rank = noise_of_spectrum(spectra, 200, corrected=True)
    assert np.median(rank) == 4
    np.testing.assert_allclose(np.sqrt(variance), 3.0, rtol=0.02)
    fixed, same = noise_of_spectrum(spectra, 200, corrected=True, rank=4)
    assert np.all(same == 4)
    np.testing.assert_allclose(fixed, spectra[:, :76].sum(axis=1) / (76 * 196))


def test_the_search_is_the_loop_of_the_paper():
    rng = np.random.default_rng(6)
    for _ in range(50):
        n, m = int(rng.integers(12, 40)), int(rng.integers(3, 12))
        Y = rng.standard_normal((n, m)) * rng.uniform(0.5, 2.5, m)
        ascending = np.linalg.eigvalsh(Y.T @ Y)
        p = 0  # Veraart et al. (2016), eq. 12
        while True:
            noise = ascending[: m - p] / n
            if p == m - 1 or noise[-1] - noise[0] <= 4 * np.sqrt((m - p) / n) * noise.mean():
                break
            p += 1
        variance, rank = noise_of_spectrum(ascending[None], n, corrected=False)
        assert rank[0] == p
        assert variance[0] == pytest.approx(noise.mean(), rel=1e-12)


# ---- windows


def test_windows_cover_every_voxel_and_add_up():
    windows = Windows((7, 9, 4), (3, 4, 4), (3, 2, 1))
    counted, weight = np.zeros((7, 9, 4, 2)), np.zeros((7, 9, 4), int)
    for i in (0, 3, 4):
        for j in (0, 2, 4, 5):
            weight[i : i + 3, j : j + 4] += 1
    series = np.arange(7 * 9 * 4 * 2.0).reshape(7, 9, 4, 2)
    for most in (1, 5, 1000):
        counted[:] = 0
        for block in windows.blocks(most):
            place, total = windows.sum(windows.values(series, block), block)
            counted[place] += total
        np.testing.assert_array_equal(counted, series * weight[..., None])


@pytest.mark.parametrize(
    ("space", "length", "size"),
    [((20, 20, 20), 64, (5, 5, 5)), ((48, 48), 60, (9, 9)), ((30,), 12, (13,)), ((20, 20, 1), 64, (9, 9, 1))],
)
def test_the_default_window(space, length, size):
    assert smallest_window(space, length) == size


def test_a_series_smaller_than_its_window_is_one_window():
    clean, noise = planted((3, 4), 30, 1)
    assert mppca(clean + noise).values.shape == (3, 4, 30)
    np.testing.assert_array_equal(mppca(clean + noise, window=9).values, mppca(clean + noise).values)


# ---- bits, devices, types, bad input


def test_bits_do_not_depend_on_threads():
    clean, noise = planted((13, 12, 5), 30, 2)
    one, three = (mppca(clean + noise, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.values, three.values)
    for name in ("rank", "sigma"):
        np.testing.assert_array_equal(one.maps[name], three.maps[name])


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("options", [{}, {"demean": False, "shrink": "frobenius"}, {"rank": 2}])
@pytest.mark.parametrize("shape", [(7, 6, 5, 9), (7, 6, 40)], ids=["tall", "wide"])
def test_a_device_gives_the_same(shape, options, complex_, monkeypatch):
    clean, noise = planted(shape[:-1], shape[-1], 2, complex_=complex_)
    host = mppca(clean + noise, **options)
    device = StrictDevice()
    monkeypatch.setattr(module, "device_of", lambda _: device)
    monkeypatch.setitem(module.BLOCK_VALUES, "strict", module.BLOCK_VALUES["numpy"])
    with no_implicit_transfers():
        found = mppca(clean + noise, **options)
    np.testing.assert_allclose(found.values, host.values, rtol=1e-12)
    np.testing.assert_array_equal(found.maps["rank"], host.maps["rank"])
    size = smallest_window(shape[:-1], shape[-1])
    windows = Windows(shape[:-1], size, (1,) * len(size))
    blocks = len(list(windows.blocks(module.BLOCK_VALUES["numpy"] // (windows.voxels * shape[-1]))))
    assert device.gets == 2 * blocks  # eigenvalues and estimates


@pytest.mark.parametrize(
    ("given", "returned"),
    [("uint8", "float64"), ("float32", "float32"), ("float64", "float64"), ("complex64", "complex64")],
)
def test_types(given, returned):
    clean, noise = planted((8, 8), 20, 2)
    series = (clean + noise).astype(given)
    values = mppca(series).values
    assert values.dtype == returned
    reference = mppca(series.astype("complex128" if given == "complex64" else "float64")).values
    np.testing.assert_allclose(values, reference, rtol=np.finfo(returned).eps)


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        (np.ones(5), {}, r"\(\.\.\., T\)"),
        (np.ones((2, 2, 2, 2, 5)), {}, "one to three"),
        (np.full((4, 4, 5), np.nan), {}, "NaN"),
        (np.ones((4, 4, 5), str), {}, "numbers"),
        (np.ones((9, 9, 5)), {"window": 3, "stride": 4}, "stride"),
        (np.ones((9, 9, 5)), {"window": 0}, "window"),
        (np.ones((9, 9, 5)), {"window": (3, 3, 3)}, "window"),
        (np.ones((9, 9, 5)), {"window": 1}, "one voxel"),
        (np.ones((9, 9, 5)), {"sigma": np.ones(9)}, "sigma"),
        (np.ones((9, 9, 5)), {"sigma": -1.0}, "sigma"),
        (np.ones((9, 9, 5)), {"sigma": 1.0, "threshold": "estimator"}, "estimated"),
        (np.ones((9, 9, 5)), {"rank": 6}, "between 0 and 5"),
        (np.ones((9, 9, 5)), {"estimator": "veraat"}, "veraart"),
        (np.ones((9, 9, 5)), {"shrink": "spectral"}, "frobenius"),
    ],
)
def test_bad_input_is_named(series, options, message):
    with pytest.raises(ValueError, match=message):
        mppca(series, **options)

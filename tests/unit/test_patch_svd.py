"""Patch groups: matching, filtering and summing against plain loops and theorems, and what the denoiser promises."""

from concurrent.futures import ThreadPoolExecutor

import array_api_compat.numpy as xp
import numpy as np
import pytest
from skimage import data, restoration

from svdflow.compute import Device
from svdflow.denoisers import groups
from svdflow.denoisers.groups import BULK_EDGE, eigenpairs_above, filter_groups
from svdflow.denoisers.methods.patch_svd import patch_svd
from svdflow.denoisers.observed_pixels import OPPONENT, observe
from svdflow.denoisers.passes import GroupFilter, denoise_planes, pilot
from svdflow.denoisers.patches import Patches
from unit.strict_device import StrictDevice, no_implicit_transfers

EPS32 = float(np.finfo(np.float32).eps)


def noise(shape, sigma=1.0, seed=0):
    return sigma * np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


@pytest.fixture(scope="module")
def camera():
    return data.camera()[150:278, 180:308].astype(np.float64)


def all_index(patches, plane, size):
    """Matches of all bands as upper left corners, (keys, size)."""
    columns = patches.places[1]
    found = [
        patches.match(patches.table(plane, band), band, size) + band.first * columns
        for band in patches.bands()
    ]
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("shape", "side", "stride", "search"), [((40, 52), 6, 4, 7), ((12, 60), 5, 3, 9), ((9, 8), 8, 8, 2)]
)
def test_matches_are_the_nearest_patches_of_the_window(shape, side, stride, search):
    plane = noise(shape, seed=1).astype(np.float32)
    patches = Patches(shape, side, stride, search)
    size = min(10, patches.candidates)
    rows, columns = patches.places
    corners = [
        [plane[i : i + side, j : j + side].astype(np.float64) for j in range(columns)] for i in range(rows)
    ]
    index = all_index(patches, plane, size)
    assert index.shape == (len(patches.keys[0]) * len(patches.keys[1]), size)
    keys = [(r, c) for r in patches.keys[0] for c in patches.keys[1]]
    for (r, c), mine in zip(keys, index, strict=True):
        top = min(max(r - search, 0), max(rows - 2 * search - 1, 0))
        left = min(max(c - search, 0), max(columns - 2 * search - 1, 0))
        window = [
            ((i, j), np.sum((corners[i][j] - corners[r][c]) ** 2))
            for i in range(top, min(top + 2 * search + 1, rows))
            for j in range(left, min(left + 2 * search + 1, columns))
        ]
        assert len(window) == patches.candidates
        nearest = sorted(window, key=lambda pair: pair[1])[:size]
        assert {i * columns + j for (i, j), _ in nearest} == set(mine.tolist())
        assert len(set(mine.tolist())) == size and r * columns + c in mine


def test_sums_put_each_patch_where_it_lies():
    patches = Patches((23, 31), 4, 3, 5)
    band = list(patches.bands())[1]
    index = np.array([0, 5, 5, patches.places[1] + 2])
    estimates, weights = noise((4, 16)).astype(np.float32), np.array([1, 0.5, 2, 0.25], np.float32)
    expected, spread = np.zeros((2, band.stop - band.first + 3, 31))
    for estimate, at, weight in zip(estimates, index, weights, strict=True):
        i, j = divmod(at, patches.places[1])
        expected[i : i + 4, j : j + 4] += weight * estimate.reshape(4, 4)
        spread[i : i + 4, j : j + 4] += weight
    np.testing.assert_allclose(patches.sum(estimates, index, weights, band), expected, atol=16 * EPS32)
    np.testing.assert_allclose(patches.spread(index, weights, band), spread, atol=1e-12)


def test_means_at_keys_are_means_of_patches():
    plane, patches = noise((20, 17)), Patches((20, 17), 5, 4, 3)
    means = patches.at_keys(plane)
    for i, r in enumerate(patches.keys[0]):
        for j, c in enumerate(patches.keys[1]):
            assert means[i, j] == pytest.approx(plane[r : r + 5, c : c + 5].mean(), abs=1e-14)


def test_filtered_groups_are_truncated_svds_about_the_mean():
    Y = noise((5, 30, 16)) + 100 + 8 * noise((5, 30, 1), seed=2) * noise((5, 1, 16), seed=3)
    X, kept = filter_groups(xp, Y, np.ones(5), BULK_EDGE)
    edge = 30**0.5 + 16**0.5
    for group, mine, rank in zip(Y, X, kept, strict=True):
        mean = group.mean(0)
        U, s, Vt = np.linalg.svd(group - mean, full_matrices=False)
        k = int(np.count_nonzero(s > edge))
        assert rank == k == 1
        np.testing.assert_allclose(mine, (U[:, :k] * s[:k]) @ Vt[:k] + mean, atol=1e-10)
    capped, kept = filter_groups(xp, 10 * Y, np.ones(5), BULK_EDGE, rank=2)
    assert (kept == 2).all() and np.linalg.matrix_rank(capped - capped.mean(1, keepdims=True)).max() == 2


@pytest.mark.parametrize("direct", [True, False])
def test_eigenpairs_above_a_limit_are_those_of_lapack(direct, monkeypatch):
    """Planted spectra: as many pairs as eigenvalues above one, none of all and all of all among them."""
    if not direct:
        monkeypatch.setattr(groups, "_syevr", lambda: None)
    spectra = np.concatenate(
        [np.full((6, 18), 0.3), np.geomspace([0.2] * 6, np.geomspace(0.5, 300, 6), 6, axis=1)], 1
    )
    spectra = np.concatenate([spectra, 2 + spectra[:1], 100 * np.eye(24)[:1]])
    Q = np.linalg.qr(noise((8, 24, 24)))[0]
    A = ((Q * spectra[:, None]) @ Q.mT).astype(np.float32)
    values, vectors = eigenpairs_above(A, 1.0)
    for a, w, V, spectrum in zip(A, values, vectors, spectra, strict=True):
        count = np.count_nonzero(spectrum > 1)
        assert np.count_nonzero(w) == count and (np.diff(w) >= 0).all()
        top = V[:, 24 - count :]
        tolerance = 24 * EPS32 * spectrum.max()
        np.testing.assert_allclose(w[24 - count :], np.sort(spectrum)[24 - count :], atol=tolerance)
        np.testing.assert_allclose(a @ top, top * w[24 - count :], atol=tolerance)
        np.testing.assert_allclose(top.T @ top, np.eye(count), atol=24 * EPS32)
        assert not V[:, : 24 - count].any()


def test_single_precision_needs_the_mean_taken_out():
    """Flat groups far from zero keep nothing; the Gram matrix of the raw patches would keep its rounding."""
    Y = (20_000 + noise((40, 80, 49), 1e-3)).astype(np.float32)
    least = np.full(40, 2e-3**2, np.float32)  # the spacing of float32 there
    assert filter_groups(xp, Y, least, BULK_EDGE)[1].max() == 0
    raw = np.linalg.eigvalsh(Y.mT @ Y)[:, :-1]
    assert (raw > (80**0.5 + 7) ** 2 * 2e-3**2).any(), "negative control"


def test_device_computes_the_same_and_moves_nothing_in_secret():
    planes = np.stack([noise((40, 44), 5, seed) + 20 * (np.arange(44) > 20) for seed in (0, 1)]).astype(
        np.float32
    )
    method = GroupFilter(6, 4, 6, (20, 20), BULK_EDGE, 0.2, 0.45)
    host = denoise_planes(planes, 5.0, method, Device(), 1)
    device = StrictDevice()
    with no_implicit_transfers():
        there = denoise_planes(planes, 5.0, method, device, 2)
    assert device.puts and device.gets == device.puts
    np.testing.assert_allclose(there.planes, host.planes, atol=1e-3)
    np.testing.assert_allclose(there.rank, host.rank, atol=1e-2)


def test_bits_do_not_depend_on_threads(camera):
    noisy = camera[:70, :90] + noise((70, 90), 25)
    one = patch_svd(noisy, 25, passes=3, threads=1)
    for threads in (2, 3):
        other = patch_svd(noisy, 25, passes=3, threads=threads)
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.maps["rank"], other.maps["rank"])
        assert one.rank == other.rank


def test_no_noise_no_change(camera):
    image = camera[:32, :32].astype(np.uint8)
    for sigma in (0, np.zeros((32, 32)), 1e-30):
        result = patch_svd(image, sigma)
        np.testing.assert_array_equal(result.values, image)
    little = patch_svd(image, 1e-4)  # eigenvalues of 1e12 limits
    np.testing.assert_allclose(little.values, image, atol=1e-3)
    assert patch_svd(np.full((20, 20), 7.0)).values == pytest.approx(7.0)  # the estimate of its noise is zero


def test_a_constant_image_loses_nearly_all_its_noise():
    """No worse than means over the 36 pixels of the smallest patch, although matching picks noise that is alike."""
    clean = np.full((64, 64), 90.0)
    result = patch_svd(clean + noise(clean.shape, 25), 25, passes=1)
    assert np.sqrt(np.mean((result.values - clean) ** 2)) < 25 / np.sqrt(36)
    assert result.rank < 0.05 and result.maps["rank"].shape == clean.shape


def test_scale_does_not_matter(camera):
    noisy = camera[:64, :64] + noise((64, 64), 20)
    one = patch_svd(noisy, 20, passes=2).values
    for factor in (257.0, 1 / 255):
        other = patch_svd(factor * noisy, 20 * factor, passes=2, data_range=255 * factor).values / factor
        assert np.sqrt(np.mean((one - other) ** 2)) < 1e-2  # rounding may swap patches at equal distance
    wide = np.round(257 * np.clip(noisy, 0, 255)).astype(np.uint16)
    result = patch_svd(wide, 20 * 257, passes=2, data_range=65535)
    assert result.values.dtype == np.float32 and one.dtype == np.float64
    assert psnr(result.values / 257, np.clip(noisy, 0, 255)) > 20


def test_flips_and_transposes_commute(camera):
    """The grid of keys is symmetric where the stride divides the number of places less one."""
    noisy = camera[:63, :63] + noise((63, 63), 25)
    plain = patch_svd(noisy, 25, passes=1, patch=7, stride=4, search=8).values
    for turn in (np.transpose, np.flipud, np.fliplr):
        turned = turn(patch_svd(turn(noisy), 25, passes=1, patch=7, stride=4, search=8).values)
        assert np.sqrt(np.mean((plain - turned) ** 2)) < 0.1
    shifted = np.roll(
        patch_svd(np.roll(noisy, 3, 0), 25, passes=1, patch=7, stride=4, search=8).values, -3, 0
    )
    assert np.sqrt(np.mean((plain - shifted) ** 2)) > 0.1, "negative control"


def test_repeated_texture_is_recovered_better_than_by_any_rank_of_the_whole():
    tile = noise((9, 9), 40, 5)
    clean = 128 + np.kron(np.eye(8) + 1, tile)  # rank at most 8 x 9
    noisy = clean + noise(clean.shape, 25, 6)
    U, s, Vt = np.linalg.svd(noisy)
    oracle = max(psnr((U[:, :k] * s[:k]) @ Vt[:k], clean) for k in range(1, 72))
    assert psnr(patch_svd(noisy, 25, passes=3).values, clean) > oracle + 1


def test_better_than_non_local_means(camera):
    noisy = camera + noise(camera.shape, 25)
    peer = restoration.denoise_nl_means(
        noisy, h=0.6 * 25, sigma=25, fast_mode=True, patch_size=5, patch_distance=6
    )
    one, five = (psnr(patch_svd(noisy, 25, passes=n).values, camera) for n in (1, 5))
    assert one > psnr(peer, camera) + 0.3 and five > psnr(peer, camera) + 0.5
    wrong = patch_svd(noisy, 5).values  # negative control: noise taken for signal
    assert psnr(wrong, camera) < psnr(peer, camera)


def test_estimates_its_noise(camera):
    noisy = camera + noise(camera.shape, 25)
    known, found = patch_svd(noisy, 25, passes=1).values, patch_svd(noisy, passes=1).values
    assert abs(psnr(known, camera) - psnr(found, camera)) < 0.3


def test_maps_of_noise_are_divided_out(camera):
    noisy = camera + noise(camera.shape, 25)
    number, flat = (patch_svd(noisy, s, passes=1).values for s in (25, np.full(camera.shape, 25.0)))
    np.testing.assert_allclose(number, flat, atol=1e-9)
    ramp = np.broadcast_to(np.linspace(5, 45, camera.shape[1]), camera.shape)
    uneven = camera + ramp * noise(camera.shape)
    level = float(np.sqrt(np.mean(ramp**2)))
    assert psnr(patch_svd(uneven, ramp, passes=1).values, camera) > psnr(
        patch_svd(uneven, level, passes=1).values, camera
    )


def test_colour_planes_share_the_groups_of_luma(camera):
    np.testing.assert_allclose(OPPONENT @ OPPONENT.T, np.eye(3), atol=1e-15)
    grey = camera[:64, :64]
    sigma = 20.0
    luma = grey * np.sqrt(3) + noise(grey.shape, sigma)
    # Luma alone varies; the other opponent planes hold noise.
    planes = np.stack([luma, noise(grey.shape, sigma, 1), noise(grey.shape, sigma, 2)])
    image = np.einsum("ij,ihw->hwj", OPPONENT, planes)
    result = patch_svd(image, sigma, passes=2)
    alone = patch_svd(luma, sigma, passes=2)
    found = np.einsum("ij,hwj->ihw", OPPONENT, result.values)
    assert np.sqrt(np.mean((found[0] - alone.values) ** 2)) < 1e-2
    assert np.sqrt(np.mean(found[1:] ** 2)) < sigma / 6
    channels = patch_svd(np.moveaxis(planes, 0, 2), sigma, passes=2, colour="channels").values
    assert np.sqrt(np.mean((np.moveaxis(channels, 2, 0) - found) ** 2)) < 1e-2
    apart = patch_svd(image, sigma, passes=2, colour="channels").values
    assert np.sqrt(np.mean((apart - result.values) ** 2)) > 0.1, "negative control"


def test_channels_of_unlike_noise(camera):
    grey = camera[:64, :64]
    image = np.stack([grey, grey, grey], -1) + noise((64, 64, 3)) * [5, 20, 40]
    clean = np.stack([grey] * 3, -1)
    known = psnr(patch_svd(image, [5, 20, 40], passes=1).values, clean)
    assert known > psnr(patch_svd(image, float(np.sqrt((25 + 400 + 1600) / 3)), passes=1).values, clean)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 5), (8, 8), (9, 40), (40, 7), (5, 5, 3), (12, 12, 4)])
def test_small_images(shape):
    image = 100 + noise(shape, 10)
    result = patch_svd(image, 10, passes=2)
    assert result.values.shape == shape and np.isfinite(result.values).all()
    assert result.maps["rank"].shape == shape[:2]
    assert np.std(result.values) <= np.std(image) * (1 + 4 * EPS32)


def test_pilot_keeps_a_cosine_and_kills_noise():
    """A planted wave of the transform survives; white noise passes 2.7 sigma in 0.7 % of coefficients."""
    wave = 200 * np.cos(np.pi * (2 * np.arange(8) + 1) * 3 / 16)
    clean = np.broadcast_to(wave, (8, 8)).astype(np.float32)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_allclose(pilot(clean, 5.0, pool), clean, atol=1e-3)
        quiet = pilot(noise((64, 64), 10).astype(np.float32), 10.0, pool)
    assert quiet.std() < 10 * np.sqrt(1 / 64 + 0.05)


@pytest.mark.parametrize(
    ("image", "more", "words"),
    [
        (np.zeros(5), {}, "image must be"),
        (np.zeros((4, 4), complex), {}, "real numbers"),
        (np.full((4, 4), np.nan), {}, "NaN"),
        (np.ones((8, 8)), {"sigma": -1}, "not negative"),
        (np.ones((8, 8)), {"sigma": [1, 2]}, "one per channel"),
        (np.ones((8, 8)), {"sigma": np.eye(8)}, "some places"),
        (np.ones((8, 8)), {"sigma": 1, "passes": 0}, "passes must be"),
        (np.ones((8, 8)), {"sigma": 1, "rank": 1.5}, "rank must be"),
        (np.ones((8, 8)), {"sigma": 1, "colour": "lab"}, "colour 'lab'"),
        (np.ones((8, 8)), {"sigma": 1, "data_range": 0}, "data_range"),
        (np.ones((8, 8)), {"sigma": 1, "backend": "torch"}, "backend"),
    ],
)
def test_refuses(image, more, words):
    with pytest.raises(ValueError, match=words):
        patch_svd(image, **more)


def test_observed_noise_has_one_level_in_all_planes():
    observed = observe("test", 100 + noise((200, 200, 3)) * [5, 20, 40], [5, 20, 40], "opponent", 255)
    planes = observed.planes(0, observed.shape[0]).reshape(3, -1).astype(np.float64) / observed.sigma
    # A sample variance of n = 40,000 has standard deviation sqrt(2 / n) = 0.007.
    np.testing.assert_allclose(np.mean(planes**2, axis=1), 1, atol=5 * 0.0071)

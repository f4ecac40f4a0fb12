"""Pictures larger than what a method takes at once: the same bits in bands, or a row of errors that says why not."""

import numpy as np
import pytest
from skimage import data

from svdflow.compute.runtime import Runtime
from svdflow.denoisers import bands, observed_pixels, passes, patch_svd, patches, scikit_image, wnnm
from svdflow.denoisers.noise import estimate_sigma_of_plane
from svdflow.denoisers.observed_pixels import observe
from svdflow.errors import MemoryLimitError
from svdflow.images import colour
from svdflow.metrics import residual, residual_ratio, whiteness
from svdflow.registry import DENOISERS
from svdflow.store import read_table
from svdflow.tasks import denoising_candidates
from svdflow.tasks.denoise import denoise_shard

SIGMA = 25.0
RNG = np.random.default_rng(5)
TALL = np.concatenate([data.camera()[:200, 200:236]] * 3).astype(float)
TALL += SIGMA * RNG.standard_normal(TALL.shape)  # 600 x 36
SHORT = 260  # rows: bands of 64 and what patch_svd sees around them; wnnm sees further
COLOUR = np.concatenate([data.astronaut()[:200, 200:224]] * 2) + SIGMA * RNG.standard_normal((400, 24, 3))
GROUPS = {"patch_svd": patch_svd, "wnnm": wnnm}


# ---- groups of patches: the same bits


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize(
    "image", [TALL, COLOUR, COLOUR.clip(0, 255).astype(np.uint8)], ids=["grey", "rgb", "uint8"]
)
def test_bands_of_groups_change_no_bit(name, image, monkeypatch):
    options = {"passes": 2, "search": 8, "threads": 2}
    image = image[:SHORT] if name == "patch_svd" else image
    whole = GROUPS[name](image, SIGMA, **options)
    counts = []
    run = observed_pixels.denoise_planes
    monkeypatch.setattr(observed_pixels, "denoise_planes", lambda *a: counts.append(a[0].shape) or run(*a))
    monkeypatch.setattr(observed_pixels.ObservedPixels, "_rows_of_a_band", lambda *_: 64)
    banded = GROUPS[name](image, SIGMA, **options)
    assert len(counts) >= 3 and min(shape[1] for shape in counts) < len(image)
    np.testing.assert_array_equal(banded, whole)
    np.testing.assert_array_equal(banded.maps["rank"], whole.maps["rank"])
    assert banded.rank == whole.rank


def test_masks_and_maps_of_noise_go_with_their_bands(monkeypatch):
    image = TALL[:SHORT]
    mask = np.ones(image.shape, bool)
    mask[50:150, 10:25] = False  # over three bands
    noise = np.full(image.shape, SIGMA) + np.linspace(0, 5, len(image))[:, None]
    options = {"passes": 2, "search": 8}
    whole = patch_svd(image, noise, mask=mask, **options), patch_svd(image, noise, **options)
    monkeypatch.setattr(observed_pixels.ObservedPixels, "_rows_of_a_band", lambda *_: 64)
    banded = patch_svd(image, noise, mask=mask, **options), patch_svd(image, noise, **options)
    for a, b in zip(whole, banded, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.rank == b.rank and a.left == b.left


def test_a_memory_limit_makes_bands_and_one_that_is_too_small_is_refused():
    wide = np.tile(TALL, (2, 1))
    whole = patch_svd(wide, SIGMA, passes=1, search=5)
    seen = observe("patch_svd", wide, SIGMA, "channels", 255.0)
    method = passes.GroupFilter(7, 4, 5, (80,), None, 0.2, 0.45)
    fits = observed_pixels.BAND_COLUMN * 36 + 2 * 2**20
    assert 0 < seen._rows_of_a_band(method, 1, fits) < len(wide)
    banded = patch_svd(wide, SIGMA, passes=1, search=5, threads=1, memory_limit=fits)
    np.testing.assert_array_equal(banded, whole)
    with pytest.raises(MemoryLimitError, match="even in bands"):
        patch_svd(wide, SIGMA, passes=1, memory_limit=2**20)
    with pytest.raises((TypeError, ValueError), match="memory_limit"):
        patch_svd(wide, SIGMA, memory_limit="2GiB")


def test_a_halo_that_is_too_thin_is_seen(monkeypatch):
    """The control: fewer rows around a band than a result depends on change it."""
    whole = patch_svd(TALL[:SHORT], SIGMA, passes=2, search=8)
    monkeypatch.setattr(observed_pixels.ObservedPixels, "_rows_of_a_band", lambda *_: 64)
    monkeypatch.setattr(passes.GroupFilter, "reach", 8)
    assert not np.array_equal(patch_svd(TALL[:SHORT], SIGMA, passes=2, search=8), whole)


def test_wide_pictures_are_worked_on_in_parts_of_their_columns(monkeypatch):
    """Sums are rounded otherwise, and patches that are nearly as far as others may change places."""
    wide = np.ascontiguousarray(TALL.T)
    whole = patch_svd(wide, SIGMA, passes=2, search=8)
    monkeypatch.setattr(patches, "KEY_COLUMNS", 32)
    monkeypatch.setattr(passes, "ACROSS", 96)
    parts = patch_svd(wide, SIGMA, passes=2, search=8)
    difference = np.asarray(parts) - whole
    assert np.abs(difference).max() > 0 and np.sqrt(np.mean(difference**2)) < 1e-3 * SIGMA
    assert parts.rank == pytest.approx(whole.rank, rel=1e-4)


def test_means_of_large_pictures_are_summed_in_bands(monkeypatch):
    whole = patch_svd(COLOUR, SIGMA, passes=1)
    monkeypatch.setattr(observed_pixels, "VALUES_AT_ONCE", 2**12)
    parts = patch_svd(COLOUR, SIGMA, passes=1)
    assert np.sqrt(np.mean((np.asarray(parts) - whole) ** 2)) < 1e-3 * SIGMA


# ---- scikit-image's


@pytest.mark.parametrize(("name", "tolerance"), [("tv", 0.02), ("wavelet", 0.1), ("nl_means", 1e-9)])
@pytest.mark.parametrize("image", [TALL, COLOUR], ids=["grey", "rgb"])
def test_bands_of_pictures_agree(name, tolerance, image, monkeypatch):
    """Root of the mean squared difference over sigma: total variation stops by a measure of all it sees, wavelets have
    thresholds from all they see; non-local means only sum in another order."""
    if name == "wavelet":
        pytest.importorskip("pywt")
    method = DENOISERS[name].code()
    whole = method(image, SIGMA)
    seen = []
    tiles = bands.tiles
    monkeypatch.setattr(scikit_image, "tiles", lambda *a: seen.extend(tiles(*a)) or iter(seen))
    monkeypatch.setattr(scikit_image, "VALUES_AT_ONCE", -(-image.size // 3))
    parts = method(image, SIGMA)
    assert len(seen) >= 3 and all(rows.end - rows.start < len(image) for rows, _ in seen)
    assert np.sqrt(np.mean((np.asarray(parts) - whole) ** 2)) <= tolerance * SIGMA


def test_bands_hold_each_row_once():
    for rows, height, halo, step in (
        (100, 30, 5, 1),
        (100, 30, 5, 16),
        (7, 100, 3, 4),
        (100, 1, 0, 1),
        (5, 0, 9, 32),
    ):
        found = list(bands.row_bands(rows, height, halo, step=step))
        covered = [row for band in found for row in range(band.first, band.stop)]
        assert covered == list(range(rows))
        for band in found:
            assert band.first % step == band.start % step == 0
            assert band.start == 0 or band.first - band.start >= halo
            assert band.end == rows or band.end - band.stop >= halo


def test_tiles_hold_each_pixel_once():
    for shape, most, halo in (
        ((100, 30), 400, 5),
        ((30, 400, 3), 900, 7),
        ((600, 36), 7200, 48),
        ((5, 7), 1, 0),
    ):
        count = np.zeros(shape[:2], int)
        for rows, columns in bands.tiles(shape, most, halo):
            part = count[rows.start : rows.end, columns.start : columns.end][rows.inner, columns.inner]
            assert part.size * np.prod(shape[2:]) <= most
            part += 1
        assert (count == 1).all()
    assert len(list(bands.tiles((40, 50, 3), 6000, 9))) == 1


# ---- what is known of them


def test_noise_is_estimated_in_bands(monkeypatch):
    from svdflow.denoisers import noise

    mask = np.ones(TALL.shape, bool)
    mask[100:140, 10:30] = False
    planes = [
        (TALL, None),
        (TALL[:599], mask[:599]),
        (TALL[:, :33].astype(np.float32), None),
        (TALL[:3], None),
    ]
    whole = [estimate_sigma_of_plane(*plane) for plane in planes]
    monkeypatch.setattr(noise, "VALUES_AT_ONCE", 700)
    assert [estimate_sigma_of_plane(*plane) for plane in planes] == whole


def test_residuals_are_judged_in_bands(monkeypatch):
    noise, other = RNG.standard_normal((2, 300, 41))
    whole = (
        whiteness(noise),
        whiteness(TALL),
        residual_ratio(TALL, TALL - 3 * noise[0, 0], 2.0),
        residual_ratio(noise, other, 2.0),
    )
    monkeypatch.setattr(residual, "AT_ONCE", 1000)
    parts = (
        whiteness(noise),
        whiteness(TALL),
        residual_ratio(TALL, TALL - 3 * noise[0, 0], 2.0),
        residual_ratio(noise, other, 2.0),
    )
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-12)


def test_pictures_are_rounded_in_parts(monkeypatch):
    values = RNG.uniform(-20, 280, (50, 40, 3))
    whole = colour.to_dtype(values, np.uint8)
    monkeypatch.setattr(colour, "AT_ONCE", 500)
    np.testing.assert_array_equal(colour.to_dtype(values, np.uint8), whole)
    assert colour.to_dtype(np.asarray(3.5), np.uint8) == 4


# ---- the stage


def run(shard, method, *, limit=None, **more):
    shard.write()
    rules = ["gavish_donoho"] if method == "truncate" else []
    denoise_shard(
        shard.matrices, shard.factors, shard.out, shard.pictures, dataset="d", shard=0, method=method, ranks=[],
        rank_rules=rules, runtime=Runtime(threads=2, memory_limit=limit), **more,
    )  # fmt: skip
    return read_table(shard.out, "denoise"), read_table(shard.out, "errors")


PICTURES = ["shrink", "truncate", "patch_svd", "wnnm", "tv", "wavelet", "nl_means"]


@pytest.mark.parametrize("method", PICTURES)
def test_no_size_of_a_picture_leaves_it_out(factored_shard, method, monkeypatch):
    """With all that is done at once lowered to a few thousand values."""
    if method == "wavelet":
        pytest.importorskip("pywt")
    for module in (observed_pixels, scikit_image, residual, colour):
        name = "VALUES_AT_ONCE" if hasattr(module, "VALUES_AT_ONCE") else "AT_ONCE"
        monkeypatch.setattr(module, name, 2**11)
    monkeypatch.setattr(observed_pixels.ObservedPixels, "_rows_of_a_band", lambda *_: 64)
    clean = np.concatenate([data.camera()[100:200, 200:240]] * 2)
    options = {"options": {"passes": 1}} if method == "patch_svd" else {}
    table, errors = run(factored_shard().image(clean, sigmas=[25]), method, limit=2**31, **options)
    assert errors.empty and table["chosen"].sum() == 1
    chosen = table[table["chosen"]].iloc[0]
    assert chosen.psnr > 20 * np.log10(255 / 25) + 1 and chosen.residual_ratio < 1.2


@pytest.mark.parametrize("method", ["mppca", "ssa"])
def test_what_does_not_apply_is_named(factored_shard, method):
    shard = factored_shard(stored=1).image(data.camera()[:64, :64])
    table, errors = run(shard, method)
    assert table.empty and list(errors["code"]) == ["not_applicable"]
    assert method in errors["message"][0] and "64 x 64" in errors["message"][0]


@pytest.mark.parametrize("method", [name for name, one in DENOISERS.items() if one.works_on != "factors"])
def test_what_is_too_large_is_named(factored_shard, method, monkeypatch):
    """A limit that not even a band fits, and no picture in silence."""
    monkeypatch.setattr(denoising_candidates, "BASE", 0)
    if DENOISERS[method].works_on == "picture":
        shard = factored_shard(stored=1).image(data.camera()[:128, :128], sigmas=[25])
    else:
        shard = factored_shard(stored=1).matrix(RNG.standard_normal((16 * 12, 40)), sigma=1.0, grid=[16, 12])
    table, errors = run(shard, method, limit=2**17)
    assert table.empty and list(errors["code"]) == ["too_large"]
    assert (
        method in errors["message"][0] and "MiB" in errors["message"][0] and "memory" in errors["message"][0]
    )


def test_pages_that_are_no_series_are_named(factored_shard):
    shard = factored_shard(stored=1).matrix(RNG.standard_normal((40, 30)), link=True)
    table, errors = run(shard, "ssa")
    assert (
        table.empty
        and list(errors["code"]) == ["not_applicable"]
        and "larger than memory" in errors["message"][0]
    )

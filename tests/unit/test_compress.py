"""Compression at many ranks: Eckart and Young, requests that cannot be met, pictures, parallel items."""

from math import isnan, log2

import imagecodecs
import numpy as np
import pytest
import tifffile
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import svdflow.tasks.compress
from svdflow.compute.runtime import Runtime
from svdflow.store import read_table
from svdflow.tasks.compress import compress_shard, judge_by_spectrum, measure

CAMERA = data.camera()[100:228, 180:340]  # 128 x 160


@pytest.fixture
def shard(factored_shard):
    return factored_shard()


def run(shard, *, ranks=(1, 2, 5, 10, 20), energies=(), powers=False, metrics=("psnr", "ssim"), **more):
    shard.write()
    compress_shard(
        shard.matrices,
        shard.factors,
        shard.out,
        shard.pictures,
        dataset="test",
        shard=3,
        ranks=list(ranks),
        energies=list(energies),
        powers_of_two=powers,
        metrics=list(metrics),
        images=more.pop("images", "none"),
        **more,
    )
    return read_table(shard.out, "compress")


def truncated(array, k):
    U, s, Vt = np.linalg.svd(array.astype(float), full_matrices=False)
    return (U[:, :k] * s[:k]) @ Vt[:k]


def test_error_is_the_root_of_the_tail_energy(shard):
    table = run(shard.image(CAMERA))
    s = np.linalg.svd(CAMERA.astype(float), compute_uv=False)
    for row in table.itertuples():
        tail = np.sqrt(np.sum(s[row.rank :] ** 2) / np.sum(s**2))
        assert row.relative_error == pytest.approx(tail, rel=1e-9)
        assert row.explained_energy == pytest.approx(1 - tail**2, rel=1e-12)


def test_quality_is_that_of_scikit_image(shard):
    table = run(shard.image(CAMERA))
    for row in table.itertuples():
        image = truncated(CAMERA, row.rank)
        expected = peak_signal_noise_ratio(CAMERA.astype(float), image, data_range=255)
        assert row.psnr == pytest.approx(expected, abs=1e-9)
        expected = structural_similarity(
            CAMERA.astype(float),
            image,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert row.ssim == pytest.approx(expected, abs=1e-5)
        assert row.data_range == 255


def test_cost_by_its_formula(shard):
    table = run(shard.image(CAMERA), ranks=[5])
    (row,) = table.itertuples()
    assert row.value_ratio == 5 * (128 + 160 + 1) / (128 * 160)
    assert row.bytes == 5 * 289 * 8
    assert row.bits_per_pixel == row.bytes * 8 / (128 * 160)
    assert (row.dataset, row.shard, row.item, row.name, row.plane) == ("test", 3, 0, "photo.png", "grey")
    assert (row.m, row.n, row.sigma_added) == (128, 160, 0)


def test_ranks_beyond_the_matrix_are_measured_at_full_rank(shard):
    table = run(shard.image(CAMERA), ranks=[100, 128, 500])
    assert list(table["rank"]) == [100, 128, 128]
    assert list(table["target"]) == [100, 128, 500]
    assert table["reached"].all()
    assert table["relative_error"].iloc[2] < 1e-13


def test_ranks_beyond_the_factors_are_reported_as_not_reached(factored_shard):
    table = run(factored_shard(stored=10).image(CAMERA), ranks=[5, 20, 500], energies=[0.9, 0.999999])
    listed, energy = table[table["rule"] == "rank"], table[table["rule"] == "energy"]
    assert list(listed["rank"]) == [5, 10, 10]
    assert list(listed["reached"]) == [True, False, False]
    s = np.linalg.svd(CAMERA.astype(float), compute_uv=False)
    kept = np.cumsum(s**2) / np.sum(s**2)
    assert list(energy["reached"]) == [True, False]
    assert energy["rank"].iloc[0] == np.argmax(kept >= 0.9) + 1
    # The energy that was reached stands in explained_energy.
    assert energy["rank"].iloc[1] == 10
    assert energy["explained_energy"].iloc[1] == pytest.approx(kept[9], rel=1e-12)


def test_powers_of_two_up_to_full_rank(shard):
    table = run(shard.image(CAMERA[:100]), ranks=[3], powers=True)
    powers = table[table["rule"] == "power_of_two"]
    assert [log2(k) for k in powers["rank"]] == list(range(7))
    (full,) = table[table["rule"] == "full"].itertuples()
    assert full.rank == full.target == 100
    assert full.reached
    assert full.relative_error < 1e-13
    assert full.ssim == pytest.approx(1, abs=1e-6)


def test_metrics_that_are_not_asked_for_are_nan(shard):
    table = run(shard.image(CAMERA), metrics=["psnr"])
    assert table["ssim"].isna().all() and table["psnr"].notna().all()
    table = run(shard, metrics=["ssim"])
    assert table["psnr"].isna().all() and table["ssim"].notna().all()


def test_what_is_not_dense_is_judged_by_its_spectrum(factored_shard, monkeypatch):
    rng = np.random.default_rng(5)
    A = rng.standard_normal((40, 30)) @ np.diag(0.8 ** np.arange(30)) @ rng.standard_normal((30, 50))
    measured = run(factored_shard(stored=12).matrix(A), ranks=[1, 4, 12])
    linked = run(factored_shard(stored=12).matrix(A, link=True), ranks=[1, 4, 12])
    monkeypatch.setattr(svdflow.tasks.compress, "DENSE_LIMIT", 100)
    large = run(factored_shard(stored=12).matrix(A), ranks=[1, 4, 12])
    for table in (linked, large):
        assert table["ssim"].isna().all()
        for column in ("relative_error", "psnr", "explained_energy"):
            assert list(table[column]) == pytest.approx(list(measured[column]), rel=1e-10)


def test_spectrum_resolves_what_subtraction_would_lose():
    # 1 and 1e-9: 1 - 1 = 0 by subtraction of squares, 1e-9 by adding up the tail.
    assert judge_by_spectrum(np.array([1.0, 1e-9]), 1.0, 0.0, [1])[1].squared_error == pytest.approx(1e-18)


def test_complex_and_small_planes(shard):
    rng = np.random.default_rng(2)
    state = rng.standard_normal((32, 32)) + 1j * rng.standard_normal((32, 32))
    table = run(shard.matrix(state).image(CAMERA[:8, :8]), ranks=[1, 8])
    assert table["ssim"].isna().all()
    s = np.linalg.svd(state, compute_uv=False)
    expected = np.sqrt(np.sum(s[8:] ** 2) / np.sum(s**2))
    assert table["relative_error"].iloc[1] == pytest.approx(expected, rel=1e-10)


def test_zero_matrix(shard):
    table = run(shard.matrix(np.zeros((20, 30))), ranks=[1], energies=[0.9])
    assert list(table["relative_error"]) == [0, 0]
    assert list(table["explained_energy"]) == [1, 1]
    assert isnan(table["psnr"].iloc[0])  # a constant matrix has no range


def test_a_bad_item_does_not_stop_the_shard(shard, monkeypatch):
    genuine = svdflow.tasks.compress.measure

    def failing(plane, *args, **more):
        if plane.shape[0] == 50:
            raise FloatingPointError("planted")
        return genuine(plane, *args, **more)

    monkeypatch.setattr(svdflow.tasks.compress, "measure", failing)
    shard.image(CAMERA, name="a").image(CAMERA[:50], name="bad").image(CAMERA[:60], name="c")
    table = run(shard, ranks=[1])
    assert list(table["name"]) == ["a", "c"]
    (error,) = read_table(shard.out, "errors").itertuples()
    assert (error.item, error.name, error.stage, error.message) == (1, "bad", "compress", "planted")


def test_threads_change_no_bit(shard):
    for i in range(6):
        shard.image(np.roll(CAMERA, 7 * i, axis=1), name=f"{i}.png")
    tables = [run(shard, runtime=Runtime(threads=threads), images="panels") for threads in (1, 3)]
    assert tables[0].equals(tables[1])


def test_measure_is_the_same_from_all_ranks_or_from_one():
    U, s, Vt = np.linalg.svd(CAMERA.astype(float), full_matrices=False)
    together = measure(CAMERA, U, s, Vt, [1, 5, 25], data_range=255)
    for rank in (1, 5, 25):
        alone = measure(CAMERA, U, s, Vt, [rank], data_range=255)[rank]
        assert together[rank].squared_error == pytest.approx(alone.squared_error, rel=1e-10)
        assert together[rank].ssim == pytest.approx(alone.ssim, abs=1e-6)


def test_no_pictures_leave_an_empty_folder(shard):
    run(shard.image(CAMERA))
    assert shard.pictures.is_dir() and not list(shard.pictures.glob("[!.]*"))


def test_panel_shows_the_original_and_every_listed_rank(shard):
    run(shard.image(CAMERA), ranks=[1, 128], images="panels")
    (file,) = shard.pictures.glob("[!.]*")
    assert file.name == "000000_photo.png"
    canvas = imagecodecs.png_decode(file.read_bytes())
    tiles = [canvas[8:136, x : x + 160] for x in (8, 176, 344)]
    np.testing.assert_array_equal(tiles[0], CAMERA)
    rounded = np.clip(np.floor(truncated(CAMERA, 1) + 0.5), 0, 255)
    assert np.max(np.abs(tiles[1] - rounded)) <= 1
    np.testing.assert_array_equal(tiles[2], CAMERA)


def test_thumbnails_in_a_panel_are_block_means(shard):
    run(shard.image(data.camera()[:400, :300]), ranks=[300], images="panels")
    (file,) = shard.pictures.glob("[!.]*")
    canvas = imagecodecs.png_decode(file.read_bytes())
    means = data.camera()[:400, :300].reshape(200, 2, 150, 2).mean(axis=(1, 3))
    for x in (8, 166):
        assert np.max(np.abs(canvas[8:208, x : x + 150] - means)) <= 0.5 + 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_rank_pictures_keep_the_bit_depth_and_the_alpha(shard, dtype):
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    colour = (data.astronaut()[:60, :50].astype(float) * scale).astype(dtype)
    alpha = (data.camera()[:60, :50].astype(float) * scale).astype(dtype)
    run(shard.image(colour, colour="rgb", alpha=alpha), ranks=[2, 50], images="all")
    place = shard.pictures / "000000_photo"
    suffix = ".tif" if dtype is np.float32 else ".png"
    assert {p.name for p in place.glob("[!.]*")} == {f"rank2{suffix}", f"rank50{suffix}"}
    full = place / f"rank50{suffix}"
    pixels = tifffile.imread(full) if suffix == ".tif" else imagecodecs.png_decode(full.read_bytes())
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels[..., 3], alpha)
    np.testing.assert_allclose(pixels[..., :3], colour, atol=1e-6 if dtype is np.float32 else 0)


def test_an_unknown_kind_of_picture_is_refused(shard):
    with pytest.raises(ValueError, match="panels"):
        run(shard.image(CAMERA), images="panel")


def test_column_means_are_part_of_a_centred_reconstruction(factored_shard):
    shard = factored_shard(center=True).image(CAMERA)
    table = run(shard, ranks=[4, 128], images="panels")
    centred = CAMERA - CAMERA.mean(axis=0)
    s = np.linalg.svd(centred, compute_uv=False)
    expected = np.sqrt(np.sum(s[4:] ** 2) / np.sum(s**2))
    assert table["relative_error"].iloc[0] == pytest.approx(expected, rel=1e-9)
    image = CAMERA.mean(axis=0) + truncated(centred, 4)
    expected = peak_signal_noise_ratio(CAMERA.astype(float), image, data_range=255)
    assert table["psnr"].iloc[0] == pytest.approx(expected, abs=1e-9)
    assert table["ssim"].iloc[1] == pytest.approx(1, abs=1e-6)
    (file,) = shard.pictures.glob("[!.]*")
    canvas = imagecodecs.png_decode(file.read_bytes())
    np.testing.assert_array_equal(canvas[8:136, 344:504], CAMERA)

"""Denoising: noise levels against scikit-image's, spiked matrices against theory, rows and pictures of a shard."""

from math import sqrt

import imagecodecs
import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from svdflow.compute.runtime import Runtime
from svdflow.denoisers import ObservedSpectrum, estimate_sigma, shrink, truncate
from svdflow.denoisers.noise import estimate_sigma_of_matrix
from svdflow.store import read_table
from svdflow.tasks.denoise import denoise_shard

CAMERA = data.camera()[::2, ::2]  # 256 x 256
SPECTRAL = {"truncate": truncate, "shrink": shrink}
RANKS = [1, 3, 5, 10, 20, 50, 100]


def run(shard, *, method="truncate", ranks=RANKS, rules=("gavish_donoho",), **more):
    shard.write()
    denoise_shard(
        shard.matrices,
        shard.factors,
        shard.out,
        shard.pictures,
        dataset="test",
        shard=0,
        method=method,
        ranks=list(ranks),
        rank_rules=list(rules),
        **more,
    )
    return read_table(shard.out, "denoise")


def spiked(m, n, spikes, seed):
    """Unit noise plus components of strength spikes * sqrt(larger side): (observed, clean)."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, len(spikes))))[0]
    V = np.linalg.qr(rng.standard_normal((n, len(spikes))))[0]
    clean = (U * np.array(spikes) * sqrt(max(m, n))) @ V.T
    return clean + rng.standard_normal((m, n)), clean


def observed(A):
    return ObservedSpectrum(*np.linalg.svd(A, full_matrices=False))


# Noise levels


def test_sigma_of_images_is_that_of_scikit_image():
    """skimage.restoration.estimate_sigma of scikit-image 0.26 with PyWavelets."""
    camera = data.camera()
    noisy = camera + np.random.default_rng(0).normal(0, 25, camera.shape)
    # Flat patches: scikit-image counts coefficients of 1e-15 as signal, which lowers its median.
    assert estimate_sigma(camera, kind="picture") == pytest.approx(1.259142305736446, rel=0.02)
    odd = camera[:101, :77] + np.random.default_rng(1).normal(0, 5, (101, 77))
    assert estimate_sigma(odd, kind="picture") == pytest.approx(4.835034858669594, rel=1e-9)
    assert estimate_sigma(data.grass(), kind="picture") == pytest.approx(10.745778472680321, rel=1e-3)
    assert estimate_sigma(noisy, kind="picture") == pytest.approx(25.716209462972056, rel=1e-9)


@pytest.mark.parametrize("sigma", [0.01, 3.0])
def test_sigma_of_pure_noise(sigma):
    noise = np.random.default_rng(4).normal(7, sigma, (300, 400))
    # The median of 30,000 absolute values has a relative standard deviation of 0.7 %.
    assert estimate_sigma(noise, kind="picture") == pytest.approx(sigma, rel=0.03)
    assert estimate_sigma(np.full((20, 20), 7.0)) == 0


@pytest.mark.parametrize(("m", "n"), [(200, 200), (100, 400), (400, 100)])
@pytest.mark.parametrize(("stored", "source"), [(None, "mp_median"), (30, "residual")])
def test_sigma_of_matrices(m, n, stored, source):
    A, _ = spiked(m, n, [4, 3, 2], seed=1)
    s = np.linalg.svd(0.3 * A, compute_uv=False)[:stored]
    sigma, found = estimate_sigma_of_matrix(s, (m, n), 0.3 * np.linalg.norm(A))
    assert found == source
    assert sigma == pytest.approx(0.3, rel=0.03)


def test_sigma_of_a_zero_matrix():
    assert estimate_sigma_of_matrix(np.zeros(5), (20, 30), 0.0) == (0.0, "residual")


# Denoisers


@pytest.mark.parametrize(("m", "n"), [(300, 300), (150, 600), (600, 150)])
def test_shrinkage_reaches_the_loss_of_theory(m, n):
    """Gavish and Donoho (2017): asymptotic loss sum x^2 (1 - c^2 c'^2), with the cosines of the singular vectors."""
    beta, spikes = min(m, n) / max(m, n), np.array([4.0, 3.0, 2.5, 2.0, 1.6])
    c2 = (spikes**4 - beta) / (spikes**4 + beta * spikes**2)
    d2 = (spikes**4 - beta) / (spikes**4 + spikes**2)
    theory = max(m, n) * np.sum(spikes**2 * (1 - c2 * d2))
    losses = []
    for seed in range(6):
        A, clean = spiked(m, n, spikes, seed)
        estimate = shrink(observed(A), sigma=1.0)
        losses.append(np.linalg.norm(estimate.rows(0, m) - clean) ** 2)
    assert np.mean(losses) / theory == pytest.approx(1, abs=0.05)


def test_truncation_finds_the_spikes_and_nothing_in_noise():
    for seed in range(5):
        A, clean = spiked(200, 300, [4, 3, 2.5], seed)
        estimate = truncate(observed(A), sigma=1.0)
        assert estimate.rank == 3
        noise = observed(A - clean)
        assert truncate(noise, sigma=1.0).rank == 0
        np.testing.assert_array_equal(truncate(noise, sigma=1.0).rows(2, 5), np.zeros((3, 300)))


@pytest.mark.parametrize("method", SPECTRAL)
def test_without_noise_nothing_changes(method):
    A = np.random.default_rng(0).standard_normal((30, 20))
    estimate = SPECTRAL[method](observed(A), sigma=0.0)
    np.testing.assert_allclose(estimate.rows(0, 30), A, atol=1e-13)


def test_rows_of_an_estimate_are_rows_of_the_whole():
    A, _ = spiked(50, 40, [4, 3], 0)
    estimate = shrink(observed(A), sigma=1.0)
    np.testing.assert_allclose(estimate.rows(7, 23), estimate.rows(0, 50)[7:23], atol=1e-12)


# A shard


def test_rows_against_the_clean_image(factored_shard):
    table = run(factored_shard().image(CAMERA, sigmas=[25], seed=3))
    listed = table[table["rule"] == "rank"]
    assert list(listed["rank"]) == RANKS
    noisy = (CAMERA + np.random.default_rng(3).normal(0, 25, CAMERA.shape)).astype(np.float32).astype(float)
    clean = CAMERA.astype(float)
    U, s, Vt = np.linalg.svd(noisy, full_matrices=False)
    for row in listed.itertuples():
        image = (U[:, : row.rank] * s[: row.rank]) @ Vt[: row.rank]
        assert row.psnr == pytest.approx(peak_signal_noise_ratio(clean, image, data_range=255), abs=1e-8)
        error = np.linalg.norm(image - clean)
        assert row.error_clean == pytest.approx(error / np.linalg.norm(clean), rel=1e-9)
        assert row.snr == pytest.approx(20 * np.log10(np.linalg.norm(clean) / error), abs=1e-8)
        kept = np.sqrt(np.sum(s[row.rank :] ** 2) / np.sum(s**2))
        assert row.error_observed == pytest.approx(kept, rel=1e-9)
    assert listed["best"].sum() == 1
    assert listed["psnr"].idxmax() == listed["best"].idxmax()
    assert (table["sigma_added"] == 25).all()


def test_rules_stand_beside_the_listed_ranks(factored_shard):
    table = run(factored_shard().image(CAMERA, sigmas=[15, 25]))
    rules = table[table["rule"] != "rank"]
    assert list(rules["rule"]) == ["gavish_donoho", "gavish_donoho_mad"] * 2
    assert list(rules["sigma_source"]) == ["given", "mad"] * 2
    assert list(rules["chosen"]) == [True, False] * 2
    assert not table[table["rule"] == "rank"]["chosen"].any()
    assert list(rules["sigma_used"][rules["chosen"]]) == [15, 25]
    # reference/images.md: the rule loses at most 0.5 dB to the best rank of all, on photographs.
    for _, level in table.groupby("sigma_added"):
        assert level["psnr"][level["chosen"]].iloc[0] > level["psnr"].max() - 0.5


def test_shrinkage_beats_truncation_on_a_photograph(factored_shard):
    shard = factored_shard().image(CAMERA, sigmas=[25])
    psnr = {}
    for method in SPECTRAL:
        table = run(shard, method=method)
        psnr[method] = table["psnr"][table["chosen"]].iloc[0]
    assert psnr["shrink"] > psnr["truncate"] + 0.3


def test_shrinkage_names_its_own_rule(factored_shard):
    table = run(factored_shard().image(CAMERA, sigmas=[25]), method="shrink")
    (chosen,) = table[table["chosen"]].itertuples()
    assert chosen.rule == "optimal_shrinkage"
    assert 0 < chosen.rank < 256
    # Listed ranks above that of the rule change nothing more.
    beyond = table[(table["rule"] == "rank") & (table["rank"] >= chosen.rank)]
    assert list(beyond["psnr"]) == pytest.approx([chosen.psnr] * len(beyond), abs=1e-9)


def test_an_image_as_it_is_has_no_clean_reference(factored_shard):
    table = run(factored_shard().image(CAMERA))
    for column in ("error_clean", "snr", "psnr", "ssim"):
        assert table[column].isna().all()
    assert table["error_observed"].notna().all()
    assert not table["best"].any()
    assert set(table["sigma_source"]) == {"mad"}
    assert table["chosen"].sum() == 1


def test_a_generated_matrix_is_judged_by_its_clean_part(factored_shard):
    A, clean = spiked(120, 90, [4, 3, 2.5], 8)
    table = run(factored_shard().matrix(A, sigma=1.0, clean=clean), ranks=[1, 3, 5])
    rules = table[table["rule"] != "rank"]
    assert list(rules["rule"]) == ["gavish_donoho", "gavish_donoho_mp_median"]
    assert list(rules["rank"]) == [3, 3]
    assert list(table["best"]) == [False, True, False, False, False]
    assert table["sigma_used"].iloc[0] == 1.0


def test_ranks_beyond_the_factors_are_left_out(factored_shard):
    A, clean = spiked(120, 90, [4, 3, 2.5], 8)
    table = run(factored_shard(stored=10).matrix(A, clean=clean), ranks=[1, 10, 11])
    assert list(table["rank"][table["rule"] == "rank"]) == [1, 10]
    assert set(table["sigma_source"]) == {"residual"}


@pytest.mark.parametrize("method", SPECTRAL)
def test_a_linked_matrix_is_judged_by_its_spectrum(factored_shard, method):
    A, _ = spiked(120, 90, [4, 3, 2.5], 8)
    tables = [
        run(factored_shard(stored=20).matrix(A, link=link), method=method, ranks=[2]) for link in (0, 1)
    ]
    expected, found = (list(table["error_observed"]) for table in tables)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_picture_of_the_chosen_rule(factored_shard):
    colour, alpha = data.astronaut()[:128, :128], data.camera()[:128, :128]
    shard = factored_shard().image(colour, name="my cat.png", colour="rgb", alpha=alpha, sigmas=[10, 20])
    run(shard, method="shrink")
    names = sorted(p.name for p in shard.pictures.glob("[!.]*"))
    assert names == ["000000_my-cat_sigma10.png", "000000_my-cat_sigma20.png"]
    pixels = imagecodecs.png_decode((shard.pictures / names[1]).read_bytes())
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 3], alpha)
    denoised = peak_signal_noise_ratio(colour, pixels[..., :3], data_range=255)
    noisy = 20 * np.log10(255 / 20)
    assert denoised > noisy + 1


def test_a_clean_run_writes_the_name_of_the_source(factored_shard):
    shard = factored_shard().image((CAMERA[:64, :64] * np.uint16(1)).astype(np.uint16) * 257, name="scan.tif")
    run(shard)
    (file,) = shard.pictures.glob("[!.]*")
    assert file.name == "000000_scan.png"
    assert imagecodecs.png_decode(file.read_bytes()).dtype == np.uint16
    run(shard, write=False)
    assert not list(shard.pictures.glob("[!.]*"))


def test_threads_change_no_bit(factored_shard):
    shard = factored_shard()
    for i in range(5):
        shard.image(np.roll(CAMERA[:100], 9 * i, axis=1), name=f"{i}.png", sigmas=[20], seed=i)
    assert run(shard, runtime=Runtime(threads=1)).equals(run(shard, runtime=Runtime(threads=3)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "shrnk"}, "nearest: shrink"),
        ({"rules": ["gavish"]}, "gavish_donoho"),
        ({"rules": []}, "needs a rank rule"),
    ],
)
def test_unknown_names_are_refused(factored_shard, wrong, message):
    with pytest.raises(ValueError, match=message):
        run(factored_shard().image(CAMERA), **wrong)


def test_column_means_are_not_denoised_away(factored_shard):
    A, clean = spiked(120, 90, [4, 3, 2.5], 8)
    ramp = 50 + np.arange(90.0)
    shard = factored_shard(center=True).matrix(A + ramp, sigma=1.0, clean=clean + ramp)
    (chosen,) = (row for row in run(shard, ranks=[1]).itertuples() if row.chosen)
    assert chosen.rank == 3
    error = chosen.error_clean * np.linalg.norm(clean + ramp)
    assert error < 0.5 * np.linalg.norm(A - clean)

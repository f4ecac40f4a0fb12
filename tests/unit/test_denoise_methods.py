"""The stage denoise with methods that work on values: pictures, series and columns."""

import numpy as np
import pytest
from skimage import data, restoration

from svdflow.compute.runtime import Runtime
from svdflow.denoisers.noise import estimate_sigma_of_plane
from svdflow.ranks import RANK_RULES
from svdflow.registry import DENOISERS
from svdflow.store import open_published, read_array, read_table
from svdflow.study.options_page import config_schema
from svdflow.tasks.denoise import denoise_shard

CAMERA = data.camera()[100:196, 180:276]
COLOUR = data.astronaut()[40:136, 180:276]
GROUPS = ("patch_svd", "wnnm")


def run(shard, method, *, rules=(), errors=(), **more):
    shard.write()
    options = {
        "dataset": "test",
        "shard": 0,
        "method": method,
        "ranks": [],
        "rank_rules": list(rules),
    }
    if method == "patch_svd":
        options["options"] = {"passes": 1}
    denoise_shard(shard.matrices, shard.factors, shard.out, shard.pictures, **(options | more))
    assert list(read_table(shard.out, "errors")["code"]) == list(errors)
    return read_table(shard.out, "denoise")


def test_every_method_and_rule_that_a_config_may_name_is_there():
    properties = config_schema()["$defs"]["DenoiseOptions"]["properties"]
    assert properties["methods"]["items"]["enum"] == list(DENOISERS)
    assert set(properties["rank_rules"]["items"]["enum"]) == set(RANK_RULES)


@pytest.mark.parametrize("method", ["patch_svd", "wnnm", "tv", "nl_means"])
def test_pictures_are_denoised_and_judged(factored_shard, method):
    shard = factored_shard(stored=1).image(CAMERA, sigmas=[25], seed=3)
    (row,) = run(shard, method).itertuples()
    noisy = 20 * np.log10(255 / 25)
    assert row.psnr > noisy + 5 and row.chosen and not row.best
    assert (row.sigma_used, row.sigma_source) == (25, "given")
    assert row.sigma_mad == pytest.approx(25, rel=0.1) and np.isnan(row.sigma_mp)
    assert (row.rank >= 0) == (method in GROUPS)
    # What was taken away is the noise: its standard deviation is close to sigma, less what stays in the estimate.
    assert 0.85 < row.residual_ratio < 1.05
    assert row.max_error < 255 and row.error_observed > 0
    (picture,) = shard.pictures.glob("[!.]*")
    assert picture.name.endswith("_sigma25.png")
    with open_published(shard.out, "denoise") as file:
        group = file["kept/000000/1/grey"]
        assert read_array(group, "estimate").shape == CAMERA.shape
        assert ("rank" in group) == (method in GROUPS)


def test_non_local_means_are_those_of_scikit_image(factored_shard):
    """The stage hands the picture and the level on, and writes down what comes back."""
    table = run(factored_shard(stored=1).image(CAMERA, sigmas=[20], seed=1), "nl_means")
    noisy = (CAMERA + np.random.default_rng(1).normal(0, 20, CAMERA.shape)).astype(np.float32).astype(float)
    expected = restoration.denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=0.7 * 20, sigma=20, fast_mode=True
    )
    error = np.linalg.norm(expected - CAMERA) / np.linalg.norm(CAMERA)
    assert table["error_clean"].iloc[0] == pytest.approx(error, rel=1e-9)


def test_colour_is_denoised_together(factored_shard):
    together = run(factored_shard(stored=1).image(COLOUR, colour="rgb", sigmas=[30]), "patch_svd")
    assert sorted(together["plane"]) == ["b", "g", "r"]
    alone = [
        run(factored_shard(stored=1).image(COLOUR[..., i], sigmas=[30]), "patch_svd")["psnr"].iloc[0]
        for i in range(3)
    ]
    assert together["psnr"].mean() > np.mean(alone) + 0.5


def test_an_estimated_level_and_a_known_one(factored_shard):
    noisy = (CAMERA + np.random.default_rng(0).normal(0, 20, CAMERA.shape)).astype(np.float32)
    (row,) = run(factored_shard(stored=1).image(noisy), "patch_svd").itertuples()
    assert row.sigma_source == "mad" and row.sigma_used == row.sigma_mad
    (row,) = run(factored_shard(stored=1).image(noisy), "patch_svd", sigma=20.0).itertuples()
    assert (row.sigma_used, row.sigma_source) == (20, "given") and np.isnan(row.psnr)


def test_a_dithered_picture_is_left_alone(factored_shard):
    """Two levels hold no noise that could be told from the dots: sigma is 0, where wavelets would say 70."""
    dots = (np.random.default_rng(0).random((64, 64)) < np.linspace(0, 1, 64)).astype(np.uint8) * 255
    assert estimate_sigma_of_plane(dots) == (0.0, "few_levels")
    table = run(factored_shard().image(dots), "truncate", rules=["gavish_donoho"])
    (chosen,) = table[table["chosen"]].itertuples()
    assert chosen.error_observed < 1e-6 and chosen.sigma_source == "few_levels"
    (row,) = run(factored_shard(stored=1).image(dots), "patch_svd").itertuples()
    assert row.error_observed == 0


def test_counts_go_through_the_anscombe_transform(factored_shard):
    clean = CAMERA / 255 * 20
    counts = np.random.default_rng(0).poisson(clean).astype(np.uint16)
    tables = [
        run(factored_shard(stored=1).image(counts), "patch_svd", poisson=p, sigma=3.0) for p in (False, True)
    ]
    assert [t["sigma_source"].iloc[0] for t in tables] == ["given", "poisson"]
    shard = factored_shard(stored=1).image(counts)
    run(shard, "patch_svd", poisson=True)
    with open_published(shard.out, "denoise") as file:
        estimate = read_array(file["kept/000000/0/grey"], "estimate")
    assert np.linalg.norm(estimate - clean) < 0.6 * np.linalg.norm(counts - clean)
    assert estimate.mean() == pytest.approx(counts.mean(), rel=0.02)


def movie(noise, seed=0):
    """Two spots that flicker, 16 x 12 pixels, 40 frames: Casorati matrices (observed, clean)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :12]
    spots = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8).ravel() for a, b in ((5, 4), (10, 8))]
    clean = 10 * sum(np.outer(spot, rng.standard_normal(40)) for spot in spots)
    return clean + noise * rng.standard_normal(clean.shape), clean


@pytest.mark.parametrize("method", ["mppca", "ssa"])
def test_series_on_a_grid(factored_shard, method):
    A, clean = movie(1.0)
    shard = factored_shard().matrix(A, sigma=1.0, clean=clean, grid=[16, 12])
    (row,) = run(shard, method, sigma=1.0).itertuples()
    assert row.sigma_used == 1 and row.plane == "matrix" and (row.m, row.n) == A.shape
    with open_published(shard.out, "denoise") as file:
        group = file["kept/000000/0/matrix"]
        assert read_array(group, "estimate").shape == (16, 12)
        assert ("sigma" in group) == (method == "mppca")
    if method == "mppca":  # white traces are no trajectories, so series by themselves gain nothing here
        assert row.error_clean < 0.5 * np.linalg.norm(A - clean) / np.linalg.norm(clean)


def test_windows_find_their_own_level(factored_shard):
    A, _ = movie(2.0)
    (row,) = run(factored_shard().matrix(A, grid=[16, 12]), "mppca").itertuples()
    assert row.sigma_source == "own" and row.sigma_used == pytest.approx(2, rel=0.05)
    assert np.isnan(row.error_clean)


def test_columns_are_series(factored_shard):
    t = np.arange(200)[:, None]
    clean = np.sin(2 * np.pi * t * np.array([0.02, 0.05, 0.11])) * np.array([1, 2, 3.0])
    A = clean + 0.5 * np.random.default_rng(0).standard_normal(clean.shape)
    (row,) = run(factored_shard().matrix(A, sigma=0.5, clean=clean), "ssa").itertuples()
    assert row.rank == 2  # a sinusoid is two complex exponentials
    assert row.error_clean < 0.4 * np.linalg.norm(A - clean) / np.linalg.norm(clean)


@pytest.mark.parametrize("method", ["patch_svd", "mppca", "ssa"])
def test_a_method_that_does_not_apply_leaves_no_row_but_an_error(factored_shard, method):
    shard = factored_shard()
    shard = shard.matrix(np.ones((3, 3))) if method != "ssa" else shard.image(CAMERA)
    assert run(shard, method, errors=["not_applicable"]).empty


def test_rules_that_lack_their_evidence_leave_no_row(factored_shard):
    rules = list(RANK_RULES)
    whole = run(factored_shard().image(CAMERA, sigmas=[25]), "truncate", rules=rules)
    part = run(factored_shard(stored=20).image(CAMERA, sigmas=[25]), "truncate", rules=rules)
    assert set(whole["rule"]) >= set(RANK_RULES)
    assert set(RANK_RULES) - set(part["rule"]) == {"gavish_donoho_median", "mp_pca", "sure", "screenot"}
    only = run(factored_shard(stored=20).image(CAMERA, sigmas=[25]), "truncate", rules=["mp_pca"])
    assert list(only["rule"][only["chosen"]]) == ["gavish_donoho"]  # a plane is never left without an answer
    assert whole["sigma_mp"].notna().all() and part["sigma_mp"].isna().all()


def test_the_loss_of_the_shrinker_is_a_choice(factored_shard):
    """Operator shrinkage keeps values longer than Frobenius, nuclear shorter (Gavish and Donoho 2017, figure 1)."""
    left = {}
    for loss in ("operator", "frobenius", "nuclear"):
        table = run(factored_shard().image(CAMERA, sigmas=[25]), "shrink", loss=loss)
        left[loss] = table["error_observed"][table["chosen"]].iloc[0]
    assert left["operator"] < left["frobenius"] < left["nuclear"]


@pytest.mark.parametrize("method", ["patch_svd", "mppca"])
def test_threads_change_no_bit(factored_shard, method):
    shard = factored_shard(stored=1)
    if method == "mppca":
        shard.matrix(movie(1.0)[0], grid=[16, 12])
    else:
        for i in range(3):
            shard.image(np.roll(CAMERA, 9 * i, axis=1), name=f"{i}.png", sigmas=[20], seed=i)
    assert run(shard, method, runtime=Runtime(threads=1)).equals(
        run(shard, method, runtime=Runtime(threads=4))
    )

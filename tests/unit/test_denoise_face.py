"""One face for all denoisers: the same first arguments, a result that is an array, a method that suits the array."""

import inspect
import pickle
import pkgutil
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from skimage import data, restoration

import svdflow
from svdflow import denoise
from svdflow import svd as solver
from svdflow.denoisers import Denoised, estimate_sigma, mppca, patch_svd, shrink, spectra, truncate
from svdflow.denoisers.noise import is_picture
from svdflow.registry import DENOISERS
from svdflow.registry.kinds import IMAGES
from unit.odd_pictures import NOISE, hole, noisy

ROOT = Path(__file__).parents[2]
PICTURES = ("camera", "brick", "grass", "gravel", "moon", "coins", "cell", "page", "text", "clock")
SHAPES = {"picture": (40, 36), "series": (6, 7, 12), "columns": (40, 3), "factors": (40, 30)}


def spiked(m, n, rank, seed=0):
    """Components well above unit noise: (observed, clean)."""
    rng = np.random.default_rng(seed)
    clean = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)) * 2
    return clean + rng.standard_normal((m, n)), clean


# ---- the same arguments


@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_has_the_same_first_arguments(name):
    first, second, *others = inspect.signature(DENOISERS[name].code()).parameters.values()
    assert (first.name, second.name, second.default) == ("x", "sigma", None)
    assert all(p.kind is p.KEYWORD_ONLY for p in others)


@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_gives_an_array_that_knows_its_noise(name):
    if name == "wavelet":
        pytest.importorskip("pywt")
    clean, values = noisy(SHAPES[DENOISERS[name].works_on])
    found = denoise(values, name, NOISE)
    assert isinstance(found, Denoised)
    assert (found.shape, found.ndim, len(found)) == (values.shape, values.ndim, len(values))
    assert found.method == name and found.sigma == pytest.approx(NOISE)
    assert np.std(np.asarray(found) - clean) < NOISE
    assert repr(found).startswith("<Denoised") and name in repr(found) and len(repr(found)) < 120
    direct = DENOISERS[name].code()(values, NOISE, **DENOISERS[name].arguments).values
    np.testing.assert_array_equal(denoise(values, name, NOISE, **_range(name)), direct)


def _range(name):
    return (
        {"data_range": 255.0} if "data_range" in inspect.signature(DENOISERS[name].code()).parameters else {}
    )


@pytest.mark.parametrize("name", DENOISERS)
def test_without_a_level_one_is_found(name):
    _, values = noisy((64, 64) if DENOISERS[name].works_on == "picture" else SHAPES[DENOISERS[name].works_on])
    if DENOISERS[name].works_on == "factors":
        values = NOISE * spiked(60, 50, 3)[0]
    found = denoise(values, name)
    assert found.sigma == pytest.approx(NOISE, rel=0.25)


def test_what_a_method_does_not_take_is_refused_by_name():
    _, values = noisy((24, 20))
    with pytest.raises(ValueError, match="tv takes no rank"):
        denoise(values, "tv", 5, rank=2)
    with pytest.raises(ValueError, match="shrink takes no mask"):
        denoise(values, "shrink", 5, mask=np.ones(values.shape, bool))
    with pytest.raises(ValueError, match="needs all values"):
        denoise(np.ma.MaskedArray(values, ~hole(values.shape)), "truncate", 5)
    with pytest.raises(ValueError, match="nearest: patch_svd"):
        denoise(values, "patchsvd")
    with pytest.raises(TypeError, match="passses"):
        denoise(values, "patch_svd", 5, passses=2)


def test_options_reach_the_method():
    _, values = noisy((40, 36))
    one = patch_svd(values, NOISE, passes=1, data_range=np.ptp(values))
    np.testing.assert_array_equal(denoise(values, "patch_svd", NOISE, passes=1), one)
    assert denoise(values, "truncate", NOISE, rank=3).rank == 3
    mask = hole(values.shape)
    found = denoise(values, "patch_svd", NOISE, mask=mask, passes=1)
    np.testing.assert_array_equal(found[~mask], values[~mask])


@pytest.mark.parametrize(
    "room", ["svdflow", "svdflow.denoisers", "svdflow.ranks", "svdflow.svd", "svdflow.metrics"]
)
def test_no_public_name_is_hidden_by_a_module(room):
    for module in pkgutil.walk_packages(svdflow.__path__, "svdflow."):
        if module.name not in ("svdflow.__main__", "svdflow.compat.estimator"):  # scikit-learn may be missing
            import_module(module.name)
    package = import_module(room)
    modules = [name for name in package.__all__ if inspect.ismodule(getattr(package, name))]
    assert modules == (["errors"] if room == "svdflow" else [])


# ---- an array


def test_a_result_goes_where_an_array_goes():
    _, values = noisy((40, 36))
    found = patch_svd(values, NOISE, passes=1)
    plain = found.values
    np.testing.assert_array_equal(np.asarray(found), plain)
    assert np.asarray(found) is plain and np.array(found) is not plain
    assert np.asarray(found, np.float32).dtype == np.float32
    for result, expected in (
        (values - found, values - plain),
        (2 * found + 1, 2 * plain + 1),
        (found > 100, plain > 100),
        (np.sqrt(np.abs(found)), np.sqrt(np.abs(plain))),
        (found[3:5, 7], plain[3:5, 7]),
        (np.clip(found, 0, 255), np.clip(plain, 0, 255)),
        (np.stack([found, found]), np.stack([plain, plain])),
        (found.T, plain.T),
        (found.mean(), plain.mean()),
        (np.mean(found), np.mean(plain)),
        (np.fft.fft2(found), np.fft.fft2(plain)),
    ):
        assert type(result) is not Denoised
        np.testing.assert_array_equal(result, expected)
    total = np.zeros(plain.shape)
    total += found
    np.testing.assert_array_equal(total, plain)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again, plain)
    with pytest.raises(AttributeError):
        _ = found.nothing_of_that_name


@pytest.mark.parametrize("method", ["tv", "patch_svd"])
def test_scikit_image_calibrates_a_denoiser(method):
    clean = data.camera()[100:164, 200:264] / 255.0
    image = clean + 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
    options = {"passes": 1} if method == "patch_svd" else {}
    function = partial(denoise, method=method, data_range=1.0, **options)
    levels = [0.02, 0.1, 0.5]
    calibrated, (tested, losses) = restoration.calibrate_denoiser(
        image, function, {"sigma": levels}, extra_output=True
    )
    assert tested[int(np.argmin(losses))]["sigma"] == 0.1  # the level of the noise is the best parameter
    found = calibrated(image)
    assert np.mean((found - clean) ** 2) < 0.5 * np.mean((image - clean) ** 2)


def test_scikit_image_makes_a_denoiser_invariant():
    clean = data.camera()[100:164, 200:264].astype(float)
    image = clean + 25 * np.random.default_rng(0).standard_normal(clean.shape)
    found = restoration.denoise_invariant(
        image, denoise, stride=3, denoiser_kwargs={"method": "patch_svd", "sigma": 25.0, "passes": 1}
    )
    assert np.mean((found - clean) ** 2) < 0.6 * np.mean((image - clean) ** 2)


def test_scikit_image_spins_a_denoiser():
    _, image = noisy((40, 36))
    func = partial(patch_svd, sigma=NOISE, passes=1)
    found = restoration.cycle_spin(image, func, max_shifts=1)
    shifts = [(i, j) for i in range(2) for j in range(2)]
    expected = np.mean(
        [np.roll(func(np.roll(image, s, (0, 1))).values, (-s[0], -s[1]), (0, 1)) for s in shifts], 0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---- the method that suits


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_told_from_matrices(name):
    picture = getattr(data, name)().astype(float)
    for sigma in (0, 25):
        assert is_picture(picture + np.random.default_rng(0).normal(0, sigma, picture.shape))


@pytest.mark.parametrize("shape", [(20, 30), (100, 100), (300, 40), (8, 200)])
def test_matrices_are_told_from_pictures(shape):
    rng = np.random.default_rng(1)
    taken = 0
    for seed in range(100):
        A, clean = spiked(*shape, 1 + seed % 3, seed)
        rows = np.abs(rng.standard_normal((shape[0], 1))) + np.abs(rng.standard_normal((1, shape[1])))
        taken += is_picture(A) + is_picture(clean) + is_picture(rows)
    assert taken == 0
    # Rows in an order, as time series have, are no picture: columns have none.
    waves = np.sin(np.linspace(0, 9, shape[0]))[:, None] * rng.standard_normal(shape[1])
    assert not is_picture(waves) and not is_picture(waves + 1j)


def test_auto_takes_what_suits():
    _, series = noisy((6, 7, 12))
    camera = data.camera()[100:200, 180:280].astype(float)
    camera += np.random.default_rng(0).normal(0, 10, camera.shape)
    colour = np.stack([camera] * 3, axis=-1)
    taken = {
        "patch_svd": (camera, camera.astype(np.uint8), colour, np.ma.MaskedArray(camera, camera < 30)),
        "shrink": (spiked(60, 50, 3)[0], spiked(60, 50, 3)[0] * 1j),
        "mppca": (series, series[None]),
        "ssa": (np.sin(np.arange(60)),),
    }
    for name, arrays in taken.items():
        for x in arrays:
            assert denoise(x).method == name


def test_a_stack_is_denoised_as_a_study_does():
    _, series = noisy((6, 7, 12))
    np.testing.assert_array_equal(denoise(series), mppca(series, shrink="frobenius"))


def test_noise_of_pictures_and_matrices():
    A, _ = spiked(300, 200, 3)
    assert estimate_sigma(A) == pytest.approx(1, rel=0.03) == estimate_sigma(A, kind="matrix")
    camera = data.camera() + np.random.default_rng(0).normal(0, 25, (512, 512))
    assert estimate_sigma(camera) == estimate_sigma(camera, kind="picture") == pytest.approx(25.7, rel=0.01)
    with pytest.raises(ValueError, match="has no mask"):
        estimate_sigma(A, A > 0, kind="matrix")
    with pytest.raises(ValueError, match="kind 'photo'"):
        estimate_sigma(A, kind="photo")


# ---- matrices


def test_shrink_takes_a_matrix():
    A, clean = spiked(120, 90, 3)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    by_factors = shrink(spectra.ObservedSpectrum(U, s, Vt), 1.0)
    found = shrink(A, 1.0)
    np.testing.assert_allclose(found, by_factors.rows(0, 120), atol=1e-12)
    assert found.rank == by_factors.rank == 3 and found.sigma == 1.0
    weak = clean / 4
    observed = A - clean + weak
    estimates = shrink(observed), truncate(observed, rank=3), observed
    errors = [np.linalg.norm(estimate - weak) for estimate in estimates]
    assert errors == sorted(errors)
    assert shrink(A.astype(np.float32)).dtype == np.float32
    assert shrink(A, rank=1).rank == 1
    phases = A * np.exp(1j * np.arange(90))
    np.testing.assert_allclose(np.abs(shrink(phases, 1.0)), np.abs(found), atol=1e-10)
    with pytest.raises(ValueError, match="one by one"):
        shrink(np.ones((4, 5, 3)))


@pytest.mark.parametrize("rank", [None, 30])
def test_a_large_matrix_needs_no_whole_decomposition(monkeypatch, rank):
    """Components above the noise are what counts, so that the others need not be computed."""
    A, _ = spiked(400, 300, 12)
    whole = truncate(A, 1.0, rank=rank), shrink(A, 1.0), shrink(A)
    monkeypatch.setattr(spectra, "DENSE_SIDE", 100)
    monkeypatch.setattr(spectra, "FIRST_RANK", 8)
    asked = []
    svd = solver.truncated_svd
    monkeypatch.setattr(solver, "truncated_svd", lambda A, k, **more: asked.append(k) or svd(A, k, **more))
    part = truncate(A, 1.0, rank=rank), shrink(A, 1.0), shrink(A)
    assert asked and max(asked) < 75
    np.testing.assert_allclose(part[1], whole[1], atol=0.02)
    np.testing.assert_allclose(part[2].sigma, 1, rtol=0.03)
    assert part[0].rank == whole[0].rank == (rank or 12)


# ---- documentation


def test_the_table_of_docs_is_that_of_the_declarations():
    lines = (ROOT / "docs" / "denoising.md").read_text().splitlines()
    start = lines.index("| method | works on | what it does | source |")
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = cells
    assert list(rows) == list(DENOISERS)
    for name, (_, what, source) in rows.items():
        assert what.startswith(DENOISERS[name].summary) and source == DENOISERS[name].source


def test_names_stand_in_one_order_everywhere():
    assert list(DENOISERS)[:4] == ["shrink", "truncate", "patch_svd", "wnnm"]
    orders = [declared.order for declared in DENOISERS.values()]
    assert orders == sorted(orders)


def test_what_is_chosen_for_pictures_applies_to_them():
    assert IMAGES in DENOISERS["patch_svd"].applies_to and svdflow.denoise is denoise

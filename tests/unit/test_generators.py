"""Synthetic matrices against closed forms, NumPy's and SciPy's constructions and random-matrix theory."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from svdflow.matrix.generators import FamilyError, derive_seed, generate
from svdflow.matrix.generators.gaussian_state import marchenko_pastur_truth
from svdflow.matrix.generators.prescribed import compact_wy, random_mixer
from svdflow.matrix.generators.randomness import stream, tile_height
from svdflow.matrix.ingest_synthetic import ingest_synthetic
from svdflow.registry import GENERATORS
from svdflow.store import items, open_published
from svdflow.study import families

EPS = np.finfo(np.float64).eps
SHAPES = [(300, 40), (40, 300), (97, 97), (64, 1), (1, 64), (1, 1), (2, 2)]


def whole(matrix):
    return matrix.read(0, matrix.shape[0])


def clean(matrix):
    return np.concatenate([panel[2] for panel in matrix.panels(with_clean=True)])


def log_scale(first, last, rank, side):
    values = first * (last / first) ** (np.arange(rank) / max(1, rank - 1))
    return np.concatenate([values, np.zeros(side - rank)])


# ---- the table of families


@pytest.mark.parametrize("name", GENERATORS)
def test_every_declared_family_gives_a_matrix_of_the_shape_that_it_declares(name):
    small = {"rows": 12, "columns": 9, "rank": 2, "height": 3, "width": 4, "frames": 9}
    given = {key: value for key, value in small.items() if key in GENERATORS[name].options.model_fields}
    matrix = generate(name, given, seed=1)
    assert matrix.shape == families.shape_of(name, given) == (12, 9)
    assert matrix.sparse == GENERATORS[name].sparse


def test_families_are_read_without_an_array_library():
    code = (
        "import sys; from svdflow.study import families; families.bytes_of('movie');"
        "print(sorted({'numpy', 'scipy', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", GENERATORS)
def test_defaults_pass_their_own_checks_and_every_parameter_is_described(name):
    fields = GENERATORS[name].options.model_fields
    defaults = {key: field.default for key, field in fields.items()}
    assert families.parse_parameters(name, defaults) == families.parse_parameters(name) == defaults
    assert all(field.description for field in fields.values())
    assert "dtype" in fields


def test_text_is_cast_to_the_type_of_the_default():
    given = {"rows": "600", "columns": 5e2, "noise": "1e-3", "rank": "7"}
    params = families.parse_parameters("low_rank_plus_noise", given)
    assert (params["rows"], params["columns"], params["noise"], params["rank"]) == (600, 500, 1e-3, 7)
    assert [type(params[key]) for key in ("rows", "columns", "noise", "dtype")] == [int, int, float, str]


@pytest.mark.parametrize(
    ("name", "given", "parts"),
    [
        ("low_rank_noise", {}, ["low_rank_noise", "did you mean 'low_rank_plus_noise'"]),
        ("power_decay", {"row": 5}, ["power_decay", "'row'", "did you mean 'rows'"]),
        ("power_decay", {"rows": "many"}, ["power_decay: 'rows'", "'many'"]),
        ("power_decay", {"rows": 2.5}, ["whole number"]),
        ("power_decay", {"rows": True}, ["power_decay: 'rows'"]),
        ("power_decay", {"rows": 0}, ["at least 1"]),
        ("power_decay", {"p": "nan"}, ["finite"]),
        ("power_decay", {"dtype": "float16"}, ["float64, float32, complex128"]),
        ("waves", {"noise": -1}, ["at least 0"]),
        ("lapack_mode", {"mode": 7}, ["at most 6"]),
        ("rank_deficient", {"rank": 401}, ["rank", "shorter side, 400"]),
        ("rank_deficient", {"s_last": 2.0}, ["s_last", "more than s_first"]),
        ("sparse_random", {"density": 0}, ["above 0"]),
        ("vandermonde", {"low": 1}, ["not below high"]),
        ("movie", {"height": 2, "width": 2, "rank": 5}, ["movie: rank", "pixels and frames, 4"]),
    ],
)
def test_a_wrong_parameter_is_named_with_the_remedy(name, given, parts):
    with pytest.raises(FamilyError) as caught:
        families.parse_parameters(name, given)
    assert all(part in str(caught.value) for part in parts)


def test_bytes_are_those_of_the_arrays():
    params = {"rows": 50, "columns": 30, "dtype": "float32", "rank": 3}
    assert families.shape_of("low_rank_plus_noise", params) == (50, 30)
    assert families.bytes_of("low_rank_plus_noise", params) == 50 * 30 * 4 + 30 * 8
    assert families.bytes_of("low_rank_plus_noise", params, with_clean=True) == 2 * 50 * 30 * 4 + 30 * 8
    quiet = params | {"noise": 0}
    assert families.bytes_of("low_rank_plus_noise", quiet, with_clean=True) == 50 * 30 * 4 + 30 * 8
    assert families.bytes_of("movie", with_clean=True) == 2 * 48 * 48 * 60 * 4 + 60 * 8
    # 100,000 values of 8 bytes and indices of 4, 10,001 bounds of 4, and the room for 10,000 singular values.
    assert families.bytes_of("sparse_random") == 100_000 * 12 + 10_001 * 4 + 80_000


# ---- prescribed spectra

SPECTRUM_CASES = [
    ("power_decay", {"p": 1.5}, lambda p: 1.0 / np.arange(1, p + 1) ** 1.5),
    ("exponential_decay", {"scale": 7}, lambda p: np.exp(-np.arange(p) / 7)),
    ("spectral_gap", {"rank": 1, "gap": 1e4}, lambda p: np.concatenate([[1.0], np.full(p - 1, 1e-4)])),
    (
        "rank_deficient",
        {"rank": 1, "s_first": 3, "s_last": 3},
        lambda p: np.concatenate([[3.0], np.zeros(p - 1)]),
    ),
    ("low_rank_plus_noise", {"rank": 1, "noise": 0}, lambda p: np.concatenate([[10.0], np.zeros(p - 1)])),
    ("lapack_mode", {"mode": 1, "cond": 10}, lambda p: np.concatenate([[1.0], np.full(p - 1, 0.1)])),
    (
        "lapack_mode",
        {"mode": 2, "cond": 10},
        lambda p: np.concatenate([np.ones(p - 1), [0.1 if p > 1 else 1.0]]),
    ),
    ("lapack_mode", {"mode": 3, "cond": 1e8}, lambda p: np.logspace(0, -8, p)),
    ("lapack_mode", {"mode": 4, "cond": 1e3}, lambda p: np.linspace(1, 1e-3, p) if p > 1 else np.ones(1)),
]


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "given", "expected"), SPECTRUM_CASES)
def test_the_spectrum_is_exact(name, given, expected, shape, dtype):
    matrix = generate(name, {**given, "rows": shape[0], "columns": shape[1], "dtype": dtype}, seed=5)
    values = np.linalg.svd(whole(matrix), compute_uv=False)
    # n eps s_1 of LAPACK, and a few eps of each of the 16 reflections.
    tolerance = (max(shape) + 16) * EPS * expected(1)[0]
    np.testing.assert_allclose(values, expected(min(shape)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(matrix.truth().values, expected(min(shape)), rtol=1e-13)
    assert matrix.truth().label == "exact"


def test_ranks_on_a_log_scale():
    given = {"rows": 90, "columns": 70, "rank": 12, "s_first": 5, "s_last": 0.05}
    matrix = generate("rank_deficient", given, seed=2)
    values = np.linalg.svd(whole(matrix), compute_uv=False)
    np.testing.assert_allclose(values, log_scale(5, 0.05, 12, 70), rtol=0, atol=90 * EPS * 5)
    assert np.linalg.matrix_rank(whole(matrix)) == 12


@pytest.mark.parametrize("mode", [5, 6])
def test_random_lapack_modes(mode):
    matrix = generate("lapack_mode", {"rows": 400, "columns": 400, "mode": mode, "cond": 100}, seed=4)
    values = np.linalg.svd(whole(matrix), compute_uv=False)
    np.testing.assert_allclose(values, matrix.truth().values, rtol=0, atol=400 * EPS * values[0])
    law = {5: scipy.stats.loguniform(0.01, 1).cdf, 6: scipy.stats.halfnorm.cdf}[mode]
    assert scipy.stats.kstest(values, law).pvalue > 1e-4


def test_float32_is_exact_to_its_rounding():
    matrix = generate("power_decay", {"rows": 200, "columns": 150, "dtype": "float32"}, seed=1)
    stored = whole(matrix)
    assert stored.dtype == np.float32
    values = np.linalg.svd(stored.astype(np.float64), compute_uv=False)
    # Weyl: no value moves further than the norm of the rounding, at most eps / 2 times |A|_F.
    bound = np.finfo(np.float32).eps / 2 * np.linalg.norm(stored)
    assert np.abs(values - matrix.truth().values).max() <= bound


@pytest.mark.parametrize("complex_", [False, True])
def test_compact_wy_is_the_product_of_the_reflections(complex_):
    rng = np.random.default_rng(0)
    V = rng.standard_normal((30, 5)) + 1j * complex_ * rng.standard_normal((30, 5))
    V = V if complex_ else V.real
    V = V / np.linalg.norm(V, axis=0)
    product = np.linalg.multi_dot([np.eye(30) - 2 * np.outer(v, v.conj()) for v in V.T])
    compact = np.eye(30) - V @ compact_wy(V) @ V.conj().T
    np.testing.assert_allclose(compact, product, atol=30 * EPS)
    np.testing.assert_allclose(compact @ compact.conj().T, np.eye(30), atol=60 * EPS)


def test_reflections_of_vectors_that_are_not_unit_are_not_orthogonal():
    V = 1.01 * random_mixer(30, 0, "left", complex_=False).V
    compact = np.eye(30) - V @ compact_wy(V) @ V.T
    assert np.abs(compact @ compact.T - np.eye(30)).max() > 1e-3


def test_singular_vectors_are_spread_over_all_entries():
    matrix = generate("power_decay", {"rows": 600, "columns": 400}, seed=3)
    U, _, Vt = np.linalg.svd(whole(matrix), full_matrices=False)
    # A Haar vector of length 600 has its largest entry near sqrt(2 ln 600 / 600) = 0.15; a unit vector has 1.
    assert np.abs(U).max() < 0.35
    assert np.abs(Vt).max() < 0.35


# ---- bits


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("low_rank_plus_noise", {"rows": 1000, "columns": 500, "rank": 5}),
        ("power_decay", {"rows": 1000, "columns": 500, "dtype": "complex128", "noise": 0.1}),
        ("structured_image", {"rows": 1000, "columns": 500}),
        ("hilbert", {"rows": 1000, "columns": 500}),
        ("gaussian_state", {"rows": 700, "columns": 500}),
    ],
)
def test_bits_do_not_depend_on_panel_height_or_order(name, given):
    assert tile_height(500) < 700 // 2
    matrix = generate(name, given, seed=11)
    reference = whole(matrix)
    for height in (1000, 256, 77):
        np.testing.assert_array_equal(np.concatenate([p[1] for p in matrix.panels(height)]), reference)
    np.testing.assert_array_equal(matrix.read(613, 620), reference[613:620])
    np.testing.assert_array_equal(whole(generate(name, given, seed=11)), reference)


@pytest.mark.parametrize("name", ["power_decay", "gaussian_state", "waves"])
def test_another_seed_is_another_matrix(name):
    given = {"rows": 64, "columns": 64}
    assert not np.any(whole(generate(name, given, seed=1)) == whole(generate(name, given, seed=2)))


def test_streams_of_roles_tiles_and_seeds_differ():
    keys = [(1, "noise", 0), (2, "noise", 0), (1, "noise", 1), (1, "entries", 0), (0, "noise", 1)]
    draws = np.array([stream(*key).standard_normal(1000) for key in keys])
    # Correlations of independent draws have standard deviation 1 / sqrt(1000) = 0.032.
    assert np.abs(np.corrcoef(draws) - np.eye(len(keys))).max() < 0.16


def test_derived_seeds_differ_and_fit_hdf5():
    seeds = {derive_seed(42, dataset, index) for dataset in ("a", "b") for index in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_memory_stays_with_the_panel():
    given = {"rows": 20_000, "columns": 2000, "dtype": "float32", "noise": 0.01}
    matrix = generate("power_decay", given, seed=1)
    tracemalloc.start()
    try:
        rows = sum(len(observed) for _, observed, _ in matrix.panels())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 20_000
    assert matrix.panel_height * 2000 * 4 <= 8 * 2**20
    assert peak < 64 * 2**20  # the matrix itself has 153 MB


# ---- noise


@pytest.mark.parametrize(
    ("name", "given"),
    [("low_rank_plus_noise", {"dtype": "float64"}), ("power_decay", {"dtype": "complex128"})],
)
def test_noise_is_white_with_the_given_deviation(name, given):
    sigma, m, n = 0.3, 900, 600
    matrix = generate(name, {**given, "rows": m, "columns": n, "noise": sigma}, seed=8)
    noise = whole(matrix) - clean(matrix)
    assert matrix.truth().label == "clean"
    assert np.sqrt(np.mean(np.abs(noise) ** 2)) == pytest.approx(sigma, rel=5 / np.sqrt(2 * m * n))
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(m * n)
    # Bai and Yin: the largest singular value of white noise is near sigma (sqrt m + sqrt n).
    assert np.linalg.norm(noise, 2) == pytest.approx(sigma * (np.sqrt(m) + np.sqrt(n)), rel=0.03)


# ---- formulas


def test_structured_image():
    matrix = generate("structured_image", {"noise": 0.05}, seed=1)
    X, Y = np.meshgrid(np.linspace(0, 6 * np.pi, 192), np.linspace(0, 8 * np.pi, 256))
    expected = np.sin(X) * np.cos(Y) + 0.3 * np.sin(3 * X + 2 * Y) + 0.5 * np.sign(np.sin(X / 2))
    assert matrix.shape == expected.shape == (256, 192)
    np.testing.assert_allclose(clean(matrix), expected, atol=1e-13)
    values = np.linalg.svd(expected, compute_uv=False)
    np.testing.assert_allclose(matrix.truth().values, values, atol=256 * EPS * values[0])
    assert np.std(whole(matrix) - expected) == pytest.approx(0.05, rel=5 / np.sqrt(2 * expected.size))


def test_waves():
    matrix = generate("waves", seed=1)
    X, Y = np.meshgrid(np.linspace(0, 4 * np.pi, 128), np.linspace(0, 4 * np.pi, 128))
    expected = np.sin(X) * np.cos(Y) + 0.5 * np.sin(2 * X + Y)
    np.testing.assert_allclose(clean(matrix), expected, atol=1e-13)
    values = np.linalg.svd(expected, compute_uv=False)
    np.testing.assert_allclose(matrix.truth().values, values, atol=128 * EPS * values[0])
    assert np.std(whole(matrix) - expected) == pytest.approx(0.5, rel=5 / np.sqrt(2 * expected.size))


def test_formula_images_smaller_than_their_rank_have_as_many_values_as_sides():
    values = generate("structured_image", {"rows": 2, "columns": 5, "noise": 0}).truth()
    assert values.label == "computed"
    assert values.values.shape == (2,)


def test_a_movie_is_a_sum_of_spots_of_unit_height_and_traces_of_unit_power():
    given = {"height": 40, "width": 50, "frames": 80, "rank": 1, "noise": 0.0, "dtype": "float64"}
    matrix = generate("movie", given, seed=3)
    assert matrix.shape == families.shape_of("movie", given) == (2000, 80)
    assert families.grid_of("movie", given) == (40, 50)
    assert families.grid_of("hilbert") is None
    movie = whole(matrix).reshape(40, 50, 80)
    # Its only product is found by hand: the trace at the brightest pixel, and the spot in the brightest frame.
    row, column, frame = np.unravel_index(np.argmax(movie), movie.shape)
    spot, trace = movie[:, :, frame] / movie[row, column, frame], movie[row, column]
    np.testing.assert_allclose(movie, spot[:, :, None] * trace, atol=1e-13)
    # The centre lies between pixels, at most 1/sqrt(2) away, of a width of 2.4 pixels or more.
    assert np.exp(-0.5 / (2 * 2.4**2)) <= np.sqrt(np.mean(trace**2)) <= 1
    # Along a row a Gaussian has a second difference of its logarithm of -1 / w^2, w from 0.06 to 0.12 of 40.
    curvature = np.diff(np.log(spot[row]), 2)
    np.testing.assert_allclose(curvature, curvature[0], rtol=1e-6)
    assert 0.06 * 40 <= (-1 / curvature[0]) ** 0.5 <= 0.12 * 40


def test_a_movie_has_its_rank_and_noise():
    matrix = generate("movie", {"dtype": "float64"}, seed=1)
    silent = clean(matrix)
    s = np.linalg.svd(silent, compute_uv=False)
    assert np.linalg.matrix_rank(silent) == 6
    assert matrix.truth().label == "clean"
    np.testing.assert_allclose(matrix.truth().values, s, atol=2304 * EPS * s[0])
    assert np.std(whole(matrix) - silent) == pytest.approx(1.0, rel=5 / np.sqrt(2 * silent.size))


def test_an_ingested_movie_carries_its_grid(tmp_path):
    given = {"height": 6, "width": 5, "frames": 7, "rank": 2}
    for family, parameters, grid in (("movie", given, [6, 5]), ("waves", {"rows": 6, "columns": 5}, None)):
        out = tmp_path / f"{family}.h5"
        ingest_synthetic(
            out,
            dataset="d",
            shard="00000",
            family=family,
            parameters=parameters,
            replicates=[0],
            seed=1,
            with_clean=True,
        )
        with open_published(out, "matrices") as file:
            (item,) = items(file)
            stored = item.attrs.get("grid")
            assert stored is None if grid is None else list(stored) == grid


def test_hilbert():
    matrix = generate("hilbert", {"rows": 5, "columns": 5})
    np.testing.assert_array_equal(whole(matrix), scipy.linalg.hilbert(5))
    s = matrix.truth().values
    # Higham, "Accuracy and Stability of Numerical Algorithms", section 28.1: kappa_2(H_5) = 4.766e5.
    assert s[0] / s[-1] == pytest.approx(476607.25, abs=0.01)


def test_vandermonde():
    matrix = generate("vandermonde", {"rows": 40, "columns": 6, "low": -2, "high": 3})
    nodes = np.array([-2 + 5 * i / 39 for i in range(40)])
    np.testing.assert_allclose(whole(matrix), np.stack([nodes**j for j in range(6)], axis=1), rtol=1e-12)


def test_toeplitz():
    matrix = generate("toeplitz", {"rows": 60, "columns": 50, "decay": -0.7})
    expected = scipy.linalg.toeplitz((-0.7) ** np.arange(60), (-0.7) ** np.arange(50))
    np.testing.assert_allclose(whole(matrix), expected, rtol=1e-14)
    square = generate("toeplitz", {"rows": 40, "columns": 40}).truth()
    assert np.prod(square.values) == pytest.approx(0.75**39, rel=1e-10)  # det = (1 - decay^2)^(n - 1)


# ---- ensembles


def test_sparse_random_has_its_density_and_no_entry_twice():
    matrix = generate("sparse_random", seed=6)
    A = whole(matrix)
    assert A.shape == (10_000, 10_000)
    assert A.nnz == matrix.entries == 100_000
    assert A.has_canonical_format
    assert matrix.truth() is None
    # Places are uniform: a row or column holds Poisson(10), of variance 10.
    for counts in (np.diff(A.indptr), np.bincount(A.indices, minlength=10_000)):
        assert counts.var() == pytest.approx(10, rel=5 * np.sqrt(2.1 / 10_000))
    assert A.data.mean() == pytest.approx(0, abs=5 / np.sqrt(A.nnz))
    assert A.data.std() == pytest.approx(1, rel=5 / np.sqrt(2 * A.nnz))


def test_sparse_bits_do_not_depend_on_panel_height():
    given = {"rows": 3000, "columns": 700, "density": 0.1, "values": "uniform", "dtype": "float32"}
    matrix = generate("sparse_random", given, seed=6)
    reference = whole(matrix).toarray()
    for height in (1000, 77):
        pieces = np.concatenate([rows.toarray() for _, rows in matrix.panels(height)])
        np.testing.assert_array_equal(pieces, reference)
    assert np.any(whole(generate("sparse_random", given, seed=7)).toarray() != reference)
    assert 0 <= reference.min() <= reference.max() < 1


def test_small_sparse_matrices_carry_their_spectrum():
    matrix = generate("sparse_random", {"rows": 120, "columns": 80, "density": 0.1}, seed=1)
    expected = np.sqrt(np.maximum(0, np.linalg.eigvalsh((whole(matrix).T @ whole(matrix)).toarray())[::-1]))
    np.testing.assert_allclose(matrix.truth().values, expected, atol=1e-7 * expected[0])
    assert matrix.truth().label == "computed"


def test_gaussian_state_is_normalized_and_has_the_entropy_of_page():
    matrix = generate("gaussian_state", {"rows": 256, "columns": 256}, seed=9)
    state = whole(matrix)
    assert state.dtype == np.complex128
    assert np.linalg.norm(state) == pytest.approx(1, abs=1e-13)
    weights = matrix.truth().values ** 2
    entropy = -np.sum(weights * np.log(weights))
    # Page (1993), exact for m = n: sum_{k=n+1}^{mn} 1/k - (m - 1) / (2 n), which tends to ln n - 1/2.
    page = np.sum(1 / np.arange(257, 256**2 + 1)) - 255 / 512
    assert page == pytest.approx(np.log(256) - 0.5, abs=1 / 256)
    assert entropy == pytest.approx(page, abs=5 / 256)


def test_marchenko_pastur_quantiles_follow_the_quarter_circle():
    truth = marchenko_pastur_truth((5000, 5000))
    assert truth.label == "theory"
    y = truth.values * np.sqrt(5000)  # in [0, 2], with the distribution function of the quarter circle
    cdf = (y * np.sqrt(4 - y**2) / 2 + 2 * np.arcsin(y / 2)) / np.pi
    np.testing.assert_allclose(cdf, 1 - (np.arange(5000) + 0.5) / 5000, atol=1e-6)


def test_marchenko_pastur_quantiles_are_near_a_rectangular_sample():
    shape = (1200, 300)
    sample = generate("gaussian_state", {"rows": shape[0], "columns": shape[1]}, seed=1).truth()
    assert sample.label == "computed"
    np.testing.assert_allclose(marchenko_pastur_truth(shape).values, sample.values, rtol=0.02)


def test_page_default_is_two_to_the_ten():
    assert families.shape_of("gaussian_state") == (2**10, 2**10)

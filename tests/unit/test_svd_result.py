"""What a factorization gives back: its reconstruction, its files, and the forms in which it is asked for."""

import h5py
import numpy as np
import pytest

from svdflow import SVDResult, denoisers, ranks, truncated_svd
from svdflow.errors import ConvergenceWarning, NotOursError, StoreError
from svdflow.ranks import gavish_donoho, optimal_rank, shrunk_values
from svdflow.ranks.of_matrices import estimate_sigma, shrink
from svdflow.registry import RANK_RULES
from svdflow.svd import SolverOptions, factorize
from unit.svd_promises import with_spectrum

EPS = np.finfo(float).eps
SHAPES = [(70, 40), (40, 70)]
A_FEW_READS = {"rank": 5, "method": "krylov", "max_reads": 3, "tol": 0.5}


@pytest.fixture
def A():
    rng = np.random.default_rng(3)
    return with_spectrum(1 / np.arange(1.0, 41.0), 70, 40) * rng.uniform(1, 30, 40) + rng.uniform(-9, 9, 40)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("method", ["full", "gram", "krylov"])
@pytest.mark.parametrize(("center", "scale"), [(False, False), (True, False), (False, True), (True, True)])
def test_all_triplets_give_the_matrix_back(A, method, center, scale, turned):
    A = A.T if turned else A
    result = truncated_svd(A, min(A.shape), method=method, center=center, scale=scale)
    # Values far below the first one come from squares, by the rounding of which they may be wrong.
    atol = np.linalg.norm(A) * (100 * EPS if method == "full" else EPS**0.5)
    np.testing.assert_allclose(result.reconstruct(), A, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "uint8"])
def test_reconstruction_of_some_rows_and_fewer_triplets(A, dtype):
    A = np.round(abs(A)).astype(dtype) if dtype == "uint8" else A.astype(dtype)
    result = truncated_svd(A, 6, center=True)
    U, s, Vt = result
    by_hand = (U[:, :4] * s[:4]) @ Vt[:4] + A.mean(axis=0, dtype=np.result_type(A, np.float64))
    eps = np.finfo(result.Vt.dtype).eps
    assert result.reconstruct(4).dtype == result.Vt.dtype
    np.testing.assert_allclose(result.reconstruct(4), by_hand, atol=200 * eps * np.abs(A).max())
    np.testing.assert_array_equal(result.reconstruct(4, slice(9, 30, 3)).shape, (7, 40))
    np.testing.assert_allclose(
        result.reconstruct(4, np.array([5, 1])), by_hand[[5, 1]], atol=200 * eps * np.abs(A).max()
    )
    assert result.rank == 6
    for rank in (-1, 7, 2.0, True):
        with pytest.raises(ValueError, match="rank must be an integer from 0 to 6"):
            result.reconstruct(rank)


def test_a_factor_that_went_to_a_sink_is_named():
    class Nowhere:
        def write(self, start, rows):
            pass

    result = factorize(np.eye(9), 2, method="gram", sink=lambda shape, dtype: Nowhere())
    with pytest.raises(ValueError, match="sink"):
        result.reconstruct()
    assert result.truncate(1).U is None


# Whether the method's spectral error bounds the true one, and whether it is NaN: one read bounds none.
SPECTRAL_BOUND = {
    **dict.fromkeys(["full", "gram", "krylov", "shift"], (True, False)),
    "single_pass": (False, True),
}


@pytest.mark.parametrize("method", SPECTRAL_BOUND)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_errors_of_truncated_factors_are_true(A, method, dtype):
    A = A.astype(dtype)
    result = truncated_svd(A, 12, method=method)
    short = result.truncate(5)
    left = A.astype(float) - (short.U.astype(float) * short.s) @ short.Vt.astype(float)
    true, norm, info = np.linalg.norm(left), np.linalg.norm(A.astype(float)), short.info
    assert short.rank == info.rank == 5 and short.U.shape == (70, 5) and short.Vt.shape == (5, 40)
    assert info.frobenius_kind == "exact"
    assert abs(info.frobenius_error - true) <= info.frobenius_resolution + 1e-12 * norm
    assert info.relative_error == pytest.approx(info.frobenius_error / norm, rel=1e-6)
    bounded = np.linalg.norm(left, 2) <= info.spectral_error * (1 + 1e-6)
    assert (bounded, np.isnan(info.spectral_error)) == SPECTRAL_BOUND[method]
    assert result.truncate(12) is result


def test_truncating_a_matrix_of_lower_rank_ends_what_was_deficient():
    low = with_spectrum([5.0, 3.0, 2.0], 60, 40)
    result = truncated_svd(low, 6, method="full")
    assert result.info.reason == "rank_deficient" and result.info.frobenius_kind == "floor"
    short = result.truncate(2)
    assert short.info.reason == "converged" and short.info.frobenius_kind == "exact"
    assert abs(short.info.frobenius_error - 2.0) <= short.info.frobenius_resolution + 1e-12


def test_shares_of_a_centred_matrix_are_those_of_its_variance(A):
    result = truncated_svd(A, 4, center=True)
    s = np.linalg.svd(A - A.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(result.explained_variance_ratio, s[:4] ** 2 / np.sum(s**2), rtol=1e-6)
    assert truncated_svd(np.zeros((4, 3)), 1).explained_variance_ratio.tolist() == [0.0]


@pytest.mark.parametrize("method", ["full", "gram", "krylov", "lanczos", "single_pass"])
def test_saved_and_loaded_bit_for_bit(A, method, tmp_path):
    scale = method != "single_pass"
    result = truncated_svd(A, 6, method=method, center=True, scale=scale)
    loaded = SVDResult.load(result.save(tmp_path / "factors.h5"))
    for mine, theirs in zip(result, loaded, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert type(loaded.info) is type(result.info)
    for name, value in vars(result.info).items():
        np.testing.assert_array_equal(getattr(loaded.info, name), value, err_msg=name)
        assert type(getattr(loaded.info, name)) is type(value) or np.isscalar(value), name
    assert repr(loaded) == repr(result)


def test_files_of_others_are_refused_and_damage_is_noticed(A, tmp_path):
    path = tmp_path / "factors.h5"
    with h5py.File(path, "w") as file:
        file["thesis"] = np.arange(9)
    result = truncated_svd(A, 3)
    with pytest.raises(NotOursError):
        result.save(path)
    with pytest.raises(StoreError):
        SVDResult.load(path)
    with h5py.File(path) as file:
        assert file["thesis"][8] == 8
    result.save(path, force=True)
    with h5py.File(path, "r+") as file:
        file["U"][0, 0] += 1
    with pytest.raises(StoreError, match="factors"):
        SVDResult.load(path)
    with pytest.raises(StoreError, match="no such file"):
        SVDResult.load(tmp_path / "nowhere.h5")


def test_a_short_text_and_a_table(A):
    result = truncated_svd(A, 3, method="gram")
    assert repr(result).startswith("SVDResult(rank 3 of 70 x 40 float64, gram, 2 reads, converged, relative")
    assert len(repr(result)) < 120
    table = result._repr_html_()
    assert table.startswith("<table>") and "70 x 40 float64" in table and "gram, 2 reads" in table


@pytest.mark.filterwarnings("ignore::svdflow.ConvergenceWarning")
def test_a_seed_in_every_form(A):
    s = truncated_svd(A, **A_FEW_READS, seed=7).s
    np.testing.assert_array_equal(truncated_svd(A, **A_FEW_READS, rng=7).s, s)
    drawn = int(np.random.default_rng(5).integers(2**64 - 1, dtype=np.uint64))
    expected = truncated_svd(A, **A_FEW_READS, seed=drawn).s
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(truncated_svd(A, **A_FEW_READS, rng=generator).s, expected)
    assert (truncated_svd(A, **A_FEW_READS, rng=generator).s != expected).any()  # it was advanced
    sequence = np.random.SeedSequence(4)
    twice = [truncated_svd(A, **A_FEW_READS, rng=sequence).s for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    for wrong in ({"rng": 1.5}, {"rng": "0"}, {"rng": -1}, {"seed": 3, "rng": 3}):
        with pytest.raises(ValueError, match=r"seed|rng"):
            truncated_svd(A, 2, **wrong)


def test_rare_options_in_both_forms(A, tmp_path):
    with pytest.warns(ConvergenceWarning):
        one = truncated_svd(A, 5, method="krylov", tol=1e-9, block_size=8, max_reads=3)
    options = SolverOptions(block_size=8, max_reads=3, checkpoint=tmp_path / "kept")
    with pytest.warns(ConvergenceWarning):
        two = truncated_svd(A, 5, method="krylov", tol=1e-9, options=options)
    np.testing.assert_array_equal(one.Vt, two.Vt)
    assert two.info.reads == 3 and two.info.block_size == 8
    with pytest.raises(TypeError, match=r"'maxreads' .nearest: max_reads"):
        truncated_svd(A, 5, maxreads=3)
    with pytest.raises(ValueError, match="max_reads is given twice"):
        truncated_svd(A, 5, max_reads=3, options=options)
    with pytest.raises(TypeError, match="SolverOptions"):
        truncated_svd(A, 5, options={"max_reads": 3})


@pytest.mark.parametrize("shape", SHAPES)
def test_rank_noise_and_shrinkage_of_a_matrix_are_those_of_its_values(shape):
    rng = np.random.default_rng(1)
    signal = with_spectrum([60.0, 40.0, 30.0], *shape)
    A = signal + 0.5 * rng.standard_normal(shape)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    found = {rule: optimal_rank(A, sigma=0.5, rule=rule) for rule in RANK_RULES}
    assert 3 <= found.pop("bi_cross_validation") <= 40, "it needs the matrix itself"
    assert found == {rule: optimal_rank(s=s, shape=shape, sigma=0.5, rule=rule) for rule in found}
    assert set(found.values()) <= set(range(41))
    assert optimal_rank(A, sigma=0.5) == optimal_rank(A) == 3
    assert optimal_rank(A) == gavish_donoho(s, shape)
    assert abs(estimate_sigma(A) - 0.5) < 0.1 and estimate_sigma(A) == pytest.approx(
        estimate_sigma(s=s, shape=shape)
    )
    np.testing.assert_allclose(shrink(A, 0.5), (U * shrunk_values(s, shape, 0.5)) @ Vt, atol=1e-12)
    assert np.linalg.norm(shrink(A) - signal) < 0.5 * np.linalg.norm(A - signal)
    assert shrink(A.astype(np.float32)).dtype == np.float32
    assert shrink(np.round(A).astype(int)).dtype == np.float64


@pytest.mark.parametrize("name", ["shrink", "estimate_sigma"])
def test_names_that_denoisers_bear_too_work_one_version_more(name):
    with pytest.warns(
        DeprecationWarning, match=rf"svdflow.ranks.{name} goes with .*; take svdflow.denoisers.{name}"
    ):
        found = getattr(ranks, name)
    A = np.outer(np.arange(30.0), np.ones(20)) + np.random.default_rng(0).normal(0, 0.5, (30, 20))
    level = ranks.sigma_from_singular_values(np.linalg.svd(A, compute_uv=False), A.shape)
    old = found(A)
    new = denoisers.shrink(A, level) if name == "shrink" else denoisers.estimate_sigma(A, kind="matrix")
    np.testing.assert_allclose(old, new)
    assert name not in ranks.__all__


def test_what_a_rank_cannot_be_had_of_is_refused():
    A, s = np.eye(6), np.ones(6)
    for wrong in (
        {},
        {"s": s},
        {"shape": (6, 6)},
        {"s": np.ones(7), "shape": (6, 6)},
        {"s": [1, 2.0], "shape": (6, 6)},
    ):
        with pytest.raises(ValueError, match=r"s= and its shape=|at most 6|descending"):
            optimal_rank(**wrong)
    for call in (optimal_rank, estimate_sigma, shrink):
        with pytest.raises(ValueError, match="not both"):
            call(A, s=s, shape=(6, 6))
    with pytest.raises(ValueError, match=r"unknown rank rule 'gavish_donohoe' .nearest: gavish_donoho"):
        optimal_rank(A, rule="gavish_donohoe")
    with pytest.raises(ValueError, match="needs all 6 singular values"):
        optimal_rank(s=[3.0, 1.0], shape=(6, 6), rule="mp_pca")
    with pytest.raises(ValueError, match="the matrix is not at hand"):
        optimal_rank(s=s, shape=(6, 6), rule="bi_cross_validation")
    with pytest.raises(ValueError, match="NaN"):
        optimal_rank(np.full((3, 3), np.nan))
    assert optimal_rank(s=[3.0, 1.0], shape=(6, 6), rule="energy_90") == 1


def test_a_rule_that_draws_takes_a_seed_or_a_generator():
    rng = np.random.default_rng(0)
    A = with_spectrum([9.0, 6.0, 5.0], 30, 25) + rng.standard_normal((30, 25))
    drawn = int(np.random.default_rng(2).integers(2**64 - 1, dtype=np.uint64))
    seeded = [optimal_rank(A, rule="bi_cross_validation", seed=seed) for seed in (0, drawn)]
    assert optimal_rank(A, rule="bi_cross_validation", rng=0) == seeded[0]
    assert optimal_rank(A, rule="bi_cross_validation", rng=np.random.default_rng(2)) == seeded[1]

"""The SVD benchmark's own arithmetic: accuracy figures, truths, the choice of settings, verdicts, the report."""

import json
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from svdbench import matrices, report
from svdbench.accuracy import (
    Accuracy,
    Factors,
    accuracy,
    residual_norm,
    rounding_floor,
    truth_shift,
    values_error,
)
from svdbench.timing import (
    Comparison,
    Side,
    calibrated,
    cheapest_first,
    fastest,
    fault,
    matched,
    no_worse,
    settings_grid,
    side_by_side,
    verdict,
    verdict_of_all,
)

K = 4


@pytest.fixture(scope="module")
def problem():
    """A matrix with its decomposition by LAPACK."""
    A = np.random.default_rng(3).standard_normal((60, 40)) / np.arange(1, 41)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return A, U, s, Vt


def leading(problem):
    _, U, s, Vt = problem
    return Factors(U[:, :K], s[:K], Vt[:K])


def test_exact_factors_are_optimal_in_every_figure(problem):
    found = accuracy(problem[0], leading(problem), true=problem[2])
    assert found.pve < 1e-12 and found.values < 1e-12 and found.orthogonality < 1e-12
    assert found.frobenius == pytest.approx(1, abs=1e-12)
    assert found.spectral == pytest.approx(1, abs=1e-6)


def test_a_missed_direction_has_the_error_that_theory_gives(problem):
    A, U, s, Vt = problem
    keep = [*range(K - 1), K]  # triplet k + 1 in the place of triplet k
    found = accuracy(A, Factors(U[:, keep], s[keep], Vt[keep]), true=s)
    assert found.pve == pytest.approx((s[K - 1] ** 2 - s[K] ** 2) / s[K] ** 2)
    tail = np.sum(s[K:] ** 2)
    assert found.frobenius == pytest.approx(np.sqrt((tail + s[K - 1] ** 2 - s[K] ** 2) / tail))
    assert found.spectral == pytest.approx(s[K - 1] / s[K], rel=1e-6)
    assert found.values == pytest.approx(1 - s[K] / s[K - 1])


@pytest.mark.parametrize("fault", ["U", "s", "Vt"])
def test_a_fault_in_any_factor_shows_in_the_residuals(problem, fault):
    A, U, s, Vt = problem
    planted = {"U": U[:, :K], "s": s[:K], "Vt": Vt[:K]}
    planted[fault] = planted[fault] * 1.1
    found = accuracy(A, Factors(**planted), true=s)
    if fault == "s":  # the vectors hold what they did
        assert found.claimed == pytest.approx(0.1)
    direct = A - (planted["U"] * planted["s"]) @ planted["Vt"]
    assert found.frobenius == pytest.approx(np.linalg.norm(direct) / np.linalg.norm(s[K:]))
    assert found.frobenius > 1.001
    assert found.spectral == pytest.approx(np.linalg.norm(direct, 2) / s[K], rel=1e-6)


def test_factors_that_are_not_orthonormal_are_found(problem):
    A, U, s, Vt = problem
    doubled = U[:, :K].copy()
    doubled[:, 1] = doubled[:, 0]
    assert accuracy(A, Factors(doubled, s[:K], Vt[:K]), true=s).orthogonality == pytest.approx(1)


def test_centred_and_sparse_matrices_are_judged_as_dense_ones(problem):
    A = problem[0] + 1
    mean = A.mean(axis=0)
    U, s, Vt = np.linalg.svd(A - mean, full_matrices=False)
    found = accuracy(A, Factors(U[:, :K], s[:K], Vt[:K]), true=s, mean=mean)
    assert found.pve < 1e-12 and found.spectral == pytest.approx(1, abs=1e-6)
    assert accuracy(A, Factors(U[:, :K], s[:K], Vt[:K]), true=s).spectral > 2  # the mean forgotten

    A = problem[0]
    whole = accuracy(sparse.csr_array(A), leading(problem), true=problem[2]).row()
    assert whole == pytest.approx(accuracy(A, leading(problem), true=problem[2]).row(), abs=1e-12)


def test_complex_factors_are_judged_as_lapack_leaves_them():
    rng = np.random.default_rng(5)
    A = (rng.standard_normal((50, 30)) + 1j * rng.standard_normal((50, 30))) / np.arange(1, 31)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    keep = [0, 1, 3]
    found = accuracy(A, Factors(U[:, keep], s[keep], Vt[keep]), true=s)
    direct = A - (U[:, keep] * s[keep]) @ Vt[keep]
    assert found.frobenius == pytest.approx(np.linalg.norm(direct) / np.linalg.norm(s[3:]))
    assert found.spectral == pytest.approx(s[2] / s[3], rel=1e-6)
    expected = (s[2] ** 2 - s[3] ** 2) / s[3] ** 2
    assert found.pve == pytest.approx(expected) == values_error(A, U[:, keep], s)
    # Negative control: vectors that were conjugated are those of another matrix.
    assert values_error(A, U[:, :3].conj(), s) > 1 > 1e-12 > values_error(A, U[:, :3], s)


def test_the_figures_do_not_depend_on_panels(problem, monkeypatch):
    whole = accuracy(problem[0], leading(problem), true=problem[2]).row()
    monkeypatch.setattr("svdbench.accuracy.PANEL_ENTRIES", 7 * 40)
    assert accuracy(problem[0], leading(problem), true=problem[2]).row() == pytest.approx(whole, abs=1e-12)


def test_the_spectral_norm_is_approached_from_below(problem):
    A, _, s, _ = problem
    nothing = Factors(np.zeros((60, 1)), np.zeros(1), np.zeros((1, 40)))
    norm = residual_norm(A, nothing.U, nothing.s, nothing.Vt.T)
    assert s[0] * (1 - 1e-9) < norm <= s[0] * (1 + 1e-12)


@pytest.mark.parametrize("name", list(matrices.SPECTRA))
def test_the_stored_matrix_has_the_spectrum_that_is_claimed(name):
    shape = (300, 120)
    true = matrices.spectrum(name, 120)
    stored = matrices.matrix_of(name, shape).read(0, 300)
    assert stored.dtype == np.float32
    shift = truth_shift(np.linalg.norm(true), shape, np.float32)
    off = np.abs(np.linalg.svd(stored.astype(np.float64), compute_uv=False) - true).max()
    assert off < shift
    # Negative control: float16 moves it by far more than the bound for float32 allows.
    coarse = stored.astype(np.float16).astype(np.float64)
    assert np.abs(np.linalg.svd(coarse, compute_uv=False) - true).max() > shift
    assert (np.diff(true) <= 0).all()


def test_the_gap_is_a_step_of_fifty_to_one():
    s = matrices.spectrum("gap", 60)
    assert s[49] / s[50] == pytest.approx(50)


def test_a_file_is_used_again_only_for_the_same_parameters(tmp_path):
    first = matrices.in_file(tmp_path, "1/i", (40, 20))
    made = first.stat().st_mtime_ns
    assert matrices.in_file(tmp_path, "1/i", (40, 20)).stat().st_mtime_ns == made
    assert matrices.in_file(tmp_path, "1/i", (41, 20)).stat().st_mtime_ns != made


def test_a_full_disk_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(SystemExit, match="GB are needed"):
        matrices.in_file(tmp_path, "1/i", (10**11, 4000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "most"),
    [("planted", 20), ("uniform", 20), ("power", 20), ("one-hot", 8), ("even", 3), ("thin", 13)],
)
def test_sparse_rows_have_the_entries_and_a_truth_that_lapack_confirms(kind, most):
    A = matrices.sparse_rows(kind, (400, 150))
    assert A.dtype == np.float32 and A.indices.dtype == np.int32
    assert np.diff(A.indptr).max() == most
    dense = np.linalg.svd(A.toarray().astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(matrices.sparse_truth(A, 6), dense[:6], rtol=1e-12)


def test_the_truth_of_centred_data_is_that_of_lapack(problem):
    A = problem[0] + np.arange(40)
    mean = A.mean(axis=0)
    expected = np.linalg.svd(A - mean, compute_uv=False)
    np.testing.assert_allclose(matrices.gram_truth(A, mean)[:10], expected[:10], rtol=1e-10)


def test_photographs_are_as_different_as_claimed():
    batch = matrices.photographs(512, 16, 20)
    assert len(batch) == 20 and {image.shape for image in batch} == {(512, 512)}
    assert len({image.tobytes() for image in batch}) == 16


def test_the_floor_of_the_error_is_what_a_rounded_length_makes():
    s = np.array([8.0, 4.0, 2.0])
    stretched = np.float32(1) + np.finfo(np.float32).eps
    made = s[0] ** 2 * (float(stretched) - 1) / s[2] ** 2
    assert rounding_floor(s, 2, np.float32) == pytest.approx(made)


# The choice of settings


def side(name, pve, seconds, **settings):
    """A side that claims an error and its own seconds; `pve` may depend on the seed."""
    run = (lambda seed: pve[seed]) if isinstance(pve, dict) else lambda seed: pve
    return Side(name, settings, run, notes=lambda _: {"seconds": seconds})


def judge(claimed, spectral=True):
    return Accuracy(claimed, 1.0, 1.0 if spectral else None, 0.0, 0.0, 0.0)


def tried(*sides):
    return calibrated(sides, judge, lambda _: None)


def test_the_fastest_setting_that_reaches_the_target_is_taken():
    entries = tried(side("a", 1e-1, 1, q=1), side("a", 1e-3, 3, q=2), side("a", 2e-3, 2, q=3))
    assert fastest(entries, 1e-2)[0].settings == {"q": 3} and fastest(entries, 1e-2)[2]
    best, row, reached = fastest(entries, 1e-9)  # none does: 2e-3 is within twice the least, and faster
    assert (best.settings, row["pve"], reached) == ({"q": 3}, 2e-3, False)
    assert [s.settings["q"] for s in cheapest_first(entries, 1e-2)] == [3, 2]
    assert [s.settings["q"] for s in cheapest_first(entries, 1e-9)] == [2]


def test_settings_that_fail_or_repeat_others_are_left_out():
    def breaks(seed):
        raise np.linalg.LinAlgError("no convergence")

    entries = tried(side("a", 1e-1, 1, q=1), Side("a", {"q": 2}, breaks), side("a", 1e-1, 0.5, q=3))
    assert [entry[0].settings["q"] for entry in entries] == [1]


def test_ours_is_raised_until_it_is_less_accurate_at_no_seed():
    wavering = {0: 1e-3, 1: 9e-2, 2: 1e-3}
    choices = [side("ours", wavering, 1, tol=1), side("ours", 1e-3, 2, tol=2)]
    found = matched("x", choices, side("peer", 1e-2, 8), [0, 1, 2], judge, 0.0)
    assert found.comparable and {run["settings"]["tol"] for run in found.ours} == {2}
    assert found.ratios() == [4, 4, 4]
    assert [run["seed"] for run in found.theirs] == [0, 1, 2]


def test_a_win_at_less_accuracy_is_not_published_as_one():
    found = matched("x", [side("ours", 1e-1, 1)], side("peer", 1e-2, 100), [0, 1], judge, 0.0)
    assert not found.comparable
    assert found.row(2, 4)["verdict"] == "not comparable"
    assert found.ratios() == [100, 100]


def test_errors_below_what_stored_factors_resolve_are_equal():
    ours, theirs = {"pve": 3e-6}, {"pve": 1e-6}
    assert no_worse(ours, theirs, floor=5e-6)
    assert not no_worse(ours, theirs, floor=2e-6)


@pytest.mark.parametrize(
    ("ratios", "comparable", "expected"),
    [
        ([4, 9, 8], True, "aim met"),
        ([4, 9, 5], True, "met"),
        ([9, 3, 2], True, "missed"),
        ([9, 9, 9], False, "not comparable"),
    ],
)
def test_the_median_is_judged(ratios, comparable, expected):
    assert verdict(ratios, comparable, 4, 8) == expected


@pytest.mark.parametrize(
    ("ratios", "comparable", "expected"),
    [
        ([4, 9, 5], True, "met"),
        ([9, 9, 3.9], True, "missed"),  # one seed is below what is asked of the worst
        ([4, 4.9, 9], True, "missed"),  # the median is below the aim
        ([9, 9, 9], False, "less accurate"),
    ],
)
def test_defaults_are_judged_by_their_worst_seed(ratios, comparable, expected):
    assert verdict_of_all(ratios, comparable, 4, 5) == expected
    assert verdict_of_all(ratios, comparable, None, None) == ("no target" if comparable else expected)


def test_defaults_are_measured_on_every_seed_and_a_wrong_peer_is_not_timed():
    seeds = dict.fromkeys([0, 1, 2, 1000], 1e-3)
    ours, peer = side("ours", seeds, 1), side("peer", 1e-3, 4)
    found, wrong = side_by_side("default", ours, peer, [0, 1, 2], judge, 0.0)
    assert wrong is None and found.comparable and found.ratios() == [4, 4, 4]
    counted = Side("peer", {}, lambda seed: 1e-3, notes=lambda _: {"seconds": 4}, reads=lambda seed: 16)
    assert side_by_side("default", ours, counted, [0], judge, 0.0)[0].theirs[0]["reads"] == 16
    found, wrong = side_by_side("default", ours, side("peer", np.nan, 4), [0, 1, 2], judge, 0.0)
    assert wrong == "peer: not finite" and not found.theirs
    found, _ = side_by_side("default", side("ours", seeds | {1: 1e-2}, 1), peer, [0, 1, 2], judge, 0.0)
    assert not found.comparable


def test_values_that_no_vectors_have_are_a_fault(problem):
    A, U, s, Vt = problem
    judged = partial(accuracy, A, true=s)
    assert fault(judged(leading(problem)).row()) is None
    crude = np.linalg.svd(A @ np.random.default_rng(0).standard_normal((40, K)), full_matrices=False)[0]
    inaccurate = Factors(crude, np.linalg.norm(crude.T @ A, axis=1), Vt[:K])
    row = judged(inaccurate).row()
    assert row["pve"] > 1e-2 and fault(row) is None  # inaccurate, not wrong
    invented = Factors(U[:, :K], np.r_[s[: K - 1], s[0]], Vt[:K])
    assert "values that its vectors do not have" in fault(judged(invented).row())
    lost = Factors(np.c_[U[:, : K - 1], U[:, -1]], np.r_[s[: K - 1], s[-1]], Vt[:K])
    assert "a value off by" in fault(judged(lost).row())
    doubled = Factors(U[:, [0, 0, 1, 2]], s[[0, 0, 1, 2]], Vt[:K])
    assert "not orthonormal" in fault(judged(doubled).row())


def test_rows_without_a_target_are_not_judged():
    assert verdict([0.1], True, None, None) == "no target"


def test_a_grid_holds_every_combination():
    assert list(settings_grid(a=[1, 2], b=["x"])) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]


# The report


def document(ratio=5.0, comparable=True):
    run = {"settings": {"tol": 0.1}, "seconds": 1.0, "seed": 0, **judge(1e-3).row()}
    found = Comparison(
        "default", [run | {"side": "svdflow"}], [run | {"side": "peer", "seconds": ratio}], comparable
    )
    machine = {
        "cores": 2,
        "processor": "p",
        "flags": [],
        "memory_gib": 1,
        "blas": ["b"],
        "blas_environment": {},
    }
    machine |= dict.fromkeys(["numpy", "scipy", "sklearn", "dask", "python"], "1")
    case = {"title": "t", "seeds": [0], "machine": machine, "facts": {"floor": 1e-6}, "sweeps": found.ours}
    return report.merged({}, "one", case | {"rows": [found.row(4, 8)]})


@pytest.mark.parametrize(
    ("ratio", "comparable", "cell"),
    [
        (5.0, True, "| met |"),
        (9.0, True, "| aim met |"),
        (1.0, True, "**missed**"),
        (99.0, False, "**not comparable**"),
    ],
)
def test_losing_rows_stand_in_the_table_too(ratio, comparable, cell):
    lines = report.markdown(document(ratio, comparable)).splitlines()
    [line] = [line for line in lines if line.startswith("| one | peer, default")]
    assert cell in line and f"{ratio:.2f} ({ratio:.2f} to {ratio:.2f}) x" in line


def test_a_case_that_runs_again_replaces_itself_alone():
    old = report.merged(document(), "two", document()["cases"]["one"] | {"title": "other"})
    new = report.merged(old, "one", document(9.0)["cases"]["one"])
    assert list(new["cases"]) == ["one", "two"] and new["defaults"] == {}
    assert new["cases"]["two"] == old["cases"]["two"]
    assert new["cases"]["one"]["rows"][0]["ratios"] == [9.0]


def test_results_of_another_schema_are_refused():
    with pytest.raises(SystemExit, match="schema"):
        report.merged({"schema": 0, "cases": {}}, "one", {})


def test_the_page_leads_with_the_defaults_and_names_reads_and_the_machine():
    default = document()["cases"]["one"]
    default["rows"][0] |= {"ratios": [5.0, 4.0, 9.0], "label": "as typed"}
    default["rows"][0]["theirs"][0]["reads"] = 16
    both = report.merged(
        document(), "one", default | {"wrong": ["peer: values that its vectors do not have"]}, "defaults"
    )
    text = report.section(both)
    assert text.index("peer, as typed") < text.index("peer, default")
    [line] = [line for line in text.splitlines() if "peer, as typed" in line]
    assert "| 5.00 x | 4.00 x | 5.00 x |" in line and "| 16 |" in line
    assert "values that its vectors do not have; not timed" in text
    assert "2 cores of p" in text


def test_results_of_the_first_schema_are_taken_over(tmp_path):
    old = {"schema": 1, "cases": document()["cases"]}
    (tmp_path / "svd.json").write_text(json.dumps(old), encoding="utf-8")
    taken = report.upgraded(report.load(tmp_path / "svd.json"))
    assert taken["defaults"] == {} and taken["cases"] == old["cases"]
    assert report.merged(taken, "two", old["cases"]["one"], "defaults")["schema"] == report.SCHEMA


def test_only_the_part_between_the_markers_is_replaced():
    first = report.page("# Title\n\nWritten by hand.\n", document(), ["plots/svd-one.svg"])
    assert first.startswith("# Title\n\nWritten by hand.\n\n" + report.BEGIN)
    assert "(plots/svd-one.svg)" in first
    again = report.page(first + "After.\n", document(9.0), [])
    assert again.startswith("# Title\n\nWritten by hand.\n\n") and again.endswith(report.END + "\nAfter.\n")
    assert "9.00" in again and "5.00" not in again


def test_the_frontier_holds_what_nothing_else_beats():
    runs = [{"seconds": t, "pve": e} for t, e in [(1, 0.5), (2, 0.6), (3, 0.1), (1, 0.7), (4, 0.1)]]
    assert report.frontier(runs) == ([1, 3], [0.5, 0.1])


def test_plots_are_the_same_bytes_each_time(tmp_path):
    [first] = report.plots(document(), tmp_path / "a")
    [again] = report.plots(document(), tmp_path / "b")
    assert first.read_bytes() == again.read_bytes() and first.name == "svd-one.svg"


@pytest.mark.parametrize(("peak", "kept"), [(1.29, True), (1.31, False)])
def test_the_limit_has_a_tenth_and_the_interpreter_above_it(peak, kept):
    assert report.keeps_limit(int(peak * 2**30), "1GiB") is kept


def test_the_defaults_of_a_case_are_measured_small(tmp_path):
    import svd

    asked = ["--small", "--results", str(tmp_path), "--folder", str(tmp_path / "matrices"), "--seeds", "2"]
    assert svd.main([*asked, "--defaults", "--case", "memory-root", "--case", "flat-even"]) == 0
    found = report.upgraded(report.load(tmp_path / "svd.json"))
    assert list(found["defaults"]) == ["memory-root", "flat-even"] and found["cases"] == {}
    [row] = found["defaults"]["memory-root"]["rows"]
    assert [run["settings"] for run in row["ours"]] == [{}, {}] == [run["settings"] for run in row["theirs"]]
    assert {run["reads"] for run in row["theirs"]} == {16}
    labels = [row["label"] for row in found["defaults"]["flat-even"]["rows"]]
    assert labels[:2] == ["default", "default"] and labels[-1].startswith("at PVE")

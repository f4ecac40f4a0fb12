"""The benchmark of regret: prefixes of searches, what they are counted against, records that are kept."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from svdbench import regret, regret_matrices, regret_report
from svdbench.accuracy import Factors, accuracy, values_error
from svdbench.watched_searches import StoppedSearch, searching

from svdflow import truncated_svd
from svdflow.svd.methods.krylov import KrylovSearch

SMALL = regret_matrices.SMALL_SHAPES["small"]
LAW = "1/sqrt i"


class Late(KrylovSearch):
    """Believes its estimate only three steps after it was small enough."""

    first = None

    def _error(self):
        value = super()._error()
        if value <= self.plan.tol and self.first is None:
            self.first = self.step
        return value if self.first is not None and self.step >= self.first + 3 else np.inf


def record_of(search=None, shape=SMALL, name=LAW, **settings):
    """A record whose runs were made by another search, and whose prefixes were not."""
    whole = regret.one_record(shape, name, 0, widths=[1.0])
    if search is None:
        return whole
    with searching(search, **settings):
        return replace(whole, runs=runs_of(shape, name))


def runs_of(shape, name):
    A, true = regret_matrices.matrix(name, shape)
    judge = partial(values_error, A, true=true)
    return [regret.one_run(A, shape.rank, tol, 0, "krylov", judge) for tol in regret.TOLERANCES]


@pytest.mark.parametrize("name", list(regret_matrices.SPECTRA))
@pytest.mark.parametrize("shape", list(regret_matrices.SMALL_SHAPES.values()), ids=lambda shape: shape.name)
def test_matrices_of_regret_have_the_spectrum_that_is_claimed(name, shape):
    A, true = regret_matrices.matrix(name, shape)
    assert A.dtype == shape.dtype and A.shape == (shape.rows, shape.columns) and (np.diff(true) <= 0).all()
    dense = A.toarray() if shape.sparse else A
    dense = dense.astype(np.result_type(dense, np.float64))
    error = np.abs(np.linalg.svd(dense, compute_uv=False) - true).max()
    assert error < regret_matrices.rounding_shift(A, true) + 1e-12
    if shape.sparse:
        assert A.nnz < 0.6 * dense.size and np.count_nonzero(np.diff(A.indptr)) > 0.9 * shape.rows


@pytest.mark.parametrize("shape", list(regret_matrices.SMALL_SHAPES.values()), ids=lambda shape: shape.name)
def test_a_prefix_is_what_a_run_that_stops_there_gives(shape):
    A, true = regret_matrices.matrix(LAW, shape)
    prefixes = regret.recorded(A, shape.rank, 0, None, partial(values_error, A, true=true))
    assert prefixes[0].reads == 2 and not prefixes[0].kept and prefixes[-1].error <= 1e-5
    # Beside a sparse matrix U comes from half a read, which takes the place of the last one.
    assert any(prefix.kept for prefix in prefixes)
    for prefix in prefixes:
        settings = {"loosest": 0.3, "reads": prefix.reads, "kept": prefix.kept}
        with searching(StoppedSearch, **settings):
            result = truncated_svd(A, shape.rank, tol=1e-5, method="krylov")
        assert result.info.reads == prefix.reads
        assert accuracy(A, Factors(*result), true=true, spectral=False).pve == pytest.approx(
            prefix.error, rel=1e-6
        )
    # A step more is never worse, but for the digits that the type has.
    errors = [
        min(p.error for p in prefixes if p.reads <= reads) for reads in range(2, prefixes[-1].reads + 1)
    ]
    assert errors == sorted(errors, reverse=True)


def test_a_search_that_stops_late_or_early_shows():
    natural = record_of()
    plain = regret_report.summary(regret_report.outcomes([natural]))
    assert plain.false == 0 and plain.within_two == 1 and plain.runs == len(regret.TOLERANCES)

    late = regret_report.summary(regret_report.outcomes([record_of(Late)]))
    assert late.within_two < 1 and late.regret[-1] >= 3 and not late.met

    prefixes = natural.prefixes[str(natural.width)]
    tight = regret.first_to_meet(prefixes, 1e-4)
    with searching(StoppedSearch, loosest=0.3, reads=tight.reads - 1, kept=tight.kept):
        runs = [run for run in runs_of(SMALL, LAW) if run.tol == 1e-4]
    early = regret_report.summary(regret_report.outcomes([replace(natural, runs=runs)]))
    assert (early.false, early.converged) == (1, 1) and not early.met
    assert regret_report.outcomes([replace(natural, runs=runs)])[0].regret == -1
    assert "early" not in regret_report.losing(regret_report.outcomes([natural]))
    assert LAW in regret_report.losing(regret_report.outcomes([replace(natural, runs=runs)]))


def run_of(tol, reads, error, reason="converged"):
    return regret.Run(tol, "krylov", reads, error, 1.0, reason, error)


def planted(*runs, prefixes=((2, 1e-1), (3, 1e-3), (4, 1e-6))):
    found = regret.Record("small", LAW, 0, "c", "m", 16, 0.0, list(runs), list(runs))
    found.prefixes["16"] = [regret.Prefix(reads, True, error) for reads, error in prefixes]
    found.seconds["16"] = [(reads, True, reads / 4) for reads, _ in prefixes]
    return found


def test_regret_counts_from_the_fewest_reads_that_meet_the_tolerance():
    found = planted(
        run_of(1e-1, 2, 1e-1), run_of(1e-2, 4, 1e-6), run_of(1e-5, 3, 1e-3), run_of(1e-8, 4, 1e-6)
    )
    [first, second, third, fourth] = regret_report.outcomes([found])
    assert [one.regret for one in (first, second, third, fourth)] == [0, 1, -1, None]
    assert [one.false for one in (first, second, third, fourth)] == [False, False, True, True]
    assert (first.time, second.time) == (2.0, pytest.approx(4 / 3))
    summed = regret_report.summary([first, second, third, fourth])
    assert (summed.out_of_reach, summed.false, summed.converged) == (1, 2, 4)
    # 1e-2 took 4 reads and 1e-5 only 3.
    assert (summed.costly, summed.pairs) == (1, 3)
    better = replace(found, prefixes=found.prefixes | {"32": [regret.Prefix(2, True, 1e-9)]})
    better.seconds["32"] = [(2, True, 0.1)]
    assert regret_report.outcomes([better])[1].fewest_any == 2
    assert regret_report.outcomes([better])[1].time_any == pytest.approx(10)


def test_tolerances_that_the_type_does_not_resolve_are_left_out():
    found = replace(planted(run_of(1e-1, 2, 1e-1), run_of(1e-4, 4, 1e-3)), resolution=1e-4)
    assert [one.run.tol for one in regret_report.outcomes([found])] == [1e-1]


def test_records_are_kept_as_lines_and_replaced_by_matrix_and_seed(tmp_path):
    found = planted(run_of(1e-2, 4, 1.23456789e-6))
    again = regret.Record.of(found.line())
    assert (
        again.runs[0].error == 1.235e-6
        and again.prefixes == found.prefixes
        and again.seconds == found.seconds
    )
    other = replace(found, seed=1)
    assert regret.merged([found, other], [replace(found, code="d")]) == [replace(found, code="d"), other]
    path = tmp_path / "regret.jsonl"
    path.write_text(found.line() + "\n" + other.line() + "\n", encoding="utf-8")
    assert [record.key for record in regret.load(path)] == [("small", LAW, 0), ("small", LAW, 1)]


def test_a_part_of_the_regret_is_measured_and_gone_on_with(tmp_path, capsys):
    import svd

    asked = ["--regret", "--small", "--results", str(tmp_path), "--shapes", "small", "--widths", "1"]
    svd.main([*asked, "--spectra", LAW, "--seeds", "1"])
    page = (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert regret_report.BEGIN in page and "| all | 8 |" in page and f"| {LAW} | 8 |" in page
    assert "Machine: " in page and "small 1 matrices (1 spectra, 1 seeds, block widths 16)" in page
    capsys.readouterr()
    svd.main([*asked, "--spectra", LAW, "flat", "--seeds", "1"])
    said = capsys.readouterr().err
    assert "small, flat, seed 0" in said and LAW not in said
    assert len(regret.load(tmp_path / "regret.jsonl")) == 2
    svd.main([*asked, "--minutes", "-1", "--seeds", "2"])
    assert "time is used up" in capsys.readouterr().err
    assert len(regret.load(tmp_path / "regret.jsonl")) == 2

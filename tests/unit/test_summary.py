"""Gathering, selecting, tables and the verdict."""

import io
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pytest

from svdflow.compute.runtime import Runtime
from svdflow.errors import ItemError, StoreError
from svdflow.report.aggregate import aggregate, read_tables
from svdflow.report.findings import findings, number, sentences
from svdflow.report.select import middle_rank, select
from svdflow.report.tables import markdown, summaries, write_tables
from svdflow.report.verdict import verdict
from svdflow.store import open_published, publish, read_table, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.schema import columns, tables
from svdflow.tasks.denoise_summaries import denoise_summary

BLANK = {"text": "", "int": 0, "float": float("nan"), "bool": False}


def row(table: str, **values) -> dict:
    """A row of a table with what matters filled in."""
    blank = {c.name: BLANK[c.kind] for c in columns(table)}
    if "sigma_added" in blank:
        blank["sigma_added"] = 0.0
    assert not values.keys() - blank.keys()
    return blank | values


def part(path: Path, kind: str, **tables: list[dict]) -> Path:
    with publish(path, kind) as file:
        for name, rows in {"errors": [], **tables}.items():
            write_table(file, name, rows)
    return path


def compressed(dataset: str, item: int, errors: dict[int, float], **more) -> list[dict]:
    same = {
        "dataset": dataset,
        "item": item,
        "name": f"{dataset} {item}",
        "plane": "grey",
        "rule": "rank",
        "reached": True,
        "m": 64,
        "n": 48,
    }
    return [
        row("compress", **same, rank=rank, target=float(rank), relative_error=error, **more)
        for rank, error in errors.items()
    ]


@pytest.fixture
def parts(tmp_path):
    bad = error_row("photos", 7, "broken | <b>.png", "ingest", ItemError("truncated", "the file ends early"))
    factors = [
        row("factorize", dataset="photos", item=i, name=f"{i}", plane="grey", rank=9, method="full")
        for i in (1, 0)
    ]
    audits = [
        row("audit", family="gradients", audit="trace", verdict=v, margin=m)
        for v, m in (("PASS", 0.1), ("FAIL", 3.0))
    ]
    return [
        part(tmp_path / "matrices.h5", "matrices", errors=[bad]),
        part(tmp_path / "factors.h5", "factors", factorize=factors),
        part(tmp_path / "b.h5", "compress", compress=compressed("photos", 1, {5: 0.2, 1: 0.4})),
        part(tmp_path / "a.h5", "compress", compress=compressed("photos", 0, {1: 0.3, 5: 0.1})),
        part(tmp_path / "audit.h5", "audit", audit=audits, curves=[]),
    ]


def content(path: Path) -> dict[str, bytes]:
    with open_published(path, "metrics") as file:
        return {name: file[name][...].tobytes() for name in tables()}


def test_the_order_of_parts_does_not_change_the_metrics(tmp_path, parts):
    aggregate(parts, tmp_path / "forth.h5", runtime=Runtime(provenance={"seed": 1}))
    aggregate(parts[::-1], tmp_path / "back.h5", runtime=Runtime(provenance={"seed": 1}))
    assert content(tmp_path / "forth.h5") == content(tmp_path / "back.h5")
    table = read_table(tmp_path / "forth.h5", "compress")
    assert list(zip(table["item"], table["rank"], strict=True)) == [(0, 1), (0, 5), (1, 1), (1, 5)]


def test_gathering_in_two_levels_gives_the_same_tables(tmp_path, parts):
    aggregate(parts, tmp_path / "once.h5")
    aggregate(parts[:3], tmp_path / "first.h5")
    aggregate(parts[3:], tmp_path / "second.h5")
    aggregate([tmp_path / "second.h5", tmp_path / "first.h5"], tmp_path / "twice.h5")
    assert content(tmp_path / "twice.h5") == content(tmp_path / "once.h5")


def test_nothing_to_gather_gives_empty_tables(tmp_path):
    aggregate([], tmp_path / "metrics.h5")
    assert {
        name: len(table) for name, table in read_tables(tmp_path / "metrics.h5").items()
    } == dict.fromkeys(tables(), 0)


def test_a_file_of_an_unknown_kind_and_one_without_its_table_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"odd.h5.*'poem'"):
        aggregate([part(tmp_path / "odd.h5", "poem")], tmp_path / "metrics.h5")
    with pytest.raises(StoreError, match=r"bare.h5.*'compress'"):
        aggregate([part(tmp_path / "bare.h5", "compress")], tmp_path / "metrics.h5")
    assert not (tmp_path / "metrics.h5").exists()


@pytest.mark.parametrize(("ranks", "middle"), [([7], 7), ([5, 1], 1), ([1, 2, 5, 10, 20, 50, 100], 10)])
def test_middle_rank_is_one_of_the_ranks(ranks, middle):
    assert middle_rank(ranks) == middle


def tables_of(**given: list[dict]) -> dict[str, pd.DataFrame]:
    return {
        name: pd.DataFrame(given.get(name, []), columns=[c.name for c in cols])
        for name, cols in ((name, columns(name)) for name in tables())
    }


def test_worst_median_and_best_of_a_dataset_are_shown():
    errors = [0.3, 0.9, 0.1, 0.5, 0.7]
    rows = [r for i, e in enumerate(errors) for r in compressed("photos", i, {1: 1.0, 5: e, 9: 0.0})]
    shown = select(tables_of(compress=rows))
    assert [(s.item, s.why.split(":")[0]) for s in shown] == [
        (1, "worst of 5"),
        (3, "median of 5"),
        (2, "best of 5"),
    ]
    assert select(tables_of(compress=rows[::-1])) == shown


def test_at_most_a_dozen_are_shown_and_images_get_at_least_half():
    names = [f"matrix{i:02d}" for i in range(20)] + ["photos", "scans"]
    rows = [r for name in names for i in range(4) for r in compressed(name, i, {5: 0.1 * (i + 1)})]
    shown = select(tables_of(compress=rows), {"photos": "images", "scans": "images"})
    assert len(shown) == 12
    assert [s.dataset for s in shown[:6]] == ["photos"] * 3 + ["scans"] * 3
    assert all(s.why.startswith("worst") for s in shown[6:])


def test_an_item_that_was_only_factorized_can_be_shown():
    rows = [row("factorize", dataset="big", item=0, name="big", plane="matrix", relative_error=0.25)]
    assert [s.why for s in select(tables_of(factorize=rows))] == ["the only item: relative error 0.25"]
    assert select(tables_of()) == []


def test_summaries_are_medians_and_ranges():
    errors = [0.5, 0.2, 0.9, 0.4]
    rows = [r for i, e in enumerate(errors) for r in compressed("photos", i, {5: e}, psnr=20.0 + i)]
    rows[0]["reached"] = False
    (summary,) = summaries(tables_of(compress=rows))["compress"].to_dict("records")
    assert (summary["n"], summary["reached"]) == (4, 3)
    assert summary["relative_error_median"] == pytest.approx(median(errors))
    assert (summary["relative_error_min"], summary["relative_error_max"]) == (0.2, 0.9)
    assert np.isnan(summary["ssim_median"])


def denoised(rank: int, psnr: float, **more) -> dict:
    return row(
        "denoise",
        dataset="d",
        plane="grey",
        method="truncate",
        rank=rank,
        psnr=psnr,
        sigma_added=15.0,
        **more,
    )


def test_denoise_summary_sets_the_best_beside_the_automatic_rank():
    rows = [
        denoised(1, 20.0, rule="rank"),
        denoised(5, 30.0, rule="rank", best=True),
        denoised(4, 29.0, rule="gavish_donoho", chosen=True),
    ]
    (summary,) = denoise_summary(pd.DataFrame(rows)).to_dict("records")
    assert (summary["rank_best"], summary["rank_automatic"], summary["rule"], summary["n"]) == (
        5,
        4,
        "gavish_donoho",
        1,
    )
    said = " ".join(
        sentences(
            tables_of(denoise=rows, factorize=[row("factorize", dataset="d", rank=9, method="full")]), {}
        )
    )
    assert "1 dB less than the best listed one" in said


def test_tables_are_written_for_spreadsheets_people_and_programs(tmp_path, parts):
    aggregate(parts, tmp_path / "metrics.h5")
    write_tables(tmp_path / "metrics.h5", tmp_path / "tables")
    names = {p.name for p in (tmp_path / "tables").glob("[!.]*")}
    assert {f"{t}.{e}" for t in tables() if t != "curves" for e in ("csv", "md")} <= names
    audit = pd.read_csv(tmp_path / "tables" / "audit.csv")
    assert (audit["FAIL"][0], audit["PASS"][0], audit["margin_max"][0]) == (1, 1, 3.0)
    assert "broken &#124; &#60;b&#62;.png" in (tmp_path / "tables" / "errors.md").read_text()
    assert ("compress.parquet" in names) == (find_spec("pyarrow") is not None)
    if "compress.parquet" in names:
        full = pd.read_parquet(tmp_path / "tables" / "compress.parquet")
        pd.testing.assert_frame_equal(
            full, read_table(tmp_path / "metrics.h5", "compress"), check_dtype=False
        )


def test_tables_of_an_empty_study_can_be_written(tmp_path):
    aggregate([], tmp_path / "metrics.h5")
    write_tables(tmp_path / "metrics.h5", tmp_path / "tables")
    assert (tmp_path / "tables" / "compress.md").read_text().endswith("None.\n")


def test_markdown_aligns_figures_and_keeps_one_line_a_row():
    text = markdown(pd.DataFrame({"name": ["two\nlines"], "value": [0.123456]}))
    assert text == "| name | value |\n|---|---:|\n| two lines | 0.1235 |\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (0.0, "0"),
        (12345.6, "12,346"),
        (0.123456, "0.123"),
        (1.5e-9, "1.5e-09"),
    ],
)
def test_numbers_read_well(value, words):
    assert number(value) == words


def test_findings_count_what_is_there(tmp_path, parts):
    aggregate(parts, tmp_path / "metrics.h5")
    found = findings(read_tables(tmp_path / "metrics.h5"))
    assert (found.datasets, found.items, found.planes, found.highest_rank) == (1, 2, 2, 9)
    assert (found.errors, found.failed_items, found.verdicts["FAIL"], found.audits) == (1, 1, 1, 2)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({"allow_errors": 0}, False),
        ({"allow_errors": 1}, True),
        ({"allow_errors": 1, "strict": True}, False),
        ({"allow_errors": 1, "audited": True}, True),
    ],
)
def test_verdict_follows_errors_and_audits(tmp_path, parts, settings, passes):
    aggregate(parts, tmp_path / "metrics.h5")
    out = io.StringIO()
    assert (
        verdict(tmp_path / "metrics.h5", **settings, elapsed=61, look={"report": "report.html"}, stream=out)
        is passes
    )
    lines = out.getvalue().splitlines()
    assert len(lines) <= 12
    assert ("FAILED" in lines[0]) is not passes
    assert "1 min 01 s" in lines[0]
    assert any("broken | <b>.png" in line and "truncated" in line for line in lines)
    assert lines[-1].endswith("report.html")


def test_files_that_were_not_read_stand_on_the_terminal(tmp_path, parts):
    aggregate(parts, tmp_path / "metrics.h5")
    out = io.StringIO()
    verdict(tmp_path / "metrics.h5", left_out=["left out of mine: 12 .dcm, 3 .pgm (not read)"], stream=out)
    assert "  note    left out of mine: 12 .dcm, 3 .pgm (not read)" in out.getvalue().splitlines()


def test_factorizations_that_fell_short_are_counted_aloud(tmp_path):
    """On the terminal, in the report's sentences and in the table; a fixed number of reads promised nothing."""
    ended = [("converged", 1e-3), ("max_reads", 0.25), ("unresolved", 3.0), ("max_reads", float("nan"))]
    rows = [
        row(
            "factorize",
            dataset="d",
            item=i,
            name="x",
            plane="matrix",
            method="krylov",
            reason=r,
            estimate=e,
            rank=3,
        )
        for i, (r, e) in enumerate(ended)
    ]
    aggregate([part(tmp_path / "f.h5", "factors", factorize=rows)], tmp_path / "metrics.h5")
    out = io.StringIO()
    assert verdict(tmp_path / "metrics.h5", stream=out)
    (note,) = (line for line in out.getvalue().splitlines() if "fell short" in line)
    assert (
        "2 factorizations of d" in note and "max_reads 1" in note and "unresolved 1" in note and "3" in note
    )
    tables = read_tables(tmp_path / "metrics.h5")
    assert sum("fell short" in sentence for sentence in sentences(tables, {})) == 1
    summary = summaries(tables)["factorize"].set_index("reason")
    assert summary.loc["unresolved", "estimate_median"] == 3.0 and summary.loc["converged", "n"] == 1
    tables["factorize"] = tables["factorize"].iloc[[0, 3]]
    assert not any("fell short" in sentence for sentence in sentences(tables, {}))


def test_factors_of_two_devices_are_marked(tmp_path):
    """As of a study that was begun on a machine with a GPU and resumed on one without."""
    for backends, marked in ((["numpy", "cupy", "numpy"], True), (["cupy", "cupy"], False)):
        rows = [row("factorize", dataset="d", item=i, backend=name) for i, name in enumerate(backends)]
        metrics = tmp_path / f"{marked}.h5"
        aggregate([part(tmp_path / f"{marked}-f.h5", "factors", factorize=rows)], metrics)
        out = io.StringIO()
        verdict(metrics, stream=out)
        assert ("two kinds of device (1 by cupy, 2 by numpy)" in out.getvalue()) is marked
        found = sentences(read_tables(metrics), {})
        assert any("two kinds of device" in sentence for sentence in found) is marked


def test_audits_that_were_asked_for_and_not_made_fail(tmp_path, parts):
    aggregate(parts[:-1], tmp_path / "metrics.h5")
    assert not verdict(tmp_path / "metrics.h5", allow_errors=1, audited=True, stream=io.StringIO())
    assert verdict(tmp_path / "metrics.h5", allow_errors=1, audited=False, stream=io.StringIO())


def test_a_name_cannot_steer_the_terminal(tmp_path):
    bad = error_row("d", 0, "\x1b[2J\x1b[31mred.png", "ingest", ItemError("truncated", "ends early"))
    aggregate([part(tmp_path / "m.h5", "matrices", errors=[bad])], tmp_path / "metrics.h5")
    out = io.StringIO()
    verdict(tmp_path / "metrics.h5", stream=out)
    assert "\x1b" not in out.getvalue()
    assert "red.png" in out.getvalue()


def test_clean_values_are_no_truth_of_a_noisy_matrix(tmp_path):
    known = {"dataset": "d", "plane": "matrix", "rank": 3, "method": "full"}
    rows = [
        row("factorize", **known, item=0, truth_error=1e-15, truth_label="exact"),
        row("factorize", **known, item=1, truth_error=0.5, truth_label="clean"),
    ]
    part(tmp_path / "factors.h5", "factors", factorize=rows)
    aggregate([tmp_path / "factors.h5"], tmp_path / "metrics.h5")
    [said] = [s for s in sentences(read_tables(tmp_path / "metrics.h5"), {}) if "are known" in s]
    assert said.startswith("Of the 1 factorization ") and "1e-15" in said


def test_what_has_no_meaning_for_an_item_is_named_and_fails_nothing(tmp_path):
    """A row of the code not_applicable counts against no limit; one of too_large does."""
    rows = [
        error_row("d", i, f"{i}.png", "denoise ssa", ItemError(code, "why"))
        for i, code in enumerate(["not_applicable", "not_applicable", "too_large"])
    ]
    aggregate([part(tmp_path / "m.h5", "matrices", errors=rows[:2])], tmp_path / "fine.h5")
    out = io.StringIO()
    assert verdict(tmp_path / "fine.h5", stream=out)
    assert "2 items of d left out as not_applicable" in out.getvalue() and "no errors" in out.getvalue()
    aggregate([part(tmp_path / "m.h5", "matrices", errors=rows)], tmp_path / "large.h5")
    out = io.StringIO()
    assert not verdict(tmp_path / "large.h5", stream=out)
    assert "1 item of d left out as too_large" in out.getvalue() and "1 error" in out.getvalue()
    said = sentences(read_tables(tmp_path / "large.h5"), {})
    assert any("not_applicable" in words and "denoise ssa 2" in words for words in said)

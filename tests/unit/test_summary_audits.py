"""What a run says of its audits: JUnit, drift against a baseline, pages of families, planted faults."""

from xml.etree import ElementTree

import pandas as pd
import pytest

from svdflow.report.aggregate import aggregate
from svdflow.report.audits import drifted, worst_ten
from svdflow.report.drift import drift
from svdflow.report.family_pages import write_family_pages
from svdflow.report.junit import junit
from svdflow.report.tables import worst_first, write_tables
from svdflow.report.verdict import verdict
from svdflow.store import publish, read_table, write_table
from svdflow.store.schema import columns, tables

BLANK = {"text": "", "int": 0, "float": float("nan"), "bool": False}


def row(audit, verdict, value=0.1, fail=1.0, family="gradients", **more):
    blank = {c.name: BLANK[c.kind] for c in columns("audit")}
    figures = {"value": value, "fail": fail, "margin": value / fail, "subject": "x", "reason": "why <&>\x00"}
    repeat = {"reproduce": f"python -m svdflow audit {audit} --seed 1"}
    return blank | figures | repeat | {"family": family, "audit": audit, "verdict": verdict} | more


def table(*rows):
    return pd.DataFrame(rows)


ROWS = table(
    row("a", "PASS"),
    row("b", "FAIL", 3.0),
    row("c", "SKIP"),
    row("d", "INCONCLUSIVE"),
    row("e", "ERROR"),
    row("f", "WARN", family="stability"),
)


def metrics(path, rows, curves=()):
    with publish(path.with_name("part.h5"), "audit") as file:
        write_table(file, "audit", rows)
        write_table(file, "curves", curves)
        write_table(file, "errors", [])
    aggregate([path.with_name("part.h5")], path)
    return path


def test_junit_counts_what_it_holds():
    root = ElementTree.fromstring(junit(worst_first(ROWS)))
    gradients, stability = root.findall("testsuite")
    assert {k: gradients.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert len(gradients.findall("testcase/failure")) == 1
    assert "python -m svdflow audit b" in gradients.find("testcase/failure").text
    assert stability.find("testcase/system-out").text.startswith("WARN")


def test_the_worst_come_first_with_the_line_that_repeats_them():
    grid = worst_ten(ROWS)
    assert [cells[0] for cells in grid.rows] == ["FAIL", "ERROR", "INCONCLUSIVE", "WARN", "SKIP", "PASS"]
    assert grid.rows[0][-1] == "python -m svdflow audit b --seed 1"


def test_drift_names_what_changed_and_nothing_else():
    now = table(
        row("same", "PASS", 0.1),
        row("rounding", "PASS", 9e-9),
        row("grew", "PASS", 0.5),
        row("worse", "FAIL", 2.0),
        row("better", "PASS"),
        row("new", "PASS"),
    )
    before = table(
        row("same", "PASS", 0.1),
        row("rounding", "PASS", 1e-9),
        row("grew", "PASS", 0.1),
        row("worse", "PASS", 0.5),
        row("better", "FAIL", 3.0),
        row("gone", "PASS"),
    )
    changes = drift(now, before)
    assert dict(zip(changes["audit"], changes["change"], strict=True)) == {
        "grew": "value grew",
        "worse": "worse",
        "better": "better",
        "new": "new",
        "gone": "gone",
    }
    assert [cells[0] for cells in drifted(changes).rows][:2] == ["worse", "gone"]
    assert drift(now, now).empty
    assert "no changes" in drifted(drift(now, now)).caption


def test_tables_hold_all_audits_and_the_drift(tmp_path):
    path = metrics(tmp_path / "metrics.h5", ROWS.to_dict("records"))
    old = metrics(tmp_path / "old.h5", ROWS[ROWS["audit"] != "f"].to_dict("records"))
    write_tables(path, tmp_path / "tables", baseline=old)
    assert pd.read_csv(tmp_path / "tables" / "audits.csv")["audit"].tolist() == list("bedfca")
    assert pd.read_csv(tmp_path / "tables" / "drift.csv")["audit"].tolist() == ["f"]
    assert "testsuites" in (tmp_path / "tables" / "audits.junit.xml").read_text()


def test_a_page_a_family_with_its_plots(tmp_path):
    curves = [
        {"family": "gradients", "curve": "error_against_step", "series": s, "x": 10.0**-i, "y": 10.0**-i}
        for s in ("central", "forward")
        for i in range(5)
    ]
    path = metrics(tmp_path / "metrics.h5", ROWS.to_dict("records"), curves)
    found = {name: read_table(path, name) for name in tables()}
    write_family_pages(found, None, tmp_path / "report", title="T <1>")
    assert sorted(p.name for p in (tmp_path / "report").glob("[!.]*")) == ["gradients.html", "stability.html"]
    page = (tmp_path / "report" / "gradients.html").read_text()
    assert "Error of difference formulas" in page
    assert "python -m svdflow audit b --seed 1" in page
    assert "T &lt;1&gt;" in page
    assert page.count("<svg") == 2  # error against step, margins


@pytest.mark.parametrize(
    ("rows", "settings", "passes", "said"),
    [
        ([row("a", "FAIL", 3.0)], {}, True, "1 FAIL"),
        ([row("a", "FAIL", 3.0)], {"strict": True}, False, "1 audit with verdict FAIL"),
        ([row("a", "ERROR")], {"strict": True}, False, "1 audit with verdict ERROR"),
        ([row("a", "WARN"), row("b", "INCONCLUSIVE")], {"strict": True}, True, "1 INCONCLUSIVE, 1 WARN"),
        ([row("mutant", "PASS", family="mutants")], {"strict": True}, True, "1 of 1 planted fault caught"),
        ([row("mutant", "FAIL", family="mutants")], {}, False, "0 of 1 planted fault caught"),
        ([], {"audited": True}, False, "audits were asked for and none was made"),
    ],
)
def test_what_fails_a_run(tmp_path, rows, settings, passes, said, capsys):
    assert verdict(metrics(tmp_path / "metrics.h5", rows), **settings) is passes
    assert said in capsys.readouterr().out

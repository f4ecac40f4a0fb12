"""A task of another distribution, in two files: its rule, table, summary, section of the report, and reruns."""

import re

import pytest

from small_study import SHEET, small_workflow
from svdflow import read_table
from svdflow.study.outputs import FILES

DECLARED = '''\
"""means: the mean of every plane."""

from pydantic import Field

from svdflow.registry import Options, Task
from svdflow.registry.tables import KEY, Column, Table


class MeansOptions(Options):
    """Means of planes."""

    power: int = Field(default=1, ge=1, le=3, description="Power that is averaged.")


MEANS = Table(
    name="means",
    columns=(*KEY, Column("mean", "float", "value", "mean of the values to the power")),
    caption="Means per dataset.",
    figures=("mean",),
)

DECLARED = Task(
    name="means",
    summary="Take the mean of every plane of a shard.",
    options=MeansOptions,
    reads=("matrices",),
    tables=(MEANS,),
    needs_factors=lambda asked: False,
    load="means_task:means_of_shard",
    sections="means_task:sections",
    findings="means_task:findings",
)
'''
CODE = '''\
"""The mean of every plane of a shard."""

import numpy as np

from svdflow.store import items, open_published, publish, read_array, write_table


def means_of_shard(matrices, out, *, dataset, shard, power, runtime):
    """Publish the tables means and errors."""
    rows = []
    with open_published(matrices, "matrices") as source, publish(out, "means", runtime.provenance) as file:
        for item in items(source):
            for plane, node in item.observations[0].planes.items():
                key = {"dataset": dataset, "shard": shard, "item": item.index, "name": item.name, "plane": plane}
                values = read_array(node).astype(float)
                rows.append({**key, "sigma_added": 0.0, "mean": float(np.mean(values**power))})
        write_table(file, "means", rows)
        write_table(file, "errors", [])


def sections(data):
    from svdflow.report.item_sections import Section

    return [Section("means", "Means of planes", [f"{len(data.tables['means'])} means were taken."])]


def findings(tables, kinds):
    return [f"The largest mean is {tables['means']['mean'].max():.3f}."]
'''
ROW = "photos\timages\tphotos\tgray\t-\tmeans\t3\t-\n"


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of that task alone, run."""
    workflow = small_workflow(tmp_path_factory.mktemp("task") / "study")
    extra = workflow.folder / "extra"
    (extra / "means-1.0.dist-info").mkdir(parents=True)
    (extra / "means-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: means\nVersion: 1.0\n"
    )
    entry = "[svdflow.tasks]\nmeans = means_declared:DECLARED\n"
    (extra / "means-1.0.dist-info" / "entry_points.txt").write_text(entry)
    (extra / "means_declared.py").write_text(DECLARED)
    (extra / "means_task.py").write_text(CODE)
    workflow.path = (extra,)
    (workflow.folder / "sheet.tsv").write_text(SHEET.splitlines(keepends=True)[0] + ROW)
    workflow.configure(audit={"functions_file": "", "functions": []}, means={"power": 2})
    done = workflow.run("--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return workflow


def test_its_rule_has_its_name(studied):
    listed = studied.forked("--list-rules", "--configfile", "study.yaml").stdout
    assert "means (Take the mean of every plane of a shard.)" in listed
    assert not re.search(r"^(compress|denoise|encode|conditioning)\b", listed, re.M), (
        "rules of what nobody asked for"
    )


def test_its_table_stands_among_the_measurements(studied, monkeypatch):
    results = studied.folder / "results"
    monkeypatch.syspath_prepend(str(studied.folder / "extra"))
    with pytest.MonkeyPatch.context() as patch:
        from svdflow.registry import TASKS
        from svdflow.store import schema

        patch.setitem(TASKS._found, "means", __import__("means_declared").DECLARED)
        schema.tables.cache_clear()
        means = read_table(results / "metrics.h5", "means")
    schema.tables.cache_clear()
    assert len(means) == 6 and (means["mean"] > 1000).all()
    csv = (results / "tables" / "means.csv").read_text().splitlines()
    assert csv[0] == "dataset,n,mean_median,mean_min,mean_max" and csv[1].startswith("photos,6,")
    report = (results / "report.html").read_text()
    assert "6 means were taken." in report and "The largest mean is" in report and 'href="#means"' in report
    assert "6 means" in (results / "summary.txt").read_text()
    made = {name for name in FILES if (results / name).is_file()}
    assert made == {*FILES} - {"selfcheck.h5"}  # nobody asked for audits


def test_it_reruns_alone_when_its_file_or_its_option_changes(studied, tmp_path):
    end = {"aggregate", "tables", "report", "verdict"}
    assert studied.due() == {}
    code = studied.folder / "extra" / "means_task.py"
    text = code.read_text()
    code.write_text("# A comment.\n" + text)
    assert studied.due() == {}
    code.write_text(text.replace("np.mean(", "np.median("))
    assert set(studied.due()) == {"means"} | end
    code.write_text(text)
    studied.configure(audit={"functions_file": "", "functions": []}, means={"power": 1})
    assert set(studied.due()) == {"means"} | end


def test_its_options_are_checked_like_any(studied):
    studied.configure(audit={"functions_file": "", "functions": []}, means={"power": 4})
    done = studied.forked("--dry-run", "--configfile", "study.yaml")
    assert done.returncode != 0 and "'means.power' is 4" in done.stdout + done.stderr

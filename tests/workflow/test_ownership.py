"""Whatever command is run, files that svdflow did not write stay as they are."""

import os

import pytest

from injection import svdflow
from small_study import small_workflow
from svdflow.study.config import load_config
from svdflow.study.outputs import check_outputs, output_files, output_folders
from svdflow.study.study import Study

pytestmark = pytest.mark.budget(200)  # each test runs Snakemake, and one of them the small study

PLANTED = [
    "metrics.h5",
    "report.html",
    "report/mine.html",
    "summary.txt",
    "tables/mine.csv",
    "pictures/photos/compress/00000/holiday.png",
    "archives/photos/00001/mine.h5",
    "logs/tables.log",
    "benchmarks/tables.jsonl",
    "manifests/photos.tsv",
]


def plant(folder):
    for name in PLANTED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} is mine")


def intact(folder):
    return [name for name in PLANTED if (folder / name).read_text() == f"{name} is mine"]


@pytest.mark.parametrize("command", ["snakemake", "dry run", "plan", "resume"])
def test_a_study_does_not_start_where_files_of_the_users_stand(tmp_path, command):
    workflow = small_workflow(tmp_path / "study")
    results = workflow.folder / "results"
    plant(results)
    done = {
        "snakemake": lambda: workflow.forked("--configfile", "study.yaml"),
        "dry run": lambda: workflow.forked("--dry-run", "--configfile", "study.yaml"),
        "plan": lambda: svdflow(workflow, "plan", "--write"),
        "resume": lambda: svdflow(workflow, "resume"),
    }[command]()
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for name in PLANTED:
        assert f"results/{name}: " in said, name
    assert intact(results) == PLANTED
    planted = {results / name for name in PLANTED}
    assert {p for p in results.rglob("*") if p.is_file()} == planted


def test_all_that_a_run_leaves_is_known_for_its_own(finished, monkeypatch):
    """The paths that the rules name and those that are checked are the same."""
    monkeypatch.chdir(finished.folder)
    files = [finished.folder / "config" / "config.yaml", finished.folder / "study.yaml"]
    study = Study(load_config(files), finished.folder, files)
    check_outputs(study)
    expected, folders = set(output_files(study)), list(output_folders(study))
    assert [path for path in [*expected, *folders] if not path.exists()] == []
    found = {p for p in study.results.rglob("*") if p.is_file() and not p.name.startswith(".")}
    strangers = {p for p in found - expected if not any(p.is_relative_to(folder) for folder in folders)}
    assert strangers == set()


def test_an_edited_report_is_kept_and_clean_removes_the_rest(fresh):
    large = fresh.folder.parent / "large"
    (fresh.folder / "results").rename(large)
    os.symlink(large, fresh.folder / "results")
    assert fresh.due() == {}
    report = large / "report.html"
    report.write_text(report.read_text() + "<!-- my notes -->")
    (large / "notes.txt").write_text("mine")
    again = fresh.command("--configfile", "study.yaml", "--forcerun", "report")
    assert again.returncode != 0
    assert "results/report.html: was changed since svdflow wrote it" in again.stdout + again.stderr
    cleaned = fresh.command("clean", "--config", "study.yaml", module="svdflow")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "report.html: was changed since svdflow wrote it" in cleaned.stdout
    assert sorted(p.name for p in large.rglob("*")) == ["notes.txt", "report.html"]
    assert (fresh.folder / "results").is_symlink() and report.read_text().endswith("<!-- my notes -->")

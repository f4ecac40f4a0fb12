"""A study writes where nothing of the user's stands, and cleaning removes what svdflow wrote."""

import csv
import os
import shutil
from pathlib import Path

import h5py
import pytest
import yaml
from PIL import Image

from svdflow.__main__ import main
from svdflow.errors import ConfigError
from svdflow.store import publish, publish_directory
from svdflow.store.files import publish_text
from svdflow.study.config import load_config
from svdflow.study.outputs import adopt, check_outputs, clean, foreign_outputs, output_files, output_folders
from svdflow.study.study import Study

ROOT = Path(__file__).parents[2]
HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"
SHEET = (
    "photos\timages\tdata/photos\tgray\t20\tcompress;denoise;encode;audit\t3\t-\n"
    "waves\tsynthetic\twaves\t-\t-\tcompress\t-\trows=8;columns=8\n"
    "file\tmatrix\tdata/deep/m.h5:/A\t-\t-\tcompress\t-\t-\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with photos and a matrix file."""
    (tmp_path / "data" / "photos").mkdir(parents=True)
    (tmp_path / "data" / "deep").mkdir()
    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / "data" / "photos" / f"p{i}.png")
    with h5py.File(tmp_path / "data" / "deep" / "m.h5", "w") as file:
        file["A"] = [[1.0, 2.0]]
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(folder, sheet=SHEET, **config):
    (folder / "sheet.tsv").write_text(HEAD + sheet)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"datasets": "sheet.tsv", **config}))
    return Study(load_config([path]), ROOT, [path])


def finish(study):
    """Everything that a run would leave, marks too, with little in it; returns the paths of files."""
    for path in output_files(study):
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.relative_to(study.results).parts[0]
        if path.suffix == ".h5":
            with publish(path, kind):
                pass
        elif kind == "logs":
            path.write_text("2026-11-30 16:30:42,256 INFO svdflow: rule tables: {}\n")
        elif kind == "benchmarks":
            path.write_text('{"cpu_time": 0.61, "h:m:s": "0:00:03", "s": 3.5}\n')
        else:
            publish_text(path, "text")
    for path in output_folders(study):
        with publish_directory(path) as inside:
            (inside / "000000_p0.png").write_text("picture")
        (path / ".snakemake_timestamp").touch()
    return [p for p in study.results.rglob("*") if p.is_file() and not p.name.startswith(".")]


# -- where results may go -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (".", "the folder of the workflow, or one above it"),
        ("..", "the folder of the workflow, or one above it"),
        ("results/..", "the folder of the workflow, or one above it"),
        ("loop", "cannot be followed"),
        ("up", "the folder of the workflow, or one above it"),
        ("sheet.tsv", "a file"),
        ("nowhere", "a link to nothing"),
        ("data", "which is data/ of the workflow"),
        ("data/new", "which is data/ of the workflow"),
        ("config", "which is config/ of the workflow"),
        ("config/results", "which is config/ of the workflow"),
        ("todata", "which is data/ of the workflow"),
        ("mine", "holds the files of dataset 'photos'"),
        ("mine/photos", "holds the files of dataset 'photos'"),
        ("tophotos", "holds the files of dataset 'photos'"),
        ("mine/deep", "holds the files of dataset 'file'"),
    ],
)
def test_a_folder_that_is_not_one_for_results_is_refused(folder, results, words):
    os.symlink("loop", "loop")
    os.symlink("..", "up")
    os.symlink("gone", "nowhere")
    os.symlink("data", "todata")
    os.symlink("mine/photos", "tophotos")
    (folder / "config").mkdir()
    shutil.copytree("data", "mine")
    before = sorted(p for p in folder.rglob("*"))
    with pytest.raises(ConfigError, match=words) as caught:
        study(folder, SHEET.replace("data/", "mine/"), pathvars={"results": results})
    said = str(caught.value)
    assert "study.yaml: 'pathvars.results'" in said
    assert ("name a folder for results" in said) == (results != "loop")
    assert set(folder.rglob("*")) - set(before) <= {folder / "sheet.tsv", folder / "study.yaml"}


@pytest.mark.parametrize(
    ("source", "results", "words"),
    [
        ("mine/**/*.png", "mine/out", "searched to all depths"),
        ("mine/*/*.png", "mine/photos", "holds files of dataset"),
        ("mine/*/*.png", "mine/out", ""),
        ("mine/photos", "mine/photos-results", ""),
        ("mine/photos", "results", ""),
        ("mine/photos", "tolarge", ""),
    ],
)
def test_results_beside_the_images_are_fine_and_among_them_are_not(folder, source, results, words):
    shutil.copytree("data", "mine")
    (folder / "large").mkdir()
    os.symlink("large", "tolarge")
    row = f"photos\timages\t{source}\tgray\t-\tcompress\t-\t-\n"
    if not words:
        assert study(folder, row, pathvars={"results": results}).results == Path(results)
        return
    with pytest.raises(ConfigError, match=words):
        study(folder, row, pathvars={"results": results})


# -- what stands there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "tables/mine.csv",
        "report/mine.html",
        "report.html",
        "summary.txt",
        "metrics.h5",
        "matrices/photos/00000.h5",
        "factors/waves/00000.h5",
        "denoise/photos/shrink/00001.h5",
        "selfcheck.h5",
        "manifests/photos.tsv",
        "pictures/photos/compress/00000/holiday.png",
        "pictures/photos/denoise_shrink/00001/a/b.png",
        "archives/photos/00000/mine.h5",
        "logs/tables.log",
        "benchmarks/compress/photos/00000.jsonl",
        "matrices",
        "pictures/photos",
        "tables",
    ],
)
def test_what_the_user_has_there_is_refused_by_name(folder, name):
    one = study(folder)
    path = folder / "results" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine, " * 10)
    with pytest.raises(ConfigError, match=f"results/{name}") as caught:
        check_outputs(one)
    assert "delete" not in str(caught.value) and "nothing was started" in str(caught.value)
    assert path.read_text() == "mine, " * 10


@pytest.mark.parametrize(
    "name", ["notes.txt", "thesis/tables/mine.csv", "README.md", "matrices/mine/00000.h5", "Tables.csv"]
)
def test_what_stands_beside_is_no_hindrance(folder, name):
    path = folder / "results" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    one = study(folder)
    check_outputs(one)
    assert [*foreign_outputs(one)] == [] and path.read_text() == "mine"


def test_a_finished_study_is_no_hindrance_and_an_edit_of_it_is(folder):
    one = study(folder)
    finish(one)
    check_outputs(one)
    for kind in ("tables", "pictures/photos/compress/00000"):
        (folder / "results" / kind / ".DS_Store").write_text("a window was here")
    check_outputs(one)
    shutil.copytree("results", "elsewhere", copy_function=shutil.copy)  # with new dates
    check_outputs(study(folder, pathvars={"results": "elsewhere"}))
    shutil.copytree("elsewhere", "large")
    os.symlink("large", "link")
    check_outputs(study(folder, pathvars={"results": "link"}))
    for name in ("report.html", "summary.txt", "manifests/photos.tsv", "tables/000000_p0.png"):
        path = folder / "results" / name
        before = path.read_text()
        path.write_text(before + " and mine")
        with pytest.raises(ConfigError, match=rf"{name}: was changed since svdflow wrote it"):
            check_outputs(one)
        path.write_text(before)
    check_outputs(one)


def test_links_in_place_of_results_are_refused(folder):
    one = study(folder)
    (folder / "mine").mkdir()
    for name in ("tables", "report.html", "pictures/photos/compress/00001"):
        path = folder / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(folder / "mine")
        with pytest.raises(ConfigError, match=rf"{name}: a link"):
            check_outputs(one)
        path.unlink()


def test_what_a_kill_leaves_is_no_hindrance(folder):
    """Snakemake killed while it empties a folder; a log just begun; a writer killed."""
    one = study(folder)
    finish(one)
    with publish_directory("results/pictures/photos/compress/00000") as inside:
        for i in range(3):
            (inside / f"{i}.png").write_text(str(i))
    (folder / "results/pictures/photos/compress/00000/1.png").unlink()
    (folder / "results/logs/tables.log").write_text("")
    (folder / "results/benchmarks/tables.jsonl").write_text('{"cpu_ti')
    (folder / "results/.report.html.tmp-77").write_text("half")
    (folder / "results/metrics.h5").write_bytes(b"")
    shutil.rmtree("results/tables")
    check_outputs(one)
    assert [*foreign_outputs(one)] == []


def test_plan_refuses_before_it_writes_anything(folder, capsys):
    for part in ("Snakefile", "config"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)
    study(folder)
    (folder / "results" / "tables").mkdir(parents=True)
    (folder / "results" / "tables" / "mine.csv").write_text("mine")
    assert main(["plan", "--write", "--config", "study.yaml"]) == 1
    assert "results/tables/mine.csv" in capsys.readouterr().err
    assert [p.name for p in (folder / "results").rglob("*")] == ["tables", "mine.csv"]


# -- clean and adopt ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [False, True])
def test_clean_removes_what_svdflow_wrote_and_nothing_else(folder, capsys, link):
    if link:
        (folder / "large").mkdir()
        os.symlink("large", "results")
    one = study(folder)
    other = study(folder, pathvars={"results": "results/fine"})
    files = finish(one)
    theirs = {p: p.read_bytes() for p in finish(other)}
    mine = {
        folder / "results" / name: name.encode()
        for name in (
            "README.md",
            "notes.txt",
            "tables/mine.csv",
            "pictures/photos/compress/00000/holiday.png",
            "matrices/photos/mine.h5",
            "logs/mine.log",
            "benchmarks/mine.jsonl",
            "thesis/tables/a.csv",
        )
    }
    for path, content in mine.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    edited = folder / "results" / "report.html"
    edited.write_text("annotated")
    for left in (".metrics.h5.tmp-12", ".tables.svdflow.tmp-12", ".svdflow-run.scratch"):
        (folder / "results" / left).write_text("{}")
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "study.yaml").write_text("datasets: sheet.tsv\n")
    shutil.rmtree("data")  # sources that are gone are no hindrance
    assert main(["clean", "--config", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert f"{len(files) - 1} files removed from results/" in said
    left = {p: p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file() and p.name[0] != "."}
    assert left == mine | {edited: b"annotated"} | {folder / p: content for p, content in theirs.items()}
    for name in ("tables/mine.csv", "holiday.png", "matrices/photos/mine.h5", "logs/mine.log", "report.html"):
        assert f"{name}: " in said, name
    assert (folder / "results").is_symlink() == link
    # Empty folders and marks of its own are gone, the other study is as it was.
    assert not (folder / "results" / "factors").exists() and not list((folder / "results").glob(".*"))
    (folder / "study.yaml").write_text("{datasets: sheet.tsv, pathvars: {results: results/fine}}\n")
    assert main(["clean", "--config", "study.yaml"]) == 0
    assert list((folder / "results" / "fine").rglob("*")) == []


def unmark(folder):
    for mark in folder.rglob("*.svdflow"):
        mark.unlink()


def test_results_without_marks_are_adopted_when_the_user_says_so(folder):
    one = study(folder)
    finish(one)
    mine = folder / "results" / "notes.txt"
    mine.write_text("mine")
    unmark(folder / "results")
    with pytest.raises(ConfigError, match="svdflow adopt"):
        check_outputs(one)
    assert (
        clean(one.results)[1] and (folder / "results" / "metrics.h5").exists()
    )  # nothing says that it is ours
    finish_logs = len(list(one.results.rglob("*.log")))
    assert finish_logs == 0  # logs and benchmarks are known by their content
    found = adopt(one, write=False)
    assert folder / "results" / "report.html" in [folder / p for p in found]
    with pytest.raises(ConfigError, match="svdflow adopt"):
        check_outputs(one)
    assert adopt(one, write=True) == found
    check_outputs(one)
    assert adopt(one, write=True) == []
    clean(one.results)
    assert [p.name for p in one.results.rglob("*")] == ["notes.txt"]


def test_a_folder_that_svdflow_never_wrote_to_is_not_adopted(folder):
    one = study(folder)
    (folder / "results" / "tables").mkdir(parents=True)
    (folder / "results" / "tables" / "mine.csv").write_text("mine")
    (folder / "results" / "metrics.h5").write_text("mine")
    with pytest.raises(ConfigError, match="nothing to adopt"):
        adopt(one, write=True)
    assert not list((folder / "results").rglob("*.svdflow"))


def test_an_edited_manifest_is_kept(folder):
    from svdflow.study import manifest_file

    one = study(folder)
    path = one.manifest_path("photos")
    manifest_file.write(one.manifest("photos"), path)
    lines = path.read_text().splitlines(keepends=True)
    rows = list(csv.reader(lines, delimiter="\t"))
    path.write_text("".join([lines[0], *reversed(lines[1:])]))
    edited = path.read_text()
    with pytest.raises(ValueError, match=r"photos\.tsv"):
        manifest_file.write(one.manifest("photos"), path)
    assert path.read_text() == edited and len(rows) == 5

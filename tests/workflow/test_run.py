"""What a user meets: a run that works, a folder with broken files, a study that is refused."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from small_study import SHEET, small_workflow
from svdflow import read_table
from svdflow.store import open_published

pytestmark = pytest.mark.budget(200)  # each test runs Snakemake, and one of them the small study


def test_a_run_leaves_what_the_readme_says(finished):
    results = finished.folder / "results"
    for name in ("metrics.h5", "report.html", "summary.txt", "tables/compress.csv", "tables/compress.md"):
        assert (results / name).is_file(), name
    compress = read_table(results / "metrics.h5", "compress")
    assert set(compress["dataset"]) == {"photos", "waves", "file"}
    photos = compress[compress["dataset"] == "photos"]
    assert photos["name"].nunique() == 6
    assert set(photos[photos["rule"] == "rank"]["rank"]) == {1, 3, 6, 10}
    denoise = read_table(results / "metrics.h5", "denoise")
    methods = {name: set(rows["method"]) for name, rows in denoise.groupby("dataset")}
    whole = {"truncate", "shrink"}
    assert methods == {"photos": whole, "waves": whole, "groups": {"patch_svd", "nl_means"}}
    assert (denoise[denoise["dataset"] == "groups"]["m"] == 24).all()  # they were cropped
    rates = read_table(results / "metrics.h5", "rates")
    kept = rates[rates["kept"]]
    assert len(kept) == 6 and (kept["psnr"] >= 35).all() and set(rates["dataset"]) == {"photos"}
    assert len(list((results / "archives" / "photos").rglob("*.h5"))) == 6
    audit = read_table(results / "metrics.h5", "audit")
    assert set(audit["family"]) == {"conditioning", "gradients", "stability", "peers", "mutants", "own"}
    assert not set(audit["verdict"]) & {"FAIL", "ERROR"}
    families = {page.stem for page in (results / "report").glob("*.html")}
    assert families == set(audit["family"])
    assert "planted faults caught" in (results / "summary.txt").read_text()
    assert read_table(results / "metrics.h5", "errors").empty


def test_errors_obey_eckart_and_young(finished):
    """The measured error of a generated matrix is the root of its tail energy, from NumPy's own SVD."""
    table = read_table(finished.folder / "results" / "metrics.h5", "compress")
    rows = table[(table["dataset"] == "waves") & (table["rule"] == "rank")]
    with open_published(finished.folder / "results" / "matrices" / "waves" / "00000.h5") as file:
        s = np.linalg.svd(file["items/000000/observations/0/matrix"][...], compute_uv=False)
    for row in rows.itertuples():
        assert row.relative_error == pytest.approx(
            np.sqrt((s[row.rank :] ** 2).sum() / (s**2).sum()), rel=1e-9
        )


def test_files_name_their_versions_and_settings(finished):
    with open_published(finished.folder / "results" / "compress" / "photos" / "00000.h5", "compress") as file:
        assert {"svdflow_version", "settings", "code", "libraries", "schema_version"} <= set(file.attrs)


def test_files_open_with_an_older_reader(finished):
    """The format is that of HDF5 1.10, whose superblock has version 2 or 3."""
    superblock = (finished.folder / "results" / "metrics.h5").read_bytes()[:9]
    assert superblock[:8] == b"\x89HDF\r\n\x1a\n" and superblock[8] in (2, 3)


def test_snakemakes_own_report_is_made(fresh):
    done = fresh.command("--report", "report.zip", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(fresh.folder / "report.zip") as archive:
        text = b"".join(archive.read(n) for n in archive.namelist() if n.endswith((".html", ".js")))
    assert b"Tables" in text


@pytest.fixture
def mixed(tmp_path):
    """A folder of twenty files, five of them broken in different ways."""
    workflow = small_workflow(tmp_path / "mixed")
    folder = workflow.folder / "photos"
    shutil.rmtree(folder)
    folder.mkdir()
    random = np.random.default_rng(1)
    for i in range(15):
        shape = (30 + i, 40) if i % 2 else (30 + i, 40, 3)
        image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
        image.save(folder / f"good{i:02d}.{'png' if i % 3 else 'jpg'}")
    whole = (folder / "good01.png").read_bytes()
    (folder / "broken-truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "broken-empty.png").write_bytes(b"")
    (folder / "broken-text.jpg").write_text("this is not an image")
    np.save(folder / "broken-nan.npy", np.full((20, 20), np.nan))
    (folder / "broken-link.png").symlink_to("nowhere.png")
    (workflow.folder / "sheet.tsv").write_text(
        SHEET.splitlines()[0] + "\nphotos\timages\tphotos\tgray\t-\tcompress\t10\t-\n"
    )
    return workflow


def test_broken_files_are_named_and_the_rest_is_done(mixed):
    done = mixed.run()
    text = done.stdout + done.stderr
    assert done.returncode != 0
    errors = read_table(mixed.folder / "results" / "metrics.h5", "errors")
    assert sorted(errors["name"]) == [
        "broken-empty.png",
        "broken-link.png",
        "broken-nan.npy",
        "broken-text.jpg",
        "broken-truncated.png",
    ]
    table = read_table(mixed.folder / "results" / "metrics.h5", "compress")
    assert table["name"].nunique() == 15 and table["relative_error"].notna().all()
    assert "5 errors" in text and "broken-" in text
    assert "broken-truncated.png" in (mixed.folder / "results" / "report.html").read_text()
    mixed.configure(allow_errors=5)
    again = mixed.run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "5 errors" in (mixed.folder / "results" / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("config", "sheet", "words"),
    [
        (
            {"compres": {"ranks": [1]}},
            None,
            ["study.yaml", "unknown key 'compres'", "did you mean 'compress'"],
        ),
        ({"compress": {"ranks": [0]}}, None, ["'compress.ranks[0]' is 0", "at least 1"]),
        (
            {},
            SHEET.replace("\tphotos\tgray", "\tphoto\tgray"),
            ["no image matches photo", "nearest folder: photos"],
        ),
    ],
)
def test_a_wrong_study_is_refused_before_any_job(tmp_path, config, sheet, words):
    workflow = small_workflow(tmp_path / "wrong")
    workflow.configure(**config)
    if sheet:
        (workflow.folder / "sheet.tsv").write_text(sheet)
    for done in (workflow.run(), workflow.forked("--configfile", "study.yaml")):
        text = done.stdout + done.stderr
        assert done.returncode != 0 and "Traceback" not in text
        for word in words:
            assert word in text
    assert not (workflow.folder / "results").exists()


def test_a_plain_snakemake_sees_the_line_that_it_merged_away(tmp_path):
    workflow = small_workflow(tmp_path / "wrong")
    study = workflow.folder / "study.yaml"
    study.write_text(study.read_text() + "title: one\ntitle: two\n")
    done = workflow.forked("--configfile", "study.yaml")
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert "study.yaml: line" in text and "key 'title' stands twice" in text
    assert not (workflow.folder / "results").exists()


def test_an_adapter_refuses_another_svdflow(finished, tmp_path):
    """PYTHONPATH of one checkout, adapters of another."""
    other = finished.copy(tmp_path / "other")
    (other.folder / "results" / "summary.txt").unlink()
    scripts = other.folder / "scripts"
    other.folder = scripts.parent
    done = other.command("--configfile", "study.yaml", "--allowed-rules", "verdict")
    assert done.returncode == 0, done.stderr
    (other.folder / "results" / "summary.txt").unlink()
    import os
    import subprocess
    import sys

    wrong = {**os.environ, "PYTHONPATH": str(finished.folder / "scripts")}
    words = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml"]
    done = subprocess.run(words, cwd=other.folder, env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "not the one of this workflow" in done.stdout + done.stderr

"""Full, read-only and missing places, other runs, clocks, and inputs that change under a run."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from injection import (
    changed,
    contents,
    finished_shards,
    kill_all,
    made_again,
    said,
    start,
    svdflow,
    users_files,
)
from small_study import smallest_workflow
from svdflow.store import read_table

SIZES = (20, 60, 120, 240, 400, 600, 800, 1000)  # KiB of the file system that the results fill
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")


@contextmanager
def mounted(folder, options):
    """A file system of its own at a folder."""
    folder.mkdir(exist_ok=True, parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@ROOT
@pytest.mark.parametrize("size", SIZES)
def test_the_disk_is_full(reference, fresh, score, size):
    results = fresh.folder / "results"
    mine = {path.name: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    shutil.rmtree(results)
    with mounted(results, f"size={size}k"):
        (results / "pictures" / "mine").mkdir(parents=True)
        (results / "notes.txt").write_bytes(mine["notes.txt"])
        (results / "pictures" / "mine" / "thesis.txt").write_bytes(mine["thesis.txt"])
        before = users_files(fresh)
        done = svdflow(fresh, "run")
        words = done.stdout + done.stderr
        full = done.returncode != 0
        if full:
            # Where the plan knows that it will not do, nothing starts.
            assert re.search("no space is left|results need about .* free; free some", words), words
            assert "Traceback" not in words
            assert done.returncode > 0, "the process died"
        stages = [p for p in finished_shards(fresh) if not {"audit", "archives"} & {*p.parts}]
        rows = [p for p in stages if len(read_table(p, "errors"))]
        assert not list(results.rglob(".*tmp-*")), "temporary files are left"
        shards = finished_shards(fresh)
        remount(results, "size=64m")
        done = svdflow(fresh, "resume")
        assert done.returncode == 0, done.stdout + done.stderr
        score.judge(
            "the disk is full, 8 sizes",
            wrong=rows,
            touched=changed(before, users_files(fresh)),
            different=changed(reference.contents, contents(fresh)),
            lost=made_again(shards, fresh),
        )


@ROOT
def test_the_results_are_on_a_read_only_disk(reference, finished, score):
    results = finished.folder / "results"
    kept = finished.folder / "tmp"
    shutil.copytree(results, kept)
    with mounted(results, "size=64m"):
        shutil.copytree(kept, results, dirs_exist_ok=True)
        (results / "metrics.h5").unlink()
        remount(results, "ro")
        done = svdflow(finished, "run")
        assert done.returncode > 0
        assert "Traceback" not in done.stderr
        assert "cannot be written" in done.stdout + done.stderr or "ead-only" in done.stdout + done.stderr
        remount(results, "rw")
        done = svdflow(finished, "resume")
        assert done.returncode == 0, done.stdout + done.stderr
        score.judge("a read-only disk", different=changed(reference.contents, contents(finished)))


def test_files_of_the_users_stand_where_results_would(fresh, score):
    for name in (
        "metrics.h5",
        "tables/mine.csv",
        "pictures/photos/compress/00000/holiday.png",
        "report.html",
    ):
        path = fresh.folder / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = {p: p.read_bytes() for p in (fresh.folder / "results").rglob("*") if p.is_file()}
    touched = set()
    for command in ("run", "resume"):
        done = svdflow(fresh, command)
        assert done.returncode == 1
        assert "stays as it is" in done.stderr or "what is not its own" in done.stderr + done.stdout
        touched |= {p for p, content in before.items() if not p.exists() or p.read_bytes() != content}
    score.judge("foreign files where results would be", faults=4, touched=touched)


@pytest.mark.parametrize("what", ["absent", "full", "no home", "a home of nobody"])
def test_temporary_folder_and_home(reference, fresh, score, what):
    before, small = users_files(fresh), fresh.folder / "tmp"
    environment = {
        "absent": {"TMPDIR": str(small / "nowhere")},
        "full": {"TMPDIR": str(small)},
        "no home": {"HOME": ""},
        "a home of nobody": {"HOME": "/nonexistent"},
    }[what]
    if what == "full" and os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    if what == "full":
        with mounted(small, "size=16k"):
            (small / "filler").write_bytes(b"0" * 12000)
            run = start(fresh, environment=environment)
            status = run.wait(timeout=900)
    else:
        run = start(fresh, environment=environment)
        status = run.wait(timeout=900)
    if status:
        assert "Traceback" not in said(fresh).rpartition("svdflow: ")[2]
        done = svdflow(fresh, "resume")
        assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "TMPDIR full or absent, HOME unset",
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
    )


@ROOT
def test_another_user_may_read_and_not_write(reference, score):
    nobody = 65534
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        os.chmod(place, 0o755)
        _as_another_user(reference.workflow.copy(Path(place) / "study"), score, nobody)


def _as_another_user(finished, score, nobody):
    try:
        subprocess.run(
            [sys.executable, "-c", "import h5py"], user=nobody, group=nobody, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("another user cannot run this Python")
    before, results = users_files(finished), contents(finished)
    (finished.folder / "results" / "metrics.h5").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "svdflow", "run", "--config", "study.yaml"],
        cwd=finished.folder, user=nobody, group=nobody, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PYTHONPATH": str(finished.folder / "scripts")},
    )  # fmt: skip
    assert done.returncode > 0
    assert "ermission denied" in done.stdout + done.stderr or "cannot be written" in done.stdout + done.stderr
    score.judge("another user", touched=changed(before, users_files(finished)))
    assert svdflow(finished, "resume").returncode == 0
    score.judge("another user", different=changed(results, contents(finished)))


def test_two_runs_of_a_study_at_once(reference, fresh, score):
    before = users_files(fresh)
    first = start(fresh)
    while not (fresh.folder / "results" / ".svdflow-run.scratch").exists() and first.poll() is None:
        time.sleep(0.05)
    refused = [svdflow(fresh, command) for command in ("run", "resume", "clean")]
    plain = fresh.command("--configfile", "study.yaml")
    assert first.wait(timeout=900) == 0, said(fresh)
    for done in refused:
        assert done.returncode == 1
        assert f"process {first.pid}" not in done.stderr  # Snakemake's, which does the work
        assert "goes on: process" in done.stderr
    assert plain.returncode != 0
    score.judge(
        "two runs of a study at once",
        faults=4,
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
    )


def test_resume_while_another_study_runs_here(reference, fresh, score):
    other = smallest_workflow(fresh.folder / "tmp" / "other")
    (fresh.folder / "b.yaml").write_text(
        (fresh.folder / "study.yaml").read_text() + "pathvars: {results: results_b}\n"
    )
    shutil.rmtree(other.folder)
    run = start(fresh)
    time.sleep(0.4 * reference.seconds)
    kill_all(run)
    second = subprocess.Popen(
        [sys.executable, "-m", "svdflow", "run", "--config", "b.yaml"],
        cwd=fresh.folder, env={**os.environ, "PYTHONPATH": str(fresh.folder / "scripts")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not (fresh.folder / "results_b" / ".svdflow-run.scratch").exists() and second.poll() is None:
        time.sleep(0.05)
    done = svdflow(fresh, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert second.wait(timeout=900) == 0
    found = {
        str(p.relative_to(fresh.folder / "results_b")): p for p in (fresh.folder / "results_b").rglob("*.h5")
    }
    assert {n for n in found if not n.startswith(".")} == {n for n in reference.contents if n.endswith(".h5")}
    score.judge("two studies in one folder", different=changed(reference.contents, contents(fresh)))


@pytest.mark.parametrize("seconds", [-(10**9), 10**8])
@pytest.mark.parametrize("what", ["inputs", "results"])
def test_clocks(reference, finished, score, what, seconds):
    """Dates far off in the past or the future: nothing is done again, and nothing is believed that changed."""
    before = users_files(finished)
    places = ("photos", "own.py", "sheet.tsv") if what == "inputs" else ("results",)
    for place in places:
        top = finished.folder / place
        for path in [top] if top.is_file() else [p for p in top.rglob("*") if p.is_file()]:
            os.utime(path, (time.time() + seconds,) * 2)
    shards = finished_shards(finished)
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    redated = "dated in the future, by a wrong clock; they are dated now" in done.stderr
    assert redated == (what == "results" and seconds > 0)
    if redated:  # then dates tell nothing of what was made again, and Snakemake does
        assert "Nothing to be done" in done.stderr
    score.judge(
        "clocks far off",
        touched=changed(before, users_files(finished)),
        different=changed(reference.contents, contents(finished)),
        lost=0 if redated else made_again(shards, finished),
    )


@pytest.mark.parametrize("how", ["replaced", "removed", "matrix"])
def test_inputs_change_while_a_run_goes_on(reference, fresh, tmp_path, score, how):
    """What was read is what was planned; what changed under the run is done by the next one."""
    run = start(fresh)
    time.sleep(0.25 * reference.seconds)
    photo, other = fresh.folder / "photos" / "photo3.png", fresh.folder / "photos" / "photo0.png"
    if how == "replaced":
        photo.write_bytes(other.read_bytes())
    elif how == "removed":
        photo.unlink()
    else:
        os.utime(fresh.folder / "matrix.h5", (1, 1))
    run.wait(timeout=900)
    after = svdflow(fresh, "run")
    clean = smallest_workflow(tmp_path / "clean")
    for path in clean.folder.glob("photos/*"):
        path.unlink()
    shutil.copytree(fresh.folder / "photos", clean.folder / "photos", dirs_exist_ok=True)
    shutil.copy2(fresh.folder / "matrix.h5", clean.folder / "matrix.h5")
    if how == "removed":
        rows = read_table(fresh.folder / "results" / "metrics.h5", "compress")
        photos = rows[rows["dataset"] == "photos"]
        score.judge(
            "inputs change while a run goes on", wrong=after.returncode or "photo3.png" in set(photos["name"])
        )
        return
    assert after.returncode == 0, after.stdout + after.stderr
    assert svdflow(clean, "run").returncode == 0
    score.judge("inputs change while a run goes on", different=changed(contents(clean), contents(fresh)))

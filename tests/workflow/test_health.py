"""What is missing or damaged of the results is made anew, and a run says who it is, and that it stopped."""

import json
import os
import platform
import signal
import time

import psutil
import pytest

from injection import family, said, start, svdflow
from svdflow.study.repair import make_way
from svdflow.study.study import Study

pytestmark = pytest.mark.budget(200)  # each test runs Snakemake, and one of them the small study

FLIP = 5000  # an offset inside the numbers of the file that is damaged


def study_of(workflow, monkeypatch):
    monkeypatch.chdir(workflow.folder)
    return Study.load(workflow.folder, "study.yaml")


def test_whatever_is_missing_is_due(fresh):
    """A missing result was not made anew where its successors were there."""
    assert fresh.due() == {}
    results = fresh.folder / "results"
    lost = {
        "report.html": "report",
        "metrics.h5": "aggregate",
        "tables": "tables",
        "factors/waves/00000.h5": "factorize",
        "pictures/photos/compress/00001": "compress",
        "pictures/photos/denoise_shrink/00000": "denoise",
        "archives/photos/00000": "encode",
        "selfcheck.h5": "selfcheck",
    }
    for name in lost:
        (results / name).rename(fresh.folder / name.replace("/", "-"))
    assert set(lost.values()) <= fresh.due().keys()
    for name in lost:
        (fresh.folder / name.replace("/", "-")).rename(results / name)
    assert fresh.due() == {}


def test_what_is_damaged_makes_way(fresh, monkeypatch):
    study, results = study_of(fresh, monkeypatch), fresh.folder / "results"
    assert make_way(study, checksums=True) == []
    flipped = results / "compress" / "photos" / "00000.h5"
    content = bytearray(flipped.read_bytes())
    content[FLIP] ^= 1
    flipped.write_bytes(content)
    cut = results / "factors" / "photos" / "00001.h5"
    cut.write_bytes(cut.read_bytes()[:3000])
    empty = results / "summary.txt"
    empty.write_bytes(b"")
    folder = results / "pictures" / "photos" / "compress" / "00000"
    next(folder.glob("*.png")).unlink()
    said_quickly = make_way(study, checksums=False)
    assert len(said_quickly) == 3
    assert flipped.exists(), "a run looks at sizes and marks, resume at checksums"
    assert [str(flipped.relative_to(fresh.folder))] == [
        s.partition(":")[0] for s in make_way(study, checksums=True)
    ]
    assert not any(path.exists() for path in (flipped, cut, empty, folder))
    assert make_way(study, checksums=True) == []


def test_what_the_user_changed_stays(fresh, monkeypatch):
    study, report = study_of(fresh, monkeypatch), fresh.folder / "results" / "report.html"
    report.write_text(report.read_text() + "<!-- a remark of mine -->")
    assert make_way(study, checksums=True) == []
    assert "a remark of mine" in report.read_text()
    done = svdflow(fresh, "check")
    assert done.returncode == 1
    assert "report.html: was changed since svdflow wrote it" in done.stderr


@pytest.mark.parametrize("junk", ["", "{", "[]", "\0\0"])
def test_a_damaged_record_is_named_and_its_result_made_anew(fresh, monkeypatch, junk):
    """Snakemake takes a result without a readable record for up to date, whatever its settings are now."""
    study = study_of(fresh, monkeypatch)
    for record in sorted((fresh.folder / ".snakemake" / "metadata").rglob("*")):
        if record.is_file() and json.loads(record.read_text())["rule"] == "compress":
            record.write_text(junk)
    sentences = make_way(study, checksums=False)
    assert sentences
    assert all("Snakemake's record of it" in s and "made anew" in s for s in sentences)
    assert not list((fresh.folder / "results" / "compress").rglob("*.h5"))


def test_check_goes_on_to_the_other_files(fresh):
    results = fresh.folder / "results"
    damaged = ["matrices/photos/00000.h5", "factors/waves/00000.h5", "audit/own.h5", "metrics.h5"]
    for number, name in enumerate(damaged):
        content = bytearray((results / name).read_bytes())
        if number == 1:
            content = content[:100]
        else:
            content[content.index(b"OHDR", 600) + 40] ^= 1
        (results / name).write_bytes(content)
    done = svdflow(fresh, "check")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for name in damaged:
        assert f"results/{name}" in done.stderr
    assert "4 damaged" in done.stdout


def test_resume_is_refused_where_the_same_study_runs_and_only_there(fresh):
    holder = {"host": platform.node(), "process": os.getpid(), "since": 0, "folder": "/"}
    me = psutil.Process()
    assert me.is_running()
    from svdflow.study import run_lock

    holder["started"] = run_lock._process(os.getpid())
    elsewhere = fresh.folder / "results_b"
    elsewhere.mkdir()
    (elsewhere / run_lock.NAME).write_text(json.dumps(holder))
    assert svdflow(fresh, "resume").returncode == 0
    (fresh.folder / "results" / run_lock.NAME).write_text(json.dumps(holder))
    refused = svdflow(fresh, "resume")
    assert refused.returncode == 1
    assert f"a run of this study (results) goes on: process {os.getpid()}" in refused.stderr
    (fresh.folder / "results" / run_lock.NAME).write_text(json.dumps({**holder, "host": "node17"}))
    assert "on node17" in svdflow(fresh, "resume").stderr


def test_a_run_that_is_stopped_says_so_in_one_line(fresh):
    results = fresh.folder / "results"
    for path in results.rglob("*.h5"):
        path.unlink()
    run = start(fresh)
    while not (results / ".svdflow-run.scratch").exists() and run.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)
    processes, spoken = family(run), len(said(fresh))
    asked = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=10) == 130
    assert time.monotonic() - asked < 5
    last = said(fresh)[spoken:]
    assert "Traceback" not in last
    assert [line for line in last.splitlines() if line.startswith("svdflow: ")] == [
        "svdflow: stopped; what is finished is kept: go on with 'make resume' (svdflow resume --config study.yaml)"
    ]
    assert len(processes) > 1
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not list(results.rglob(".*tmp-*"))

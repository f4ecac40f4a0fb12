"""Kill runs and jobs at any moment: nothing half-written is believed, and the resumed run gives the same bits."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from injection import (
    changed,
    contents,
    family,
    finished_shards,
    kill_all,
    made_again,
    said,
    start,
    svdflow,
    users_files,
)
from svdflow.errors import StoreError
from svdflow.registry import TASKS
from svdflow.store import verify
from svdflow.study.settings import STAGES

KILLS = 20


def half_written(workflow):
    """Published files that do not verify."""
    found = []
    for path in finished_shards(workflow):
        try:
            verify(path)
        except StoreError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("moment", range(KILLS))
def test_a_killed_run_resumes_to_the_same_bits(reference, fresh, score, moment):
    before = users_files(fresh)
    run = start(fresh)
    time.sleep((moment + 0.5) / KILLS * reference.seconds)
    kill_all(run)
    wrong, shards = half_written(fresh), finished_shards(fresh)
    done = svdflow(fresh, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "whole run killed (SIGKILL), 20 moments",
        wrong=wrong,
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
        lost=made_again(shards, fresh),
    )
    assert not list((fresh.folder / "results").rglob(".*tmp-*")), "temporary files are left"


def rule_of(process):
    """The rule whose script a process runs: what it calls stands in the script; empty for other processes."""
    words = process.cmdline()[1:2]
    if not words or not words[0].endswith(".job.py"):
        return ""
    text = Path(words[0]).read_text(encoding="utf-8")
    runs = {name: task.load for name, task in TASKS.items()} | {name: s.run for name, s in STAGES.items()}
    return next((name for name, run in runs.items() if run in text), "")


@pytest.mark.parametrize(
    "rules", [("ingest_images", "compress", "selfcheck"), ("factorize", "encode", "report")]
)
def test_single_jobs_are_killed(reference, fresh, score, rules):
    before, left = users_files(fresh), list(rules)
    run = start(fresh)
    while left and run.poll() is None:
        for process in family(run):
            try:
                rule = rule_of(process)
                if rule in left:
                    process.kill()
                    left.remove(rule)
            except (psutil.Error, OSError):
                continue
        time.sleep(0.01)
    assert run.wait() != 0, said(fresh)
    wrong = half_written(fresh)
    done = svdflow(fresh, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "single jobs killed",
        faults=len(rules) - len(left),
        wrong=wrong,
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_says_so_in_one_line(reference, fresh, score, number):
    before = users_files(fresh)
    run = start(fresh)
    time.sleep(0.5 * reference.seconds)
    processes = family(run)
    spoken = len(said(fresh))
    asked = time.monotonic()
    os.kill(run.pid, number)
    status = run.wait(timeout=10)
    seconds = time.monotonic() - asked
    last = said(fresh)[spoken:]
    assert status == 128 + number
    assert seconds < 5
    assert "go on with 'make resume'" in last
    assert "Traceback" not in last
    assert len([line for line in last.splitlines() if line.startswith("svdflow: stopped")]) == 1
    alive = [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not alive, "processes are left"
    shards = finished_shards(fresh)
    done = svdflow(fresh, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "stopped by Ctrl-C, kill, hang-up",
        wrong=half_written(fresh),
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
        lost=made_again(shards, fresh),
    )


def test_svdflow_alone_is_killed(reference, fresh, score):
    """Snakemake lets its jobs finish and ends; it does not go on for itself."""
    before = users_files(fresh)
    run = start(fresh)
    time.sleep(0.4 * reference.seconds)
    processes = family(run)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(processes, timeout=4 * reference.seconds)
    assert not alive, "processes go on"
    shards = finished_shards(fresh)
    done = svdflow(fresh, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "stopped by Ctrl-C, kill, hang-up",
        wrong=half_written(fresh),
        touched=changed(before, users_files(fresh)),
        different=changed(reference.contents, contents(fresh)),
        lost=made_again(shards, fresh),
    )

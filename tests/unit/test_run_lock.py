"""Who runs a study: a lock with host, process and study; a stale one is known for what it is."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from svdflow.errors import ConfigError
from svdflow.study import run_lock
from svdflow.study.run_lock import RunLock, release_snakemake_locks


@pytest.fixture
def other():
    """Another process, which lives while the test does."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def written_by(lock, **facts):
    lock.path.parent.mkdir(parents=True, exist_ok=True)
    lock.path.write_text(json.dumps({"host": platform.node(), "since": 0, "folder": "/", **facts}))


def test_a_run_takes_and_releases_it(tmp_path):
    lock = RunLock(tmp_path / "results")
    assert lock.holder() is None
    lock.take()
    assert lock.holder()["process"] == os.getpid()
    lock.take()
    lock.release()
    assert lock.holder() is None
    assert not lock.path.exists()


def test_a_run_that_goes_on_is_named(tmp_path, other):
    lock = RunLock(tmp_path)
    written_by(lock, process=other.pid, started=run_lock._process(other.pid))
    with pytest.raises(ConfigError, match=f"process {other.pid} on .*; wait for it, or stop it first"):
        lock.take()
    lock.release()
    assert lock.path.exists(), "only its own lock is released"


def test_a_run_on_another_host_is_seen(tmp_path):
    lock = RunLock(tmp_path)
    written_by(lock, host="node17", process=4, started="x")
    with pytest.raises(
        ConfigError, match=r"process 4 on node17, .* if that host is gone, remove .*svdflow-run"
    ):
        lock.take()


@pytest.mark.parametrize("started", ["another boot/17", None])
def test_a_number_that_was_given_again_is_not_taken_for_the_run(tmp_path, other, started):
    lock = RunLock(tmp_path)
    written_by(lock, process=other.pid, started=started)
    assert lock.holder() is None
    lock.take()
    assert lock.holder()["process"] == os.getpid()


def test_a_dead_process_leaves_a_stale_lock(tmp_path, other):
    lock = RunLock(tmp_path)
    written_by(lock, process=other.pid, started=run_lock._process(other.pid))
    other.kill()
    other.wait()
    assert lock.holder() is None
    lock.take()


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", '{"host": 1}', "\0" * 50])
def test_a_damaged_lock_holds_nobody(tmp_path, junk):
    lock = RunLock(tmp_path)
    lock.path.write_text(junk)
    assert lock.holder() is None
    lock.take()
    assert lock.holder()["process"] == os.getpid()


def test_only_the_locks_of_this_study_are_released(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(".snakemake/locks")
    folder.mkdir(parents=True)
    (folder / "0.output.lock").write_text("results/a/metrics.h5\nresults/a/report.html\n")
    (folder / "1.output.lock").write_text("results/b/metrics.h5\n")
    (folder / "2.output.lock").write_text("results/ab/metrics.h5\n")
    assert release_snakemake_locks("results/a") == 1
    assert sorted(p.name for p in folder.iterdir()) == ["1.output.lock", "2.output.lock"]

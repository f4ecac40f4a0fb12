"""Two jobs never have one card, and a card is free as soon as its job is gone, however it ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svdflow.compute import gpu_lease
from svdflow.compute.gpu_lease import VISIBLE, devices, leased

JOB = """
import sys, time
from pathlib import Path
from svdflow.compute.gpu_lease import leased, VISIBLE
import os

with leased(sys.argv[2].split(","), Path(sys.argv[1])) as name:
    assert os.environ[VISIBLE] == name
    print(name, flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def job(tmp_path):
    """Starts a process that leases one of some devices for some seconds; all end with the test."""
    children = []

    def started(names="0,1", seconds=60.0):
        words = [sys.executable, "-c", JOB, str(tmp_path), names, str(seconds)]
        path = str(Path(gpu_lease.__file__).parents[2])
        child = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
        )
        children.append(child)
        return child

    yield started
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def test_two_jobs_have_two_cards(job):
    assert {job().stdout.readline().strip() for _ in range(2)} == {"0", "1"}


def test_a_third_waits_until_one_is_free(job, tmp_path):
    first, second = job("0", 60.0), job("1", 60.0)
    assert [first.stdout.readline(), second.stdout.readline()] == ["0\n", "1\n"]
    third = job("0,1", 0.0)
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(2)
    os.kill(second.pid, signal.SIGKILL)
    assert third.stdout.readline() == "1\n"
    assert third.wait(10) == 0


def test_what_cuda_saw_before_is_seen_again(tmp_path, monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    with leased(["7"], tmp_path):
        assert os.environ[VISIBLE] == "7" == devices()[0]
    assert VISIBLE not in os.environ
    monkeypatch.setenv(VISIBLE, "3,4")
    with leased(devices(), tmp_path) as name:
        assert name == "3"
    assert os.environ[VISIBLE] == "3,4"


def test_without_a_card_nothing_is_leased(tmp_path):
    started = time.monotonic()
    with leased([], tmp_path) as name:
        assert name == ""
    assert time.monotonic() - started < 1 and list(tmp_path.iterdir()) == []


def test_devices_are_those_that_are_visible_else_those_of_the_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_lease, "DRIVER", tmp_path)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv(VISIBLE, raising=False)
    assert devices() == ["0", "1"]
    for said, found in [("1", ["1"]), ("", []), ("-1", []), ("GPU-aa, GPU-bb", ["GPU-aa", "GPU-bb"])]:
        monkeypatch.setenv(VISIBLE, said)
        assert devices() == found


def test_a_folder_of_somebody_else_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / f"svdflow-gpus-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="belongs to somebody else"), leased(["0"]):
        pass

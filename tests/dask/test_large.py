"""A matrix through the workflow on a local cluster: killed after two reads, resumed to the bytes of a run on threads.

`make test-dask ARGS="--gigabytes 8 -k large"` takes one of that size, on the disk of the temporary files.
"""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import psutil
import pytest
import yaml

from small_study import smallest_workflow
from svdflow.store.arrays import BAND_BYTES
from svdflow.svd.random_blocks import gaussian

COLUMNS, RANK = 4000, 20
LIMIT = 3 * 2**30  # bytes that the job, its workers among them, may take
SHEET = "name\tkind\tsource\ttasks\nlarge\tmatrix\tlarge.h5:/A\tcompress\n"
LONGEST = 1800.0  # seconds of one run


def write(path, gigabytes):
    """Rows of float32 in bands as svdflow stores them; singular values fall slowly, so several reads are needed."""
    band = BAND_BYTES // (4 * COLUMNS)
    rows = max(40, int(gigabytes * 1e9) // (4 * COLUMNS * band)) * band
    scale = np.arange(1, COLUMNS + 1, dtype=np.float32) ** -0.3
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        A = file.create_dataset("A", (rows, COLUMNS), np.float32, chunks=(band, COLUMNS))
        for start in range(0, rows, band):
            A[start : start + band] = gaussian(start, band, COLUMNS, dtype=np.float32) * scale


class Run:
    """`svdflow` in a process group of its own, with the most memory that all of it took together."""

    def __init__(self, workflow, verb):
        self.peak, self._folder = 0, workflow.folder
        words = ["--config", "study.yaml", "--", "--cores", "2", "--until", "factorize"]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "svdflow", verb, *words],
            cwd=workflow.folder,
            env=os.environ | {"PYTHONPATH": str(workflow.folder / "scripts")},
            stdout=(workflow.folder / "said").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, until=lambda: False):
        """Until it ends, or until something is so; the status, None in the latter case."""
        deadline = time.monotonic() + LONGEST
        while self._child.poll() is None and not until():
            assert time.monotonic() < deadline
            self.peak = max(self.peak, self._memory())
            time.sleep(0.2)
        return self._child.poll()

    def kill(self):
        """All of it at once: Snakemake, the job, scheduler and workers."""
        everything = [
            self._child.pid,
            *(p.pid for p in psutil.Process(self._child.pid).children(recursive=True)),
        ]
        for pid in everything:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._child.wait()

    def _memory(self):
        """Bytes of the job's script and its workers, what they share counted once."""
        total = 0
        for process in psutil.Process(self._child.pid).children(recursive=True):
            try:
                if any("job.py" in word or "spawn_main" in word for word in process.cmdline()):
                    total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total


def test_a_large_matrix_is_killed_and_resumed(tmp_path, request):
    workflow = smallest_workflow(tmp_path / "study")
    write(workflow.folder / "large.h5", request.config.getoption("--gigabytes"))
    (workflow.folder / "sheet.tsv").write_text(SHEET)
    study = {"datasets": "sheet.tsv", "factorize": {"max_rank": RANK, "method": "krylov", "tol": 1e-4}}
    study["compress"] = {"ranks": [RANK]}
    dask = {"engine": "dask", "cluster": "local", "memory_limit": LIMIT}
    config, factors = workflow.folder / "study.yaml", workflow.folder / "results" / "factors" / "large"
    config.write_text(yaml.safe_dump({**study, "runtime": dask}))
    first = Run(workflow, "run")
    assert first.wait(lambda: len(list(factors.rglob("read_*.h5"))) >= 2) is None, (
        "it ended before it was killed"
    )
    first.kill()
    assert not (factors / "00000.h5").exists()
    second = Run(workflow, "resume")
    assert second.wait() == 0, (workflow.folder / "said").read_text()
    log = (workflow.folder / "results" / "logs" / "factorize" / "large" / "00000.log").read_text()
    assert log.count("taken from the checkpoint") == 2 and "dask on cluster local: 2 threads" in log
    resumed = (factors / "00000.h5").read_bytes()
    (factors / "00000.h5").unlink()
    config.write_text(yaml.safe_dump({**study, "runtime": {"memory_limit": LIMIT}}))
    third = Run(workflow, "run")
    assert third.wait() == 0, (workflow.folder / "said").read_text()
    assert (factors / "00000.h5").read_bytes() == resumed
    print(f"peaks: {[round(run.peak / 2**20) for run in (first, second, third)]} MiB")
    assert max(first.peak, second.peak) <= LIMIT
    assert first.peak > 100 * 2**20  # control: the processes were found


@pytest.fixture(autouse=True)
def small_panels():
    """Panels as they are; those of this folder's other tests would be many."""

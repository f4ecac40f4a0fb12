"""Clusters as somebody else starts them, and a source whose reads take long enough to be hit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from svdflow.matrix.sources import MatrixSource

ROWS, COLUMNS, RANK = 24_000, 200, 8


def slow(path, seconds):
    """A source of a file, each read of which takes so long at least. Local, so that it pickles by value."""

    class Slow(MatrixSource):
        def __init__(self):
            self._path, self._seconds = str(path), seconds
            mapped = np.load(path, mmap_mode="r")
            self.shape, self.dtype = mapped.shape, mapped.dtype

        def read(self, start, stop):
            time.sleep(self._seconds)
            return np.load(self._path, mmap_mode="r")[start:stop]

    return Slow()


class Standing:
    """A scheduler and workers that somebody else started, as the command line starts them."""

    def __init__(self, folder: Path, tls: tuple[str, ...], workers: int) -> None:
        self.file = folder / "scheduler.json"
        self._folder = folder
        names = ("--tls-ca-file", "--tls-cert", "--tls-key")
        self._tls = [word for pair in zip(names, tls, strict=False) for word in pair]
        protocol = ["--protocol", "tls" if tls else "tcp"]
        place = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        self.scheduler = self._start("scheduler", *place, *protocol, "--scheduler-file", str(self.file))
        deadline = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < deadline and self.scheduler.poll() is None
            time.sleep(0.05)
        self.workers = [self.worker(number) for number in range(workers)]

    def worker(self, number: int) -> subprocess.Popen:
        own = [
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            str(self._folder / f"w{number}"),
        ]
        return self._start("worker", "--scheduler-file", str(self.file), "--host", "127.0.0.1", *own)

    def _start(self, what: str, *words: str) -> subprocess.Popen:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *words, *self._tls],
                env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=log,
                stderr=log,
            )

    def address(self) -> str:
        return json.loads(self.file.read_text())["address"]

    def await_workers(self, engine) -> None:
        """Until all workers have joined."""
        deadline = time.monotonic() + 60
        while len(engine._client.scheduler_info(n_workers=-1)["workers"]) < len(self.workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


def kill(process_id: int) -> None:
    """As the kernel ends a process that takes too much memory."""
    os.kill(process_id, signal.SIGKILL)

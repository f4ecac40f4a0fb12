"""Start Snakemake on a study, and stop it: at once, with one line, and with no process left."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from svdflow.errors import ConfigError
from svdflow.escaping import visible
from svdflow.study.preflight import preflight
from svdflow.study.repair import make_way
from svdflow.study.run_lock import RunLock, release_snakemake_locks
from svdflow.study.study import Study

# Seconds from SIGTERM to SIGKILL, for jobs to remove their temporary files; with less some stay. Chosen
GRACE = 2.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # option of prctl(2): the signal that the kernel sends to a child whose parent died
# A disk with fewer free bytes counts as full when a run failed: file systems keep a remainder. Chosen
LITTLE = 2**20


def launch(study: Study, config: str | None, words: Sequence[str], *, checksums: bool) -> int:
    """Run what is due of a study; returns the exit status.

    Parameters
    ----------
    config : str, optional
        The file of the study, laid over config/config.yaml.
    words : sequence of str
        Handed to Snakemake as they are.
    checksums : bool
        Whether results are verified whole before they are believed.
    """
    lock = RunLock(study.results)
    if holder := lock.holder():
        raise ConfigError(lock.complaint(holder))
    for place in (study.results, Path(".snakemake"), Path()):
        if place.exists() and not os.access(place, os.W_OK):
            raise ConfigError(
                f"{place.absolute()} cannot be written: a read-only disk, or a folder of another user; "
                "name another folder with 'pathvars: {results: FOLDER}', or see to its permissions"
            )
    for note in preflight(words, study.config, study.results):
        print(f"svdflow: note: {visible(note)}", file=sys.stderr)
    release_snakemake_locks(study.results)
    for sentence in make_way(study, checksums=checksums):
        print(f"svdflow: {visible(sentence)}", file=sys.stderr)
    command = [sys.executable, "-m", "snakemake", *words, *(["--configfile", config] if config else [])]
    status = _Run(command).wait()
    if status < 0:
        release_snakemake_locks(study.results)
        _sweep(study.results)
        how = f"svdflow resume{f' --config {config}' if config else ''}"
        print(
            f"svdflow: stopped; what is finished is kept: go on with 'make resume' ({how})", file=sys.stderr
        )
        return 128 - status
    if status and (full := _full_disk(study.results)):
        print(f"svdflow: {full}", file=sys.stderr)
    return status


class _Run:
    """Snakemake as a child in a process group of its own, so that a Ctrl-C comes here and nowhere else."""

    def __init__(self, command: Sequence[str]) -> None:
        self._stopped = 0
        self._before = {number: signal.signal(number, self._stop) for number in STOPPING}
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_end_with_parent
        )

    def wait(self) -> int:
        """The exit status; minus the number of the signal that stopped the run."""
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    status = self._child.wait(0.2)
                    break
                if self._stopped:
                    self._end()
            return -self._stopped or status
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopped = number

    def _end(self) -> None:
        """Stop Snakemake where it stands, which keeps it from printing logs, and then its jobs."""
        import psutil

        with suppress(psutil.Error):
            self._child.send_signal(signal.SIGSTOP)
            jobs = psutil.Process(self._child.pid).children(recursive=True)
            self._child.kill()
            for job in jobs:
                with suppress(psutil.Error):
                    job.terminate()
            end = time.monotonic() + GRACE
            _, left = psutil.wait_procs(jobs, timeout=max(0.0, end - time.monotonic()))
            for job in left:
                with suppress(psutil.Error):
                    job.kill()
            psutil.wait_procs(left, timeout=GRACE)


def _end_with_parent() -> None:
    """In the child: where this process is killed outright, Snakemake lets its jobs finish and starts no more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _sweep(results: Path) -> None:
    """Remove temporary files of processes that are no more; the next writer would, too."""
    from svdflow.store.files import sweep_dead

    for folder in {path.parent for path in results.rglob(".*.tmp-*")}:
        sweep_dead(folder)


def _full_disk(results: Path) -> str:
    import shutil

    for place in (results, Path(".snakemake")):
        with suppress(OSError):
            free = shutil.disk_usage(place).free
            if free < LITTLE or not os.statvfs(place).f_favail:
                return (
                    f"no space is left on the file system of {place} ({free / 2**20:.1f} MiB free); free some, or set "
                    "'pathvars: {results: FOLDER}' to a larger disk, and go on with 'make resume'"
                )
    return ""

"""Who runs a study: a lock file in its results that names host, process and study.

Snakemake's own locks name no process, so nobody can tell a run that goes on from one that was killed; and a run that
ends takes the locks of all others in the folder with it. This file is written when jobs begin and removed when they
end, by whoever starts them, a plain ``snakemake`` too. A lock of a process that is no more is stale, and is replaced.
"""

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from svdflow.errors import ConfigError

NAME = ".svdflow-run.scratch"  # a name that svdflow.store.ownership knows for ours
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")


class RunLock:
    """The lock of the study whose results are in `results`."""

    def __init__(self, results: str | Path) -> None:
        self.results = Path(results)
        self.path = self.results / NAME

    def take(self) -> None:
        """Write down that this process runs the study.

        Raises
        ------
        ConfigError
            Another run of the study goes on, here or on another host.
        """
        self.results.mkdir(parents=True, exist_ok=True)
        with _held(self.path) as file:
            holder = _read(file)
            if holder and holder != _myself() and is_alive(holder):
                raise ConfigError(self.complaint(holder))
            file.truncate(0)
            os.pwrite(file.fileno(), json.dumps(_myself()).encode(), 0)
            os.fsync(file.fileno())

    def release(self, holder: dict[str, Any] | None = None) -> None:
        """Remove the lock if it is this process's, or `holder`'s."""
        if self.path.exists():
            with _held(self.path) as file:
                if _read(file) == (holder or _myself()):
                    self.path.unlink(missing_ok=True)

    def holder(self) -> dict[str, Any] | None:
        """Host, process and start of the run that goes on; None where none does."""
        try:
            with self.path.open("rb") as file:
                holder = _read(file)
        except OSError:
            return None
        return holder if holder and is_alive(holder) else None

    def complaint(self, holder: dict[str, Any]) -> str:
        """Why nothing is started, and what to do."""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder["since"]))
        text = (
            f"a run of this study ({self.results}) goes on: process {holder['process']} on {holder['host']}, "
            f"since {since}"
        )
        if holder["host"] == platform.node():
            return f"{text}; wait for it, or stop it first"
        return f"{text}; wait for it or stop it there; if that host is gone, remove {self.path} and try again"


def release_snakemake_locks(results: str | Path) -> int:
    """Remove the locks that a killed run of this study left in Snakemake's records; returns their number.

    Only those that name files of these results: another study in this folder may be at work.
    """
    removed = 0
    root = os.path.join(os.path.normpath(results), "")
    for path in sorted(SNAKEMAKE_LOCKS.glob("*.lock")):
        with suppress(OSError):
            names = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if any(os.path.normpath(name).startswith(root) for name in names if name):
                path.unlink()
                removed += 1
    return removed


def is_alive(holder: dict[str, Any]) -> bool:
    """Whether the process of a lock still runs; one of another host is taken to."""
    if holder.get("host") != platform.node():
        return True
    me = _process(holder.get("process", -1))
    return me is not None and me == holder.get("started")


def _myself() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "started": _process(os.getpid()),
        "folder": os.getcwd(),
        "since": _SINCE,
    }


_SINCE = int(time.time())


def _process(number: int) -> str | None:
    """When a process was started, so that a number given again is not taken for it; None where there is none.

    In ticks of this boot, which do not move when the clock is set.
    """
    if os.path.isdir("/proc/self"):
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
    import psutil  # other systems

    return str(psutil.Process(number).create_time()) if psutil.pid_exists(number) else None


def _read(file: Any) -> dict[str, Any] | None:
    """What a lock says; None where it is empty or no lock of ours."""
    try:
        found = json.loads(os.pread(file.fileno(), 4096, 0) or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"host", "process", "since"} <= found.keys() else None


@contextmanager
def _held(path: Path) -> Iterator[Any]:
    """The lock file, open, while no other process looks at it; made where it is missing."""
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as file:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            with suppress(OSError):
                if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                    yield file
                    return

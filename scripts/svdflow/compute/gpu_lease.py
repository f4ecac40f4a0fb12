"""One GPU a job: a lease on a device of this machine, so that two jobs of svdflow never share a card."""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"  # what CUDA, and a batch system that hands out devices, go by
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each device; asking CUDA would fix what it sees
WAIT = 0.5  # seconds between two looks at devices that are all taken. Chosen


def devices() -> list[str]:
    """The devices that this process may use, by the names that CUDA_VISIBLE_DEVICES knows."""
    said = os.environ.get(VISIBLE)
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [str(number) for number in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []


@contextmanager
def leased(names: Sequence[str], folder: Path | None = None) -> Iterator[str]:
    """A device that no other job of this user has, the only one that CUDA sees meanwhile; waits until one is free.

    The lease is a lock on a file, which the kernel lets go of with the process, however it ends. It must be taken
    before CUDA is used for the first time.

    Parameters
    ----------
    names : sequence of str
        Of devices; without any there is nothing to lease, and the name is empty.
    folder : Path, optional
        Where the files are; a private one of the user in the folder for temporary files by default.
    """
    if not names:
        yield ""
        return
    folder = folder or _private()
    with ExitStack() as stack:
        name = _first_free(names, folder, stack)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = name
        try:
            yield name
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def _first_free(names: Sequence[str], folder: Path, stack: ExitStack) -> str:
    waiting = False
    while True:
        for name in names:
            file = stack.enter_context((folder / name.replace("/", "_")).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return name
            except OSError:
                file.close()
        if not waiting:
            log.info("all GPUs (%s) are taken by other jobs; waiting for one", ", ".join(names))
            waiting = True
        time.sleep(WAIT)


def _private() -> Path:
    """A folder of this user, which nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"svdflow-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own")
    return folder

"""What can go wrong with a file or an item, and how it becomes a row of /errors."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from svdflow.errors import DamagedError, WriteError

# Characters of a row of /errors; the rest of a longer message is in the log. Chosen: five lines
MESSAGE_LENGTH = 400
FULL = {errno.ENOSPC: "no space is left", errno.EDQUOT: "your quota is used up"}
OURS = {*FULL, errno.EROFS}  # reading never ends in these: where they are raised, svdflow was writing


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What the operating system refuses inside becomes a `WriteError` that names `path` and says what to do."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: str | Path, error: OSError) -> WriteError:
    """One sentence for what the operating system said when `path` was written."""
    folder = Path(path)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if error.errno in FULL:
        free = shutil.disk_usage(folder).free
        text = (
            f"{FULL[error.errno]} on the file system of {path} ({free / 2**20:,.1f} MiB free); free some, or set "
            "'pathvars: {results: FOLDER}' to a larger disk, and run again: what is finished is kept"
        )
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        text = f"{path} cannot be written ({os.strerror(error.errno)}); results go where 'pathvars: results' says"
    else:
        text = f"{path} cannot be written ({error.strerror or error}); see to the disk and run again"
    return WriteError(error.errno, text)


def error_row(dataset: str, item: int, name: str, stage: str, exc: BaseException) -> dict[str, Any]:
    """Row of the table ``errors`` for an exception raised while working on one item.

    Raises
    ------
    exc
        Itself, where it is no fault of the item: a result that cannot be written, or a published file that is damaged,
        fails the job, which leaves nothing and is done again by the next run.
    """
    if isinstance(exc, WriteError | DamagedError) or (isinstance(exc, OSError) and exc.errno in OURS):
        raise exc
    message = " ".join(str(exc).split()) or type(exc).__name__
    return {
        "dataset": dataset,
        "item": item,
        "name": name,
        "stage": stage,
        "code": getattr(exc, "code", None) or type(exc).__name__,
        "message": message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 3] + "...",
    }

"""What can go wrong with a file or an item, and how it becomes a row of /errors."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MESSAGE_LENGTH = 400
FULL = {errno.ENOSPC: "no space is left", errno.EDQUOT: "your quota is used up"}
OURS = {*FULL, errno.EROFS}  # reading never ends in these: where they are raised, svdflow was writing


class StoreError(RuntimeError):
    """A result file is missing, unfinished, damaged or of another kind; the message names it."""


class NotOursError(StoreError, ValueError):
    """A file or folder that svdflow did not write, or that was changed since, stands where one would be written."""


class DamagedError(StoreError):
    """A file that svdflow published is not what it was when it was published."""


class MissingError(DamagedError, KeyError):
    """A published file lacks a group, an array or an attribute."""

    __str__ = StoreError.__str__


class WriteError(OSError):
    """A result could not be written: a full disk, a quota, a read-only or failing disk. Never the fault of an item."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


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


class ItemError(Exception):
    """One item cannot be processed; its neighbours can.

    Parameters
    ----------
    code : str
        Short snake_case cause, for counting: ``truncated``, ``decompression_bomb``, ...
    message : str
        What was wrong and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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

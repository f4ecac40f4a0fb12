"""What can go wrong with a file or an item, and how it becomes a row of /errors."""

from typing import Any

MESSAGE_LENGTH = 400


class StoreError(RuntimeError):
    """A result file is missing, unfinished, damaged or of another kind; the message names it."""


class NotOursError(StoreError, ValueError):
    """A file or folder that svdflow did not write, or that was changed since, stands where one would be written."""


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
    """Row of the table ``errors`` for an exception raised while working on one item."""
    message = " ".join(str(exc).split()) or type(exc).__name__
    return {
        "dataset": dataset,
        "item": item,
        "name": name,
        "stage": stage,
        "code": getattr(exc, "code", None) or type(exc).__name__,
        "message": message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 3] + "...",
    }

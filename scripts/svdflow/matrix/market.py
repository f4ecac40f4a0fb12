"""Matrix Market files, whose size line is believed only as far as the file can hold it."""

import bz2
import gzip
import os
import re
from typing import Any

import scipy.io

from svdflow.matrix.bounded import refuse_unfit, refuse_unheld

# The shortest line of an entry, with its end: "1 1", "1 1 1" and "1".
LEAST_LINE = {"pattern": 4, "coordinate": 6, "array": 2}
COUNTED = 16 * 2**20  # bytes from which a compressed file is unpacked once, to see whether they are there


def read_market(path: str) -> Any:
    """The matrix, sparse (COO) or dense.

    Raises
    ------
    ValueError
        It is none, is damaged, or declares more than it holds. No text of the file is repeated.
    """
    try:
        rows, columns, entries, layout, field, symmetry = scipy.io.mminfo(path)
        _check_size(path, int(rows), int(columns), int(entries), layout, field, symmetry)
        return scipy.io.mmread(path)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        if type(error).__module__.startswith("svdflow"):
            raise
        line = re.match(r"Line (\d+)", str(error))
        where = f"is damaged in line {line[1]}" if line else "is no Matrix Market file, or is damaged"
        too_large = " (a number is too large for its field)" if isinstance(error, OverflowError) else ""
        raise ValueError(f"{path}: {where}{too_large}") from None


def _check_size(
    path: str, rows: int, columns: int, entries: int, layout: str, field: str, symmetry: str
) -> None:
    if layout == "array":
        stored = rows * columns if symmetry == "general" else rows * (rows - 1) // 2
        needed, memory = stored * LEAST_LINE["array"], rows * columns * (16 if field == "complex" else 8)
    else:
        needed = entries * LEAST_LINE["pattern" if field == "pattern" else "coordinate"]
        memory = entries * (32 if field == "complex" else 24) + 16 * (rows + columns)
    refuse_unheld(needed, _length(path, needed), path)
    refuse_unfit(2 * memory, path)


def _length(path: str, needed: int) -> int:
    """Bytes of the text; of a compressed one counted as far as `needed`."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    opener = openers.get(os.path.splitext(path)[1])
    if opener is None:
        return os.path.getsize(path)
    if needed <= COUNTED:
        return needed
    found = 0
    with opener(path, "rb") as stream:
        while found < needed and (piece := stream.read(2**20)):
            found += len(piece)
    return found

"""Matrix Market files, whose size line is believed only as far as the file can hold it."""

import bz2
import gzip
import os
import re
from collections.abc import Iterator
from typing import Any

import scipy.io
import scipy.sparse as sp

from svdflow.errors import MarketError
from svdflow.matrix.bounded import refuse_unfit, refuse_unheld
from svdflow.matrix.sources import ArraySource, MatrixSource, SparseSource

# The shortest line of an entry, with its end: "1 1", "1 1 1" and "1".
LEAST_LINE = {"pattern": 4, "coordinate": 6, "array": 2}
# What is looked at before SciPy parses; other values move time and memory, no number.
COUNTED = 16 * 2**20  # bytes from which a compressed file is unpacked once, to see whether they are there
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
PIECE = 2**20  # bytes of text looked at at a time
LONGEST = 1024  # bytes of the longest line that is an entry, as the format allows (Boisvert et al., 1996)
CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r")) + b"\x7f"
INTEGER = rb"[+-]?[0-9]+"
NUMBER = rb"[+-]?(?:[0-9]+[.]?[0-9]*(?:[ed][+-]?[0-9]+)?|[.][0-9]+(?:[ed][+-]?[0-9]+)?|inf(?:inity)?|nan)"


def open_market(path: str) -> MatrixSource:
    """The matrix of a Matrix Market file, in memory; errors as of `read_market`."""
    matrix = read_market(path)
    return SparseSource(matrix, path) if sp.issparse(matrix) else ArraySource(matrix, path)


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
        _check_text(path, _stored(int(rows), int(columns), int(entries), layout, symmetry), layout, field)
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
        stored = _stored(rows, columns, entries, layout, symmetry)
        needed, memory = stored * LEAST_LINE["array"], rows * columns * (16 if field == "complex" else 8)
    else:
        needed = entries * LEAST_LINE["pattern" if field == "pattern" else "coordinate"]
        memory = entries * (32 if field == "complex" else 24) + 16 * (rows + columns)
    refuse_unheld(needed, _length(path, needed), path)
    refuse_unfit(2 * memory, path)


def _stored(rows: int, columns: int, entries: int, layout: str, symmetry: str) -> int:
    """Number of lines of entries."""
    if layout == "coordinate":
        return entries
    if symmetry == "general":
        return rows * columns
    return rows * (rows + (-1 if symmetry == "skew-symmetric" else 1)) // 2


def _check_text(path: str, entries: int, layout: str, field: str) -> None:
    """Refuse what SciPy's parser drops without a word, or may end the process over.

    Those are bytes that are no text, words behind the last number of a line, and a last line that was cut.
    """
    numbers = {"pattern": 0, "complex": 2}.get(field, 1)
    places = 2 if layout == "coordinate" else 0
    last, words = b"", 0
    for text in _text(path):
        words += len(text.split())
        last = text.rstrip(b" \t\r\n")[-LONGEST:] or last
    expected = (3 if places else 2) + entries * (places + numbers)
    if entries and words != expected:
        raise _damaged(
            path, f"{words} words stand below its comments, where {expected} were declared; was it cut?"
        )
    entry = rb"[ \t]+".join([INTEGER] * places + [NUMBER] * numbers)
    line = last.rpartition(b"\n")[2].strip()
    if entries and not re.fullmatch(entry, line, re.IGNORECASE):
        raise _damaged(path, "its last line is no entry; was it cut?")


def _text(path: str) -> Iterator[bytes]:
    """The lines below the comments, in pieces of whole lines; bytes that are no text are refused."""
    place, rest = 0, b""
    with OPENERS.get(os.path.splitext(path)[1], open)(path, "rb") as stream:
        while piece := stream.read(PIECE):
            if len(piece.translate(None, CONTROLS)) < len(piece):
                bad = next(i for i, byte in enumerate(piece) if byte in CONTROLS)
                raise _damaged(path, f"byte {place + bad} is no text")
            place += len(piece)
            whole, line, rest = (rest + piece).rpartition(b"\n")
            yield _without_comments(whole + line)
    yield _without_comments(rest)


def _without_comments(text: bytes) -> bytes:
    return re.sub(rb"(?m)^[ \t]*%.*$", b"", text) if b"%" in text else text


def _damaged(path: str, what: str) -> ValueError:
    return MarketError(f"{path}: is damaged: {what}")


def _length(path: str, needed: int) -> int:
    """Bytes of the text; of a compressed one counted as far as `needed`."""
    opener = OPENERS.get(os.path.splitext(path)[1])
    if opener is None:
        return os.path.getsize(path)
    if needed <= COUNTED:
        return needed
    found = 0
    with opener(path, "rb") as stream:
        while found < needed and (piece := stream.read(2**20)):
            found += len(piece)
    return found

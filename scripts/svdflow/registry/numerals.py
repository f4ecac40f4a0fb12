"""Numbers as people write them in files and on the command line: decimal, ASCII, read alike by all.

Python's own ``int`` and ``float`` take ``1_000``, ``１２`` and ``nan``; YAML 1.1 takes ``010`` for eight.
"""

import re
from math import isfinite

LARGEST = 2**63 - 1  # tables and HDF5 attributes hold integers of 64 bits
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,18})")
_REAL = re.compile(r"[+-]?([0-9]{1,30}([.][0-9]{0,30})?|[.][0-9]{1,30})([eE][+-]?[0-9]{1,3})?")


def whole(text: str) -> int:
    """The integer that `text` spells.

    Raises
    ------
    ValueError
        It spells none, or one that 64 bits do not hold.
    """
    if not _WHOLE.fullmatch(text) or abs(int(text)) > LARGEST:
        raise ValueError(f"{text!r} is not a whole number such as 12")
    return int(text)


def real(text: str) -> float:
    """The finite number that `text` spells, ``1e-3`` among them.

    Raises
    ------
    ValueError
        It spells none, NaN, infinity or one that doubles do not hold.
    """
    if not _REAL.fullmatch(text) or not isfinite(float(text)):
        raise ValueError(f"{text!r} is not a number such as 0.5 or 1e-3")
    return float(text)

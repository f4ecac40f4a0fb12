"""Missing values at the doors: a masked array is refused with their number, or used where it has none.

NumPy's masks say True where a value is missing. What lies under the mask is no number, so no door reads it.
"""

from typing import Any

import numpy as np


class MaskedError(ValueError):
    """Values are missing (masked, or the fill value of a file); the message says how many and what to do."""

    code = "masked"


def unmasked(array: Any, name: str) -> Any:
    """The entries of a NumPy masked array without a missing one; anything else as it is.

    Parameters
    ----------
    array : anything
        Only `numpy.ma.MaskedArray` is looked at.
    name : str
        For the message.

    Raises
    ------
    MaskedError
        At least one value is masked.
    """
    if not isinstance(array, np.ma.MaskedArray):
        return array
    missing = int(np.ma.count_masked(array))
    if missing:
        raise MaskedError(refusal(name, missing, array.size))
    return np.ma.getdata(array)


def refusal(name: str, missing: int, total: int, *, where: str = "", fill: bool = False) -> str:
    """What is said of missing values; `fill` where a parameter of that name fills them."""
    remedy = (
        "open the file with fill= and a value that you can defend, or leave out rows that have any"
        if fill
        else "fill them first, e.g. with .filled(0), or leave out rows that have any"
    )
    return (
        f"{name}: {missing} of {total} values{where} are masked (missing); a masked array has no singular values: "
        f"{remedy}"
    )

"""Integers as they are computed with: float64 holds those up to 2^53, and larger ones are refused, never rounded."""

from typing import Any

import numpy as np

from svdflow.errors import LossyIntegerError

LARGEST = 2**53  # up to this, every integer is a float64


def may_be_lossy(dtype: np.dtype) -> bool:
    """Whether a type has integers that float64 does not hold."""
    return dtype.kind in "iu" and dtype.itemsize == 8


def refuse_lossy(values: Any, where: str) -> None:
    """Raise `LossyIntegerError` for an array of 64-bit integers with one that float64 does not hold.

    Parameters
    ----------
    values : array of any shape
        NumPy, or CuPy, whose two extremes are brought over.
    where : str
        Begins the message: the matrix, and its rows.

    Notes
    -----
    An integer above 2^53 passes if it is a float64 all the same, as 2^60 is.
    """
    if not values.size or (int(values.min()) >= -LARGEST and int(values.max()) <= LARGEST):
        return
    large = np.asarray(values.get() if hasattr(values, "get") else values).ravel()
    large = large[(large > LARGEST) | (large < -LARGEST if large.dtype.kind == "i" else False)]
    # Exact in Python's integers: a float that was rounded up to 2^63 does not come back as an integer of NumPy.
    lost = [value for value in large.tolist() if int(float(value)) != value]
    if lost:
        raise LossyIntegerError(
            f"{where}: {len(lost)} integers are above 2^53 in size and no float64 holds them (the largest is "
            f"{max(lost, key=abs)}); subtract an offset or divide them exactly first, or convert them to float64 "
            "if rounding is meant"
        )

"""Missing values at the doors: a masked array is refused with their number, or used where it has none.

NumPy's masks say True where a value is missing. What lies under the mask is no number, so no door reads it.
"""

from typing import Any

import numpy as np

from svdflow.errors import MaskedError


def materialized(array: Any) -> Any:
    """A dask array in memory, as a NumPy masked array where any block has a masked value; anything else as it is.

    `numpy.asarray` of a dask array drops the masks of its blocks, and so does joining blocks where the array does not
    know that they are masked.
    """
    if not (hasattr(array, "__dask_graph__") and hasattr(array, "map_blocks") and hasattr(array, "_meta")):
        return array
    if not isinstance(array._meta, np.ndarray):
        return array.compute()
    import dask

    plain, hidden = np.empty((0,) * array.ndim, array.dtype), np.empty((0,) * array.ndim, bool)
    values = array.map_blocks(np.ma.getdata, dtype=array.dtype, meta=plain)
    mask = array.map_blocks(np.ma.getmaskarray, dtype=bool, meta=hidden)
    values, mask = dask.compute(values, mask)
    return np.ma.MaskedArray(values, mask) if mask.any() else values


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

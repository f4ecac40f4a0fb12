"""The range of values of arrays and items; `svdflow.study.value_range` holds the rule."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np

from svdflow.store import Item
from svdflow.study.value_range import EVERY, Extent, ValueRange, joined, kind_of

Ranges = Sequence[Sequence[Any]]  # kind of samples, range, source: plain, so that a rule can carry it


def value_range(arrays: Iterable[np.ndarray], significant_bits: int | None = None) -> ValueRange:
    """The range of the valid values of one picture or array.

    Parameters
    ----------
    arrays : arrays of one dtype, any shape
        Integers or floats, finite; what is missing left out (``array[mask]``).
    significant_bits : int, optional
        Bits that the file states.

    Returns
    -------
    data_min, data_max, data_range : float
        NaN where there is no value.
    source : str
        Of the range, for tables and reports.
    """
    extent = extent_of(arrays, significant_bits)
    return joined([extent]) if extent else ValueRange(nan, nan, nan, "no valid value")


def extent_of(arrays: Iterable[np.ndarray], significant_bits: int | None = None) -> Extent | None:
    """What is to be known of the valid values of a file; None where there is none."""
    filled = [array for array in arrays if array.size]
    if not filled:
        return None
    dtype = filled[0].dtype
    low, high = min(float(a.min()) for a in filled), max(float(a.max()) for a in filled)
    return Extent(str(dtype), significant_bits or 8 * dtype.itemsize, low, high)


def with_range(items: Iterable[Item], ranges: Ranges) -> Iterator[Item]:
    """Items whose attributes ``data_range`` and ``data_range_source`` are those of their dataset.

    Those of a kind that `ranges` does not name keep their own: matrices, and images read without a study.
    """
    known = {kind: {"data_range": value, "data_range_source": source} for kind, value, source in ranges}
    for item in items:
        yield replace(item, attrs={**item.attrs, **_range_of(item, known)})


def judged_by(item: Item, mask: np.ndarray | None) -> dict[str, Any]:
    """The columns of a table that say what the figures of a plane refer to: range, its source, missing pixels."""
    return {
        "data_range": float(item.attrs.get("data_range", nan)),
        "data_range_source": str(item.attrs.get("data_range_source", "")),
        "masked": 0 if mask is None else int(mask.size - np.count_nonzero(mask)),
    }


def _range_of(item: Item, known: Mapping[str, Any]) -> Mapping[str, Any]:
    if EVERY in known:
        return known[EVERY]
    return known.get(kind_of(str(item.attrs["dtype"])), {}) if item.kind == "image" else {}

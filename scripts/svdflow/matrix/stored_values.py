"""What every stored matrix tells of its values: their range and their width; NaN and infinity are refused."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.errors import ItemError
from svdflow.study.value_range import span

PLANE = "matrix"


@dataclass
class StoredRange:
    """Least and largest entry seen, by magnitude where entries are complex; refuses NaN and infinity."""

    low: float = math.inf
    high: float = -math.inf

    def see(self, values: np.ndarray, start_row: int) -> None:
        if not values.size:
            return
        values = np.abs(values) if values.dtype.kind == "c" else values
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low) or not math.isfinite(high):
            raise ItemError(
                "not_finite",
                f"NaN or infinity in the panel that begins at row {start_row}; replace or drop such entries",
            )
        self.low, self.high = min(self.low, low), max(self.high, high)

    def attrs(self) -> dict[str, Any]:
        """Attributes of the item: the range is that of this matrix."""
        if not self.low <= self.high:
            unread = {"data_range_source": "not read, as the matrix is large; give data_range"}
            return dict.fromkeys(("data_min", "data_max", "data_range"), math.nan) | unread
        peak, source = span(self.low, self.high)
        return {"data_min": self.low, "data_max": self.high, "data_range": peak, "data_range_source": source}


def bits_of(dtype: np.dtype) -> int:
    """Bits of one real number of the type."""
    return 8 * dtype.itemsize // (2 if dtype.kind == "c" else 1)

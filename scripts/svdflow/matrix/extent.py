"""What every stored matrix tells of its values: their range and their width; NaN and infinity are refused."""

import math
from dataclasses import dataclass

import numpy as np

from svdflow.store import ItemError

PLANE = "matrix"


@dataclass
class ValueRange:
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

    def attrs(self) -> dict[str, float]:
        known = self.low <= self.high
        low, high = (self.low, self.high) if known else (math.nan, math.nan)
        return {"data_min": low, "data_max": high, "data_range": high - low}


def bits_of(dtype: np.dtype) -> int:
    """Bits of one real number of the type."""
    return 8 * dtype.itemsize // (2 if dtype.kind == "c" else 1)

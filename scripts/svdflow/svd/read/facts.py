"""What is known of a matrix besides products: norms, means, deviations, and whether all of it is finite."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.matrix.panels import name_rows
from svdflow.svd.read.converted_panels import Panel, Panels
from svdflow.svd.read.moments import (
    SAFE_NORM,
    column_moments,
    column_sums,
    square_norm,
)


@dataclass(frozen=True)
class Facts:
    """What is known of a matrix besides products: summed over panels.

    `non_finite` is the complaint about the lowest panel with NaN or infinity; where there is one, the rest is void.
    """

    norm_squared: float = 0.0
    uncentred: float = 0.0
    peak: float = 0.0
    column_sums: Any = None
    row_means: Any = None
    rows: float = 0.0
    column_squares: Any = None  # sums of squared distances from the column means
    row_deviations: Any = None
    non_finite: str | None = None

    def plus(self, other: "Facts") -> "Facts":
        # Groups are combined in the order of their rows, so the left complaint is the lower one.
        for part in (self, other):
            if part.non_finite is not None:
                return part
        return Facts(
            self.norm_squared + other.norm_squared,
            self.uncentred + other.uncentred,
            max(self.peak, other.peak),
            None if self.column_sums is None else self.column_sums + other.column_sums,
            None if self.row_means is None else np.concatenate([self.row_means, other.row_means]),
            self.rows + other.rows,
            None if self.column_squares is None else self._joined_squares(other),
            None
            if self.row_deviations is None
            else np.concatenate([self.row_deviations, other.row_deviations]),
        )

    def _joined_squares(self, other: "Facts") -> np.ndarray:
        # Chan, Golub and LeVeque 1983: nothing cancels, however large the means are.
        weight = self.rows * other.rows / (self.rows + other.rows)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # the norm overflows too then: another read will do
            apart = np.abs(self.column_sums / self.rows - other.column_sums / other.rows) ** 2
            return self.column_squares + other.column_squares + weight * apart

    def energy(self, deviation: np.ndarray, mean: Any = 0.0) -> float:
        """Squared Frobenius norm after `mean` was taken off the columns and they were divided by `deviation`."""
        offset = np.abs(self.column_sums / self.rows - mean) ** 2
        return float(np.sum((self.column_squares + self.rows * offset) / deviation**2))


def facts_of(panels: Panels, panel: Panel, start: int, dtype: np.dtype) -> Facts:
    """Norm, mean and finiteness of one panel, at the speed of its own precision."""
    norm = square_norm(panel.block, dtype == panels.wide, panels.device)
    low, high = SAFE_NORM[np.finfo(dtype).dtype.itemsize]
    peak = 0.0
    if not low < norm < high:
        values = panel.block.data if sp.issparse(panel.block) else panels.device.get(panel.block)
        if not np.isfinite(values).all():
            return Facts(non_finite=_where(panels, panel, start))
        peak = float(np.abs(values).max(initial=0.0))
    uncentred = norm
    if panel.pending_mean is not None:
        # Where nearly all is mean, rounding may leave less than nothing.
        mean_square = float(np.vdot(panel.pending_mean, panel.pending_mean).real)
        norm = max(0.0, norm - panel.block.shape[1] * mean_square)
    sums = squares = None
    if panels.standardize == "columns":
        sums, lengths = column_moments(panel.block, panels.wide, panels.device)
        squares = lengths**2
    elif panels.center == "columns":
        sums = panels.device.get(column_sums(panel.block, panels.wide))
    mean = panel.mean if panel.mean is None or panel.deviation is None else panel.mean * panel.deviation
    peak = max(peak, min(norm, high) ** 0.5)
    return Facts(norm, uncentred, peak, sums, mean, panel.block.shape[0], squares, panel.deviation)


def _where(panels: Panels, panel: Panel, start: int) -> str:
    block = panel.block.toarray() if sp.issparse(panel.block) else panels.device.get(panel.block)
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1)) + start
    return (
        f"{panels.source.name}: NaN or infinity in {name_rows(bad, noun=panels.noun)} (counted from "
        "0, first panel that has any); replace or drop such entries first"
    )

"""Sources whose stored numbers stand for other values, or lie transposed."""

import math
from typing import Any

import numpy as np

from svdflow.errors import MaskedError
from svdflow.matrix.formats.conventions import Coding
from svdflow.matrix.masks import refusal
from svdflow.matrix.sources import COUNTED_VALUES, MatrixSource


class DecodedSource(MatrixSource):
    """A dense source decoded panel by panel; missing values are filled, or refused with their number.

    Parameters
    ----------
    source : MatrixSource
        Of the stored numbers.
    coding : Coding
    fill : float, optional
        Stands for missing values.
    """

    keeps_promises = True

    def __init__(self, source: MatrixSource, coding: Coding, fill: float | None = None) -> None:
        self._source, self._coding = source, coding
        self.shape, self.name = source.shape, source.name
        self.dtype = coding.dtype
        self.row_bands, self.column_bands = source.row_bands, source.column_bands
        self.column_access = source.column_access
        self.path = getattr(source, "path", None)
        self.dataset = getattr(source, "dataset", "")
        if fill is not None and (self.dtype.type(fill) != fill or not math.isfinite(fill)):
            raise ValueError(f"{self.name}: fill={fill!r} is no finite number of its dtype {self.dtype}")
        self._fill = fill

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._decoded(self._source.read(start, stop), "rows", start, stop)

    def read_columns(self, start: int, stop: int) -> np.ndarray:
        return self._decoded(self._source.read_columns(start, stop), "columns", start, stop)

    def _decoded(self, numbers: np.ndarray, side: str, start: int, stop: int) -> np.ndarray:
        mask = self._coding.mask(numbers)
        values = self._coding.values(numbers)
        if mask is None or not mask.any():
            return values
        if self._fill is None:
            raise MaskedError(self._refusal(int(mask.sum()), side, start, stop))
        values = np.array(values)
        values[mask] = self._fill
        return values

    def _refusal(self, missing: int, side: str, start: int, stop: int) -> str:
        """Counts all missing values, where that is one cheap read."""
        total = math.prod(self.shape)
        if total > COUNTED_VALUES:
            of = (stop - start) * self.shape[side == "rows"]
            return refusal(self.name, missing, of, where=f" in {side} {start} to {stop - 1}", fill=True)
        masks = (self._coding.mask(self._source.read(a, b)) for a, b in self._source.bounds())
        return refusal(
            self.name, sum(int(mask.sum()) for mask in masks if mask is not None), total, fill=True
        )


class FlippedSource(MatrixSource):
    """A dense source read as its plain transpose, as MATLAB and Octave lay theirs out in HDF5."""

    column_access = True
    keeps_promises = True

    def __init__(self, source: MatrixSource) -> None:
        self._source = source
        self.shape, self.dtype, self.name = source.shape[::-1], source.dtype, source.name
        self.row_bands, self.column_bands = source.column_bands, source.row_bands
        self.path = getattr(source, "path", None)
        self.dataset = getattr(source, "dataset", "")

    def read(self, start: int, stop: int) -> Any:
        return self._source.read_columns(start, stop).T

    def read_columns(self, start: int, stop: int) -> Any:
        return self._source.read(start, stop).T

"""What every denoiser returns: an array, with what was found out on the way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import frexp, isfinite, nan
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


@dataclass(frozen=True, eq=False, repr=False)
class Denoised(NDArrayOperatorsMixin):
    """A denoised array, which goes wherever an array does; arithmetic and NumPy functions give plain arrays.

    Attributes
    ----------
    values : array, shape of the input, float32, float64 or complex
        Neither clipped nor rounded. Pixels outside a mask as they came; ``numpy.ma`` where the input was. All other
        attributes of arrays (``shape``, ``dtype``, ``mean()``, ...) are those of it.
    rank : float
        Mean number of components kept of a group, window or series; of a matrix as a whole, all that were kept. NaN
        where the method has no components.
    maps : dict of name to array
        What varies over the image: ``rank`` and ``sigma``, the spatial shape of the input; NaN where nothing was done.
    left : int
        Values that were left as they came: those outside the mask, and those so far from all others that the method
        would not see the others beside them.
    sigma : float
        Standard deviation of the noise that was given or found, the root mean square where it varies; NaN where the
        method has none.
    method : str
        By which it was made.
    """

    values: np.ndarray
    rank: float = nan
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    left: int = 0
    sigma: float = nan
    method: str = ""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is None:
            return np.asarray(self.values, dtype)
        return np.array(self.values, dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [x.values if isinstance(x, Denoised) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "values":
            raise AttributeError(name)
        return getattr(self.values, name)

    def __getitem__(self, place: Any) -> Any:
        return self.values[place]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __repr__(self) -> str:
        facts = [f"sigma {self.sigma:.4g}"] if isfinite(self.sigma) else []
        facts += [f"rank {self.rank:.3g}"] if isfinite(self.rank) else []
        facts += [f"{self.left:,} left as they were"] if self.left else []
        sides = " x ".join(map(str, self.values.shape))
        return f"<Denoised {sides} {self.values.dtype}: {', '.join([self.method or 'denoised', *facts])}>"


def overall(sigma: Any) -> float:
    """One noise level in place of several: their root mean square, without those that are NaN; NaN of none."""
    levels = np.asarray(sigma, np.float64)
    if np.isnan(levels).all():
        return nan
    unit = 2.0 ** frexp(float(np.nanmax(levels)))[1]  # no square overflows, and no digit changes
    return float(np.sqrt(np.nanmean(np.square(levels / unit)))) * unit

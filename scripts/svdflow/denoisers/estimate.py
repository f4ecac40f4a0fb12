"""What a denoiser returns that works on the values themselves, not on the factors of the whole plane."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Denoised:
    """A denoised array and what the method found out on its way.

    Attributes
    ----------
    values : array, shape of the input, float32, float64 or complex
        Neither clipped nor rounded. Pixels outside a mask as they came; ``numpy.ma`` where the input was.
    rank : float
        Mean number of components kept of a group, window or series; NaN where the method has no components.
    maps : dict of name to array
        What varies over the image: ``rank`` and ``sigma``, the spatial shape of the input; NaN where nothing was done.
    left : int
        Values that were left as they came: those outside the mask, and those so far from all others that the method
        would not see the others beside them.
    """

    values: np.ndarray
    rank: float = float("nan")
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    left: int = 0

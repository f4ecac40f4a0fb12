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
        Neither clipped nor rounded.
    rank : float
        Mean number of components kept of a group, window or series; NaN where the method has no components.
    maps : dict of name to array
        What varies over the image: ``rank`` and ``sigma``, the spatial shape of the input.
    """

    values: np.ndarray
    rank: float = float("nan")
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)

"""lapack_mode: the spectra of LAPACK's test generator DLATMS."""

from collections.abc import Callable
from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import prescribed, shorter_side
from svdflow.matrix.generators.randomness import stream


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """The matrix whose spectrum is the diagonal that DLATM1 makes for ``MODE`` and ``COND``, largest first.

    Mode 5 is log-uniform in (1 / cond, 1); mode 6 takes the magnitudes of standard normal numbers.
    """
    side, cond = shorter_side(params), params["cond"]
    step = np.arange(side) / max(1, side - 1)
    draws = stream(seed, "spectrum", 0)
    modes: dict[int, Callable[[], np.ndarray]] = {
        1: lambda: np.where(np.arange(side) == 0, 1.0, 1.0 / cond),
        2: lambda: np.where((np.arange(side) == side - 1) & (side > 1), 1.0 / cond, 1.0),
        3: lambda: cond**-step,
        4: lambda: 1.0 - step * (1.0 - 1.0 / cond),
        5: lambda: cond ** -draws.random(side),
        6: lambda: np.abs(draws.standard_normal(side)),
    }
    return prescribed(np.sort(modes[params["mode"]]())[::-1].copy(), params, seed)

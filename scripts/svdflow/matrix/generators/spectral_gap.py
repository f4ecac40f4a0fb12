"""spectral_gap: singular values 1 up to `rank`, 1 / gap after it."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import prescribed, shorter_side


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """The matrix of this spectrum."""
    spectrum = np.where(np.arange(shorter_side(params)) < params["rank"], 1.0, 1.0 / params["gap"])
    return prescribed(spectrum, params, seed)

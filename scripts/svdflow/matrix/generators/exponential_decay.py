"""exponential_decay: s_i = exp(-(i - 1) / scale)."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import prescribed, shorter_side


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """The matrix of this spectrum."""
    return prescribed(np.exp(-np.arange(shorter_side(params)) / params["scale"]), params, seed)

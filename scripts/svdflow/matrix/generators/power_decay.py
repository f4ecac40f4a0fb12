"""power_decay: s_i = i^-p."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import prescribed, shorter_side


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """The matrix of this spectrum."""
    return prescribed(np.arange(1.0, shorter_side(params) + 1) ** -params["p"], params, seed)

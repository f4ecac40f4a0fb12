"""hilbert: a_ij = 1 / (i + j - 1)."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import entrywise
from svdflow.matrix.generators.generated import GeneratedMatrix


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """Counted from 1 (Hilbert, 1894)."""
    j = np.arange(params["columns"])

    def rows(start: int, stop: int) -> np.ndarray:
        return 1.0 / (np.arange(start, stop)[:, None] + j + 1)

    return entrywise(rows, params)

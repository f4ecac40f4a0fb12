"""toeplitz: a_ij = decay^|i - j|."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import entrywise
from svdflow.matrix.generators.generated import GeneratedMatrix


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """For m = n symmetric with inverse tridiagonal (Kac, Murdock and Szego, 1953)."""
    powers = float(params["decay"]) ** np.arange(max(params["rows"], params["columns"]))
    j = np.arange(params["columns"])

    def rows(start: int, stop: int) -> np.ndarray:
        return powers[np.abs(np.arange(start, stop)[:, None] - j)]

    return entrywise(rows, params)

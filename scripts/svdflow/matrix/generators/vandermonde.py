"""vandermonde: a_ij = x_i^(j - 1)."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import entrywise
from svdflow.matrix.generators.generated import GeneratedMatrix


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """Counted from 1, at equispaced nodes x from low to high."""
    nodes = np.linspace(params["low"], params["high"], params["rows"])

    def rows(start: int, stop: int) -> np.ndarray:
        return np.vander(nodes[start:stop], params["columns"], increasing=True)

    return entrywise(rows, params)

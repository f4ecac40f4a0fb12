"""waves: sin X cos Y + 0.5 sin(2X + Y)."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import axes, separable
from svdflow.matrix.generators.generated import GeneratedMatrix


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """X along columns and Y along rows, both in [0, 4 pi]: three products of a column and a row."""
    X, Y = axes(params, 4 * np.pi, 4 * np.pi)
    rows = np.stack([np.cos(Y), 0.5 * np.cos(Y), 0.5 * np.sin(Y)], axis=1)
    columns = np.stack([np.sin(X), np.sin(2 * X), np.cos(2 * X)], axis=1)
    return separable(rows, columns, params, seed)

"""structured_image: sin X cos Y + 0.3 sin(3X + 2Y) + 0.5 sign sin(X/2)."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import axes, separable
from svdflow.matrix.generators.generated import GeneratedMatrix


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """X in [0, 6 pi] along columns, Y in [0, 8 pi] along rows: four products of a column and a row."""
    X, Y = axes(params, 6 * np.pi, 8 * np.pi)
    rows = np.stack([np.cos(Y), 0.3 * np.cos(2 * Y), 0.3 * np.sin(2 * Y), np.full_like(Y, 0.5)], axis=1)
    columns = np.stack([np.sin(X), np.sin(3 * X), np.cos(3 * X), np.sign(np.sin(X / 2))], axis=1)
    return separable(rows, columns, params, seed)

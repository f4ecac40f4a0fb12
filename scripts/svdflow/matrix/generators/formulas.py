"""Matrices whose entries have a formula: of their places, or as a sum of few products of a column and a row."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix, Tile, Truth, computed_truth

Params = dict[str, Any]


def axes(params: Params, across: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    """Equispaced X from 0 to `across`, one a column, and Y from 0 to `down`, one a row."""
    return np.linspace(0, across, params["columns"]), np.linspace(0, down, params["rows"])


def entrywise(rows: Tile, params: Params) -> GeneratedMatrix:
    """The matrix whose rows ``start:stop`` a function gives."""
    shape = (params["rows"], params["columns"])
    return GeneratedMatrix(shape, np.dtype(params["dtype"]), rows, find_truth=computed_truth)


def separable(rows: np.ndarray, columns: np.ndarray, params: Params, seed: int) -> GeneratedMatrix:
    """The sum of few products f(Y) g(X): `rows` (m, r) times the transpose of `columns` (n, r)."""
    shape, noise = (len(rows), len(columns)), params["noise"]

    def tile(start: int, stop: int) -> np.ndarray:
        return rows[start:stop] @ columns.T

    def truth(_: GeneratedMatrix) -> Truth:
        label = "clean" if noise > 0 else "computed"
        return Truth(product_values(rows, columns), label, "LAPACK in float64 on the separable terms")

    return GeneratedMatrix(shape, np.dtype(params["dtype"]), tile, noise, seed, truth)


def product_values(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The min(m, n) singular values of left @ right.T, shapes (m, r) and (n, r), in memory O((m + n) r)."""
    small = np.linalg.qr(left)[1] @ np.linalg.qr(right)[1].T
    values = np.linalg.svd(small, compute_uv=False)
    side = min(len(left), len(right))
    return np.concatenate([values, np.zeros(side)])[:side]

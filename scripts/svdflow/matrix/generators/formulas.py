"""Matrices whose entries have a formula: images of waves, Hilbert, Vandermonde, Toeplitz."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix, Truth, computed_truth

Params = dict[str, Any]


def structured_image(params: Params, seed: int) -> GeneratedMatrix:
    """sin X cos Y + 0.3 sin(3X + 2Y) + 0.5 sign sin(X/2), X in [0, 6 pi] along columns, Y in [0, 8 pi]."""
    X, Y = _axes(params, 6 * np.pi, 8 * np.pi)
    rows = np.stack([np.cos(Y), 0.3 * np.cos(2 * Y), 0.3 * np.sin(2 * Y), np.full_like(Y, 0.5)], axis=1)
    columns = np.stack([np.sin(X), np.sin(3 * X), np.cos(3 * X), np.sign(np.sin(X / 2))], axis=1)
    return separable(rows, columns, params, seed)


def waves(params: Params, seed: int) -> GeneratedMatrix:
    """sin X cos Y + 0.5 sin(2X + Y), both in [0, 4 pi], X along columns."""
    X, Y = _axes(params, 4 * np.pi, 4 * np.pi)
    rows = np.stack([np.cos(Y), 0.5 * np.cos(Y), 0.5 * np.sin(Y)], axis=1)
    columns = np.stack([np.sin(X), np.sin(2 * X), np.cos(2 * X)], axis=1)
    return separable(rows, columns, params, seed)


def hilbert(params: Params, seed: int) -> GeneratedMatrix:
    """a_ij = 1 / (i + j - 1), counted from 1 (Hilbert, 1894)."""
    j = np.arange(params["columns"])

    def rows(start: int, stop: int) -> np.ndarray:
        return 1.0 / (np.arange(start, stop)[:, None] + j + 1)

    return _entrywise(rows, params)


def vandermonde(params: Params, seed: int) -> GeneratedMatrix:
    """a_ij = x_i^(j - 1), counted from 1, at equispaced nodes x from low to high."""
    nodes = np.linspace(params["low"], params["high"], params["rows"])

    def rows(start: int, stop: int) -> np.ndarray:
        return np.vander(nodes[start:stop], params["columns"], increasing=True)

    return _entrywise(rows, params)


def toeplitz(params: Params, seed: int) -> GeneratedMatrix:
    """a_ij = decay^|i - j|; for m = n symmetric with inverse tridiagonal (Kac, Murdock and Szego, 1953)."""
    powers = float(params["decay"]) ** np.arange(max(params["rows"], params["columns"]))
    j = np.arange(params["columns"])

    def rows(start: int, stop: int) -> np.ndarray:
        return powers[np.abs(np.arange(start, stop)[:, None] - j)]

    return _entrywise(rows, params)


FORMULAS = {
    "structured_image": structured_image,
    "waves": waves,
    "hilbert": hilbert,
    "vandermonde": vandermonde,
    "toeplitz": toeplitz,
}


def _axes(params: Params, across: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, across, params["columns"]), np.linspace(0, down, params["rows"])


def _entrywise(rows: Any, params: Params) -> GeneratedMatrix:
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

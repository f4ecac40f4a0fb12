"""Random ensembles: a sparse matrix in CSR form, and a complex Gaussian state."""

from collections.abc import Callable
from functools import cache
from math import fsum
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from svdflow.matrix.generators.generated import (
    GeneratedMatrix,
    GeneratedSparseMatrix,
    Truth,
    computed_truth,
    tiles,
)
from svdflow.matrix.generators.randomness import normal, stream, tile_height
from svdflow.study.families import index_size, stored_entries

Params = dict[str, Any]
QUANTILE_GRID = 20_001
SPARSE_TILE_ENTRIES = 2**15
SPARSE_TILE_ROWS = 2**20


def gaussian_state(params: Params, seed: int) -> GeneratedMatrix:
    """G / ||G||_F with independent complex normal entries: the coefficients of a random pure state.

    The squared singular values are the Schmidt spectrum; its mean entropy is ln n - n / (2 m) for n <= m
    (Page, "Average entropy of a subsystem", PRL 71, 1993).
    """
    shape = (params["rows"], params["columns"])
    height = tile_height(shape[1])

    def draw(start: int, stop: int) -> np.ndarray:
        return normal(stream(seed, "entries", start // height), (stop - start, shape[1]), complex_=True)

    @cache
    def norm() -> float:
        return float(
            np.sqrt(fsum(np.linalg.norm(draw(*tile)) ** 2 for tile in tiles(shape[0], height, 0, shape[0])))
        )

    def rows(start: int, stop: int) -> np.ndarray:
        return draw(start, stop) / norm()

    def truth(matrix: GeneratedMatrix) -> Truth:
        return computed_truth(matrix) or marchenko_pastur_truth(shape)

    return GeneratedMatrix(shape, np.dtype(params["dtype"]), rows, 0.0, seed, truth)


def marchenko_pastur_truth(shape: tuple[int, int]) -> Truth:
    """Square roots of the Marchenko-Pastur quantiles at (i - 1/2) / p, scaled to Frobenius norm 1.

    Notes
    -----
    Marchenko and Pastur (1967): the eigenvalues of G^H G / max(m, n), entries of variance 1, have the density
    sqrt((b - x)(x - a)) / (2 pi beta x) between (1 -+ sqrt beta)^2, beta = min / max. With
    x = 1 + beta - 2 sqrt(beta) cos t the integrand is smooth, and the trapezoidal rule is accurate.
    """
    side, beta = min(shape), min(shape) / max(shape)
    t = np.linspace(0, np.pi, QUANTILE_GRID)
    x = 1 + beta - 2 * np.sqrt(beta) * np.cos(t)
    # sin^2 t / x is 0 / 0 at t = 0 for beta = 1, where its limit is 1.
    density = np.divide(np.sin(t) ** 2, x, out=np.ones_like(t), where=x > 0)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    angles = np.interp(1 - (np.arange(side) + 0.5) / side, mass / mass[-1], t)
    values = np.sqrt((1 + beta - 2 * np.sqrt(beta) * np.cos(angles)) / side)
    return Truth(values, "theory", "quantiles of the Marchenko-Pastur law; single values scatter about them")


def sparse_random(params: Params, seed: int) -> GeneratedSparseMatrix:
    """round(density m n) entries; every tile of rows gets its share, at places drawn without replacement."""
    shape = (params["rows"], params["columns"])
    dtype = np.dtype(params["dtype"])
    total = stored_entries(params)
    index_dtype = np.dtype(f"int{8 * index_size(params)}")
    height = _sparse_tile_height(params)

    def tile(start: int, stop: int) -> csr_array:
        count = total * stop // shape[0] - total * start // shape[0]
        draws = stream(seed, "entries", start // height)
        places = np.sort(draws.choice((stop - start) * shape[1], count, replace=False, shuffle=False))
        values = draws.standard_normal(count) if params["values"] == "normal" else draws.random(count)
        lengths = np.bincount(places // shape[1], minlength=stop - start)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(index_dtype)
        columns = (places % shape[1]).astype(index_dtype)
        return csr_array((values.astype(dtype), columns, bounds), shape=(stop - start, shape[1]))

    return GeneratedSparseMatrix(shape, dtype, tile, height, total, index_dtype, computed_truth)


def _sparse_tile_height(params: Params) -> int:
    """Rows of a tile: a power of two that holds about 2^15 entries.

    The count of a tile is fixed, so low tiles would even out the counts of their rows.
    """
    expected = params["density"] * params["columns"]
    rows = min(SPARSE_TILE_ROWS, int(SPARSE_TILE_ENTRIES / expected))
    return 1 << max(0, rows.bit_length() - 1)


ENSEMBLES: dict[str, Callable[[Params, int], GeneratedMatrix | GeneratedSparseMatrix]] = {
    "gaussian_state": gaussian_state,
    "sparse_random": sparse_random,
}

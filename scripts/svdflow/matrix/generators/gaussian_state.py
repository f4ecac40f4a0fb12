"""gaussian_state: a random bipartite pure state, complex Gaussian entries scaled to Frobenius norm 1."""

from functools import cache
from math import fsum
from typing import Any

import numpy as np

from svdflow.matrix.generators.generated import GeneratedMatrix, Truth, computed_truth, tiles
from svdflow.matrix.generators.randomness import normal, stream, tile_height

QUANTILE_GRID = 20_001  # angles at which the Marchenko-Pastur law is summed; its error falls with the square


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
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

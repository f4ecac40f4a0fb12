"""Matrices with a prescribed spectrum, of any size, any rows of which can be computed alone.

``A = Q_m S Q_n^H`` with ``Q = H_1 ... H_r E F``: random Householder reflections H, a diagonal E of random
signs (complex: phases) and the orthonormal cosine transform F, whose frequencies are paired at random
between the two sides. Every factor is orthogonal, so the singular values are those of S up to rounding.

Reflections alone would leave S visible: a product of r of them differs from the identity by a rank-r
matrix, and the leading singular vectors would be unit vectors with a haze. The transform spreads each of
them over all entries (no entry above 2 / sqrt m before the reflections) for O(log n) operations an entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import dct, idct

from svdflow.matrix.generators.generated import GeneratedMatrix, Truth
from svdflow.matrix.generators.randomness import VECTOR_TILE, normal_vectors, stream, tile_height

# Householder reflections of a factor: enough that no entry of it is zero, few enough to cost less than the transform.
# Another number makes other matrices of the same spectrum. Chosen.
REFLECTIONS = 8  # random Householder reflections of a mixer; it is orthogonal with any number. Chosen
# Numbers of the tiles, of the roles "left" and "right", from which permutations and signs are drawn; reflections take
# the tiles from 0 on, and no matrix has so many. Others would make other matrices from the same seed.
PERMUTATION_TILE = 2**62
SIGN_TILE = 2**61


@dataclass(frozen=True)
class Mixer:
    """One orthogonal factor Q = (I - V T V^H) E F of size m, in memory O(r m).

    Attributes
    ----------
    V : array, shape (m, r)
        Unit columns of the reflections H_j = I - 2 v_j v_j^H.
    T : array, shape (r, r), upper triangular
    signs : array, shape (m,)
        Diagonal of E.
    frequencies : array, shape (m,), int64
        Random order of the columns of F: singular value i belongs to column ``frequencies[i]``.
    """

    V: np.ndarray
    T: np.ndarray
    signs: np.ndarray
    frequencies: np.ndarray


def random_mixer(size: int, seed: int, role: str, complex_: bool, reflections: int = REFLECTIONS) -> Mixer:
    """Draw one factor; the bits depend on (seed, role) and size only."""
    V = normal_vectors(seed, role, size, min(reflections, size), complex_)
    V /= np.linalg.norm(V, axis=0)
    frequencies = stream(seed, role, PERMUTATION_TILE).permutation(size)
    return Mixer(V, compact_wy(V), _random_signs(size, seed, role, complex_), frequencies)


def compact_wy(V: np.ndarray) -> np.ndarray:
    """Upper triangular T with H_1 H_2 ... H_r = I - V T V^H, for unit columns v_j and H_j = I - 2 v_j v_j^H.

    Parameters
    ----------
    V : array, shape (m, r), float64 or complex128

    Returns
    -------
    T : array, shape (r, r)

    Notes
    -----
    Schreiber and Van Loan, "A storage-efficient WY representation" (SIAM J. Sci. Stat. Comput. 10, 1989).
    """
    count = V.shape[1]
    T = np.zeros((count, count), V.dtype)
    overlaps = V.conj().T @ V
    for j in range(count):
        T[j, j] = 2.0
        T[:j, j] = -2.0 * (T[:j, :j] @ overlaps[:j, j])
    return T


def prescribed(
    spectrum: np.ndarray, params: dict[str, Any], seed: int, reflections: int = REFLECTIONS
) -> GeneratedMatrix:
    """The matrix of a descending `spectrum`, shape (min(m, n),), plus noise where `params` ask for it."""
    shape = (params["rows"], params["columns"])
    dtype = np.dtype(params["dtype"])
    noise = params.get("noise", 0.0)
    complex_ = dtype.kind == "c"
    left = random_mixer(shape[0], seed, "left", complex_, reflections)
    right = random_mixer(shape[1], seed, "right", complex_, reflections)
    truth = Truth(spectrum, *_label(dtype, noise))
    return GeneratedMatrix(shape, dtype, mixed_rows(spectrum, left, right), noise, seed, lambda _: truth)


def shorter_side(params: dict[str, Any]) -> int:
    """The number of singular values."""
    return min(params["rows"], params["columns"])


def log_scale(params: dict[str, Any]) -> np.ndarray:
    """`rank` values from s_first to s_last, equally spaced in their logarithm; then zeros."""
    spectrum = np.zeros(shorter_side(params))
    spectrum[: params["rank"]] = np.geomspace(params["s_first"], params["s_last"], params["rank"])
    return spectrum


def mixed_rows(spectrum: np.ndarray, left: Mixer, right: Mixer) -> Callable[[int, int], np.ndarray]:
    """Function (start, stop) -> rows of Q_left S Q_right^H.

    With M = E F S F^T E^H, whose rows are products of cosines under one inverse transform, and
    compact-WY reflections (V, T) and (W, K):

    ``A[a:b] = M[a:b] - (M[a:b] W) (K^H W^H) - V[a:b] C``,  ``C = T V^H M (I - W K^H W^H)``

    C is r x n and comes from r transforms of length m; no pass over the matrix is needed.
    """
    right_wy = right.T.conj().T @ right.V.conj().T
    core = _CosineCore(spectrum, left, right)
    reach = left.T @ core.from_left(left.V.conj().T)
    reach = reach - (reach @ right.V) @ right_wy

    def rows(start: int, stop: int) -> np.ndarray:
        piece = core.rows(start, stop)
        piece -= (piece @ right.V) @ right_wy + left.V[start:stop] @ reach
        return piece

    return rows


class _CosineCore:
    """M = E_m F_m S F_n^T E_n^H by fast cosine transforms; only non-zero singular values cost anything."""

    def __init__(self, spectrum: np.ndarray, left: Mixer, right: Mixer) -> None:
        support = np.flatnonzero(spectrum)
        self.m, self.n = len(left.signs), len(right.signs)
        self.left, self.right = left, right
        self.s = spectrum[support]
        self.rows_at = left.frequencies[support]
        self.columns_at = right.frequencies[support]
        # Rows a + i of a tile: cos(x + y) = cos x cos y - sin x sin y, with y the same in every tile.
        offsets = 2 * np.arange(min(tile_height(self.n), self.m)) + 1
        self.cosines, self.sines = self._turn(offsets)
        scale = np.sqrt(np.where(self.rows_at == 0, 1.0, 2.0) / self.m)
        self.weights = self.s * scale

    def from_left(self, X: np.ndarray) -> np.ndarray:
        """X M for X of shape (r, m)."""
        turned = dct(X * self.left.signs, norm="ortho", axis=1)
        return self._to_columns(turned[:, self.rows_at] * self.s)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start:stop`` of M; `start` lies on a tile boundary."""
        cosine, sine = self._turn(np.array([2 * start]))
        height = stop - start
        weighted = self.cosines[:height] * (cosine * self.weights)
        weighted -= self.sines[:height] * (sine * self.weights)
        piece = self._to_columns(weighted)
        piece *= self.left.signs[start:stop, None]
        return piece

    def _to_columns(self, coefficients: np.ndarray) -> np.ndarray:
        spread = np.zeros((len(coefficients), self.n), coefficients.dtype)
        spread[:, self.columns_at] = coefficients
        mixed = idct(spread, norm="ortho", axis=1, overwrite_x=True)
        return mixed * self.right.signs.conj()

    def _turn(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of pi steps f / (2 m), the angle reduced in whole numbers so that none is lost."""
        turns = np.multiply.outer(steps, self.rows_at) % (4 * self.m)
        angles = turns * (np.pi / (2 * self.m))
        return np.cos(angles), np.sin(angles)


def _random_signs(size: int, seed: int, role: str, complex_: bool) -> np.ndarray:
    starts = range(0, size, VECTOR_TILE)
    uniform = np.concatenate(
        [
            stream(seed, role, SIGN_TILE + tile).random(min(VECTOR_TILE, size - start))
            for tile, start in enumerate(starts)
        ]
    )
    return np.exp(2j * np.pi * uniform) if complex_ else np.where(uniform < 0.5, -1.0, 1.0)


def _label(dtype: np.dtype, noise: float) -> tuple[str, str]:
    if noise > 0:
        return "clean", "exact spectrum of the noise-free part"
    eps = np.finfo(dtype).eps
    return (
        "exact",
        f"the matrix was built from this spectrum; rounding to {dtype} moves it by eps = {eps:.1e} a norm",
    )

"""Form ``svd``: a matrix as codes of its left factor times the singular values, and of its right factor.

With A = U diag(s) V^T, the left codes are those of u_i s_i at the step D and the right ones those of v_i at D / s_i,
so that every number of either factor adds the same squared error, D^2 / 12 where it is not dead: the split that
costs least (reverse water-filling; Cover and Thomas, 2006, section 10.3.3). The right factor is fitted to the codes
of the left one, component by component, so errors of the left factor are repaired as far as its span allows.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from svdflow.codec.quantize import (
    Coded,
    Reader,
    chunks_of,
    dead_zone,
    exponents_of,
    groups_of,
    scales_of,
)
from svdflow.svd.factorization import truncated_svd
from svdflow.svd.lapack import full_svd

CHUNK = 4096  # rows of a left factor coded together: fewer decode faster by rows, and take more bytes
MOST_CHUNKS = 512  # chunks of an array at most, so that the description of a tall one stays small
BLOCK = 32  # components fitted one by one between two products of matrices; it moves time and last bits
# Share of the error asked for at which a large matrix is cut before its factors are quantized: more leaves less to the
# codes, less computes components that are all zero. Chosen.
SHARE = 0.5
# The cost m n min(m, n) up to which a full SVD is computed, some ten seconds of one core; beyond, what is asked for.
FULL_COST = 2e10


class MatrixForm:
    """Quantizations of one matrix at any step; the SVD is computed once.

    Parameters
    ----------
    A : float64 array, any number of dimensions
        Offset taken off. Axes before ``split`` are flattened into rows, the others into columns.
    rank : int, optional
        Most components that are kept.
    error : float, optional
        Frobenius norm that may be left out for a large matrix.
    seed : int
        Of the randomized SVD of a large matrix.
    """

    def __init__(self, A: np.ndarray, *, rank: int | None, error: float | None, seed: int) -> None:
        self.split, (U, s, Vt) = _best_split(A, rank, error, seed)
        keep = s > 0
        self.left, self.s, self.right = (U * s)[:, keep], s[keep], Vt[keep].T
        self.scale = float(np.sqrt(np.square(self.s).sum() / max(1, A.size)))

    def quantized(self, step: float) -> Coded:
        """Codes at a step."""
        left = dead_zone(self.left, step)
        alive = np.flatnonzero(left.any(axis=0))
        left, exponents = left[:, alive], exponents_of(self.s[alive])
        right = self._fitted(left, scales_of(exponents), step)
        alive = np.flatnonzero(right.any(axis=0))
        return self._arranged(left[:, alive], right[:, alive], exponents[alive])

    def _fitted(self, left: np.ndarray, scales: np.ndarray, step: float) -> np.ndarray:
        """Right codes: each component by least squares against what those before it leave."""
        L = left * step
        cross = self.right @ (self.left.T @ L)
        gram = L.T @ L
        W = np.zeros_like(cross, order="F")
        codes = np.zeros(cross.shape, np.int64, order="F")
        for first, last in chunks_of(L.shape[1], BLOCK):
            cross[:, first:last] -= W[:, :first] @ gram[:first, first:last]
            for i in range(first, last):
                fit = (cross[:, i] - W[:, first:i] @ gram[first:i, i]) / gram[i, i]
                codes[:, i] = dead_zone(fit, step / scales[i])
                W[:, i] = codes[:, i] * (step / scales[i])
        return codes

    def _arranged(self, left: np.ndarray, right: np.ndarray, exponents: np.ndarray) -> Coded:
        rank, rows = left.shape[1], left.shape[0]
        chunk = max(CHUNK, -(-rows // MOST_CHUNKS))
        groups = groups_of(rank)
        streams = [np.diff(exponents, prepend=0)[None, :]] if rank else []
        streams += [np.ascontiguousarray(right[:, low:high].T) for low, high in groups]
        for start, stop in chunks_of(rows, chunk):
            streams += [np.ascontiguousarray(left[start:stop, low:high].T) for low, high in groups]
        return Coded(rank, {"split": self.split, "chunk": chunk}, streams)

    @staticmethod
    def restore(
        layout: Mapping[str, Any],
        shape: tuple[int, ...],
        step: float,
        read: Reader,
        rank: int,
        rows: tuple[int, int],
    ) -> np.ndarray:
        """Rows of the matrix, offset not yet added: float64, (stop - start, ...)."""
        split, chunk, stored = int(layout["split"]), int(layout["chunk"]), int(layout["rank"])
        inner, n = prod(shape[1:split]), prod(shape[split:])
        start, stop = rows[0] * inner, rows[1] * inner
        out = np.zeros((stop - start, n))
        if not rank or not out.size:
            return out.reshape(rows[1] - rows[0], *shape[1:])
        groups = groups_of(stored)
        used = [index for index, (low, _) in enumerate(groups) if low < rank]
        steps = step / scales_of(np.cumsum(read(0)[0]))[:rank]
        right = np.concatenate([read(1 + index) for index in used])[:rank] * steps[:, None]
        first = 1 + len(groups)
        for index, (low, high) in enumerate(chunks_of(prod(shape[:split]), chunk)):
            if low < stop and high > start:
                left = np.concatenate([read(first + index * len(groups) + g) for g in used])[:rank]
                band = slice(max(start, low), min(stop, high))
                part = left[:, band.start - low : band.stop - low] * step
                out[band.start - start : band.stop - start] = part.T @ right
        return out.reshape(rows[1] - rows[0], *shape[1:])


def _best_split(
    A: np.ndarray, rank: int | None, error: float | None, seed: int
) -> tuple[int, tuple[Any, ...]]:
    """The axis before which rows end: the first or the last, whichever takes fewer numbers to a hundredth."""
    found = []
    for split in sorted({1, max(1, A.ndim - 1)}):
        matrix = A.reshape(prod(A.shape[:split]), -1)
        U, s, Vt = _svd(matrix, rank, error, seed)
        energy = np.cumsum(s**2)
        count = int(np.searchsorted(energy, (1 - 1e-4) * energy[-1])) + 1
        found.append((count * sum(matrix.shape), split, (U, s, Vt)))
    _, split, factors = min(found, key=lambda candidate: candidate[:2])
    return split, factors


def _svd(A: np.ndarray, rank: int | None, error: float | None, seed: int) -> tuple[np.ndarray, ...]:
    m, n = A.shape
    least = min(m, n)
    norm = float(np.linalg.norm(A))
    if norm == 0:
        return np.zeros((m, 1)), np.zeros(1), np.zeros((1, n))
    if m * n * least <= FULL_COST:
        U, s, Vt = full_svd(A)
        keep = min(rank or least, least)
        return U[:, :keep], s[:keep], Vt[:keep]
    if rank is not None:
        U, s, Vt = truncated_svd(A, rank=min(rank, least), seed=seed)
    elif error is not None and 0 < error < norm:
        U, s, Vt = truncated_svd(A, error=SHARE * error / norm, seed=seed)
    else:
        U, s, Vt = full_svd(A)
    return U, s, Vt

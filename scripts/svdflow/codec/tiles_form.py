"""Form ``tiles``: a picture as tiles of 8 x 8, each in the separable basis that the whole picture gives.

The tiles stand in a tensor (rows, columns, tiles); its first two factors (higher-order SVD, De Lathauwer et al. 2000)
are the basis, kept in eight bits and inverted exactly, so no orthogonality is lost. All coefficients take one step
and one dead zone: the rank of a tile is the number of its codes that are not zero. Coefficients of one position
stand together as a small picture, and these make one mosaic; the mean of each tile is a picture of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from svdflow.codec.quantize import Coded, Reader, chunks_of, dead_zone

# Tiles of 16 take 3 % more bytes for 0.1 to 0.2 dB less near one bit a pixel: fewer neighbours a position.
SIDE = 8
BASIS_STEP = 1 / 127  # quantization step of the entries of the basis: they fit eight bits; part of the layout
CHUNK = 512  # rows of tiles that are coded together: 4,096 rows of the picture, as for factors


class TilesForm:
    """Quantizations of one picture at any step; the basis is computed once.

    Parameters
    ----------
    A : float64 array, shape (m, n)
        Offset taken off; it is continued by its last row and column to multiples of SIDE.
    rank : int, optional
        Most positions of a tile, in the order of `positions`.
    error, seed
        As for the other forms, not used.
    """

    def __init__(self, A: np.ndarray, *, rank: int | None, error: float | None, seed: int) -> None:
        tiles = _tiled(A)
        self.basis = np.concatenate([_basis(tiles, axis) for axis in (1, 3)])
        P, Q = (np.linalg.inv(part * BASIS_STEP) for part in np.split(self.basis, 2))
        self.coefficients = np.einsum("ip,apbq,jq->iajb", P, tiles, Q, optimize=True)
        self.coefficients *= _kept(rank)[:, None, :, None]
        self.scale = float(np.sqrt(np.square(A).mean())) if A.size else 0.0

    def quantized(self, step: float) -> Coded:
        """Codes at a step."""
        codes = dead_zone(self.coefficients, step)
        rank = int(np.count_nonzero(np.any(codes != 0, axis=(1, 3))))
        streams, smooth = [self.basis], set()
        for start, stop in chunks_of(codes.shape[1], CHUNK):
            part = codes[:, start:stop]
            smooth.add(len(streams))
            streams.append(np.ascontiguousarray(part[0, :, 0]))
            rest = part.copy()
            rest[0, :, 0] = 0
            streams.append(rest.reshape(SIDE * (stop - start), -1))
        return Coded(rank, {"side": SIDE, "chunk": CHUNK}, streams, frozenset(smooth))

    @staticmethod
    def restore(
        layout: Mapping[str, Any],
        shape: tuple[int, ...],
        step: float,
        read: Reader,
        rank: int,
        rows: tuple[int, int],
    ) -> np.ndarray:
        """Rows of the picture, offset not yet added: float64, (stop - start, n)."""
        side, chunk = int(layout["side"]), int(layout["chunk"])
        P, Q = np.split(read(0) * BASIS_STEP, 2)
        first, last = rows[0] // side, -(-rows[1] // side)
        across = -(-shape[1] // side)
        mask = _kept(None if rank >= int(layout["rank"]) else rank)
        bands = []
        for index, (low, high) in enumerate(chunks_of(-(-shape[0] // side), chunk)):
            if low < last and high > first:
                codes = read(2 + 2 * index).reshape(side, high - low, side, across).copy()
                codes[0, :, 0] = read(1 + 2 * index)
                codes = codes[:, max(first, low) - low : min(last, high) - low] * mask[:, None, :, None]
                tiles = np.einsum("pi,iajb,qj->apbq", P, codes * step, Q, optimize=True)
                bands.append(tiles.reshape(-1, side * across))
        if not bands:
            return np.zeros((0, shape[1]))
        return np.concatenate(bands)[rows[0] - first * side : rows[1] - first * side, : shape[1]]


def positions() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the positions of a tile in the order of a rank: by i + j, then by i."""
    i, j = np.divmod(np.arange(SIDE * SIDE), SIDE)
    order = np.lexsort((i, i + j))
    return i[order], j[order]


def _kept(rank: int | None) -> np.ndarray:
    """Which positions a rank keeps: (SIDE, SIDE), 0 or 1."""
    mask = np.zeros((SIDE, SIDE), np.int64)
    i, j = positions()
    mask[i[:rank], j[:rank]] = 1
    return mask


def _tiled(A: np.ndarray) -> np.ndarray:
    """The picture as (tile row, row, tile column, column)."""
    m, n = A.shape
    A = np.pad(A, ((0, -m % SIDE), (0, -n % SIDE)), mode="edge")
    return A.reshape(A.shape[0] // SIDE, SIDE, A.shape[1] // SIDE, SIDE)


def _basis(tiles: np.ndarray, axis: int) -> np.ndarray:
    """Codes of the singular vectors of one side of the tiles, largest first: (SIDE, SIDE), a column each."""
    unfolded = np.moveaxis(tiles, axis, 0).reshape(SIDE, -1)
    vectors = np.linalg.eigh(unfolded @ unfolded.T)[1][:, ::-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(SIDE)])
    return np.rint(vectors * signs / BASIS_STEP).astype(np.int64)

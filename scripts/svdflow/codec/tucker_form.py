"""Form ``tucker``: an array of three dimensions or more as a quantized core and quantized factors.

The sequentially truncated higher-order SVD (Vannieuwenhoven et al., 2012, algorithm 1) is computed once. At a step D,
column j of a factor is coded at D / s_j, with s_j the norm of the slice of the core that it multiplies: each number
of a factor then adds the squared error that one of the core adds. The core is projected anew onto the quantized
factors before it is coded, so a factor's errors leave the part outside its span.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.codec.quantize import Coded, Reader, chunks_of, dead_zone, exponents_of, scales_of
from svdflow.svd.factorization import truncated_svd

FLOOR = 1e-12  # singular values of a mode below this share of the largest are rounding
SLICE = (
    2**14
)  # codes of a core that are coded together; a core of fewer than two slices is one stream; layout 1
ROW = 2**9  # codes of a row of a stream that is a slice of the core; part of the layout
ROOM = 0.3  # share of the squared error asked for that cutting may take, so that quantization keeps most of it. Chosen


class TuckerForm:
    """Quantizations of one array at any step; the decomposition is computed once.

    Parameters
    ----------
    A : float64 array, three dimensions or more
        Offset taken off.
    rank : int, optional
        Most components of a mode.
    error : float, optional
        Frobenius norm of the error asked for; a share of it may be cut off at once.
    seed : int
        Of the randomized SVDs, where `truncated_svd` takes one.
    """

    def __init__(self, A: np.ndarray, *, rank: int | None, error: float | None, seed: int) -> None:
        norm = float(np.linalg.norm(A))
        self.scale = norm / np.sqrt(max(1, A.size))
        self.factors: list[np.ndarray] = []
        core = A
        for mode in range(A.ndim):
            U = _basis(_unfolded(core, mode), rank, norm, (error or 0.0) * np.sqrt(ROOM / A.ndim), seed)
            core = _times(core, U.T, mode)
            self.factors.append(U)
        self.core = core

    def quantized(self, step: float) -> Coded:
        """Codes at a step."""
        codes = dead_zone(self.core, step)
        ranks = [_last(codes, mode) for mode in range(codes.ndim)]
        if not all(ranks):
            return Coded(0, {"ranks": [0] * codes.ndim, "slice": 0}, [])
        streams, core = [], self.core
        kept = self.core[tuple(slice(r) for r in ranks)]
        for mode, (U, r) in enumerate(zip(self.factors, ranks, strict=True)):
            norms = np.linalg.norm(_unfolded(kept, mode), axis=1)
            exponents = exponents_of(np.maximum(norms, step))
            steps = step / scales_of(exponents)
            factor = dead_zone(U[:, :r], steps, 0.5)
            core = _times(core, _projector(factor * steps, U), mode)
            streams += [np.diff(exponents, prepend=0)[None, :], np.ascontiguousarray(factor.T)]
        codes = dead_zone(core, step)
        smooth = frozenset(range(1, len(streams), 2))
        if codes.size < 2 * SLICE:
            streams.append(codes.reshape(ranks[0], -1))
            return Coded(max(ranks), {"ranks": ranks, "slice": 0}, streams, smooth)
        flat = codes.ravel()[_by_size(streams[0 : 2 * len(ranks) : 2])]
        streams += [
            flat[start:stop].reshape(_sides(stop - start)) for start, stop in chunks_of(flat.size, SLICE)
        ]
        return Coded(max(ranks), {"ranks": ranks, "slice": SLICE}, streams, smooth)

    @staticmethod
    def restore(
        layout: Mapping[str, Any],
        shape: tuple[int, ...],
        step: float,
        read: Reader,
        rank: int,
        rows: tuple[int, int],
    ) -> np.ndarray:
        """Rows of the array, offset not yet added: float64, (stop - start, ...)."""
        ranks = [int(r) for r in layout["ranks"]]
        out_shape = (rows[1] - rows[0], *shape[1:])
        if not rank or not all(ranks):
            return np.zeros(out_shape)
        kept = [min(rank, r) for r in ranks]
        core = _core(layout, ranks, read)[tuple(slice(r) for r in kept)] * step
        # The rows asked for come last: until then the work is that of the core.
        for mode in reversed(range(len(ranks))):
            steps = step / scales_of(np.cumsum(read(2 * mode)[0]))[: kept[mode]]
            factor = read(2 * mode + 1)[: kept[mode]].T * steps
            core = _times(core, factor[rows[0] : rows[1]] if mode == 0 else factor, mode)
        return core.reshape(out_shape)


def _core(layout: Mapping[str, Any], ranks: list[int], read: Reader) -> np.ndarray:
    """Codes of the core, in its own shape."""
    first, width = 2 * len(ranks), int(layout["slice"])
    if not width:
        return read(first).reshape(ranks)
    flat = np.empty(prod(ranks), np.int64)
    order = _by_size([read(2 * mode) for mode in range(len(ranks))])
    for index, (start, stop) in enumerate(chunks_of(flat.size, width)):
        flat[order[start:stop]] = read(first + index).ravel()
    return flat.reshape(ranks)


def _by_size(differences: list[np.ndarray]) -> np.ndarray:
    """Places of a core in the order of the size that its factors' exponents lead to expect, largest first.

    Numbers of one size then stand together, for entropy coders that learn one distribution of a stream.
    """
    sizes: np.ndarray = np.zeros(1, np.int64)
    for difference in differences:
        sizes = np.add.outer(sizes, np.cumsum(difference[0])).ravel()
    return np.argsort(-sizes, kind="stable")


def _sides(size: int) -> tuple[int, int]:
    """The shape of a stream of so many codes: rows of ROW where they divide it."""
    return (size // ROW, ROW) if size % ROW == 0 else (1, size)


def _basis(unfolded: np.ndarray, rank: int | None, norm: float, error: float, seed: int) -> np.ndarray:
    """Left singular vectors of an unfolding, (n, r): as many as `rank`, `error` and rounding leave."""
    n = min(unfolded.shape)
    if norm == 0:
        return np.eye(unfolded.shape[0], 1)
    method = "full" if unfolded.shape[1] <= 4 * unfolded.shape[0] else "gram"
    U, s, _ = truncated_svd(unfolded, rank=min(rank or n, n), method=method, seed=seed)
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
    keep = int(np.count_nonzero((tails > error) & (s > FLOOR * s[0])))
    return np.asarray(U)[:, : max(1, keep)]


def _projector(factor: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Least-squares coefficients on a quantized factor of what U spans: (r, k)."""
    return scipy.linalg.lstsq(factor, U, check_finite=False)[0]


def _last(codes: np.ndarray, mode: int) -> int:
    """Slices of a mode up to the last that is not all zero."""
    alive = np.flatnonzero(_unfolded(codes, mode).any(axis=1))
    return int(alive[-1]) + 1 if alive.size else 0


def _unfolded(A: np.ndarray, mode: int) -> np.ndarray:
    return np.moveaxis(A, mode, 0).reshape(A.shape[mode], -1)


def _times(A: np.ndarray, M: np.ndarray, mode: int) -> np.ndarray:
    """The product of an array and a matrix along one mode."""
    return np.moveaxis(np.tensordot(M, A, axes=(1, mode)), 0, mode)

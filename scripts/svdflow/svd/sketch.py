"""From what one read of a matrix leaves, ``Y = A Omega`` and ``Z = A^H Y``, to factors and what is known of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.compute.engine import Engine
from svdflow.svd.certificates import frobenius_certificate
from svdflow.svd.info import SinglePassInfo, in_units
from svdflow.svd.leave_one_out import jackknife, leave_one_out
from svdflow.svd.orthonormal import adjoint, extend_basis
from svdflow.svd.random_blocks import COMPLETION, gaussian
from svdflow.svd.read.moments import square_norm
from svdflow.svd.read.panel_work import triangle
from svdflow.svd.result import SVDResult
from svdflow.svd.signs import phases

Choose = Callable[[np.ndarray, float], int | None]

# Directions of Y below FLOOR times its largest singular value are left out. Rounding in Z = A^H Y, eps s_1, is divided
# by the singular values of Y, so there an image would be wrong by sqrt(eps) s_1, as much as it is long.
FLOOR = float(np.finfo(float).eps) ** 0.5
REFINE = 1e2  # condition number of Y above which U = Y M, orthonormal to eps times it, is orthonormalized once more
TINY = float(np.finfo(float).tiny)  # in the place of a divisor of 0


@dataclass(frozen=True)
class SketchSums:
    """``A^H A Omega``, ``||A||_F^2`` and column sums of the panels so far, scaled and less the pilot mean."""

    product: np.ndarray
    norm_squared: float
    column_sums: np.ndarray

    def plus(self, other: "SketchSums") -> "SketchSums":
        return SketchSums(
            self.product + other.product,
            self.norm_squared + other.norm_squared,
            self.column_sums + other.column_sums,
        )


@dataclass(frozen=True)
class SketchPanel:
    """Task: ``Y = P Omega`` of one panel P, and what it adds to the sums; in double precision."""

    Omega: np.ndarray
    scale: float = 1.0
    shift: np.ndarray | None = None

    def __call__(self, block: Any) -> tuple[np.ndarray, SketchSums]:
        if self.shift is not None and sp.issparse(block):
            block = block.toarray()
        P = block.astype(self.Omega.dtype, copy=False)
        P = P * self.scale if self.scale != 1 else P
        P = P - self.shift if self.shift is not None else P
        Y = P @ self.Omega
        product = adjoint(adjoint(Y) @ P)  # needs no conjugated copy of P
        return Y, SketchSums(product, square_norm(P), np.asarray(P.sum(axis=0)).reshape(-1))


@dataclass(frozen=True)
class _LeftRows:
    """Task: rows ``(Y - offset) M`` of the left factor, random columns for the `missing` ones, times a correction."""

    offset: np.ndarray | None
    M: np.ndarray | None = None
    missing: int = 0
    seed: int = 0
    correction: np.ndarray | None = None

    def __call__(self, item: tuple[int, np.ndarray]) -> np.ndarray:
        start, Y = item
        rows = Y if self.offset is None else Y - self.offset
        rows = rows if self.M is None else rows @ self.M
        if self.missing:
            drawn = gaussian(
                self.seed, len(Y), self.missing, first_row=start, dtype=Y.dtype, domain=COMPLETION
            )
            rows = np.concatenate([rows, drawn], axis=1)
        return rows if self.correction is None else rows @ self.correction


class Sketch:
    """From ``Y = A Omega`` and ``Z = A^H Y``, both still to be centred, to factors and what is known of them."""

    def __init__(
        self,
        task: SketchPanel,
        sums: SketchSums,
        left: list[np.ndarray],
        *,
        dtype: np.dtype,
        center: bool,
        seed: int,
        engine: Engine,
    ) -> None:
        self.dtype, self.seed, self.engine = dtype, seed, engine
        starts = np.cumsum([0, *map(len, left)]).tolist()
        self.left, self.rows = list(zip(starts, left, strict=False)), starts[-1]
        self.scale, self.uncentred = task.scale, sums.norm_squared
        self.Z, self.norm_squared = sums.product, sums.norm_squared
        self.offset: np.ndarray | None = None
        self.mean: np.ndarray | None = None
        if center:
            mean = sums.column_sums / self.rows
            self.offset = mean @ task.Omega
            # (A - 1 mu^T)^H (A - 1 mu^T) = A^H A - m conj(mu) mu^T
            self.Z = self.Z - self.rows * np.outer(mean.conj(), self.offset)
            self.norm_squared = max(0.0, self.uncentred - self.rows * float(np.vdot(mean, mean).real))
            self.mean = (mean + (0.0 if task.shift is None else task.shift)) / task.scale

    def factors(self, choose: Choose, sink: Any) -> SVDResult:
        n, l = self.Z.shape
        side = min(self.rows, n)
        _, S, Ph = np.linalg.svd(self._triangle(_LeftRows(self.offset)))
        rank = int(np.count_nonzero(S / max(S[0], TINY) > FLOOR))
        T = adjoint(Ph)[:, :rank] / S[:rank]  # Y T is orthonormal
        V, s, turn = np.linalg.svd(self.Z @ T, full_matrices=False)
        k = choose(np.concatenate([s, np.zeros(side - rank)]), self.norm_squared) or max(1, rank)
        if k > l:
            raise ValueError(f"rank {k} is above the width {l} of the sketch; widen it")
        found = min(k, rank)
        if k > rank:
            V = np.concatenate([V, extend_basis(V, np.zeros((n, k - rank), V.dtype), self._fresh)], axis=1)
        V = V[:, :k]
        unit = phases(V)
        M = T @ adjoint(turn)[:, :found] / unit[:found]
        values = np.concatenate([s[:found], np.zeros(k - found)])
        scaled_back = in_units(values, self.scale, "stream")
        U = self._left_factor(M, k - found, S[0] > REFINE * S[rank - 1], sink)
        missed = noise = 0.0
        if l < side:
            missed = (leave_one_out(S, Ph) + float(np.sum(s[k:] ** 2))) ** 0.5
            noise = jackknife(S, Ph, s, turn, k)
        shown = rank < len(S) and S[rank] <= max(self.rows, n) * FLOOR**2 * S[0]
        info = self._info(values, found, missed, noise, deficient=shown)
        return SVDResult(U, scaled_back, adjoint(V / unit).astype(self.output), info)

    @property
    def output(self) -> np.dtype:
        single, double = ("c8", "c16") if self.dtype.kind == "c" else ("f4", "f8")
        return np.dtype(single if np.can_cast(self.dtype, single) else double)

    def _triangle(self, rows: _LeftRows) -> np.ndarray:
        return self.engine.reduce(partial(_triangle_of, rows), self.left, triangle)

    def _left_factor(self, M: np.ndarray, missing: int, refine: bool, sink: Any) -> Any:
        rows = _LeftRows(self.offset, M, missing, self.seed)
        if missing or refine:
            R = self._triangle(rows)
            unit = phases(np.diag(np.diag(R)))  # so that dividing by R turns no column round
            rows = replace(rows, correction=np.linalg.inv(R / unit[:, None]))
        shape = (self.rows, M.shape[1] + missing)
        U: Any = None if sink else np.empty(shape, self.output)
        write = sink(shape, self.output).write if sink else partial(_fill, U)
        for (start, _), part in zip(self.left, self.engine.stream(rows, self.left), strict=True):
            write(start, part.astype(self.output, copy=False))
        return U

    def _fresh(self, count: int) -> np.ndarray:
        n = self.Z.shape[0]
        return gaussian(self.seed, n, count, first_column=2**20, dtype=self.Z.dtype)

    def _info(
        self, values: np.ndarray, found: int, missed: float, noise: float, *, deficient: bool
    ) -> SinglePassInfo:
        n, l = self.Z.shape
        certificate = frobenius_certificate(
            self.norm_squared, values, output=self.output, uncentred=self.uncentred
        )
        reason = "saturated" if l >= min(self.rows, n) else "max_reads"
        if found < len(values):  # values between rounding of A and that of one read are there, and not seen
            reason = "rank_deficient" if deficient else "unresolved"
        return SinglePassInfo(
            method="single_pass",
            rank=len(values),
            numerical_rank=found,
            reads=1,
            reason=reason,
            frobenius_norm=certificate.norm / self.scale,
            frobenius_error=certificate.error / self.scale,
            frobenius_kind=certificate.kind,
            frobenius_resolution=certificate.resolution / self.scale,
            relative_error=certificate.relative,
            shape=(self.rows, n),
            dtype=str(self.dtype),
            block_size=l,
            panel_height=len(self.left[0][1]),
            seed=self.seed,
            estimate=float("nan"),
            mean=self.mean,
            leave_one_out=missed / self.scale,
            jackknife=noise / self.scale,
        )


def _triangle_of(rows: _LeftRows, item: tuple[int, np.ndarray]) -> np.ndarray:
    return triangle(rows(item))


def _fill(U: np.ndarray, start: int, rows: np.ndarray) -> None:
    U[start : start + len(rows)] = rows

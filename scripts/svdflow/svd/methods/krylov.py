"""Block Krylov on the smaller side, one fused read a step.

Each step reads A once, panel by panel: ``Y_i = A_i X``, ``Z += A_i^H Y_i``. With all blocks kept in an orthonormal
basis K and ``Z = A^H A K``, the projected matrix ``G = K^H Z = (A K)^H (A K)`` needs nothing of the longer side. Musco
and Musco 2015 (block Krylov), Tropp and Webber 2023 (arXiv 2306.12418, sections 4 and 5); the fused read is in PerSVD
(Feng et al. 2023) and Lu et al. 2020.
"""

import logging
from dataclasses import replace
from functools import partial
from math import inf, sqrt
from typing import Any

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import Algorithm
from svdflow.svd.certificates import left_by_V
from svdflow.svd.methods.krylov_blocks import bordered, krylov_widths, sampled_rows
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormal_columns, orthonormalize
from svdflow.svd.plan import FULL, Plan, Target
from svdflow.svd.probes import Probes
from svdflow.svd.random_blocks import filling
from svdflow.svd.read.bands import blocks_for
from svdflow.svd.read.kept_rows import KeptFactors
from svdflow.svd.read.last_read import LEAST_SPREAD, Factors, precision
from svdflow.svd.ritz_errors import at_least, largest_beyond, largest_error, ratios, rising
from svdflow.svd.stopping import NOISE
from svdflow.svd.subspace import Draw, Reader, Search, Subspace, hermitian
from svdflow.svd.widths import FINAL_EXTRA, last_width

log = logging.getLogger(__name__)

# Noise of G = K^H Z after fast products, over its asymmetry |G - G^H|, which only rounding makes: that of K, and of Y =
# A K before the second product. (That of A is the same in both and leaves no trace, but adds less.) Where it hits all
# entries alike, |E + E^H| / 2 is half of |E - E^H|. Measured with bfloat16 on the 13 spectra of the benchmark of
# regret, three shapes, k = 5 and 20: 0.4 to 1.1, at asymmetries of 4e-4 to 1.5e-3 of s_1^2, where NOISE eps is 0.13.
SKEW = 2.0
# Factor on estimates after fast products, which hide how values moved, so that ratios are those of an earlier step. Of
# 1,248 last reads on the same spectra, four shapes, tolerances of 3e-1 to 1e-3 and four seeds, 4 were accepted above
# the tolerance at a factor of 1, none at 1.5; at 2, 60 more searches began anew than at 1, at 4 150.
DOUBT = 2.0
# Columns of a learnt block that stay random, or an eighth of it where that is more: what the sampled rows lack is found
# through them. With 16 of 32 it took 0.4 reads more of 3.9.
LEAST_RANDOM = 4


class KrylovSearch:
    """Right singular subspaces of growing Krylov spaces, until their values are as near to the truth as was asked.

    Where rows of ``A K`` were kept (`svdflow.svd.read.kept_rows`) nothing more is read: U, s and V follow from what the
    reads gave. Else a last read makes U, one step of the power method better.
    """

    def __init__(self, plan: Plan, reader: Reader, seed: int) -> None:
        self.plan, self.reader = plan, reader
        n = plan.tall.shape[1]
        self.draw = Draw(seed, n, plan.wide)
        self.probes = Probes(plan, reader, seed)
        self.blocks = blocks_for(n, reader.engine)
        self.side = min(plan.tall.shape)
        self._K = np.empty((n, min(sum(plan.widths), self.side)), plan.wide, order="F")
        self._Z = np.empty_like(self._K)
        self.used = 0
        self.step = 0
        self.G = np.zeros((0, 0), plan.wide)
        self.theta = self.g = np.zeros(0)
        self.ratios: np.ndarray | None = None  # of the newest step
        # Of now, for values above rounding; see ritz_errors. Whether the probes' bound is in them.
        self.c, self.bounded = np.full(0, inf), False
        self.newest = slice(0, 0)  # columns of the newest step
        self.saturated = self.learnt = self.missed = False
        self.skew = 0.0  # largest asymmetry of K^H Z, where products were fast

    @property
    def K(self) -> np.ndarray:
        return self._K[:, : self.used]

    @property
    def Z(self) -> np.ndarray:
        return self._Z[:, : self.used]

    def propose(self) -> Subspace:
        """Read on until the triplets are within `tol`, or until no more reads are allowed."""
        while True:
            self._grow()
            done = self._error() <= self.plan.tol
            own = self.g[: self.k]
            self.missed = (
                done and not self.saturated and self.probes.overlooked(self._AhU(len(own)), own, self._eps())
            )
            if self.saturated or self._spent() or (done and not self.missed):
                break
        if done and not self.missed and self._clear():
            return self._from_kept_rows()
        k = self.k or self.used
        exact = self.saturated and self.plan.tall.shape[1] <= self.used
        # All of the space holds every vector, where squares lose those far below the first.
        V = self.K @ self.P if exact else self._ritz_vectors(min(last_width(k), self.used, self.side))
        return self._found(
            V,
            exact=exact,
            spread=sqrt(self.g[V.shape[1] - 1] / self.g[0])
            if V.shape[1] <= len(self.g) and self.g[0]
            else 0.0,
        )

    def _found(self, V: np.ndarray, **more: Any) -> Subspace:
        return self.reader.found(
            V,
            "krylov",
            "saturated" if self.saturated and not self.reader.fast else "converged",
            captured=float(np.sum(self.g[: self.k or self.used])),
            sampled_rows=sum(stop - start for start, stop in self.plan.sample) if self.learnt else 0,
            judged_last=True,
            **more,
        )

    def _clear(self) -> bool:
        """Whether rows were kept, and the triplets have the digits that are asked for without a last read.

        Their squares must stand clear of rounding; those that a last read gives are of A itself.
        """
        k, rows, g = self.k, self.reader.rows, self.g
        if rows is not None and not rows.fits:
            rows.close()
            rows = self.reader.rows = None
        if rows is None or self.probes.images is None or k is None or k >= len(g) or self.saturated:
            return False
        spread = sqrt(g[min(k + FINAL_EXTRA, len(g)) - 1] / g[0])
        left = self.reader.norm_squared - float(np.sum(g[:k]))
        enough = precision(self.plan, left, self.reader.norm_squared, spread) == self.plan.work
        return enough and spread > LEAST_SPREAD and not self._blunt()

    def _blunt(self) -> bool:
        """Whether rounding of squares hides what was asked for."""
        k, g = self.k, self.g
        return k is not None and (k >= len(g) or self._noise() > self.plan.tol * g[k])

    def _from_kept_rows(self) -> Subspace:
        """The triplets of rows that were kept."""
        assert self.k is not None and self.probes.images is not None
        k, width = self.k, min(self.k + FINAL_EXTRA, len(self.g))
        found = self._found(self._K[:, :0], exact=False)
        C, by_reads = self.scaled @ self.T[:, :width], self.reader.rows.by_reads
        found.kept = KeptFactors(
            self.reader.rows if by_reads else self.reader.rows_of(self.blocks.times(self.K, C)),
            C if by_reads else np.eye(width),
            self._AhU(width),
            self.theta[:width] ** 0.5,
            # ||A^H u - s v||^2 = ||A^H u||^2 - s^2 of u = A v / s
            np.sqrt(np.maximum(self.lengths[:k] - self.theta[:k], 0)),
            self.probes.vectors,
            self.probes.images,
        )
        return found

    def accepts(self, found: Subspace, last: Factors) -> bool:
        """Whether the factors are within `tol`, or as near as they can be; sets what `found` says of that."""
        found.reads = self.reader.reads
        fast = self.reader.fast
        if self.saturated and (found.exact or not fast):
            found.reason = "saturated"
            return True
        self.missed = last.spectral.contradicts
        found.estimate = inf if self.missed else self._error() if found.kept else self._last_error(last)
        if found.estimate <= self.plan.tol:
            return True
        sharper = fast is not None or last.dtype != self.reader.work
        if self._blunt() and not sharper and not self.missed:
            found.judged_last = False  # nothing more can be seen: what the last read moved is all that tells
            return True
        if self.step >= len(self.plan.widths) - 1 or (self._spent() and not fast):
            found.reason = "max_reads"
            return True
        log.info(
            "%s: estimated accuracy %.1e after the last read; going on", self.plan.tall.name, found.estimate
        )
        if not found.kept:
            self.reader.reads += 1
            self.step += 1
        if fast or (sharper and self._blunt()):
            self._start_over(last)
        return False

    def _start_over(self, last: Factors) -> None:
        """Read on in the precision of the last read, from its vectors, whose image it made."""
        assert last.block is not None
        self.reader.sharpen(last.dtype)
        self.probes.forget()
        self.used, self.missed, self.saturated = 0, False, False
        self.G, self.theta, self.g = self.G[:0, :0], np.zeros(0), np.zeros(0)
        self.ratios = None
        self._append(*last.block)
        self._project()

    def _spent(self) -> bool:
        return self.step == len(self.plan.widths) or self.used == self._K.shape[1]

    def _grow(self) -> None:
        """One more block, one more read."""
        width = self.plan.widths[self.step]
        if self.used == 0:
            X = self._first_block(width)
        else:
            width = min(width, self.side - self.used, self._K.shape[1] - self.used)
            newest = self._Z[:, self.newest][:, : 0 if self.missed else width]
            self.missed = False
            X = extend_basis(self.K, self._widened(newest, width), self.draw, self.blocks)
        self._append(*(self.reader.start(X) if self.used == 0 else (X, self.probes.image(X))))
        self.step += 1
        self._project()
        log.info(
            "%s: read %d, rank %s, error %.1e", self.plan.tall.name, self.reader.reads, self.k, self._error()
        )
        self.saturated = self.used >= self.side

    def _first_block(self, width: int) -> np.ndarray:
        """Random directions; after one step of the power method on a sample of rows, where the plan has one.

        Some stay random, so that nothing which the sample misses is lost.
        """
        X = orthonormalize(self.draw(width))
        image = self.reader.learn(X)
        if image is None:
            return X
        self.learnt = True
        learnt = width - max(LEAST_RANDOM, width // 8)
        return extend_basis(
            X[:, :0], np.concatenate([image[:, :learnt], self.draw(width - learnt)], axis=1), self.draw
        )

    def _widened(self, X: np.ndarray, width: int) -> np.ndarray:
        """Fresh random columns where a block is to be wider than the newest image.

        All of it, where probes found what the basis misses: copies of a repeated value beyond the width of its blocks.
        """
        return X if X.shape[1] == width else np.concatenate([X, self.draw(width - X.shape[1])], axis=1)

    def _append(self, X: np.ndarray, Z: np.ndarray) -> None:
        new = slice(self.used, self.used + X.shape[1])
        self._K[:, new], self._Z[:, new] = X, Z
        self.used, self.newest = new.stop, new
        G = self.blocks.inner(self.K, Z)
        if self.reader.fast:
            self.skew = max(self.skew, float(np.linalg.norm(G - adjoint(self.blocks.inner(X, self.Z)), 2)))
        self.G = bordered(self.G, G)

    def _project(self) -> None:
        """Ritz values of the basis, what half a step more makes of them, and how both moved."""
        theta, gain = self.theta, self.g - self.theta[: len(self.g)]
        values, vectors = np.linalg.eigh(hermitian(self.G))
        self.theta, self.P = np.maximum(values[::-1], 0), vectors[:, ::-1]
        self.reader.refine(self.K, self.Z, self.G)
        self.k = k = self.plan.target.choose(np.sqrt(self.theta), self.reader.norm_squared)
        self._half_step(last_width(k or self.used))
        before, self.ratios = self.ratios, None
        # Of values above rounding; where more have come out of it than there were, nothing tells yet.
        seen = min(k or 0, len(self.g))
        self.c, self.bounded = np.full(seen, inf), False
        if seen <= len(gain):
            self.ratios = ratios(
                self.theta[:seen], self.g[:seen] - self.theta[:seen], theta[:seen], gain[:seen]
            )
            self.c = rising(self.ratios, before)

    def _bound(self) -> None:
        """Raise ratios to what they are at least, by the largest ``s^2`` beyond the basis that the probes see."""
        W, images = self.probes.vectors, self.probes.images
        if images is not None and not self.bounded:
            beyond = largest_beyond(W, left_by_V(W, images, self.K, self.Z), self._noise())
            self.c = np.maximum(self.c, at_least(self.theta[: len(self.c)], beyond, self.plan.tol))
        self.bounded = True

    def _error(self) -> float:
        """Estimated ``max_i |s_i^2 - g_i| / s_{k+1}^2`` of the values that stand above rounding."""
        if self.k is None:
            return inf
        if self._left() <= self.plan.tol:  # else nothing is said that the bound could take back
            self._bound()
        return self._left()

    def _left(self) -> float:
        assert self.k is not None
        gain, c = self.g[: len(self.c)] - self.theta[: len(self.c)], self.c
        if self.reader.fast:  # a last read will follow: what it leaves, a step later
            c = 1 + DOUBT * (c - 1) * (1 - 1 / c) ** 2
        return largest_error(c, gain, self._noise()) / _unit(self.g, self.k)

    def _half_step(self, width: int) -> None:
        """Squared singular values g of ``W = A^H U`` for an orthonormal basis U of leading ``A K P``.

        ``W = Z P theta^{-1/2}``: half a step better than K P (Tropp and Webber 2023, section 5.2). Ritz values below
        rounding are left out, as the division would amplify noise.
        """
        kept = min(int(np.count_nonzero(self.theta > self._noise())), 2 * width)
        self.scaled = self.P[:, :kept] / np.sqrt(self.theta[:kept])
        self.W = self.blocks.times(self.Z, self.scaled)
        squares = hermitian(self.blocks.inner(self.W, self.W))
        self.lengths = np.real(np.diagonal(squares))
        g, T = np.linalg.eigh(squares)
        self.g, self.T = np.maximum(g[::-1], 0), T[:, ::-1]

    def _AhU(self, width: int) -> np.ndarray:
        """``A^H U`` of the leading triplets."""
        return np.asarray(self.blocks.times(self.W, self.T[:, :width]))

    def _ritz_vectors(self, width: int) -> np.ndarray:
        """The `width` leading right vectors; below rounding those of K itself."""
        clear = min(width, int(np.count_nonzero(self.g > self._noise())))
        fresh = partial(filling, self.K.shape[0], dtype=self.plan.wide)
        if clear == 0:
            return orthonormalize(self.K @ self.P[:, :width])
        V = self._AhU(clear) / np.sqrt(self.g[:clear])
        V = orthonormal_columns(V, fresh, self.blocks)
        if V.shape[1] < width:
            rest = self.K @ self.P[:, len(self.g) :]
            V = np.concatenate([V, extend_basis(V, rest, fresh)[:, : width - V.shape[1]]], axis=1)
        return V

    def _last_error(self, last: Factors) -> float:
        """Estimated ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` of the factors of the last read."""
        k = len(last.s)
        if k > len(self.g) or len(last.before) < k:
            return inf
        self._bound()
        before = last.before[:k] ** 2 if last.polished else self.g[:k]
        c = np.full(k, inf) if len(self.c) < k else self.c[:k]
        # The last read may have had more digits than the search, and sees what that takes for rounding.
        noise = NOISE * float(np.finfo(last.dtype).eps) * float(self.theta[0])
        doubt = DOUBT if self.reader.fast else 1.0
        return doubt * largest_error(c, last.s**2 - before, noise) / _unit(self.g, k)

    def _noise(self) -> float:
        if self.reader.fast:
            return SKEW * self.skew
        return NOISE * self._eps() * float(self.theta[0])

    def _eps(self) -> float:
        return self.reader.fast.eps if self.reader.fast else float(np.finfo(self.reader.work).eps)


def _unit(g: np.ndarray, k: int) -> float:
    """``s_{k+1}^2``, as far as it is known."""
    following = float(g[min(k, len(g) - 1)]) if len(g) else 0.0
    return following if following > 0 else 1e-300


class BlockKrylov(Algorithm):
    """``krylov``."""

    single = mixes = True

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return krylov_widths(tall, target, block_size, max_reads)

    def sample(self, tall: MatrixSource, width: int, seed: int) -> tuple[tuple[int, int], ...]:
        return sampled_rows(tall, width, seed)

    def columns(self, plan: Plan) -> int:
        return 2 * min(plan.tall.shape[1], sum(plan.widths))

    def keeps_rows(self, plan: Plan) -> bool:
        return not plan.tall.sparse and plan.precision == FULL

    def makes_rows(self, plan: Plan) -> bool:
        return plan.tall.sparse

    def standardized(self, plan: Plan, max_reads: int | None) -> Plan:
        """One more block, where the others would be all of the space but for what deviations take from the first."""
        if plan.transposed or max_reads is not None or sum(plan.widths) < min(plan.tall.shape):
            return plan
        return replace(plan, widths=(*plan.widths, plan.widths[0]))

    def search(self, plan: Plan, reader: Reader, seed: int) -> Search:
        return KrylovSearch(plan, reader, seed)

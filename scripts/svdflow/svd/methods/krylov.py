"""Block Krylov on the smaller side, one fused read a step.

Each step reads A once, panel by panel: ``Y_i = A_i X``, ``Z += A_i^H Y_i``. With all blocks kept in an orthonormal
basis K and ``Z = A^H A K``, the projected matrix ``G = K^H Z = (A K)^H (A K)`` needs nothing of the longer side. Musco
and Musco 2015 (block Krylov), Tropp and Webber 2023 (arXiv 2306.12418, sections 4 and 5); the fused read is in PerSVD
(Feng et al. 2023) and Lu et al. 2020.
"""

import logging
from functools import partial
from math import inf, sqrt

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import Algorithm
from svdflow.svd.methods.krylov_blocks import krylov_widths, sampled_rows
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormal_columns, orthonormalize
from svdflow.svd.plan import Plan, Target
from svdflow.svd.random_blocks import gaussian
from svdflow.svd.read.bands import blocks_for
from svdflow.svd.read.last_read import Factors
from svdflow.svd.subspace import Draw, Reader, Search, Subspace, hermitian
from svdflow.svd.widths import last_width

log = logging.getLogger(__name__)

# These end the search, so they move reads and bits. What other values do: benchmarks/results/constants.md.

NOISE = 16  # squared Ritz values that move by less than this times eps s_1^2 move by rounding; see svd/stopping.py
# Ritz values above CLEAR eps theta_1 take part in the half step, which divides images by their roots. From 1 to
# 10,000 nothing there changes.
CLEAR = 100
# Rates of half steps slow down from read to read, so the estimate takes a root of the last rate: the second, and the
# fourth above SLOW, where they may slow down a good deal. At 0.75 three results of 84 missed their tolerance, for 0.4
# reads fewer of 5.4.
SLOW = 0.5
# Rate at most that the estimate reckons with; what a geometric series still adds is 49 times its last term then.
# From 0.9 to 0.995 nothing there changes.
SLOWEST = 0.98
# Safety factor on the t^-2 error model of `_remaining`: without it 0.1 reads of 5.4 were saved, and at 0.5 errors came
# within 0.56 of the tolerance.
BULK = 1.5
# The t^-2 model counts where the last read gained more than this share of what the last whole step did: a geometric
# series at a good rate gains less. At 1/20 it took 0.2 reads more of 5.4.
SUBLINEAR = 1 / 5
# Share of the first half step's gain that is expected to be left, where the first block was learnt. At 0.05 and at 1 it
# took 0.1 reads more of 5.1.
FIRST_GAIN = 0.25
# Factor on what is expected to be left where blocks are narrower than the rank. At 1 it took 0.3 reads fewer of 7.7, at
# 32 as many more, and no result missed its tolerance.
NARROW = 8.0
# Columns of a learnt block that stay random, or an eighth of it where that is more: what the sampled rows lack is found
# through them. With 16 of 32 it took 0.4 reads more of 5.1.
LEAST_RANDOM = 4
# Length above which the part of a rejected Ritz vector that is new to the basis extends it; its image is divided by
# that length, and loses as many digits. At 1e-3 errors came within 0.9 of the tolerance, at 0.05 within 0.35.
NOVEL = 0.05


class KrylovSearch:
    """Right singular subspaces of growing Krylov spaces, until one survives its last read.

    `propose` reads until the triplets may be had to `tol` with one read more; `accepts` judges them by what that read
    changed. A rejected proposal is not lost: its image extends the basis.

    Notes
    -----
    Three squared values of each triplet rise towards ``s_i^2``, half a step of the power method apart: theta, the
    Ritz value of ``A^H A`` in K; g, of ``A^H`` in ``A K``; and after the last read y of ``A V`` and f of ``A^H U``.
    The estimated error is what a geometric series would still add; rates slow down, so the root of the last one is
    taken. Where a whole step gains little more than the last read, as in a bulk of close values, the error of step t
    falls like ``t^-2`` and the estimate follows from that.
    """

    def __init__(self, plan: Plan, reader: Reader, seed: int) -> None:
        self.plan, self.reader = plan, reader
        self.draw = Draw(seed, plan.tall.shape[1], plan.wide)
        n = plan.tall.shape[1]
        self.blocks = blocks_for(n, reader.engine)
        self.side = min(plan.tall.shape)
        self._K = np.empty((n, sum(plan.widths)), plan.wide, order="F")
        self._Z = np.empty_like(self._K)
        self.used = 0
        self.step = 0
        self.G = self.H = np.zeros((0, 0), plan.wide)
        self.g = self.reached = np.zeros(0)  # the latter at the newest step
        self.newest = slice(0, 0)  # columns of the newest step; those of rejected proposals are not continued
        self.gains: list[
            float
        ] = []  # what each whole step added to the squared values at most, over s_{k+1}^2
        narrow = plan.target.rank is not None and min(plan.widths[:2]) < plan.target.rank
        self.caution = NARROW if narrow else 1.0
        self.expected = self.half = inf
        self.rejected: tuple[float, float] | None = None  # the last estimate, and what steps had gained then
        self.saturated = self.learnt = self.missed = False

    @property
    def K(self) -> np.ndarray:
        return self._K[:, : self.used]

    @property
    def Z(self) -> np.ndarray:
        return self._Z[:, : self.used]

    def propose(self) -> Subspace:
        """Read on until one more read is expected to do, or until no more are allowed."""
        self._grow()
        while not (self.saturated or self._spent() or self._promising()):
            self._grow()
        k = self.k or self.used
        exact = self.saturated and self.plan.tall.shape[1] <= self.used
        # All of the space holds every vector, where squares lose those far below the first.
        V = self.K @ self.P if exact else self._ritz_vectors(min(last_width(k), self.used, self.side))
        return self.reader.found(
            V,
            "krylov",
            "saturated" if self.saturated else "converged",
            exact=exact,
            captured=float(np.sum(self.g[:k])),
            spread=sqrt(self.g[V.shape[1] - 1] / self.g[0])
            if V.shape[1] <= len(self.g) and self.g[0]
            else 0.0,
            sampled_rows=sum(stop - start for start, stop in self.plan.sample) if self.learnt else 0,
            judged_last=True,
        )

    def accepts(self, found: Subspace, last: Factors) -> bool:
        """Whether the factors are within `tol`; sets `found.estimate` and `found.reason`."""
        found.reads = self.reader.reads
        if self.saturated:
            return True
        found.estimate = inf if last.spectral.contradicts else self._estimate(last)
        if found.estimate <= self.plan.tol:
            return True
        if self.step >= len(self.plan.widths) - 1 or self._spent():
            found.reason = "max_reads"
            return True
        log.info(
            "%s: estimated accuracy %.1e after the last read; going on", self.plan.tall.name, found.estimate
        )
        self.missed = last.spectral.contradicts
        self.rejected = None if self.missed else (found.estimate, self._remaining())
        self.reader.reads += 1
        self.step += 1
        self._absorb(found.V, last.image)
        return False

    def _spent(self) -> bool:
        return self.step == len(self.plan.widths) or self.used == self._K.shape[1]

    def _promising(self) -> bool:
        """Whether one read more may do; after a rejection by that estimate, which falls like steps times their gain."""
        if self.rejected is None:
            return self.expected * self.caution <= self.plan.tol
        estimate, remaining = self.rejected
        return estimate * self._remaining() <= self.plan.tol * remaining

    def _remaining(self) -> float:
        """What the error is near to where it falls like t^-2, and so a step gains t^-3: t / 2 times that gain.

        Single gains waver, so of the last two the larger counts, the older as it would be now.
        """
        t, recent = len(self.gains), self.gains[-2:]
        if not np.isfinite(recent[-1]):
            return t * self.half / 2
        if len(recent) == 2 and np.isfinite(recent[0]):
            return t / 2 * max(recent[1], recent[0] * (1 - 1 / t) ** 3)
        return t / 2 * recent[-1]

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
        before = self.used
        self._append(*(self.reader.start(X) if self.used == 0 else (X, self.reader.gram_times(X))))
        self.newest = slice(before, self.used)
        self.step += 1
        self._project()
        self._expect()
        log.info(
            "%s: read %d, rank %s, %.1e expected",
            self.plan.tall.name,
            self.reader.reads,
            self.k,
            self.expected,
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
        self.used = new.stop
        self.G = _bordered(self.G, self.blocks.inner(self.K, Z))
        self.H = _bordered(self.H, self.blocks.inner(self.Z, Z))

    def _project(self) -> None:
        """Ritz values of the basis, and what half a step more makes of them."""
        values, vectors = np.linalg.eigh(hermitian(self.G))
        self.theta, self.P = np.maximum(values[::-1], 0), vectors[:, ::-1]
        self.k = k = self.plan.target.choose(np.sqrt(self.theta), self.reader.norm_squared)
        self.g, self.R = self._half_step(last_width(k or self.used))
        self.half = inf
        if k is not None and k <= len(self.g):
            self.half = max(0.0, float(np.max(self.g[:k] - self.theta[:k]))) / _unit(self.g, k)

    def _expect(self) -> None:
        """What one more read may leave, by how far the newest step moved the values."""
        before, self.reached = self.reached, self.g
        k = self.k
        if k is None or self.half == inf:
            self.expected = inf
            return
        unit = _unit(self.g, k)
        if self.half * unit <= self._noise():
            self.gains.append(inf)
            self.expected = 0.0
        elif len(before) < k:
            self.gains.append(inf)
            self.expected = FIRST_GAIN * self.half if self.learnt else inf
        else:
            self.gains.append(float(np.max(self.g[:k] - before[:k])) / unit)
            rest = max(float(np.max(self.theta[:k] - before[:k])) / unit, 1e-300)
            # The first whole step begins at random vectors and tells little of those to come.
            self.expected = self.half * min(1.0, self.half / rest) ** (1.0 if len(self.gains) > 2 else 0.5)

    def _half_step(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared singular values g of ``B = U^H A`` for an orthonormal basis U of ``A K``, and R with ``V = Z R``.

        ``B^H = Z P theta^{-1/2}``: half a step better than K P (Tropp and Webber 2023, section 5.2). Ritz values below
        rounding are left out, as the division would amplify noise.
        """
        clear = int(np.count_nonzero(self.theta > CLEAR * self._eps() * self.theta[0]))
        kept = min(clear, 2 * width)
        scaled = self.P[:, :kept] / np.sqrt(self.theta[:kept])
        g, W = np.linalg.eigh(hermitian(adjoint(scaled) @ (self.H @ scaled)))
        return np.maximum(g[::-1], 0), scaled @ W[:, ::-1]

    def _ritz_vectors(self, width: int) -> np.ndarray:
        """The `width` leading right vectors; below rounding those of K itself."""
        clear = min(width, self.R.shape[1], int(np.count_nonzero(self.g > self._noise())))
        fresh = partial(_fill, self.K.shape[0], self.plan.wide)
        if clear == 0:
            return orthonormalize(self.K @ self.P[:, :width])
        V = self.blocks.times(self.Z, self.R[:, :clear] / np.sqrt(self.g[:clear]))
        V = orthonormal_columns(V, fresh, self.blocks)
        if V.shape[1] < width:
            rest = self.K @ self.P[:, self.R.shape[1] :]
            V = np.concatenate([V, extend_basis(V, rest, fresh)[:, : width - V.shape[1]]], axis=1)
        return V

    def _estimate(self, last: Factors) -> float:
        """Estimated ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` of the factors of the last read."""
        k = len(last.s)
        f, y = last.s**2, last.before**2
        if k > len(self.g) or len(y) < k:
            return inf
        unit = _unit(self.g, k)
        first, second = (float(np.max(step)) / unit for step in (y[:k] - self.g[:k], f - y[:k]))
        if not last.polished:  # f is y
            first, second = self.half, first
        if max(first, second) * unit <= self._noise():
            return 0.0 if second <= 0 else second
        rate = min(SLOWEST, max(0.0, second / first) if first > 0 else SLOWEST)
        root = 4 if rate > SLOW else 2 if len(self.gains) > 1 or self.learnt else 3
        rate = rate ** (1 / root)
        estimate = second * rate / (1 - rate)
        whole, gain = self.gains[-1], first + second
        if np.isfinite(whole) and gain > SUBLINEAR * whole:
            estimate = max(estimate, BULK * self._remaining())
        return estimate

    def _absorb(self, V: np.ndarray, image: np.ndarray) -> None:
        """Extend the basis by what is new in a rejected V with its image ``A^H A V``."""
        C = self.blocks.inner(self.K, V)
        N, Z = self.blocks.minus(V, self.K, C), self.blocks.minus(image, self.Z, C)
        squares, E = np.linalg.eigh(hermitian(adjoint(N) @ N))
        E = E[:, squares > NOVEL**2] / np.sqrt(squares[squares > NOVEL**2])
        E = E[:, : min(E.shape[1], self.side - self.used, self._K.shape[1] - self.used)]
        if E.shape[1] and not self.missed:
            self._append(N @ E, Z @ E)
            self._project()
            self.saturated = self.used >= self.side

    def _noise(self) -> float:
        return NOISE * self._eps() * float(self.theta[0])

    def _eps(self) -> float:
        return float(np.finfo(self.plan.work).eps)


def _unit(g: np.ndarray, k: int) -> float:
    """``s_{k+1}^2``, as far as it is known."""
    following = float(g[k] if k < len(g) else g[-1])
    return following if following > 0 else 1e-300


def _fill(rows: int, dtype: np.dtype, count: int) -> np.ndarray:
    """Columns in the place of Ritz vectors that coincide: any will do, they stand for singular values of 0."""
    return gaussian(0, rows, count, dtype=dtype, first_column=2**20)


def _bordered(G: np.ndarray, new: np.ndarray) -> np.ndarray:
    """G with the new columns, and their adjoint as new rows."""
    old = G.shape[0]
    out = np.empty((new.shape[0], new.shape[0]), new.dtype)
    out[:old, :old] = G
    out[:, old:] = new
    out[old:, :old] = adjoint(new[:old])
    return out


class BlockKrylov(Algorithm):
    """``krylov``."""

    single = True

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return krylov_widths(tall, target, block_size, max_reads)

    def sample(self, tall: MatrixSource, width: int, seed: int) -> tuple[tuple[int, int], ...]:
        return sampled_rows(tall, width, seed)

    def columns(self, plan: Plan) -> int:
        return 2 * min(plan.tall.shape[1], sum(plan.widths))

    def search(self, plan: Plan, reader: Reader, seed: int) -> Search:
        return KrylovSearch(plan, reader, seed)

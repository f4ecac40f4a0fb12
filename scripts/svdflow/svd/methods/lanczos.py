"""Thick-restart block Lanczos on ``A^H A``: narrow blocks, many reads that cost little.

A Krylov space of narrow blocks needs fewer columns than one of wide blocks, and a sparse matrix in memory is read
cheaply. Beside the products a step takes one projection on the basis (`svdflow.svd.methods.lanczos_basis`). Ritz pairs
are looked at when the error, falling as it did, should be below the tolerance.

Blocks of b columns see no more than b copies of a repeated singular value. Where more than b triplets are wanted,
random probes and a few steps from a random vector beside the triplets tell of others, and then blocks become wider by
fresh random columns.
"""

import logging
from math import ceil, inf, log, sqrt

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.algorithm import DeviationsFirst
from svdflow.svd.methods.lanczos_basis import LanczosBasis, Pairs
from svdflow.svd.orthonormal import adjoint, extend_basis, orthonormal_columns, orthonormalize
from svdflow.svd.plan import Plan, Target
from svdflow.svd.probes import Probes
from svdflow.svd.read.kept_rows import KeptFactors
from svdflow.svd.read.last_read import LEAST_SPREAD, SHARP, Factors, precision
from svdflow.svd.ritz_errors import at_least, largest_beyond, largest_error
from svdflow.svd.stopping import NOISE
from svdflow.svd.subspace import Draw, Reader, Search, Subspace, hermitian
from svdflow.svd.widths import FINAL_EXTRA, FIRST_BLOCK, LANCZOS_BLOCK, lanczos_columns

logger = logging.getLogger(__name__)

# Blocks before the first look: what a second block adds to a random one tells little of what is left. With 2, values
# within a tolerance of 0.1 to 0.01 were off by up to 1.7 times that in 4 of 1,250 matrices.
FIRST_LOOK = 3
# Columns between looks at the Ritz pairs while nothing tells when they will do: a look takes less than a step.
LOOK = 32
# Steps from a random vector that look for what blocks missed: a value 15 % above the least one, squared, is found in
# matrices of 50,000 columns (Kuczynski and Wozniakowski 1992).
SEARCHED = 8
# The error falls ever faster: of the steps that it would take at its pace so far only BOLD are taken before the next
# look, and at most PATIENCE times those between the last two.
BOLD, PATIENCE = 0.75, 2.0


class LanczosSearch:
    """Right Ritz vectors to a tolerance, in memory for `lanczos_columns`, and a few more for a while.

    Parameters
    ----------
    plan : Plan
    reader : Reader
    seed : int
    block : int
        Columns multiplied in a read.

    Notes
    -----
    ``info.reason`` is ``converged``, ``max_reads`` or ``saturated``. `estimate` is that of
    `svdflow.svd.ritz_errors`, from the Ritz values with and without the newest block.
    """

    def __init__(self, plan: Plan, reader: Reader, seed: int, *, block: int = LANCZOS_BLOCK) -> None:
        self.plan, self.reader = plan, reader
        self.asked = plan.target.rank or FIRST_BLOCK
        self.block = block
        n = plan.tall.shape[1]
        self.side = min(plan.tall.shape)
        self.draw = Draw(seed, n, plan.wide)
        self.probes = Probes(plan, reader, seed)
        room = min(n, lanczos_columns(self.asked, n, block) + block)
        self.basis = LanczosBasis(n, room, plan.work, reader.engine, self.draw)
        self.most_reads = len(plan.widths)
        self.eps = float(np.finfo(plan.work).eps)
        self.pairs = Pairs()
        self.error, self.looked = inf, 0  # at the last look, and the read it came after
        self._image_of: Pairs | None = None
        self._AhU = np.zeros((n, 0))

    def propose(self) -> Subspace:
        """Read on until the triplets are within `tol`, or until no more reads are allowed."""
        basis, due = self.basis, max(FIRST_LOOK, 1 + ceil((self.asked + FINAL_EXTRA) / self.block))
        basis.begin(orthonormalize(self.draw(min(self.block, self.side))))
        while True:
            basis.expand(self.probes.image(basis.X))
            saturated = basis.width == 0
            room = self._capacity()
            full = self.pairs.k is not None and basis.used + basis.width > room
            ended = saturated or not basis.S.any()
            if not (ended or full or self.reader.reads >= min(due, self.most_reads)):
                continue
            due = self._look()
            done = self.error <= self.plan.tol
            missed = done and not saturated and (self._overlooked() or self._hidden())
            if saturated or self.reader.reads >= self.most_reads or (done and not missed):
                break
            if missed:  # fresh columns have as long a way to go as the first ones had
                basis.widen(self.block)
                due = self.reader.reads + basis.used // basis.width // 2
            if full:
                basis.restart(self._kept())
        return self._found("saturated" if saturated else "converged" if done and not missed else "max_reads")

    def accepts(self, found: Subspace, last: Factors) -> bool:
        """The search knows when it is done; what the last read has to say on it goes to `found.reason`."""
        if last.spectral.contradicts:
            found.reason = "unresolved"
        return True

    def _capacity(self) -> int:
        return lanczos_columns(self.pairs.k or self.asked, self.basis.n, max(self.block, self.basis.width))

    def _kept(self) -> int:
        """Ritz vectors that a restart keeps: those that are wanted, and half of the room that is left."""
        k = self.pairs.k or self.asked
        return min(k + (self._capacity() - k) // 2, self.basis.used - 1)

    def _look(self) -> int:
        """Ritz pairs of the basis and the error of those that are wanted; the read after which to look again."""
        error, reads, basis = self.error, self.reader.reads, self.basis
        if self.plan.tall.matrix_free:
            self.reader.refine(basis.K, basis.images(), basis.T)
        self.pairs = pairs = basis.pairs(self.plan.target, self.reader.norm_squared, self.eps)
        self.error = float(pairs.errors.max(initial=0.0)) if pairs.k else inf
        if self.error <= self.plan.tol and self.probes.images is not None:
            self.error = max(self.error, self._at_least(self.probes.images))
        passed, self.looked = reads - self.looked, reads
        logger.info("%s: read %d, rank %s, error %.1e", self.plan.tall.name, reads, pairs.k, self.error)
        fell = log(error / self.error) if self.plan.tol < self.error < error < inf else 0.0
        if fell <= 0:
            return reads + max(1, LOOK // self.block)
        steps = passed * log(self.error / max(self.plan.tol, self.eps)) / fell
        return reads + max(1, int(min(BOLD * steps, PATIENCE * passed)))

    def _at_least(self, images: np.ndarray) -> float:
        """The error if what the basis lacks were all as large as the largest value that probes see beyond it."""
        pairs, basis = self.pairs, self.basis
        own = min(pairs.k or 0, len(pairs.g))
        gain, noise = pairs.g[:own] - pairs.theta[:own], NOISE * self.eps * float(pairs.theta[0])
        if not (gain > noise).any():
            return 0.0
        W = self.probes.vectors
        beyond = largest_beyond(W, basis.beyond(W, images), noise)
        c = at_least(pairs.theta[:own], beyond, self.plan.tol)
        return largest_error(c, gain, noise) / float(pairs.g[min(own, len(pairs.g) - 1)])

    def _overlooked(self) -> bool:
        k = self.pairs.k
        return k is not None and self.probes.overlooked(self._adjoint_U()[:, :k], self.pairs.g[:k], self.eps)

    def _hidden(self) -> bool:
        """Whether a random vector finds more beside the triplets than the least of them.

        Lanczos on ``E^H E`` of ``E = A - U U^H A``, whose largest Ritz value is at most ``||E||^2``. Blocks as wide as
        the rank miss no copies that are wanted.
        """
        k = self.pairs.k
        if k is None or k <= self.block or k > len(self.pairs.g):
            return False
        AhU, least = self._adjoint_U()[:, :k], self.pairs.g[k - 1]
        least += self.plan.tol * least + NOISE * self.eps * self.pairs.theta[0]
        Q = np.asarray(orthonormalize(self.draw(1)))
        images = Q[:, :0]
        for step in range(min(SEARCHED, self.most_reads - self.reader.reads)):
            image = self.reader.gram_times(Q[:, step:])
            image = image - AhU @ (adjoint(AhU) @ Q[:, step:])
            images = np.concatenate([images, image], axis=1)
            if float(np.linalg.eigvalsh(hermitian(adjoint(Q) @ images))[-1]) > least:
                logger.info("%s: read %d, copies are missing", self.plan.tall.name, self.reader.reads)
                return True
            Q = np.concatenate([Q, extend_basis(Q, image, self.draw)], axis=1)
        return False

    def _adjoint_U(self) -> np.ndarray:
        """``A^H U`` of the pairs of the last look, rotated to their `g`; before the basis is cut back."""
        if self._image_of is not self.pairs:
            self._image_of, self._AhU = self.pairs, self.basis.times(self.pairs.half).astype(self.plan.wide)
        return self._AhU

    def _found(self, reason: str) -> Subspace:
        pairs, basis = self.pairs, self.basis
        exact = reason == "saturated" and self.plan.work == self.plan.wide
        k = pairs.k or min(basis.used, self.side)
        width = min(k + FINAL_EXTRA, basis.used, self.side)
        kept = self._clear(exact)
        found = self.reader.found(
            basis.K[:, :0] if kept else self._vectors(width, exact),
            "lanczos",
            reason,
            exact=exact,
            estimate=0.0 if exact else min(self.error, 1e300),
            captured=float(np.sum(pairs.theta[:k])),
            spread=sqrt(pairs.theta[width - 1] / pairs.theta[0]) if pairs.theta[0] > 0 and not exact else 0.0,
        )
        if kept:
            found.kept = self._kept_factors(k)
        return found

    def _vectors(self, width: int, exact: bool) -> np.ndarray:
        """Right vectors, half a step further than Ritz vectors where rounding lets them."""
        pairs = self.pairs
        if exact:  # all of the space holds every vector, where squares lose those far below the first
            V = self.basis.K.astype(self.plan.wide, copy=False)
        elif len(pairs.g) < width:
            V = self.basis.times(pairs.P[:, :width]).astype(self.plan.wide, copy=False)
        else:
            V = self._adjoint_U()[:, :width] / np.sqrt(pairs.g[:width])
        return np.asarray(orthonormal_columns(V, self.draw))

    def _clear(self, exact: bool) -> bool:
        """Whether half a read will do for U: what is known of squares has the digits that are asked for."""
        pairs, k = self.pairs, self.pairs.k
        if exact or self.probes.images is None or self.reader.rows is None or k is None or k >= len(pairs.g):
            return False
        spread = sqrt(pairs.g[-1] / pairs.g[0])
        left = self.reader.norm_squared - float(np.sum(pairs.g[:k]))
        enough = precision(self.plan, left, self.reader.norm_squared, spread) == self.plan.work
        # Of the stored rows too, of which U is made.
        noise = NOISE * max(self.eps, float(np.finfo(self.plan.output).eps)) * pairs.theta[0]
        return enough and spread > LEAST_SPREAD and noise <= self.plan.tol * pairs.g[k]

    def _kept_factors(self, k: int) -> KeptFactors:
        """The triplets, for U from half a read: ``U = A K C`` with ``C = P theta^-1/2``."""
        pairs, width = self.pairs, min(k + FINAL_EXTRA, len(self.pairs.g))
        assert self.probes.images is not None
        return KeptFactors(
            self.reader.rows_of(self.basis.times(pairs.C[:, :width])),
            np.eye(width),
            self._adjoint_U()[:, :width],
            np.sqrt(pairs.theta[:width]),
            pairs.residuals[:k],
            self.probes.vectors,
            self.probes.images,
        )


class ThickRestartLanczos(DeviationsFirst):
    """``lanczos``."""

    reads = 500

    def widths(
        self, tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
    ) -> tuple[int, ...]:
        return (min(LANCZOS_BLOCK, *tall.shape),) * ((max_reads or self.reads) - 1)

    def in_single(self, source: MatrixSource, target: Target, tol: float) -> bool:
        """Not where the basis may become all of the space: then it knows every value, the least ones too."""
        side = min(source.shape)
        roomy = target.rank is not None and lanczos_columns(target.rank, side, LANCZOS_BLOCK) < side
        return tol >= SHARP and roomy

    def columns(self, plan: Plan) -> int:
        rank = plan.target.rank or FIRST_BLOCK
        n = plan.tall.shape[1]
        return lanczos_columns(rank, n, LANCZOS_BLOCK) + 3 * min(n, rank + LANCZOS_BLOCK)

    def makes_rows(self, plan: Plan) -> bool:
        return True

    def standardized(self, plan: Plan, max_reads: int | None) -> Plan:
        """The search counts all reads itself, so the plan stays; it has to leave one."""
        super().standardized(plan, max_reads)
        return plan

    def search(self, plan: Plan, reader: Reader, seed: int) -> Search:
        return LanczosSearch(plan, reader, seed)

"""The search for right singular subspaces: what every method shares, and what it finds."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from svdflow.compute.engine import Engine
from svdflow.errors import NonFiniteError
from svdflow.svd.orthonormal import adjoint, orthonormal_columns
from svdflow.svd.plan import MIXED, Plan
from svdflow.svd.random_blocks import gaussian
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.read.facts import Facts
from svdflow.svd.read.moments import SAFE_NORM, deviations
from svdflow.svd.read.panel_work import (
    Bounds,
    FusedRead,
    ImageRead,
    LastRead,
    LastSums,
    RowsRead,
    SquareRead,
    Sums,
    TriangularRead,
    triangle,
)
from svdflow.svd.read.square_sums import mirrored

log = logging.getLogger(__name__)

# Least over largest singular value that a first block keeps after its rows were divided by deviations: its image is
# divided by them, so 1e-3 costs three digits at most. Smaller directions are left out, and the block is narrower.
LEAST_START = 1e-3
# Share that directions learnt from half of the sampled rows must hold of the other half's energy, over that of as many
# random ones, to be believed of all rows. On 20,000 x 4,000 with s_i = i^-1/4 it is 2.5, and one read in five is saved.
AGREEMENT = 2.0
# Largest exponent of the power of two by which entries are scaled, by bytes of a real number: the scale and its inverse
# must be finite and normal numbers themselves (float32 ends at 2^127, float64 at 2^1023).
LARGEST_POWER = {4: 100, 8: 1000}


@dataclass
class Subspace:
    """Right Ritz vectors `V` (n, l) of the tall matrix, and what the reads told on the way.

    All figures are of the matrix times `panels.scale`. `norm_squared` came from `uncentred` by a difference of sums
    where the mean was taken off so. `mean` is what is left of the column means after
    `panels.shift`.
    """

    panels: Panels
    V: np.ndarray
    method: str
    reads: int
    reason: str
    exact: bool
    norm_squared: float
    uncentred: float
    mean: np.ndarray | None
    row_means: np.ndarray | None
    estimate: float = 0.0
    spread: float = 0.0  # least over largest singular value of A V, as far as the search saw it
    sampled_rows: int = 0  # number of rows that the first block was learnt from
    spectrum: np.ndarray | None = None
    captured: float = np.inf  # energy of the wanted triplets, as far as the search saw it
    rank: int | None = None  # chosen already, where all singular values were known
    deviation: np.ndarray | None = None  # standard deviations of columns, which these are divided by
    row_deviations: np.ndarray | None = None
    sharp: bool = False  # `spectrum` was computed from A, not from its square
    judged_last: bool = False  # the search judges its factors itself
    gram: np.ndarray | None = None  # A^H A (n, n), where it is known
    kept: Any = None  # `svdflow.svd.read.kept_rows.KeptFactors`, where the factors take no other read
    norm_estimated: bool = False  # `norm_squared` is an estimate

    @property
    def known_norm(self) -> float | None:
        """``||A||_F^2``, or None where it is an estimate, which final factors make better."""
        return None if self.norm_estimated else self.norm_squared


class Search(Protocol):
    """How a method is driven: propositions are made until one is accepted after its last read."""

    def propose(self) -> Subspace: ...

    def accepts(self, found: Subspace, last: Any) -> bool: ...


class OneProposal:
    """A method that knows when to stop before the last read: `find` makes its only proposition."""

    def __init__(
        self, find: Callable[[Any, "Reader", int], Subspace], plan: Plan, reader: "Reader", seed: int
    ):
        self._find = partial(find, plan, reader, seed)

    def propose(self) -> Subspace:
        return self._find()

    def accepts(self, found: Subspace, last: Any) -> bool:
        if last.spectral.contradicts:
            found.reason = "unresolved"
        return True


def unit_scale(peak: float, dtype: np.dtype) -> float:
    """A power of two that brings entries of magnitude `peak` near one, as near as `dtype` can hold the power."""
    most = LARGEST_POWER[np.finfo(dtype).dtype.itemsize]
    return 2.0 ** float(np.clip(-np.floor(np.log2(peak)), -most, most))


class Reader:
    """Counts reads, keeps what the first one told, and takes the mean off every product."""

    def __init__(
        self, plan: Plan, panels: Panels, engine: Engine, journal: Any = None, rows: Any = None
    ) -> None:
        self.plan, self.panels, self.engine, self.journal = plan, panels, engine, journal
        self.work = plan.work  # precision of the products of reads
        self.fast = panels.device.fast if plan.precision == MIXED else None  # their fast form
        self.rows = rows  # `svdflow.svd.read.kept_rows.KeptRows`, where rows of A X are kept
        self.reads = 0
        self.images: np.ndarray | None = None  # of the probes of a search, where a first read made them
        self.norm_squared = self.uncentred = 0.0
        self.mean: np.ndarray | None = None
        self.row_means: np.ndarray | None = None
        self.deviation: np.ndarray | None = None
        self.row_deviations: np.ndarray | None = None

    def start(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first block of a basis and its image, by the first read; X (n, b) where that can be multiplied.

        Standard deviations D are known after that read only. So it multiplies ``P = D_0^-1 X`` for those of the first
        panel, and the block is an orthonormal basis of ``D P``: ``A D^-1 (D P) = A P``. It is narrower than X where D
        and D_0 have so little in common that columns come to depend on each other.
        """
        if self.panels.standardize != "columns":
            return X, self.gram_times(X)
        assert self.panels.pilot is not None
        plain = X / self.panels.pilot[:, None]
        image = self._first(plain)
        assert self.deviation is not None
        Q, s, Th = np.linalg.svd(self.deviation[:, None] * plain, full_matrices=False)
        kept = s > LEAST_START * s[0]
        T = adjoint(Th)[:, kept] / s[kept]
        if self.rows is not None and self.rows.by_reads:
            self.rows.blocks[-1].transform = T
        return Q[:, kept], (image / self.deviation[:, None]) @ T

    def gram_times(self, X: np.ndarray | None, *, kept: int | None = None) -> np.ndarray:
        """``A^H A X``, or ``A^H A`` without X, of the centred and standardized matrix.

        Rows of ``A X`` are kept where the reader has a place for them, of `kept` columns or of all.
        For a given X, standardizing columns takes a read for their deviations before the first product.
        """
        if self.panels.standardize != "columns":
            return self._image(X, kept) if self.reads else self._first(X)
        if X is None:
            image = self._image(X) if self.reads else self._first(X)
            assert self.deviation is not None
            return image / self.deviation / self.deviation[:, None]
        if not self.reads:
            self._first(np.zeros((len(X), 1), X.dtype))
        assert self.deviation is not None
        return self._image(X / self.deviation[:, None], kept) / self.deviation[:, None]

    def _image(self, X: np.ndarray | None, kept: int | None = None) -> np.ndarray:
        return self._centred(adjoint(self._read(X, first=False, kept=kept).product), X)

    def _first(self, X: np.ndarray | None) -> np.ndarray:
        """The image of the centred matrix, and all facts."""
        sums = self._read(X, first=True)
        # Of the factors' precision, too, where it is less than that of sums: rows of A V are kept in it.
        low, high = SAFE_NORM[np.finfo(self.plan.output).dtype.itemsize]
        if sums.facts.peak > 0 and not low < sums.facts.norm_squared < high:
            self.panels = self.panels.rescaled(unit_scale(sums.facts.peak, self.plan.output))
            if self.rows is not None:
                self.rows.drop()
            sums = self._read(X, first=True)
        facts = sums.facts
        self.norm_squared, self.uncentred, self.row_means = (
            facts.norm_squared,
            facts.uncentred,
            facts.row_means,
        )
        self.row_deviations = facts.row_deviations
        if self.panels.center == "columns":
            m = self.plan.tall.shape[0]
            self.mean = facts.column_sums / m
            # ||A - 1 mu^T||^2 = ||A||^2 - m |mu|^2
            self.norm_squared = max(0.0, facts.norm_squared - m * float(np.vdot(self.mean, self.mean).real))
        if self.panels.standardize == "columns":
            rows = self.plan.tall.shape[0]
            # Of the columns as they are: what is constant goes by their own means, not by what a pilot left.
            shift = 0.0 if self.panels.shift is None else self.panels.shift
            moments = facts.column_sums + rows * shift, np.sqrt(facts.column_squares)
            self.deviation = deviations(*moments, rows, self.panels.scale)
            self.uncentred = facts.energy(self.deviation)
            self.norm_squared = facts.energy(self.deviation, 0.0 if self.mean is None else self.mean)
        return self._centred(adjoint(sums.product), X)

    def learn(self, X: np.ndarray) -> np.ndarray | None:
        """Two steps of the power method on the plan's sample of rows, shape of X, where that tells of the whole.

        The first takes one half of the sample, and whether it tells is asked of the other: directions learnt from rows
        that are like all others hold more of its energy than random ones. The second takes both; its columns come in
        the order of what they hold. None where halves do not agree, without a sample, and where it has NaN.
        """
        halves = [self._sampled(self.plan.sample[part::2]) for part in (0, 1)] if self.plan.sample else []
        if not halves:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            image, _ = halves[0](X)
            if not np.isfinite(image).all() or not image.any():
                return None
            Q = orthonormal_columns(image, partial(gaussian, 0, len(X), dtype=X.dtype))
            products = [half(Q) for half in halves]
            shares = [float(np.vdot(Q, image).real) / max(energy, 1e-300) for image, energy in products]
        log.info(
            "%s: a sample of rows holds %.2f of its energy in a block, others %.2f",
            self.plan.tall.name,
            *shares,
        )
        if not shares[1] >= AGREEMENT * X.shape[1] / len(X):
            return None
        image = products[0][0] + products[1][0]
        return np.asarray(image @ np.linalg.eigh(hermitian(adjoint(Q) @ image))[1][:, ::-1])

    def _sampled(self, rows: Sequence[tuple[int, int]]) -> Callable[[np.ndarray], tuple[np.ndarray, float]]:
        """From X to ``S^H S X`` and the energy of S, the rows with columns divided by the pilot deviations."""
        panels, groups = self.panels, (tuple(rows[::2]), tuple(rows[1::2]))
        pilot = np.ones(self.plan.tall.shape[1]) if panels.pilot is None else panels.pilot

        def product(X: np.ndarray) -> tuple[np.ndarray, float]:
            sums = self.engine.reduce(FusedRead(panels, X / pilot[:, None], True), groups, Sums.plus)
            if sums.facts.non_finite is not None:
                return np.full_like(X, np.nan), 0.0
            energy = sums.facts.norm_squared if panels.pilot is None else sums.facts.energy(pilot)
            return adjoint(sums.product) / pilot[:, None], energy

        return product

    def refine(self, K: np.ndarray, Z: np.ndarray, G: np.ndarray) -> None:
        """Better estimates by an orthonormal basis K, ``Z = A^H A K`` and ``G = K^H Z``: here nothing is estimated."""

    def sharpen(self, work: np.dtype) -> None:
        """Multiply in that precision from now on. Rows that were kept have less, and are given up."""
        if self.fast:
            self.panels.device.notes.append(
                f"{self.fast.name} fell short: the search went on in full precision"
            )
        self.work, self.fast = work, None
        if self.rows is not None:
            self.rows.close()
            self.rows = None

    def resolution(self, asked: np.dtype) -> np.dtype:
        """The precision that the last read had, where another was asked for."""
        return asked

    def triangle(self) -> np.ndarray:
        """R of a QR factorization of the centred and standardized matrix, shape (n, n); the means come anew with it."""
        self.reads += 1
        centred, n = self.mean is not None, self.plan.tall.shape[1]
        R = self.engine.reduce(TriangularRead(self.panels, centred), self.plan.groups, triangle)
        if centred:
            self.mean = R[0, 1:] / R[0, 0]
            R = R[1:, 1:]
        R = np.concatenate([R, np.zeros((n - len(R), n), R.dtype)])
        return R if self.deviation is None else R / self.deviation

    def found(self, V: np.ndarray, method: str, reason: str, *, exact: bool, **more: Any) -> Subspace:
        return Subspace(
            self.panels,
            V,
            method,
            self.reads,
            reason,
            exact,
            self.norm_squared,
            self.uncentred,
            self.mean,
            self.row_means,
            deviation=self.deviation,
            row_deviations=self.row_deviations,
            **more,
        )

    def _read(self, X: np.ndarray | None, *, first: bool, kept: int | None = None) -> Sums:
        self.reads += 1
        known = self.journal.recall(self.reads, X) if self.journal else None
        width = 0 if X is None else kept or X.shape[1]
        scratch = None if self.rows is None else self.rows.add(X, width, read=known is None)
        if known is not None:
            return known
        sums = self._sums(X, first, scratch, width)
        if sums.facts.non_finite is not None:
            raise NonFiniteError(sums.facts.non_finite)
        if self.journal:
            self.journal.record(self.reads, X, sums)
        return sums

    def _sums(self, X: np.ndarray | None, first: bool, scratch: Any = None, kept: int = 0) -> Sums:
        backwards = self.reads % 2 == 0  # what the last read left in a cache comes first
        panels = replace(self.panels, work=self.work, fast=self.fast)
        X = None if X is None else np.ascontiguousarray(X, self.work)
        combine = Sums.joined if self.engine.in_process else Sums.plus
        if X is None and not self.plan.tall.sparse and self.panels.device.name == "numpy":
            square = SquareRead(panels, first)
            sums = self.engine.reduce(square, self.plan.groups, combine, backwards=backwards)
            return (
                sums if sums.facts.non_finite is not None else replace(sums, product=mirrored(sums.product))
            )
        task = FusedRead(panels, X, first, scratch, kept)
        return self.engine.reduce(task, self.plan.groups, combine, backwards=backwards)

    def recentred(self) -> np.ndarray:
        """``A^H A`` anew, of panels from which the means are taken off, now that they are known."""
        assert self.mean is not None
        shift = self.mean if self.panels.shift is None else self.panels.shift + self.mean
        self.panels = replace(self.panels, shift=shift.astype(self.plan.work).astype(self.plan.wide))
        if self.panels.standardize == "columns":
            image = self._first(None)
            assert self.deviation is not None
            return image / self.deviation / self.deviation[:, None]
        return self._first(None)

    def image(self, X: np.ndarray, scratch: Any, *, square: bool) -> np.ndarray | None:
        """Half a read: ``A X`` to the scratch, and ``X^H A^H A X`` of what was written where that is asked for.

        It does not count here, as it may be one of several.
        """
        X = X if self.deviation is None else X / self.deviation[:, None]
        task = ImageRead(self.panels, X, self.mean, scratch, square)
        total = self.engine.reduce(task, self.plan.groups, np.add, backwards=self.reads % 2 == 1)
        return total if square else None

    def write_rows(self, blocks: tuple[tuple[np.ndarray, Any, int], ...]) -> None:
        """Rows of ``A X`` to their scratch, for each X and its width; half the products of a read."""
        self.engine.reduce(RowsRead(self.panels, blocks), self.plan.groups, _done)

    def rows_of(self, X: np.ndarray) -> Any:
        """`rows`, which will be those of ``A X``, of the centred and standardized matrix."""
        self.rows.of(X if self.deviation is None else X / self.deviation[:, None])
        return self.rows

    def last(self, task: LastRead) -> LastSums:
        """The read that gives U; it does not count here, as it may be one of several."""
        if self.deviation is None:
            return self._last(task)
        sums = self._last(replace(task, X=task.X / self.deviation[:, None]))
        return replace(sums, product=sums.product / self.deviation)

    def _last(self, task: LastRead) -> LastSums:
        return self.engine.reduce(task, self.plan.groups, LastSums.plus, backwards=self.reads % 2 == 1)

    def _settled(self, task: LastRead, Y: np.ndarray, image: np.ndarray) -> LastSums:
        """The last read of rows that are all there: they wait in its scratch, and add up to their triangle."""

        def keep(group: Bounds) -> LastSums:
            rows = Y[group[0][0] : group[-1][1]]
            task.scratch.write(group[0][0], rows)
            rows = rows.astype(self.plan.wide, copy=False)
            square, R = (adjoint(rows) @ rows, None) if task.by_square else (None, triangle(rows))
            return LastSums(0.0, square, R, Facts())

        sums = self.engine.reduce(keep, self.plan.groups, LastSums.plus)
        return replace(sums, product=adjoint(image))

    def _centred(self, Z: np.ndarray, X: np.ndarray | None) -> np.ndarray:
        if self.mean is None:
            return Z
        # (A - 1 mu^T)^H (A - 1 mu^T) = A^H A - m conj(mu) mu^T
        mean_X = self.mean if X is None else self.mean @ X
        return Z - self.plan.tall.shape[0] * np.outer(self.mean.conj(), mean_X)


class Draw:
    """Successive columns of the seed's test matrix."""

    def __init__(self, seed: int, rows: int, dtype: np.dtype) -> None:
        self._seed, self._rows, self._dtype, self._drawn = seed, rows, dtype, 0

    def __call__(self, columns: int) -> np.ndarray:
        out = gaussian(self._seed, self._rows, columns, first_column=self._drawn, dtype=self._dtype)
        self._drawn += columns
        return out


def _done(one: None, other: None) -> None:
    """What tasks that only write add up to."""


def hermitian(G: np.ndarray) -> np.ndarray:
    return (G + adjoint(G)) / 2

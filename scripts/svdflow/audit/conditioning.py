"""How far the singular values of a plane, and what is computed from them, can be trusted.

A sampled plane gets a full decomposition of its own, checked as LAPACK checks itself, and its stored
factors are held against it. Of every other plane only what the stored factors prove is said, and their error where
the values are at hand.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import Any

import numpy as np

from svdflow.audit.decomposition import FAMILY, Full, Limits
from svdflow.audit.records import Record, attempt, publish_records
from svdflow.audit.stored_factors import compared_records, recorded_records, stored_records
from svdflow.audit.verdicts import Verdict
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.registry import AUDITS
from svdflow.registry.limits import resolve
from svdflow.store import Factors, Item, StoredArray, StoredGroup, open_published, read_array
from svdflow.store import factors as stored_factors
from svdflow.store import items as stored_items
from svdflow.store.error_rows import error_row

CHEAP_VALUES = (
    2**21
)  # values (16 MB) up to which a plane outside the sample is read to check its recorded error
CHEAP_WORK = (
    2**28
)  # multiplications (a hundredth of a second) up to which it is multiplied out; else nothing is said


def audit_matrix(
    A: Any, *, subject: str = "matrix", thresholds: Mapping[str, float] | None = None
) -> list[Record]:
    """Singular values, rank and condition: computed, checked as LAPACK checks itself, and enclosed with proof.

    Parameters
    ----------
    A : array_like, shape (m, n), real or complex
        Decomposed in full in float64: 4 m n min(m, n) operations and three times its memory.
    subject : str
        Name of the matrix in the records.
    thresholds : mapping, optional
        Overrides of the declared limits (docs/audits.md), as ``{"svd_residual.fail": 30}``.

    Returns
    -------
    records : list of Record
        One a check; a single ERROR with its reason where the input cannot be audited.

    Examples
    --------
    >>> import numpy as np
    >>> [r] = [r for r in audit_matrix(np.diag([4.0, 2.0])) if r.audit == "condition_number"]
    >>> r.value, str(r.verdict)
    (2.0, 'PASS')
    """
    limits = resolve(thresholds)
    return attempt(FAMILY, "matrix", subject, lambda: matrix_records(Full.of(A), limits, subject))


def matrix_records(
    full: Full, limits: Limits, subject: str, truth: np.ndarray | None = None
) -> Iterator[Record]:
    """What all audits that examine matrices say of one; `truth` are its singular values, where they are known."""
    for audit in AUDITS.values():
        if audit.examines == "matrix":
            run = partial(audit.code(), full, limits, subject, truth)
            yield from attempt(audit.family, audit.name, subject, run)


def audit_conditioning_shard(
    matrices: Any,
    factors: Any,
    out: Any,
    *,
    dataset: str,
    shard: int,
    items: list[int],
    full_up_to: int,
    thresholds: Mapping[str, float],
    runtime: Runtime = ALONE,
) -> None:
    """Stage: audit the level-0 planes of a shard and publish the tables ``audit`` and ``errors``.

    Parameters
    ----------
    matrices, factors : path
        The shard's matrices and factors.
    out : path
        File of kind ``audit``.
    items : list of int
        Sampled items: their planes get a full decomposition where both sides are at most `full_up_to`.
    thresholds : mapping
        Overrides of the declared limits (docs/audits.md).
    """
    limits, sampled = resolve(thresholds), set(items)
    records: list[Record] = []
    errors: list[dict[str, Any]] = []
    with open_published(matrices, "matrices") as source, open_published(factors, "factors") as stored:
        by_plane = {(f.index, f.plane): f for f in stored_factors(stored) if f.level == 0}
        for item in stored_items(source):
            try:
                found: list[Record] = []
                for name in _planes(item, by_plane):
                    plane = Plane(item, name, by_plane.get((item.index, name)), str(matrices), str(factors))
                    full = item.index in sampled and plane.fits(full_up_to) and not item.gaps
                    where = {"dataset": dataset, "shard": int(shard), "item": item.index, "plane": name}
                    found += [record.at(**where) for record in _plane_panel(plane, full, limits)]
                records += found
            except Exception as error:
                errors.append(error_row(dataset, item.index, item.name, "audit", error))
    publish_records(out, records, errors, runtime.provenance)


@dataclass(frozen=True)
class Plane:
    """One plane of an item as it is stored: its values, if they are here, and its factors, if it has any."""

    item: Item
    name: str
    factors: Factors | None
    matrices_path: str
    factors_path: str

    @property
    def stored(self) -> StoredArray | StoredGroup | None:
        return self.item.observations[0].planes.get(self.name)

    def fits(self, side: int) -> bool:
        """Whether the values are dense, here, and small enough to decompose in full."""
        return isinstance(self.stored, StoredArray) and max(self.stored.shape) <= side

    @property
    def cheap(self) -> bool:
        """Whether the values are dense, here, and one product with the factors is soon done."""
        if self.factors is None or not isinstance(self.stored, StoredArray):
            return False
        return self.stored.size <= CHEAP_VALUES and self.stored.size * len(self.factors.s) <= CHEAP_WORK

    @property
    def truth(self) -> np.ndarray | None:
        """The true singular values, where the generator knows them exactly."""
        known = self.item.truth
        exact = known is not None and known.attrs.get("label") == "exact"
        return read_array(known) if exact else None

    def command(self, *, matrix: bool = False, factors: bool = False) -> str:
        """The line that repeats a check on this plane."""
        parts = []
        if matrix and self.stored is not None:
            parts.append(f"{self.matrices_path}:{self.stored.name}")
        if factors and self.factors is not None:
            parts.append(f"{self.factors_path}:{self.factors.group.name}")
        return f"python -m svdflow audit {quote('+'.join(parts))}"


def _planes(item: Item, by_plane: Mapping[tuple[int, str], Factors]) -> list[str]:
    """Names of the planes, from the observation or, for a linked matrix, from its factors."""
    here = list(item.observations[0].planes)
    return here or [plane for index, plane in by_plane if index == item.index]


def _plane_panel(plane: Plane, full: bool, limits: Limits) -> Iterator[Record]:
    """All checks of one plane."""
    subject = plane.item.name
    if full:
        whole = Full.of(read_array(plane.stored))
        command = plane.command(matrix=True)
        yield from _reproduced(matrix_records(whole, limits, subject, plane.truth), command)
    if plane.factors is None:
        gaps = plane.item.gaps
        reason = f"{gaps} pixels are missing" if gaps else "no stored factors of this plane"
        yield Record(FAMILY, "stored_factors", subject, verdict=Verdict.SKIP, reason=reason)
        return
    group = plane.factors.group
    yield from _reproduced(
        stored_records(group, limits, subject, plane.truth, alone=not full), plane.command(factors=True)
    )
    if full:
        command = plane.command(matrix=True, factors=True)
        yield from _reproduced(compared_records(whole, group, limits, subject), command)
    elif plane.cheap:
        command = plane.command(matrix=True, factors=True)
        values = read_array(plane.stored)
        yield from _reproduced(recorded_records(values, group, limits, subject), command)


def _reproduced(records: Iterator[Record], command: str) -> Iterator[Record]:
    return (record.at(reproduce=command) for record in records)

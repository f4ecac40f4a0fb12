"""Runs the audits that need no data, each once in an environment: what an earlier run found is taken from the cache."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from svdflow.audit.records import Record, publish_records
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.registry import AUDITS, Audit
from svdflow.registry.limits import nearest, resolve
from svdflow.selfcheck.cache import Cache
from svdflow.selfcheck.findings import Findings, Limits
from svdflow.selfcheck.kill_rate import FAMILY as MUTANTS

log = logging.getLogger("svdflow")


def run(
    names: Sequence[str] | None = None,
    *,
    seed: int = 42,
    thresholds: Mapping[str, float] | None = None,
    cache: bool = True,
) -> list[Record]:
    """Examine this installation: solvers, laws, arithmetic, derivatives, and whether audits catch planted faults.

    Parameters
    ----------
    names : sequence of str, optional
        Audits (``log_det``) or families (``gradients``); all of them where it is left out.
    seed : int
        The same seed gives the same records.
    thresholds : mapping, optional
        Overrides of the declared limits (docs/audits.md), as ``{"svd_residual.fail": 30}``.
    cache : bool
        Take what an earlier run found in this environment, and keep what this one finds.

    Returns
    -------
    records : list of Record
        An audit that raises becomes one record ERROR; the others run.

    Raises
    ------
    ValueError
        An unknown name, with the nearest one, or no name at all: nothing checked is no success.
    """
    chosen = families() if names is None else named(names)
    return [r for found in examine(chosen, seed, resolve(thresholds), cache) for r in found.records]


def families(mutants: bool = True) -> dict[str, list[Audit]]:
    """The audits that need no data, by family; planted faults last."""
    found: dict[str, list[Audit]] = {}
    for audit in AUDITS.values():
        if audit.selfcheck:
            found.setdefault(audit.family, []).append(audit)
    planted = {MUTANTS: found.pop(MUTANTS, [])}
    return {**found, **(planted if mutants else {})}


def named(names: Sequence[str]) -> dict[str, list[Audit]]:
    """Audits and whole families by name, by family."""
    known = families()
    single = {audit.name: audit for audits in known.values() for audit in audits}
    found: dict[str, list[Audit]] = {}
    for name in names:
        if name not in known and name not in single:
            raise ValueError(f"audit: no audit {name!r}{nearest(name, [*known, *single])}")
        for audit in known[name] if name in known else [single[name]]:
            found.setdefault(audit.family, []).append(audit)
    if not found:
        raise ValueError("audit: no audit was named, so nothing would be checked")
    return found


def publish_selfcheck(
    out: Any,
    *,
    seed: int,
    thresholds: Mapping[str, float],
    mutants: bool = True,
    runtime: Runtime = ALONE,
) -> None:
    """Stage: examine this installation and publish the tables ``audit`` and ``curves`` at `out`."""
    found = list(examine(families(mutants), seed, resolve(thresholds)))
    records = [record for one in found for record in one.records]
    publish_records(
        out, records, provenance=runtime.provenance, curves=[row for one in found for row in one.curves]
    )


def examine(
    chosen: Mapping[str, Iterable[Audit]], seed: int, limits: Limits, cache: bool = True
) -> Iterator[Findings]:
    """What audits find, in their order; after planted faults the share of them that was caught."""
    kept = Cache() if cache else None
    computed = 0
    for family, audits in chosen.items():
        rows: list[Record] = []
        for audit in audits:
            found = kept.find(audit, seed, limits) if kept else None
            if found is None:
                computed += 1
                with threadpool_limits(1):  # for which bits are promised, here as in a job
                    found = Findings.of(audit, seed, limits)
                if kept:
                    kept.keep(audit, seed, limits, found)
            rows += found.records
            yield found
        if family == MUTANTS:
            yield Findings.of(_share_caught(rows), seed, limits)
    log.info("selfcheck: %d audits run, the others as they were found before in this environment", computed)


def _share_caught(rows: list[Record]) -> Audit:
    """The audit of the planted faults together, once the rows of each are there."""
    load = "svdflow.selfcheck.kill_rate:audit_kill_rate"
    return Audit(name=MUTANTS, family=MUTANTS, summary="", load=load, keywords={"rows": rows})

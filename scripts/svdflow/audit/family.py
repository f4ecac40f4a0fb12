"""The stage that runs a family of audits and publishes its rows."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from svdflow.audit.limits import resolve
from svdflow.audit.records import Record, attempt, publish_records
from svdflow.audit.verdicts import Threshold

Audit = Callable[[int, Mapping[str, Threshold]], Iterable[Record]]


def run_family(
    family: str, audits: Mapping[str, Audit], seed: int, limits: Mapping[str, Threshold]
) -> list[Record]:
    """The rows of all audits of a family; one that raises becomes one row ERROR, and the others run."""
    return [
        record
        for name, audit in audits.items()
        for record in attempt(family, name, name, partial(audit, seed, limits), seed)
    ]


def publish_family(
    out: Any,
    family: str,
    audits: Mapping[str, Audit],
    *,
    seed: int,
    thresholds: Mapping[str, float],
    provenance: Mapping[str, Any] | None = None,
    curves: Iterable[dict[str, Any]] = (),
) -> None:
    """Stage: run a family of audits that need no data and publish the table at `out`.

    Parameters
    ----------
    out : path
        File of kind ``audit``.
    audits : mapping
        Name -> function of (seed, limits) that gives records.
    seed : int
        Draws everything random.
    thresholds : mapping
        Overrides of svdflow.audit.limits.DEFAULTS, as ``{"svd_residual.fail": 30}``.
    curves : iterable of rows
        Of the table ``curves``, for the plots of the report.
    """
    records = run_family(family, audits, seed, resolve(thresholds))
    publish_records(out, records, provenance=provenance, curves=curves)

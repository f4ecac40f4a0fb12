"""One row of an audit, and the file that a stage makes of its rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, nan
from typing import Any

from svdflow.audit.verdicts import Threshold, Verdict, judge


@dataclass(frozen=True)
class Record:
    """A row of the table ``audit``; the columns are those of svdflow.store.schema.

    `value` and `resolution` share a unit; `margin` is value over fail, so 1 and above has failed.
    An INCONCLUSIVE condition number holds its lower bound as value.
    """

    family: str
    audit: str
    subject: str
    value: float = nan
    warn: float = nan
    fail: float = nan
    resolution: float = nan
    verdict: Verdict = Verdict.PASS
    reason: str = ""
    seed: int = 0
    reproduce: str = ""
    dataset: str = ""
    shard: int = -1
    item: int = -1
    plane: str = ""

    @property
    def margin(self) -> float:
        return self.value / self.fail if self.fail else inf if self.value > 0 else nan

    def row(self) -> dict[str, Any]:
        """The record as a row for `svdflow.store.write_table`."""
        return {**asdict(self), "margin": self.margin, "verdict": str(self.verdict)}

    def at(self, **columns: Any) -> "Record":
        """The record with some columns replaced."""
        return replace(self, **columns)

    def __str__(self) -> str:
        figures = (self.value, self.fail, self.margin, self.resolution)
        shown = " ".join(f"{x:>9.2g}" if isfinite(x) else f"{'-':>9}" for x in figures)
        return f"{self.verdict:<12} {self.audit:<24} {self.subject:<28} {shown}  {self.reason}"


def judged(
    family: str,
    audit: str,
    subject: str,
    value: float,
    threshold: Threshold,
    resolution: float,
    *,
    reason: str = "",
    absolute: float = inf,
    **columns: Any,
) -> Record:
    """A record whose verdict follows from its value; `reason` is kept before the rule's own words."""
    verdict, why = judge(value, threshold, resolution, absolute)
    reason = "; ".join(part for part in (why, reason) if part)
    return Record(
        family, audit, subject, value, threshold.warn, threshold.fail, resolution, verdict, reason, **columns
    )


def attempt(family: str, audit: str, subject: str, run: Callable[[], Iterable[Record]]) -> list[Record]:
    """The records of one audit, or one record ERROR, so that the rest of the catalogue runs."""
    try:
        return list(run())
    except Exception as error:
        return [
            Record(family, audit, subject, verdict=Verdict.ERROR, reason=f"{type(error).__name__}: {error}")
        ]


def publish_records(
    out: Any,
    records: Iterable[Record],
    errors: list[dict[str, Any]],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Publish a file of kind ``audit`` with the tables ``audit`` and ``errors``."""
    from svdflow.store import publish, write_table

    with publish(out, "audit", dict(provenance or {})) as file:
        write_table(file, "audit", [record.row() for record in records])
        write_table(file, "errors", errors)

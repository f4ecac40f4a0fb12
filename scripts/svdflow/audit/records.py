"""One row of an audit, and the file that a stage makes of its rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, nan
from typing import Any, ClassVar

from svdflow.audit.verdicts import Verdict, judge
from svdflow.registry import Threshold
from svdflow.registry.limits import poor_rows


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

    HEAD: ClassVar[str] = (
        f"{'verdict':<12} {'audit':<24} {'subject':<28} {'value':>9} {'fail':>9} {'margin':>9} "
        f"{'resolution':>10}  reason"
    )

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
        shown = " ".join(
            f"{x:>{width}.2g}" if isfinite(x) else f"{'-':>{width}}"
            for x, width in zip(figures, (9, 9, 9, 10))
        )
        return f"{self.verdict:<12} {self.audit:<24} {self.subject:<28} {shown}  {self.reason}"


SEVERITY = ("FAIL", "ERROR", "INCONCLUSIVE", "WARN", "SKIP", "PASS")  # worst first


def worst_first(record: Record) -> tuple[int, float]:
    """Sorts records by verdict, then by margin."""
    return SEVERITY.index(record.verdict), -record.margin if isfinite(record.margin) else 0.0


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


@dataclass(frozen=True)
class Judge:
    """Makes the rows of the audit `name` of a family; the reproduce command repeats the audit.

    Rows of methods known to be poor are of the family ``peers`` instead.
    """

    family: str
    name: str
    seed: int
    limits: Mapping[str, Threshold]

    @property
    def command(self) -> str:
        return f"python -m svdflow audit {self.name} --seed {self.seed}"

    def __call__(
        self,
        audit: str,
        subject: str,
        value: float,
        resolution: float,
        reason: str = "",
        *,
        absolute: float = inf,
        limit: Threshold | None = None,
    ) -> Record:
        """A row whose verdict follows from its value and the limits of `audit`, or from `limit`."""
        columns: dict[str, Any] = {
            "reason": reason,
            "absolute": absolute,
            "seed": self.seed,
            "reproduce": self.command,
        }
        limit = limit or self.limits[audit]
        return judged(self._family(audit), audit, subject, float(value), limit, float(resolution), **columns)

    def said(
        self,
        audit: str,
        subject: str,
        verdict: Verdict,
        reason: str,
        value: float = nan,
        resolution: float = nan,
    ) -> Record:
        """A row whose verdict no threshold decides: SKIP, ERROR, or what a library did by itself."""
        limit = self.limits[audit]
        figures = (float(value), limit.warn, limit.fail, float(resolution))
        return Record(self._family(audit), audit, subject, *figures, verdict, reason, self.seed, self.command)

    def _family(self, audit: str) -> str:
        return "peers" if audit in poor_rows() else self.family


def attempt(
    family: str, audit: str, subject: str, run: Callable[[], Iterable[Record]], seed: int = 0
) -> list[Record]:
    """The rows of one audit; what stops it becomes a last row ERROR, so that the rest of the catalogue runs."""
    found: list[Record] = []
    try:
        for record in run():
            found.append(record)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        command = "" if subject != audit else f"python -m svdflow audit {audit} --seed {seed}"
        found.append(
            Record(family, audit, subject, verdict=Verdict.ERROR, reason=reason, seed=seed, reproduce=command)
        )
    return found


def publish_records(
    out: Any,
    records: Iterable[Record],
    errors: Iterable[dict[str, Any]] = (),
    provenance: Mapping[str, Any] | None = None,
    curves: Iterable[dict[str, Any]] = (),
) -> None:
    """Publish a file of kind ``audit`` with the tables ``audit``, ``curves`` and ``errors``."""
    from svdflow.store import publish, write_table

    with publish(out, "audit", dict(provenance or {})) as file:
        write_table(file, "audit", [record.row() for record in records])
        write_table(file, "curves", curves)
        write_table(file, "errors", errors)

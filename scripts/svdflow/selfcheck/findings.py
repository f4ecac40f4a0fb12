"""What one audit of this installation says, with the limits that it looked at to say so."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from svdflow.audit.records import Record, attempt
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Audit, Threshold

Limits = Mapping[str, Threshold]


class AskedLimits(Mapping[str, Threshold]):
    """Limits that remember which of them were asked for: what an audit says hangs on no others."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.asked: dict[str, Threshold] = {}

    def __getitem__(self, row: str) -> Threshold:
        self.asked[row] = self._limits[row]
        return self.asked[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)


def numbers(limit: Threshold) -> list[float]:
    """A limit without its source."""
    return [float(limit.warn), float(limit.fail), float(limit.resolution), float(limit.excuse)]


@dataclass(frozen=True)
class Findings:
    """Rows of an audit, points for plots, and the numbers of the limits that they hang on.

    All of it plain values as JSON gives them, so that what was kept and what was just found are the same to the bit.
    """

    rows: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    asked: dict[str, list[float]]

    @classmethod
    def of(cls, audit: Audit, seed: int, limits: Limits) -> "Findings":
        """Run an audit; what stops it becomes a row ERROR."""
        asked = AskedLimits(limits)
        curves: list[dict[str, Any]] = []

        def run() -> Iterator[
            Record
        ]:  # imported on use: a module that is broken is an error of its audit alone
            yield from audit.code()(seed, asked)
            curves.extend(audit.points(seed))

        records = attempt(audit.family, audit.name, audit.name, run, seed)
        found = {
            "rows": [asdict(record) for record in records],
            "curves": curves,
            "asked": {row: numbers(limit) for row, limit in asked.asked.items()},
        }
        return cls(**json.loads(json.dumps(found, default=lambda value: value.item())))  # NumPy's scalars

    @property
    def records(self) -> list[Record]:
        return [Record(**{**row, "verdict": Verdict(row["verdict"])}) for row in self.rows]

    @property
    def broken(self) -> bool:
        """Whether something raised, which may go better another time."""
        return any(row["verdict"] == Verdict.ERROR for row in self.rows)

    def holds_for(self, limits: Limits) -> bool:
        """Whether these are the limits that it hangs on; compared as text, in which NaN equals itself."""
        return all(row in limits and repr(numbers(limits[row])) == repr(x) for row, x in self.asked.items())

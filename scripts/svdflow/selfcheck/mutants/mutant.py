"""A planted fault, the audit that has to catch it, and how that audit has to say so."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isclose, isnan, nan
from textwrap import shorten
from typing import Any

from svdflow.audit.records import Record, attempt
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.kill_rate import FAMILY

Limits = Mapping[str, Threshold]
AuditOf = Callable[[int, Limits, Any], Iterable[Record]]


@dataclass(frozen=True)
class Mutant:
    """One planted fault.

    Attributes
    ----------
    name : str
        What is wrong.
    caught_by : str
        Column ``audit`` of the row that has to show it.
    verdict : Verdict
        What that row has to say.
    phrase : str
        What its reason has to contain.
    audit : callable
        (seed, limits, subject) -> records.
    fault, right : object
        The subject with the fault and the one without: the control, which the same audit must pass.
    figure : float
        What its value has to be within 10 %, where theory tells; NaN where it does not.
    """

    name: str
    caught_by: str
    verdict: Verdict
    phrase: str
    audit: AuditOf
    fault: Any
    right: Any
    figure: float = nan

    def shown_by(self, row: Record) -> bool:
        """Whether a row says what the mutant's audit has to say."""
        fits = isnan(self.figure) or isclose(row.value, self.figure, rel_tol=0.1)
        return (
            (row.audit, row.verdict) == (self.caught_by, self.verdict) and self.phrase in row.reason and fits
        )

    def run(self, seed: int, limits: Limits) -> list[Record]:
        """Rows of the audit with the fault in place."""
        return self._rows(self.fault, seed, limits)

    def control(self, seed: int, limits: Limits) -> list[Record]:
        """Rows of the same audit without the fault."""
        return self._rows(self.right, seed, limits)

    def _rows(self, subject: Any, seed: int, limits: Limits) -> list[Record]:
        return attempt(FAMILY, self.caught_by, self.name, partial(self.audit, seed, limits, subject), seed)


def outcome(mutant: Mutant, faulty: list[Record], sound: list[Record]) -> tuple[bool, str]:
    """Whether a mutant is killed, and by what or why not.

    Parameters
    ----------
    mutant : Mutant
    faulty, sound : list of Record
        Rows of its audit with the fault and without.

    Returns
    -------
    killed : bool
        True only where the expected audit gave the expected verdict for the expected reason, and passes the
        subject without the fault: an audit that always fails kills nothing.
    reason : str
    """
    rows = [r for r in sound if r.audit == mutant.caught_by]
    alarm = [r for r in rows if r.verdict in (Verdict.FAIL, Verdict.ERROR)]
    if alarm or not any(r.verdict is Verdict.PASS for r in rows):
        said = _said(alarm[0]) if alarm else "no PASS"
        return False, f"no kill: without the fault {mutant.caught_by} gives {said}"
    same = {r.subject for r in rows if r.verdict is mutant.verdict}
    shown = [r for r in faulty if mutant.shown_by(r)]
    for row in shown:
        if row.subject not in same:
            return True, f"killed by {_said(row)}"
    if shown:
        return False, f"no kill: without the fault it is {mutant.verdict} too; {_said(shown[0])}"
    seen = [r for r in faulty if r.verdict in (Verdict.FAIL, Verdict.ERROR)]
    got = seen or [r for r in faulty if r.audit == mutant.caught_by]
    figure = "" if isnan(mutant.figure) else f" and {mutant.figure:.3g}"
    wanted = f"{mutant.caught_by} {mutant.verdict} with {mutant.phrase!r}{figure}"
    said = _said(got[0]) if got else "no such row"
    return False, f"{'caught, but not as expected' if seen else 'survived'}: expected {wanted}; got {said}"


def _said(row: Record) -> str:
    figures = f"{row.value:.3g} against {row.fail:.3g}"
    reason = f"; {shorten(row.reason, 160, placeholder=' ...')}" if row.reason else ""
    return f"{row.audit} of {row.subject}: {row.verdict}, {figures}{reason}"

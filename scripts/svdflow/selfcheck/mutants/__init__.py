"""Planted faults that the audits must catch: an audit that has never failed has not been tested."""

from collections.abc import Iterator
from typing import Any

from svdflow.audit.family import Audit
from svdflow.audit.records import Judge, Record
from svdflow.selfcheck.mutants import (
    arithmetic,
    decompositions,
    derivatives,
    differentiation,
    gradient_checks,
    proofs,
    solvers,
)
from svdflow.selfcheck.mutants.mutant import FAMILY, Limits, Mutant, outcome

__all__ = ["AUDITS", "FAMILY", "MUTANTS", "Mutant", "audit_mutants"]

MUTANTS: list[Mutant] = [
    *gradient_checks.MUTANTS,
    *derivatives.MUTANTS,
    *differentiation.MUTANTS,
    *decompositions.MUTANTS,
    *solvers.MUTANTS,
    *proofs.MUTANTS,
    *arithmetic.MUTANTS,
]


def audit_mutants(seed: int, limits: Limits, subject: list[Mutant] | None = None) -> Iterator[Record]:
    """One row a mutant, PASS where it is killed as expected, and the share that survived.

    Parameters
    ----------
    seed : int
        Draws the problems that the faults are planted in.
    limits : mapping
        Limits of the audits; wide ones let mutants live, which is what this audit is there to tell.
    subject : list of Mutant, optional
        Other mutants than `MUTANTS`.

    Notes
    -----
    Every mutant has a control in the same run: its audit must pass the subject without the fault.
    """
    mutants = MUTANTS if subject is None else subject
    judge = Judge(FAMILY, FAMILY, seed, limits)
    controls: dict[tuple[Any, Any, str], list[Record]] = {}
    killed = 0
    for mutant in mutants:
        key = (mutant.audit, mutant.right, mutant.caught_by)
        if key not in controls:
            controls[key] = mutant.control(seed, limits)
        dead, reason = outcome(mutant, mutant.run(seed, limits), controls[key])
        killed += dead
        yield judge("mutant", mutant.name, float(not dead), 0.0, reason)
    share = 1 - killed / max(len(mutants), 1)  # nothing planted is nothing shown
    yield judge("kill_rate", "all mutants", share, 0.0, f"{killed} of {len(mutants)} killed")


AUDITS: dict[str, Audit] = {"mutants": audit_mutants}

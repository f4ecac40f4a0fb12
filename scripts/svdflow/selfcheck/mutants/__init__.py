"""Planted faults that the audits must catch: an audit that has never failed has not been tested."""

from collections.abc import Iterable, Iterator
from typing import Any

from svdflow.audit.records import Judge, Record
from svdflow.selfcheck.kill_rate import FAMILY
from svdflow.selfcheck.mutants import (
    arithmetic,
    decompositions,
    derivatives,
    differentiation,
    gradient_checks,
    proofs,
    solvers,
)
from svdflow.selfcheck.mutants.mutant import Limits, Mutant, outcome

GROUPS = {
    "gradient_checks": gradient_checks.MUTANTS,
    "derivatives": derivatives.MUTANTS,
    "differentiation": differentiation.MUTANTS,
    "decompositions": decompositions.MUTANTS,
    "solvers": solvers.MUTANTS,
    "proofs": proofs.MUTANTS,
    "arithmetic": arithmetic.MUTANTS,
}


def audit_mutants(
    seed: int, limits: Limits, subject: Iterable[Mutant] = (), *, group: str = ""
) -> Iterator[Record]:
    """One row a mutant, PASS where it is killed as expected.

    Parameters
    ----------
    seed : int
        Draws the problems that the faults are planted in.
    limits : mapping
        Limits of the audits; wide ones let mutants live, which is what this audit is there to tell.
    subject : iterable of Mutant
        The mutants, or none.
    group : str
        Those of `GROUPS` too.

    Notes
    -----
    Every mutant has a control in the same run: its audit must pass the subject without the fault.
    """
    judge = Judge(FAMILY, FAMILY, seed, limits)
    controls: dict[tuple[Any, Any, str], list[Record]] = {}
    for mutant in (*subject, *GROUPS.get(group, ())):
        key = (mutant.audit, mutant.right, mutant.caught_by)
        if key not in controls:
            controls[key] = mutant.control(seed, limits)
        dead, reason = outcome(mutant, mutant.run(seed, limits), controls[key])
        yield judge("mutant", mutant.name, float(not dead), 0.0, reason)

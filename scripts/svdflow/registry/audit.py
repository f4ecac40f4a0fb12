"""An audit, declared with the limits of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from svdflow.registry.declaration import Declaration, imported
from svdflow.registry.thresholds import Threshold


@dataclass(frozen=True, kw_only=True)
class Audit(Declaration):
    """An audit, with the limits of its rows.

    Attributes
    ----------
    family : str
        The page of the report that shows it: ``conditioning``, ``gradients``, ``stability`` or ``mutants``.
    examines : str
        ``installation``, on problems whose answer is known: a function of (seed, limits) that gives records.
        ``matrix``, each that a user has audited: one of (full, limits, subject, truth), where `full` is a
        `svdflow.audit.decomposition.Full` and `truth` its true singular values or None. ``factors`` and ``function``
        are what svdflow itself audits beside that.
    limits : mapping of str to Threshold
        By the name that a row has in the column `audit`. A row is declared by one audit; others may give it too.
    poor : set of str
        Those of its rows that are of methods known to be poor; the report shows them as the family ``peers``.
    keywords : mapping
        Given to the code each time: several audits may share a function.
    curves : str
        Where a function of the seed stands that gives points for a plot of the family's page, as `load`; may be empty.
    """

    family: str
    examines: str = "installation"
    limits: Mapping[str, Threshold] = field(default_factory=dict)
    poor: frozenset[str] = frozenset()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    curves: str = ""

    @property
    def selfcheck(self) -> bool:
        """Whether it needs no data, so that it runs once in an environment."""
        return self.examines == "installation"

    @property
    def modules(self) -> list[str]:
        """The modules that hold its code."""
        return [load.partition(":")[0] for load in (self.load, self.curves) if load]

    def code(self) -> Any:
        """The function, with its keywords."""
        function = super().code()
        return partial(function, **self.keywords) if self.keywords else function

    def points(self, seed: int) -> list[dict[str, Any]]:
        """Rows of the table ``curves``; none where it has no plot."""
        return list(imported(self.curves)(seed)) if self.curves else []

"""The tables of metrics.h5: that of factorize, those that tasks declare, the errors. docs/schema.md comes from here."""

from functools import cache

from svdflow.errors import RegistryError
from svdflow.registry import TASKS
from svdflow.registry.audit_tables import AUDIT, CURVES
from svdflow.registry.tables import ERRORS, KEY, RANK, SHAPE, Column, Table

FACTORIZE = Table(
    name="factorize",
    columns=(
        *KEY,
        *SHAPE,
        Column("dtype", "text", "", "type of the observed values"),
        Column("method", "text", "", "how the factors were computed"),
        RANK,
        Column("reads", "int", "", "complete passes over the matrix"),
        Column("frobenius_norm", "float", "value", "Frobenius norm of the observed matrix"),
        Column("frobenius_error", "float", "value", "Frobenius norm of observed minus factors"),
        Column("relative_error", "float", "1", "frobenius_error over frobenius_norm"),
        Column(
            "error_kind", "text", "", "certificate: exact, floor (below rounding of the norm) or estimated"
        ),
        Column(
            "spectral_error",
            "float",
            "value",
            "bound on the largest singular value of observed minus factors, or an estimate",
        ),
        Column(
            "spectral_kind", "text", "", "certificate: exact, probabilistic, estimate or none (nothing known)"
        ),
        Column("spectral_failure", "float", "1", "probability that a probabilistic bound does not hold"),
        Column(
            "estimate",
            "float",
            "1",
            "estimated largest |s_i^2 - |A^H u_i|^2| / s_{k+1}^2, which factorize.tol stops; 0 if exact",
        ),
        Column("s_first", "float", "value", "largest singular value"),
        Column("s_last", "float", "value", "smallest stored singular value"),
        Column("truth_error", "float", "1", "largest |s_i - true s_i| / s_1 where the true ones are known"),
        Column("truth_label", "text", "", "how they are known: exact, clean, computed or theory"),
        Column(
            "reason",
            "text",
            "",
            "why the computation ended: converged, saturated, rank_deficient; max_reads, unresolved: it fell short",
        ),
        Column("backend", "text", "", "numpy or cupy"),
    ),
    caption="Factorizations per dataset, noise level, method, reason of ending and kind of the error; `max_reads` "
    "and `unresolved` fell short of the tolerance, by the estimate.",
    keys=("dataset", "sigma_added", "method", "reason", "error_kind"),
    figures=("rank", "reads", "relative_error", "estimate", "truth_error", "s_first", "s_last"),
)


@cache
def tables() -> dict[str, Table]:
    """All tables by name: that of factorize, those of the tasks, of the audits, and the errors.

    Raises
    ------
    RegistryError
        Two tasks declare different tables of one name.
    """
    found: dict[str, Table] = {}
    declared = [table for task in TASKS.values() for table in task.tables]
    for table in [FACTORIZE, *declared, AUDIT, CURVES, ERRORS]:
        if found.setdefault(table.name, table) != table:
            raise RegistryError(f"table {table.name!r} is declared twice, with other columns; rename one")
    return found


def columns(table: str) -> tuple[Column, ...]:
    """The columns of a table."""
    return tuple(tables()[table].columns)


def markdown() -> str:
    """The page docs/schema.md."""
    lines = ["# The tables of metrics.h5", "", "Generated from the declarations of the tasks.", ""]
    for name, table in tables().items():
        lines += [f"## /{name}", "", "| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {c.name} | {c.kind} | {c.unit} | {c.description.replace('|', chr(92) + '|')} |"
            for c in table.columns
        ]
        lines.append("")
    return "\n".join(lines)

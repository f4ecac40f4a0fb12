"""The tables that every audit fills: of users' data, of this installation, and of functions of the user's own."""

from collections.abc import Mapping

from svdflow.registry.tables import Column, Table

AUDIT = Table(
    name="audit",
    columns=(
        Column("family", "text", "", "conditioning, gradients, stability, peers, mutants or own"),
        Column("audit", "text", "", "what was checked"),
        Column("subject", "text", "", "on what"),
        Column("dataset", "text", "", "row of the sheet of datasets, empty where no data are audited"),
        Column("shard", "int", "", "slice of the manifest, or -1"),
        Column("item", "int", "", "index in the manifest, or -1"),
        Column("plane", "text", "", "plane, or empty"),
        Column("value", "float", "", "the audited figure"),
        Column("warn", "float", "", "WARN from here on"),
        Column("fail", "float", "", "FAIL from here on"),
        Column("margin", "float", "1", "value over fail"),
        Column("resolution", "float", "", "smallest error that the audit could have seen"),
        Column("verdict", "text", "", "PASS, WARN, FAIL, INCONCLUSIVE, SKIP or ERROR"),
        Column("reason", "text", "", "why"),
        Column("seed", "int", "", "seed of its random numbers"),
        Column("reproduce", "text", "", "one line that repeats it"),
    ),
    caption="Verdicts per audit and dataset; a margin is value over fail, so 1 and more fails.",
    summary="svdflow.report.tables:audit_summary",
)

CURVES = Table(
    name="curves",
    columns=(
        Column("family", "text", "", "conditioning or gradients"),
        Column("curve", "text", "", "error_against_step or digits_lost"),
        Column("series", "text", "", "the method"),
        Column("x", "float", "1", "step, or condition number"),
        Column("y", "float", "1", "relative error, or decimal digits lost"),
    ),
    caption="",
)


def flat_thresholds(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Thresholds of the configuration as settings: ``{"svd_residual.fail": 30}``."""
    return {
        f"{audit}.{key}": value
        for audit, keys in sorted(table.items())
        for key, value in sorted(keys.items())
    }

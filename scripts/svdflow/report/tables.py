"""Summary tables for people: CSV and Markdown, with every measurement beside them in Parquet."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from svdflow import escaping
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.escaping import csv_cell
from svdflow.registry.declaration import imported
from svdflow.registry.tables import Table
from svdflow.report.aggregate import read_tables
from svdflow.report.drift import drift
from svdflow.report.findings import VERDICTS, number
from svdflow.report.junit import junit
from svdflow.report.table_rows import STATISTICS, Tables, summarize
from svdflow.store import publish_directory
from svdflow.store.schema import tables as declared


def write_tables(
    metrics: str | Path,
    outdir: str | Path,
    *,
    baseline: str | Path | None = None,
    runtime: Runtime = ALONE,
) -> None:
    """Write the summaries of a metrics file into the folder `outdir`, which is replaced as a whole.

    Parameters
    ----------
    metrics : path
        A metrics file.
    baseline : path, optional
        The metrics file of an earlier run: `drift.csv` names the audits that changed since.
    runtime : Runtime
        Nothing of it matters here.
    outdir : path
        Gets `{table}.csv` and `{table}.md` for each table: n, median, minimum and maximum per group, or the summary
        that its task declares. All audits, worst first, stand in `audits.csv`, and as test cases in
        `audits.junit.xml`. Where pyarrow is installed also `{table}.parquet`, one row per measurement.
    """
    tables = read_tables(metrics)
    with publish_directory(outdir) as folder:
        for name, summary in summaries(tables).items():
            write_csv(summary, folder / f"{name}.csv")
            (folder / f"{name}.md").write_text(_page(name, summary), encoding="utf-8")
        ordered = worst_first(tables["audit"])
        write_csv(ordered, folder / "audits.csv")
        (folder / "audits.junit.xml").write_text(junit(ordered), encoding="utf-8")
        if baseline:
            changes = drift(tables["audit"], read_tables(baseline)["audit"])
            write_csv(changes, folder / "drift.csv")
        if find_spec("pyarrow"):
            for name, table in tables.items():
                table.to_parquet(folder / f"{name}.parquet", engine="pyarrow", index=False)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """A CSV file that a spreadsheet only shows: no cell of text is a formula or holds a control character."""
    text = frame.select_dtypes(exclude="number").columns
    safe = frame.assign(**{name: frame[name].map(csv_cell, na_action="ignore") for name in text})
    safe.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def summaries(tables: Tables) -> dict[str, pd.DataFrame]:
    """The summary of each table that has one: one row a group, columns in a fixed order, rows sorted."""
    return {
        name: imported(table.summary)(tables[name], table)
        if table.summary
        else summarize(tables[name], table)
        for name, table in declared().items()
        if table.caption
    }


def errors_summary(errors: pd.DataFrame, _: Table) -> pd.DataFrame:
    """Every error."""
    return errors


def audit_summary(audit: pd.DataFrame, _: Table) -> pd.DataFrame:
    """Verdicts of each audit and dataset."""
    return verdict_counts(audit, ["family", "audit", "dataset"])


def verdict_counts(audit: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Group the audit table by `keys`: n, the number of each verdict, and the worst margin."""
    columns = [*keys, "n", *VERDICTS, "margin_max"]
    if audit.empty:
        return pd.DataFrame(columns=columns)
    flags = audit.assign(**{name: audit["verdict"] == name for name in VERDICTS})
    grouped = flags.groupby(list(keys), sort=True)
    counts = {name: grouped[name].sum() for name in VERDICTS}
    figures = {"n": grouped.size(), **counts, "margin_max": grouped["margin"].max()}
    return pd.DataFrame(figures).reset_index()[columns]


def worst_first(audit: pd.DataFrame) -> pd.DataFrame:
    """The table audit by verdict, then by margin."""
    severity = {name: place for place, name in enumerate(VERDICTS)}
    return (
        audit.assign(severity=audit["verdict"].map(severity).fillna(-1))
        .sort_values(["severity", "margin"], ascending=[True, False], kind="stable", na_position="last")
        .drop(columns="severity")
    )


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table; text is escaped, so that a file name cannot break it."""
    lines = ["| " + " | ".join(map(_text, frame.columns)) + " |"]
    lines.append(
        "|" + "|".join("---:" if pd.api.types.is_numeric_dtype(frame[c]) else "---" for c in frame) + "|"
    )
    lines += ["| " + " | ".join(map(_text, row)) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def _page(name: str, summary: pd.DataFrame) -> str:
    """One Markdown page: median, and the range where it is one."""
    frame = pd.DataFrame(index=summary.index)
    for column in summary.columns:
        stem, _, statistic = column.rpartition("_")
        if statistic == "median":
            triples = summary[[f"{stem}_{s}" for s in STATISTICS]].itertuples(index=False)
            frame[stem] = [_spread(*triple) for triple in triples]
        elif statistic not in ("min", "max") or f"{stem}_median" not in summary:
            frame[column] = summary[column]
    note = " Figures are medians, with minimum and maximum in brackets." if declared()[name].figures else ""
    body = markdown(frame) if len(frame) else "None.\n"
    return f"# {name}\n\n{declared()[name].caption}{note}\n\n{body}"


def _spread(median: float, low: float, high: float) -> str:
    middle = number(median, 4)
    return middle if low == high or median != median else f"{middle} ({number(low)} to {number(high)})"


def _text(value: object) -> str:
    if isinstance(value, float):
        return number(value, 4)
    return escaping.markdown(value)

"""Summary tables for people: CSV and Markdown, with every measurement beside them in Parquet."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from svdflow import escaping
from svdflow.escaping import csv_cell
from svdflow.report.aggregate import read_tables
from svdflow.report.codec_rates import rate_summary
from svdflow.report.drift import drift
from svdflow.report.findings import VERDICTS, number
from svdflow.report.junit import junit
from svdflow.report.range_notes import sources
from svdflow.report.table_rows import Tables
from svdflow.store import publish_directory

STATISTICS = ("median", "min", "max")

# Table -> (columns that make a group, columns that are summarized).
SUMMARIES: dict[str, tuple[list[str], list[str]]] = {
    "factorize": (
        ["dataset", "sigma_added", "method", "reason", "error_kind"],
        ["rank", "reads", "relative_error", "estimate", "truth_error", "s_first", "s_last"],
    ),
    "compress": (
        ["dataset", "rule", "target"],
        [
            "rank",
            "value_ratio",
            "bits_per_pixel",
            "relative_error",
            "max_error",
            "data_range",
            "psnr",
            "ssim",
            "explained_energy",
        ],
    ),
    "denoise": (
        ["dataset", "sigma_added", "method", "rule", "listed_rank"],
        [
            "rank",
            "sigma_used",
            "sigma_mad",
            "sigma_mp",
            "error_clean",
            "error_observed",
            "max_error",
            "snr",
            "data_range",
            "psnr",
            "ssim",
            "ms_ssim",
            "residual_ratio",
            "whiteness",
        ],
    ),
}

EXPLAINED = {
    "factorize": "Factorizations per dataset, noise level, method, reason of ending and kind of the error; `max_reads` "
    "and `unresolved` fell short of the tolerance, by the estimate.",
    "compress": "Compression per dataset and rule; `reached` counts the planes whose stored factors "
    "reach the target.",
    "denoise": "Denoising per dataset, noise level, method and rule; `best` counts the planes for which this "
    "listed rank is the best one.",
    "rates": "Codecs per dataset, medians over planes: PSNR at equal bits per pixel, bits per value at equal relative "
    "error, and the BD-rate in percent of JPEG's bytes; nothing is extrapolated.",
    "audit": "Verdicts per audit and dataset; a margin is value over fail, so 1 and more fails.",
    "errors": "Every error.",
}


def write_tables(metrics: str | Path, outdir: str | Path, *, baseline: str | Path | None = None) -> None:
    """Write the summaries of a metrics file into the folder `outdir`, which is replaced as a whole.

    Parameters
    ----------
    metrics : path
        A metrics file.
    baseline : path, optional
        The metrics file of an earlier run: `drift.csv` names the audits that changed since.
    outdir : path
        Gets `{table}.csv` and `{table}.md` for factorize, compress, denoise, rates, audit and errors: n, median,
        minimum and maximum per group. All audits, worst first, stand in `audits.csv`, and as test cases in
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
    """The summary of each table: one row a group, columns in a fixed order, rows sorted."""
    denoise = tables["denoise"]
    listed = denoise["rank"].where(denoise["rule"] == "rank", 0)
    prepared = {**tables, "denoise": denoise.assign(listed_rank=listed)}
    result = {name: summarize(prepared[name], *SUMMARIES[name]) for name in SUMMARIES}
    for name in ("compress", "denoise"):
        result[name] = _with_sources(result[name], prepared[name], SUMMARIES[name][0])
    result["compress"] = _with_count(
        result["compress"], tables["compress"], SUMMARIES["compress"][0], "reached"
    )
    result["denoise"] = _with_count(result["denoise"], prepared["denoise"], SUMMARIES["denoise"][0], "best")
    result["rates"] = rate_summary(tables["rates"])
    result["audit"] = verdict_counts(tables["audit"], ["family", "audit", "dataset"])
    result["errors"] = tables["errors"]
    return result


def summarize(table: pd.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Group `table` by `keys`: n, then median, min and max of each of `values` (missing ones left out)."""
    columns = [*keys, "n", *(f"{value}_{statistic}" for value in values for statistic in STATISTICS)]
    if table.empty:
        return pd.DataFrame(columns=columns)
    grouped = table.groupby(list(keys), sort=True, dropna=False)
    figures = {f"{v}_{s}": grouped[v].agg(s) for v in values for s in STATISTICS}
    return pd.DataFrame({"n": grouped.size(), **figures}).reset_index()[columns]


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


def _with_sources(summary: pd.DataFrame, table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The summary with where the data range of each group comes from, beside the range."""
    place = list(summary.columns).index("data_range_max") + 1
    named: Sequence[str] = []
    if len(table):
        named = table.groupby(list(keys), sort=True, dropna=False)["data_range_source"].agg(sources).tolist()
    summary.insert(place, "data_range_source", pd.Series(named, index=summary.index, dtype=object))
    return summary


def _with_count(summary: pd.DataFrame, table: pd.DataFrame, keys: Sequence[str], flag: str) -> pd.DataFrame:
    if len(table):
        summary[flag] = table.groupby(list(keys), sort=True, dropna=False)[flag].sum().to_numpy()
    place = list(summary.columns).index("n") + 1
    names = [name for name in summary.columns if name != flag]
    return summary.reindex(columns=[*names[:place], flag, *names[place:]])


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
    note = " Figures are medians, with minimum and maximum in brackets." if name in SUMMARIES else ""
    body = markdown(frame) if len(frame) else "None.\n"
    return f"# {name}\n\n{EXPLAINED[name]}{note}\n\n{body}"


def _spread(median: float, low: float, high: float) -> str:
    middle = number(median, 4)
    return middle if low == high or median != median else f"{middle} ({number(low)} to {number(high)})"


def _text(value: object) -> str:
    if isinstance(value, float):
        return number(value, 4)
    return escaping.markdown(value)

"""What the audits said: tables worst first, how to repeat the worst, what changed since a baseline."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from svdflow.report.findings import VERDICTS, count, number
from svdflow.report.grids import Grid
from svdflow.report.table_rows import records
from svdflow.report.tables import verdict_counts, worst_first

AUDIT_ROWS = 40  # that the report lists; the page of a family, which shows nothing else, lists PAGE_ROWS
PAGE_ROWS = 400  # the page of a family; the rest stands in tables/audits.csv. Chosen
TRUNCATED_ROWS = 3  # condition numbers known from below only, which a list names: they all say the same
WORST = 10  # audits that are listed with the command that repeats them


def verdicts(audit: pd.DataFrame, key: str = "audit") -> Grid | None:
    """Number of each verdict, a row for each value of the column `key`: audit or family."""
    counts = verdict_counts(audit, [key])
    if counts.empty:
        return None
    used = [name for name in VERDICTS if counts[name].sum()]
    rows = [
        [
            row[key],
            f"{row['n']:,}",
            *(f"{row[name]:,}" if row[name] else "" for name in used),
        ]
        for row in records(counts)
    ]
    return Grid(f"Verdicts of each {key}.", [key, "checks", *used], rows)


def worst_audits(audit: pd.DataFrame, most: int = AUDIT_ROWS) -> Grid | None:
    """The audits closest to failing, or past it: by verdict, then by margin, worst first."""
    if audit.empty:
        return None
    ordered = worst_first(audit)
    truncated, passes = _known_from_below(ordered), ordered["verdict"] == "PASS"
    parts = (ordered[~truncated & ~passes], ordered[truncated].head(TRUNCATED_ROWS), ordered[passes])
    rows, tones = [], []
    for row in records(pd.concat(parts).head(most)):
        subject = _place(row)
        figures = [
            number(v) for v in (row["value"], row["warn"], row["fail"], row["margin"], row["resolution"])
        ]
        rows.append([row["verdict"], row["audit"], subject, *figures, row["reason"]])
        tones.append(row["verdict"].lower())
    rest = len(ordered) - len(rows)
    more = f" {rest:,} more stand in the table audit of metrics.h5." if rest else ""
    below = int(truncated.sum())
    caption = (
        "Audits, worst first. Margin is value over fail; resolution is the smallest error that an audit "
        f"could see.{f' {_below_words(below)}' if below else ''}{more}"
    )
    head = ["verdict", "audit", "subject", "value", "warn", "fail", "margin", "resolution", "reason"]
    return Grid(caption, head, rows, frozenset({0, 1, 2, 8}), tones)


def _known_from_below(audit: pd.DataFrame) -> pd.Series:
    """Condition numbers of which truncated factors give only a lower bound: no fault, and often many."""
    open_ended = (audit["audit"] == "condition_number") & (audit["verdict"] == "INCONCLUSIVE")
    return open_ended & audit["reason"].astype(str).str.startswith("truncated")


def _below_words(planes: int) -> str:
    listed = f"; at most {TRUNCATED_ROWS} of them are listed" if planes > TRUNCATED_ROWS else ""
    return (
        f"The condition number of {count(planes, 'plane')} is known only from below, because their factors "
        f"are truncated{listed}."
    )


def worst_ten(audit: pd.DataFrame) -> Grid | None:
    """How to repeat the ten audits that are worst, those left out that only say what truncation hides."""
    if audit.empty:
        return None
    ordered = worst_first(audit)
    rows = records(ordered[~_known_from_below(ordered)].head(WORST))
    cells = [
        [
            row["verdict"],
            row["audit"],
            _place(row),
            number(row["value"]),
            number(row["margin"]),
            row["reproduce"],
        ]
        for row in rows
    ]
    head = ["verdict", "audit", "subject", "value", "margin", "repeat it with"]
    tones = [row["verdict"].lower() for row in rows]
    caption = "The ten worst, and the line that repeats each; python is .venv/bin/python where make built it."
    return Grid(caption, head, cells, frozenset({0, 1, 2, 5}), tones)


def drifted(changes: pd.DataFrame) -> Grid:
    """Changes since the baseline, the worse ones first."""
    order = {name: place for place, name in enumerate(("worse", "gone", "value grew", "new", "better"))}
    listed = changes.assign(order=changes["change"].map(order)).sort_values("order", kind="stable")
    rows = [
        [
            row["change"],
            row["audit"],
            _place(row),
            *(_said(row[f"{name}_before"], row[f"{name}_now"]) for name in ("verdict", "value")),
        ]
        for row in records(listed.head(AUDIT_ROWS))
    ]
    caption = f"Since the baseline: {count(len(changes), 'change')}."
    tones = ["fail" if row[0] in ("worse", "gone") else "" for row in rows]
    return Grid(caption, ["change", "audit", "subject", "verdict", "value"], rows, frozenset(range(5)), tones)


def _said(before: Any, now: Any) -> str:
    first, second = ("–" if pd.isna(v) else v if isinstance(v, str) else number(v) for v in (before, now))
    return first if first == second else f"{first} → {second}"


def _place(row: Mapping[str, Any]) -> str:
    """The subject, and the plane where it does not name it."""
    where = f"{row['dataset']} {row['item']} {row['plane']}".strip() if row["dataset"] else ""
    return " · ".join(filter(None, [row["subject"], where if where not in row["subject"] else ""]))

"""The tables of a report page: plain rows of text, worked out from the measurements."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

import pandas as pd

from svdflow.report.findings import number
from svdflow.report.range_notes import range_of
from svdflow.report.table_rows import Tables, records

ERROR_ROWS = 100  # errors that the report lists; all stand in metrics.h5. Chosen


@dataclass(frozen=True)
class Grid:
    """A table for a page. `text` holds the columns that are words, not figures; `tones` a class per row."""

    form: ClassVar[str] = "grid"
    caption: str
    head: list[str]
    rows: list[list[str]]
    text: frozenset[int] = frozenset({0})
    tones: list[str] = field(default_factory=list)


def datasets(tables: Tables, described: Sequence[Mapping[str, Any]]) -> Grid:
    """One row a dataset, also of those of which nothing came out."""
    factorize, errors = tables["factorize"], tables["errors"]
    columns = ["dataset", "data_range", "data_range_source"]
    judged = pd.concat(
        [table[columns] for table in tables.values() if len(table) and set(columns) <= set(table)]
        or [pd.DataFrame(columns=columns)]
    )
    kinds = {d["name"]: str(d.get("kind", "")) for d in described}
    names = sorted({*kinds, *factorize["dataset"], *errors["dataset"]})
    rows = []
    for name in names:
        mine = factorize[factorize["dataset"] == name]
        added = sorted(s for s in mine["sigma_added"].unique() if s)
        rows.append(
            [
                name,
                kinds.get(name, ""),
                f"{mine['item'].nunique():,}",
                f"{len(mine[['item', 'plane']].drop_duplicates()):,}",
                _sizes(mine),
                range_of(judged[judged["dataset"] == name]),
                ", ".join(f"{s:g}" for s in added) or "–",
                ", ".join(sorted(mine["method"].unique())) or "–",
                f"{mine['rank'].max():,}" if len(mine) else "–",
                number(mine["relative_error"].median(), 2),
                f"{(errors['dataset'] == name).sum():,}",
            ]
        )
    head = [
        "dataset",
        "kind",
        "items",
        "planes",
        "rows × columns",
        "data range",
        "noise added",
        "method",
        "rank",
        "error left",
        "failed",
    ]
    caption = (
        "What was run. Data range: what PSNR and SSIM refer to. Rank: the largest one stored. Error left: the median "
        "relative error at that rank."
    )
    return Grid(caption, head, rows, frozenset({0, 1, 4, 5, 6, 7}))


def decibels(value: float) -> str:
    """Two decimals, as PSNR is compared."""
    return f"{value:.2f}" if isfinite(value) else number(value)


def errors(table: pd.DataFrame) -> Grid | None:
    """Every error, or the first hundred and the number of the rest."""
    if table.empty:
        return None
    rows = [
        [row["dataset"], f"{row['item']}", row["name"], row["stage"], row["code"], row["message"]]
        for row in records(table.head(ERROR_ROWS))
    ]
    rest = len(table) - len(rows)
    more = f" The first {ERROR_ROWS}; {rest:,} more stand in the table errors of metrics.h5." if rest else ""
    head = ["dataset", "item", "name", "stage", "code", "message"]
    return Grid(
        f"Items that failed; nothing else changed by them.{more}", head, rows, frozenset({0, 2, 3, 4, 5})
    )


def provenance(attrs: Mapping[str, Any], tables: Tables, study: Mapping[str, Any]) -> Grid:
    """Where the figures come from: one row a fact."""
    backends = tables["factorize"]["backend"].value_counts()
    facts: dict[str, Any] = {
        "svdflow": study.get("version"),
        "seed": study.get("seed", (study.get("config") or {}).get("seed")),
        "backend": ", ".join(f"{name} ({n:,} factorizations)" for name, n in backends.items()),
        **{key: value for key, value in attrs.items() if key not in ("complete", "kind", "settings")},
    }
    rows = [[key.replace("_", " "), _fact(value)] for key, value in facts.items() if value not in (None, "")]
    return Grid("Where these figures come from.", ["what", "value"], rows, frozenset({0, 1}))


def _fact(value: Any) -> str:
    """A provenance value as words; JSON objects become lists of name and value."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    if isinstance(parsed, dict):
        return ", ".join(f"{key} {inner}" for key, inner in parsed.items())
    return ", ".join(map(str, parsed)) if isinstance(parsed, list) else text


def _sizes(rows: pd.DataFrame) -> str:
    shapes = sorted(set(zip(rows["m"], rows["n"], strict=True)), key=lambda shape: shape[0] * shape[1])
    words = [f"{m:,} × {n:,}" for m, n in shapes]
    return " to ".join(dict.fromkeys([words[0], words[-1]])) if words else "–"

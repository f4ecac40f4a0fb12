"""The tables of a report page: plain rows of text, worked out from the measurements."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import pandas as pd

from svdflow.report.codec_rates import ERRORS, RATES, REFERENCE, codec_name, rate_summary
from svdflow.report.findings import denoise_summary, number, rule_summary
from svdflow.report.range_notes import range_of, range_words
from svdflow.report.select import middle_rank
from svdflow.report.table_rows import Tables, groups, records

ERROR_ROWS = 100  # errors that the report lists; all stand in metrics.h5. Chosen
RANK_COLUMNS = 12  # ranks side by side, what a page of 1,000 pixels is wide enough for; others are in tables/


@dataclass(frozen=True)
class Grid:
    """A table for a page. `text` holds the columns that are words, not figures; `tones` a class per row."""

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
        [tables[name][columns] for name in ("compress", "denoise", "rates") if len(tables[name])]
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


def errors_at_ranks(listed: pd.DataFrame, value: str, caption: str) -> Grid | None:
    """Medians of `value`, a row per dataset and a column per listed rank; None where nothing was measured."""
    pivot = listed.pivot_table(index="dataset", columns="rank", values=value, aggfunc="median", observed=True)
    if pivot.empty:
        return None
    ranks = _spaced(sorted(pivot.columns), RANK_COLUMNS)
    rows = [[str(name), *(number(pivot.loc[name, rank]) for rank in ranks)] for name in pivot.index]
    return Grid(caption, ["dataset", *(f"rank {rank}" for rank in ranks)], rows)


def ranks_for_energy(compress: pd.DataFrame) -> Grid | None:
    """The rank that each energy target takes, a row per dataset."""
    energy = compress[compress["rule"] == "energy"]
    if energy.empty:
        return None
    targets = sorted(energy["target"].unique())
    rows = []
    for name, mine in groups(energy, "dataset"):
        rows.append([str(name), *(_energy_cell(mine[mine["target"] == target]) for target in targets)])
    caption = (
        "Median rank that keeps a share of the energy (the sum of squared singular values). Where stored "
        "factors end before the target, the number of planes that reach it stands beside the rank."
    )
    return Grid(caption, ["dataset", *(f"{100 * target:g} %" for target in targets)], rows)


def denoised(denoise: pd.DataFrame) -> Grid | None:
    """Best listed and automatic rank per dataset, noise level and method, with what the residual says."""
    summary = denoise_summary(denoise)
    if summary.empty:
        return None
    blind = summary["psnr_best"].isna().all() and summary["error_clean"].isna().all()
    rows = []
    for row in records(summary):
        sigma = f"{row['sigma_added']:g}" if row["sigma_added"] else "its own"
        rank = "–" if row["rank_automatic"] < 0 else number(row["rank_automatic"])
        start = [row["dataset"], sigma, row["method"], f"{row['n']:,}"]
        chosen = [row["rule"] or "–", rank]
        residual = [number(row[name], 3) for name in ("residual_ratio", "whiteness")]
        if blind:
            rows.append([*start, *chosen, *residual])
            continue
        best = [number(row["rank_best"]), _decibels(row["psnr_best"])]
        figures = [_decibels(row["psnr_automatic"]), number(row["error_clean"])]
        figures += [number(row[name]) for name in ("ssim_automatic", "ms_ssim")]
        rows.append([*start, *best, *chosen, *figures, *residual])
    ends = ["residual / sigma", "whiteness"]
    words = (
        " Residual / sigma: standard deviation of what was taken away over that of the noise; whiteness: how far "
        "its neighbours correlate, in units of chance. Both are near 1 where just white noise was taken."
    )
    if blind:
        caption = "What each method chose. There is no clean reference, hence neither a best rank nor a PSNR."
        head = ["dataset", "noise", "method", "planes", "rule", "rank", *ends]
        return Grid(caption + words, head, rows, frozenset({0, 1, 2, 4}))
    caption = (
        "Medians of the best listed rank, which needs the clean reference to be known, and of what each method chose "
        "without it. Ranks of methods by groups, windows and series are theirs on average." + words
    )
    head = ["dataset", "noise", "method", "planes", "best rank", "its PSNR", "rule", "rank", "PSNR", "error"]
    caption += range_words(denoise)
    return Grid(caption, [*head, "SSIM", "MS-SSIM", *ends], rows, frozenset({0, 1, 2, 6}))


def rank_rules(denoise: pd.DataFrame) -> Grid | None:
    """What each rank rule of truncation loses to the best listed rank."""
    summary = rule_summary(denoise).dropna(subset=["psnr"])
    if summary.empty:
        return None
    rows = [
        [
            row["dataset"],
            f"{row['sigma_added']:g}" if row["sigma_added"] else "its own",
            row["rule"],
            f"{row['n']:,}",
            number(row["rank"]),
            _decibels(row["psnr"]),
            number(row["lost"], 2),
        ]
        for row in records(summary)
    ]
    caption = (
        "Rank rules of truncation, medians over planes. Lost: dB below the best of the listed ranks; negative where "
        "the rule found a better one between them. A rule with _mad behind it was given the estimated noise level."
    )
    head = ["dataset", "noise", "rule", "planes", "rank", "PSNR", "lost"]
    return Grid(caption + range_words(denoise), head, rows, frozenset({0, 1, 2}))


def at_rates(rates: pd.DataFrame) -> Grid | None:
    """PSNR of pictures at equal rates, and the bytes at equal PSNR against JPEG's."""

    def figures(row: Mapping[str, Any]) -> list[str]:
        against = "0" if row["codec"] == REFERENCE else _percent(row["bd_rate"])
        return [*(_decibels(row[f"psnr_at_{rate:g}"]) for rate in RATES), against]

    caption = (
        "PSNR in dB at equal bits per pixel, all bytes of a file counted; medians over planes, interpolated between "
        "measured settings and never beyond them. BD-rate: bytes at equal PSNR over JPEG's, less 100 %."
    )
    return _codecs(rates, True, caption, [*(f"{rate:g} bit" for rate in RATES), "BD-rate, %"], figures)


def at_errors(rates: pd.DataFrame) -> Grid | None:
    """Bits per value of matrices and series at equal relative errors."""

    def figures(row: Mapping[str, Any]) -> list[str]:
        return [number(row[f"bits_at_{error:g}"]) for error in ERRORS]

    caption = (
        "Bits per value of matrices at equal relative error, all bytes of a file counted; fewer is better."
    )
    return _codecs(rates, False, caption, [f"error {error:g}" for error in ERRORS], figures)


def _codecs(
    rates: pd.DataFrame,
    pictures: bool,
    caption: str,
    head: Sequence[str],
    figures: Callable[[Mapping[str, Any]], list[str]],
) -> Grid | None:
    """A row a codec, of the datasets that are pictures (which JPEG takes) or of the others."""
    summary = rate_summary(rates)
    known = summary["dataset"].isin(summary.loc[summary["codec"] == REFERENCE, "dataset"])
    rows = [
        [
            row["dataset"],
            codec_name(row["codec"], row["form"]),
            f"{row['n']:,}",
            *figures(row),
            number(row["bits_lossless"]),
        ]
        for row in records(summary[known if pictures else ~known])
    ]
    head = ["dataset", "codec", "planes", *head, "lossless, bits"]
    if pictures:
        caption += range_words(rates[rates["dataset"].isin(summary[known]["dataset"])])
    return Grid(caption, head, rows, frozenset({0, 1})) if rows else None


def archives(rates: pd.DataFrame) -> Grid | None:
    """The archives that were kept: what they were to reach, and what decodes from them."""
    kept = rates[rates["kept"].astype(bool)]
    if kept.empty:
        return None
    rows = []
    for (dataset, target, form), mine in groups(kept, ["dataset", "target", "form"]):
        medians = [mine[name].median() for name in ("bytes", "bits_per_pixel", "relative_error", "max_error")]
        figures = [number(value) for value in medians]
        rows.append([dataset, target, form, f"{len(mine):,}", *figures, _decibels(mine["psnr"].median())])
    head = [
        "dataset",
        "target",
        "form",
        "planes",
        "bytes",
        "bits per value",
        "relative error",
        "largest error",
        "PSNR",
    ]
    caption = (
        "Archives under archives/, of the smallest form that reaches the target; verified on what decodes."
        + range_words(kept)
    )
    return Grid(caption, head, rows, frozenset({0, 1, 2}))


def _decibels(value: float) -> str:
    """Two decimals, as PSNR is compared."""
    return f"{value:.2f}" if isfinite(value) else number(value)


def _percent(value: float) -> str:
    return f"{value:+.0f}" if isfinite(value) else "–"


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


def _energy_cell(rows: pd.DataFrame) -> str:
    reached = rows[rows["reached"]]
    if reached.empty:
        return f"not reached by rank {rows['rank'].max():,} ({100 * rows['explained_energy'].median():.3g} %)"
    part = "" if len(reached) == len(rows) else f" ({len(reached)} of {len(rows)})"
    return f"{middle_rank(reached['rank']):,}{part}"


def _spaced(values: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of `values`, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]

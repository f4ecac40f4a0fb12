"""What the report says of archives and other codecs: sentences, curves and tables."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context

from svdflow.report.figures import CHUNK, DASHES, MARKERS, SERIES, STYLE, finish, log_axis, new_figure
from svdflow.report.findings import count, number
from svdflow.report.grids import Grid, decibels
from svdflow.report.item_sections import Drawing, Drawings, ReportData, Section, Words
from svdflow.report.range_notes import range_words
from svdflow.report.table_rows import Tables, groups, records
from svdflow.tasks.encode_rates import (
    ERRORS,
    RATES,
    REFERENCE,
    codec_name,
    median_curve,
    rate_summary,
    verdicts,
)


def sections(data: ReportData) -> list[Section]:
    """Which codec to use, and what each keeps over the bits it takes."""
    rates = data.tables["rates"]
    curves = _rate_curves(rates)
    if not curves:
        return []
    about = (
        "Every plane is coded by itself, by all codecs alike, and all bytes of a file are counted. A codec that sees "
        "the colours of a picture together does better than its curve here. An archive has what the others lack: any "
        "rank and any rows decode from it."
    )
    parts = [
        Words(verdicts(rates)),
        about,
        Drawings(curves),
        at_rates(rates),
        at_errors(rates),
        archives(rates),
    ]
    return [Section("codecs", "Bytes on disk, beside other codecs", parts, "Bytes on disk")]


def notes(tables: Tables) -> list[str]:
    """Archives that keep little of what was encoded."""
    poor = tables["rates"][tables["rates"]["note"] != ""]
    if poor.empty:
        return []
    names = ", ".join(sorted(set(poor["dataset"])))
    return [
        f"{count(len(poor), 'archive')} of {names} {'keeps' if len(poor) == 1 else 'keep'} little of what was encoded "
        f"({poor['note'].iloc[0].split(';')[0]}): see the column note of the table rates."
    ]


def at_rates(rates: pd.DataFrame) -> Grid | None:
    """PSNR of pictures at equal rates, and the bytes at equal PSNR against JPEG's."""

    def figures(row: Mapping[str, Any]) -> list[str]:
        against = "0" if row["codec"] == REFERENCE else _percent(row["bd_rate"])
        return [*(decibels(row[f"psnr_at_{rate:g}"]) for rate in RATES), against]

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
        rows.append([dataset, target, form, f"{len(mine):,}", *figures, decibels(mine["psnr"].median())])
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


def _percent(value: float) -> str:
    return f"{value:+.0f}" if isfinite(value) else "–"


@rc_context(STYLE)  # type: ignore[arg-type]
def codec_curves(rows: pd.DataFrame, y: str, *, key: str, label: str) -> str:
    """What each codec keeps over the bits that it takes, medians over planes setting by setting.

    Parameters
    ----------
    rows : DataFrame
        Rows of the table rates of one dataset.
    y : str
        ``psnr`` or ``relative_error`` (logarithmic).
    """
    figure, axes = new_figure()
    named = rows.assign(name=[codec_name(c, f) for c, f in zip(rows["codec"], rows["form"], strict=True)])
    ours_first = sorted(named["name"].unique(), key=lambda name: (not name.startswith("svdflow"), name))
    for i, name in enumerate(ours_first[: 2 * CHUNK]):
        mine = named[named["name"] == name]
        curve = median_curve(mine)[["bits_per_pixel", y]].dropna()
        look: dict[str, Any] = {"color": SERIES[i % CHUNK], "marker": MARKERS[i % CHUNK]}
        axes.plot(
            curve["bits_per_pixel"], curve[y], label=name, linestyle="-" if i < CHUNK else DASHES[0], **look
        )
    log_axis(axes, "x")
    if y == "relative_error":
        log_axis(axes, "y")
    axes.set_xlabel("bits per pixel" if y == "psnr" else "bits per value")
    axes.set_ylabel("PSNR (dB)" if y == "psnr" else "relative error")
    return finish(figure, key, label)


def _rate_curves(rates: pd.DataFrame) -> list[Drawing]:
    """What each codec keeps over the bits it takes: PSNR of pictures, relative error of matrices."""
    drawings = []
    for i, (dataset, rows) in enumerate(
        groups(rates[~(rates["kept"] | rates["lossless"]).astype(bool)], "dataset")
    ):
        pictures = (rows["codec"] == "jpeg").any()
        y, words = ("psnr", "PSNR") if pictures else ("relative_error", "relative error")
        label = (
            f"{words} over bits per {'pixel' if pictures else 'value'} for {dataset}, a line for each codec"
        )
        text = codec_curves(rows, y, key=f"codecs-{i}", label=label)
        caption = f"{dataset}: all side information counted. Lines: medians over planes, setting by setting."
        caption += range_words(rows) if pictures else ""
        drawings.append(Drawing(Markup(text), caption))
    return drawings

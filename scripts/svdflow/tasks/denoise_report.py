"""The denoising section: curves over ranks, and pictures of what each method makes of one item."""

from collections.abc import Sequence
from math import isfinite

import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context

from svdflow.registry import DENOISERS
from svdflow.registry.tables import Table
from svdflow.report.figures import (
    CHUNK,
    DASHES,
    MARKERS,
    MUTED,
    SERIES,
    STYLE,
    finish,
    log_axis,
    mark,
    new_figure,
    short,
)
from svdflow.report.findings import number
from svdflow.report.grids import Grid, decibels
from svdflow.report.item_sections import Card, Cards, Drawing, ReportData, Section
from svdflow.report.material import Material
from svdflow.report.range_notes import range_words
from svdflow.report.reconstructions import (
    Kept,
    Picture,
    denoise_pictures,
    residual_pictures,
    series_pictures,
)
from svdflow.report.select import Shown, middle_rank
from svdflow.report.table_rows import Tables, groups, records, summarize
from svdflow.tasks.denoise_summaries import denoise_summary, rule_summary

SPECTRAL = [
    name for name, one in DENOISERS.items() if one.works_on == "factors"
]  # stored factors give these again
CURVES = "PSNR against the clean reference; median over planes. Dashed: methods that choose by themselves."


def sections(data: ReportData) -> list[Section]:
    """What each method does on each dataset, curves over ranks, and pictures of the observation with the most noise."""
    table = data.tables["denoise"]
    grid = denoised(table)
    if grid is None:
        return []
    about = (
        "A noisy picture as a whole is of full rank, so a truncated SVD of it loses detail with the noise: no choice "
        "of the rank mends that. Groups of similar patches are of low rank, and there the same SVD works. Stacks are "
        "of low rank as they are."
    )
    cards = data.cards(lambda one, material: denoising_cards(one, material, data.tables))
    below = (
        "Pictures show the middle of the observation with the most noise, at full size, as the named rules and ranks "
        "leave it. Where no clean reference is known, there is no error to draw, and the noise level is an estimate."
        if cards
        else "No item shown here has a clean reference or a stored image, so that there is nothing to draw."
    )
    return [Section("denoising", "Denoising", [about, grid, rank_rules(table), Cards(cards), below])]


def marks(one: Shown, tables: Tables, sigmas: Sequence[float]) -> dict[tuple[str, str], int]:
    """Ranks of the whole plane that rank rules chose at these noise levels, medians over planes."""
    rows = one.rows(tables["denoise"])
    chosen = rows[rows["method"].isin(SPECTRAL) & rows["chosen"] & rows["sigma_added"].isin(list(sigmas))]
    return {
        (str(rule).replace("_", "-"), f", noise {sigma:g}" if sigma else ""): middle_rank(mine["rank"])
        for (sigma, rule), mine in groups(chosen, ["sigma_added", "rule"])
    }


def summary(table: pd.DataFrame, declared: Table) -> pd.DataFrame:
    """The summary of the table denoise: a listed rank is a group of its own."""
    return summarize(table.assign(listed_rank=table["rank"].where(table["rule"] == "rank", 0)), declared)


def denoising_cards(one: Shown, material: Material | None, tables: Tables) -> list[Card]:
    """Denoising curve of an item, and pictures of its noisiest observation."""
    mine = one.rows(tables["denoise"])
    if mine.empty:
        return []
    known = mine.dropna(subset=["error_clean"])
    visible = known.dropna(subset=["psnr"])
    drawing = None
    if len(visible):
        text = denoising(
            visible, key=f"denoise-{one.key}", label=f"PSNR against rank when denoising {one.name}"
        )
        drawing = Drawing(Markup(text), CURVES + range_words(visible))
    pictures: Sequence[Picture] = ()
    if material:
        rows = known if len(known) else mine
        sigma = float(rows["sigma_added"].max())
        pictures = _pictures(material, sigma, rows[rows["sigma_added"] == sigma])
    return [Card(one, drawing, pictures)] if drawing or len(pictures) > 1 else []


def _pictures(material: Material, sigma: float, rows: pd.DataFrame) -> list[Picture]:
    if material.item.kind == "image":
        pages = material.planes(0).keys()  # the first page of several is shown, and the captions say so
        rows = rows[rows["plane"].isin(pages)]
        found = denoise_pictures(material, sigma, choices(rows))
        by_values = rows[rows["chosen"] & rows["rank"].ge(0) & ~rows["method"].isin(SPECTRAL)].dropna(
            subset=["psnr"]
        )
        if len(by_values):
            best = by_values.loc[by_values["psnr"].idxmax()]
            found += residual_pictures(material, sigma, str(best["method"]), float(best["sigma_used"]))
        return found
    return series_pictures(material, sigma, choices(rows)) if material.item.attrs.get("grid") else []


def choices(rows: pd.DataFrame) -> dict[str, dict[str, Kept]]:
    """Caption -> plane -> what was kept: what each method chose, and the best listed rank of truncation."""
    found: dict[str, dict[str, Kept]] = {}
    for method, mine in groups(rows, "method"):
        chosen = mine[mine["chosen"]]
        found[_caption(str(method), chosen)] = _kept(str(method), chosen)
        at_ranks = mine[(mine["rule"] == "rank") & (mine["method"] == "truncate")].dropna(subset=["psnr"])
        if len(at_ranks):
            medians = at_ranks.groupby("rank")["psnr"].median()
            rank = int(medians.index[int(medians.argmax())])
            words = f"truncate, best listed: rank {rank}{_gain(at_ranks[at_ranks['rank'] == rank])}"
            found[words] = dict.fromkeys(at_ranks["plane"], Kept(rank))
    return found


def _kept(method: str, chosen: pd.DataFrame) -> dict[str, Kept]:
    return {
        row["plane"]: Kept(
            int(row["rank"]),
            float(row["sigma_used"]) if method == "shrink" else None,
            "" if method in SPECTRAL else method,
        )
        for row in records(chosen)
    }


def _caption(method: str, chosen: pd.DataFrame) -> str:
    low, high = chosen["rank"].min(), chosen["rank"].max()
    ranks = "" if low < 0 else f": rank {low}" if low == high else f": ranks {low} to {high}"
    level = chosen["sigma_used"].median()
    known = (
        ""
        if (chosen["sigma_source"] == "given").all() or not isfinite(level)
        else f", sigma {number(level, 2)} estimated"
    )
    return f"{method}{ranks}{known}{_gain(chosen)}"


def _gain(rows: pd.DataFrame) -> str:
    """What is known of the quality, in words for a caption."""
    if rows["psnr"].notna().any():
        return f" · {number(rows['psnr'].median())} dB"
    return f" · error {number(rows['error_clean'].median(), 2)}" if rows["error_clean"].notna().any() else ""


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
        best = [number(row["rank_best"]), decibels(row["psnr_best"])]
        figures = [decibels(row["psnr_automatic"]), number(row["error_clean"])]
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
            decibels(row["psnr"]),
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


@rc_context(STYLE)  # type: ignore[arg-type]
def denoising(rows: pd.DataFrame, *, key: str, label: str) -> str:
    """PSNR against rank of one item, a line per noise level and method, best and automatic rank marked.

    Parameters
    ----------
    rows : DataFrame
        Rows of the table denoise of one item, with a clean reference; medians over planes are drawn. At
        most `CHUNK` lines; the rest is left out.
    """
    figure, axes = new_figure()
    lines = groups(rows, ["sigma_added", "method"])[:CHUNK]
    for i, ((sigma, method), group) in enumerate(lines):
        listed = group[group["rule"] == "rank"].groupby("rank")["psnr"].median()
        name = f"{method}, noise {sigma:g}" if sigma else str(method)
        if listed.empty and method not in (
            "truncate",
            "shrink",
        ):  # its ranks are those of groups, not of the plane
            level = float(group.loc[group["chosen"], "psnr"].median())
            axes.axhline(level, color=SERIES[i], linestyle=DASHES[i % len(DASHES)], label=short(name))
            continue
        line = (
            {"marker": MARKERS[i]} if len(listed) else {"marker": "X", "linestyle": "none", "markersize": 8}
        )
        axes.plot(listed.index, listed.to_numpy(), color=SERIES[i], label=short(name), **line)
        automatic = group[group["chosen"]]
        if len(listed):
            mark(axes, float(listed.index[int(listed.argmax())]), float(listed.max()), SERIES[i], "*", 13)
        for _, rule in groups(automatic, "rule"):
            mark(axes, float(rule["rank"].median()), float(rule["psnr"].median()), SERIES[i], "X", 10)
    axes.plot([], [], color=MUTED, marker="*", markersize=10, linestyle="none", label="best listed rank")
    axes.plot([], [], color=MUTED, marker="X", markersize=8, linestyle="none", label="automatic rank")
    log_axis(axes, "x")
    axes.set_xlabel("rank")
    axes.set_ylabel("PSNR against clean (dB)")
    return finish(figure, key, label)

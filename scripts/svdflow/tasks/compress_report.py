"""What the report says of compression: sentences, curves, tables, and originals beside their low-rank versions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from svdflow.report import figures
from svdflow.report.findings import count, number
from svdflow.report.grids import Grid
from svdflow.report.item_sections import Card, Cards, Drawing, Drawings, ReportData, Section
from svdflow.report.material import Material
from svdflow.report.range_notes import range_words
from svdflow.report.reconstructions import rank_pictures
from svdflow.report.select import Shown, by_item, middle_rank
from svdflow.report.table_rows import Tables, groups
from svdflow.study.value_range import EIGHT

RANK_COLUMNS = 12  # ranks side by side, what a page of 1,000 pixels is wide enough for; others are in tables/
# Reconstructions of an item, of the smallest to the largest rank: a row of a wide screen. Chosen
RANK_PICTURES = 5


def sections(data: ReportData) -> list[Section]:
    """Error and rate, and pictures."""
    compress = data.tables["compress"]
    measured = listed(compress)
    images = measured[measured["dataset"].map(data.kinds.get) == "images"]
    found = []
    if curves := _curves(compress, data.kinds):
        caption = "Median relative Frobenius error at each listed rank that the stored factors reach."
        errors = errors_at_ranks(measured, "relative_error", caption)
        psnr = errors_at_ranks(images, "psnr", f"Median PSNR of images, in dB.{range_words(images)}")
        parts = [Drawings(curves), errors, psnr, ranks_for_energy(compress)]
        found.append(Section("rates", "Error and rate", parts))
    panels = data.cards(lambda one, material: _panel(one, material, data.tables) if material else [])
    if panels:
        words = (
            "For looking at only: large images are reduced by block means and all are stored as JPEG. The figures were "
            "measured on the full planes."
        )
        title = "Originals beside their low-rank versions"
        found.append(Section("pictures", title, [words, Cards(panels)], "Pictures"))
    return found


def marks(one: Shown, tables: Tables, _: Sequence[float]) -> dict[tuple[str, str], int]:
    """Ranks that energy targets took, medians over planes."""
    rows = one.rows(tables["compress"])
    energies = rows[(rows["rule"] == "energy") & rows["reached"]]
    return {
        (f"{100 * t:g} %", " energy"): middle_rank(mine["rank"]) for t, mine in groups(energies, "target")
    }


def scores(tables: Tables) -> pd.DataFrame:
    """One row an item: its relative error at the middle listed rank of its dataset, root mean square over planes."""
    parts = []
    for _, rows in groups(listed(tables["compress"]), "dataset"):
        rank = middle_rank(rows["rank"].unique())
        parts.append(by_item(rows[rows["rank"] == rank]).assign(rank=rank))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def findings(tables: Tables, kinds: Mapping[str, str]) -> list[str]:
    """Median error of the images (else of all) at a low, the middle and the highest listed rank."""
    measured = listed(tables["compress"])
    images = measured[measured["dataset"].map(kinds.get) == "images"]
    rows, noun = (images, "image plane") if len(images) else (measured, "plane")
    if rows.empty:
        return []
    ranks = sorted(rows["rank"].unique())
    said = []
    for rank in sorted({middle_rank(ranks[: len(ranks) // 2 + 1]), middle_rank(ranks), ranks[-1]}):
        at = rows[rows["rank"] == rank]
        said.append(
            f"{number(at['relative_error'].median())} at rank {rank} (PSNR {number(at['psnr'].median())} dB, "
            f"{number(100 * at['value_ratio'].median(), 2)} % of the values, {count(len(at), noun)})"
        )
    return [f"Compression leaves a median relative error of {'; '.join(said)}.{range_words(rows)}"]


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


def _curves(compress: pd.DataFrame, kinds: Mapping[str, str]) -> list[Drawing]:
    """Error against rank and rate: images first, then the rest, at most six datasets a figure."""
    rows = compress[(compress["rule"] != "energy") & compress["reached"]]
    images = rows["dataset"].map(kinds.get) == "images"
    drawings = []
    for i, names in enumerate(figures.chunks(sorted(rows[images]["dataset"].unique()))):
        part = rows[rows["dataset"].isin(names)]
        raw = 8.0 if (part["data_range_source"] == EIGHT).all() else None
        drawings += [
            _curve(part, "rank", "relative_error", f"image-error-{i}", "Images: relative error against rank"),
            _curve(part, "bits_per_pixel", "psnr", f"image-rate-{i}", "Images: PSNR against rate", raw),
            _curve(part, "rank", "ssim", f"image-ssim-{i}", "Images: SSIM against rank"),
        ]
    for i, names in enumerate(figures.chunks(sorted(rows[~images]["dataset"].unique()))):
        part = rows[rows["dataset"].isin(names)]
        drawings.append(
            _curve(
                part, "rank", "relative_error", f"matrix-error-{i}", "Matrices: relative error against rank"
            )
        )
    return [drawing for drawing in drawings if drawing]


def _curve(
    rows: pd.DataFrame, x: str, y: str, key: str, words: str, raw_bits: float | None = None
) -> Drawing | None:
    if rows[y].replace([np.inf, -np.inf], np.nan).dropna().empty:
        return None
    names = ", ".join(sorted(rows["dataset"].unique()))
    text = figures.rate_curves(rows, x, y, key=key, label=f"{words} for {names}", raw_bits=raw_bits)
    band = (
        " Line: median; band: the middle 80 % of planes."
        if len(rows[["dataset", "item", "plane"]].drop_duplicates()) > 1
        else ""
    )
    rate = (
        " Factors are counted as stored; to the right of the dotted line they outweigh the pixels."
        if raw_bits
        else ""
    )
    refers = range_words(rows) if y in ("psnr", "ssim") else ""
    return Drawing(Markup(text), f"{words}.{band}{rate}{refers}")


def _panel(one: Shown, material: Material, tables: Tables) -> list[Card]:
    """An original image beside its versions at a few ranks."""
    rows = one.rows(tables["compress"])
    rows = listed(rows)
    if rows.empty or material.item.kind != "image":
        return []
    figures_at = rows.groupby("rank", sort=True)[["relative_error", "psnr", "value_ratio"]].median()
    places = np.linspace(0, len(figures_at) - 1, min(RANK_PICTURES, len(figures_at))).round().astype(int)
    captions = {  # no-break spaces keep a figure and its unit on one line
        int(str(rank)): f"rank\u00a0{rank} · error\u00a0{number(at['relative_error'], 2)} · "
        f"{number(at['psnr'])}\u00a0dB · {number(100 * at['value_ratio'], 2)}\u00a0%\u00a0of\u00a0values"
        for rank, at in figures_at.iloc[places].iterrows()
    }
    first = next(iter(captions), None)
    if first is not None:
        captions[first] += range_words(rows).replace(" Data", " · data").rstrip(".")
    pictures = rank_pictures(material, captions)
    return [Card(one, pictures=pictures)] if len(pictures) > 1 else []


def listed(compress: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table compress that were measured at a listed rank, as asked.

    Ranks that a plane does not have, or that reproduce it whole, say nothing of compression: a small plane
    would appear at its own full rank among the larger ones.
    """
    side = compress[["m", "n"]].min(axis=1)
    asked = (compress["rule"] == "rank") & compress["reached"] & (compress["rank"] == compress["target"])
    return compress[asked & (compress["rank"] < side)]

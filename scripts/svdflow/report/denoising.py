"""The denoising section: curves over ranks, and pictures of what each method makes of one item."""

from collections.abc import Sequence
from math import isfinite

import pandas as pd
from markupsafe import Markup

from svdflow.registry import DENOISERS
from svdflow.report import figures
from svdflow.report.findings import number
from svdflow.report.item_sections import Card, Drawing
from svdflow.report.range_notes import range_words
from svdflow.report.reconstructions import (
    Kept,
    Material,
    Picture,
    denoise_pictures,
    residual_pictures,
    series_pictures,
)
from svdflow.report.select import Shown
from svdflow.report.table_rows import Tables, groups, records

CURVES = "PSNR against the clean reference; median over planes. Dashed: methods that choose by themselves."


def denoising_cards(one: Shown, material: Material | None, tables: Tables) -> list[Card]:
    """Denoising curve of an item, and pictures of its noisiest observation."""
    mine = one.rows(tables["denoise"])
    if mine.empty:
        return []
    known = mine.dropna(subset=["error_clean"])
    visible = known.dropna(subset=["psnr"])
    drawing = None
    if len(visible):
        text = figures.denoising(
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


# Methods whose estimates the stored factors give again.
SPECTRAL = tuple(name for name, declared in DENOISERS.items() if declared.works_on == "factors")


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

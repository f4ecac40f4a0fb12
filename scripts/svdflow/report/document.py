"""The report: one HTML page that holds everything, opens offline and gives the same bytes on every run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from svdflow.report import audits, figures, grids
from svdflow.report.aggregate import read_tables
from svdflow.report.codec_rates import verdicts as rate_verdicts
from svdflow.report.denoising import SPECTRAL, denoising_cards
from svdflow.report.drift import drift
from svdflow.report.family_pages import write_family_pages
from svdflow.report.findings import count, findings, judged, number, sentences
from svdflow.report.item_sections import Card, Drawing
from svdflow.report.page import page
from svdflow.report.range_notes import range_words
from svdflow.report.reconstructions import Library, Material, in_order, rank_pictures
from svdflow.report.select import Shown, middle_rank, select
from svdflow.report.table_rows import Tables, groups, listed
from svdflow.store import open_published, publish_text, read_array
from svdflow.study.value_range import EIGHT

# Reconstructions of an item, of the smallest to the largest rank: a row of a wide screen. Chosen
RANK_PICTURES = 5
# Noise levels whose singular values are drawn beside the clean ones: more lines hide each other
NOISY_SPECTRA = 2


def write_report(
    metrics: str | Path,
    matrices: Sequence[str | Path],
    factors: Sequence[str | Path],
    out: str | Path,
    *,
    study: Mapping[str, Any],
    denoise: Sequence[str | Path] = (),
    baseline: str | Path | None = None,
    pages: str | Path | None = None,
) -> None:
    """Write the report of a study as one self-contained HTML page.

    Parameters
    ----------
    metrics : path
        The metrics file.
    matrices, factors : sequence of path
        Shard files named ``.../{dataset}/{shard}.h5``, from which spectra and pictures of at most a dozen
        items are drawn. An item whose files are not among them is shown by its figures alone.
    out : path
        The page. It appears whole or not at all.
    denoise : sequence of path
        Files named ``.../{dataset}/{method}/{shard}.h5`` of the stage denoise, for pictures of methods whose estimates
        factors cannot give again.
    baseline : path, optional
        The metrics file of an earlier run: the audits that changed since are named.
    pages : path, optional
        Folder for a page of each family of audits, `report` beside a page ``report.html`` that links to them.
    study : mapping
        title, seed, version, config (dict), datasets (list of dict with name and kind) and left_out (sentences
        about files that were not read).

    Notes
    -----
    The page loads nothing: style, drawings and pictures stand in it. It holds no wall-clock time.
    """
    tables = read_tables(metrics)
    with open_published(metrics, "metrics") as file:
        attrs = {
            key: value.item() if hasattr(value, "item") else value
            for key, value in sorted(file.attrs.items())
        }
    kinds = {d["name"]: str(d.get("kind", "")) for d in study.get("datasets", [])}
    earlier = read_tables(baseline)["audit"] if baseline else None
    context = _context(tables, attrs, kinds, Library(matrices, factors, denoise), study, earlier)
    publish_text(out, page("document.html.j2", context))
    if pages:
        write_family_pages(tables, earlier, pages, title=context["title"])


def _context(
    tables: Tables,
    attrs: Mapping[str, Any],
    kinds: Mapping[str, str],
    library: Library,
    study: Mapping[str, Any],
    baseline: pd.DataFrame | None,
) -> dict[str, Any]:
    """Everything the template asks for."""
    compress = tables["compress"]
    measured = listed(compress)
    images = measured[measured["dataset"].map(kinds.get) == "images"]
    shown = select(tables, kinds)
    spectra, panels, denoising = [], [], []
    for one in shown:
        with library.open(one) as material:
            spectra += _spectrum(one, material, tables) if material else []
            panels += _panel(one, material, tables, kinds) if material else []
            denoising += denoising_cards(one, material, tables)
    return {
        "title": study.get("title") or "svdflow",
        "sentences": sentences(tables, kinds)
        + [f"{words[:1].upper()}{words[1:]}." for words in study.get("left_out", ())],
        "tiles": _tiles(tables),
        "datasets": grids.datasets(tables, study.get("datasets", [])),
        "curves": _curves(compress, kinds),
        "errors_at_ranks": grids.errors_at_ranks(
            measured,
            "relative_error",
            "Median relative Frobenius error at each listed rank that the stored factors reach.",
        ),
        "psnr_at_ranks": grids.errors_at_ranks(
            images, "psnr", f"Median PSNR of images, in dB.{range_words(images)}"
        ),
        "energies": grids.ranks_for_energy(compress),
        "shown": shown,
        "spectra": spectra,
        "panels": panels,
        "denoised": grids.denoised(tables["denoise"]),
        "ruled": grids.rank_rules(tables["denoise"]),
        "rate_words": rate_verdicts(tables["rates"]),
        "rate_curves": _rate_curves(tables["rates"]),
        "at_rates": grids.at_rates(tables["rates"]),
        "at_errors": grids.at_errors(tables["rates"]),
        "archives": grids.archives(tables["rates"]),
        "denoising": denoising,
        "verdicts": audits.verdicts(tables["audit"], "family"),
        "worst_audits": audits.worst_audits(judged(tables["audit"])),
        "worst_ten": audits.worst_ten(judged(tables["audit"])),
        "drifted": None if baseline is None else audits.drifted(drift(tables["audit"], baseline)),
        "families": sorted(tables["audit"]["family"].unique()),
        "errors": grids.errors(tables["errors"]),
        "provenance": grids.provenance(attrs, tables, study),
        "config": json.dumps(
            study.get("config") or {}, indent=2, sort_keys=True, ensure_ascii=False, default=str
        ),
    }


def _tiles(tables: Tables) -> list[tuple[str, str, str]]:
    """Figure, words and tone of the boxes on top of the page."""
    found = findings(tables)
    tiles = [
        (f"{found.items:,}", "item" if found.items == 1 else "items", ""),
        (f"{found.planes:,}", "plane" if found.planes == 1 else "planes", ""),
        (f"{found.measurements:,}", "measurements", ""),
    ]
    if found.audits:
        failed = found.verdicts["FAIL"]
        tiles.append(
            (
                f"{found.verdicts['PASS']:,}",
                f"of {count(found.audits, 'audit')} pass",
                "" if failed else "good",
            )
        )
        if failed:
            tiles.append((f"{failed:,}", "audit fails" if failed == 1 else "audits fail", "bad"))
    tiles.append(
        (f"{found.errors:,}", "error" if found.errors == 1 else "errors", "bad" if found.errors else "good")
    )
    return tiles


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
        text = figures.codec_curves(rows, y, key=f"codecs-{i}", label=label)
        caption = f"{dataset}: all side information counted. Lines: medians over planes, setting by setting."
        caption += range_words(rows) if pictures else ""
        drawings.append(Drawing(Markup(text), caption))
    return drawings


def _spectrum(one: Shown, material: Material, tables: Tables) -> list[Card]:
    """Scree plot of one item, or nothing where no factors are stored."""
    levels = sorted({level for level, _ in material.factors})
    planes = in_order(plane for level, plane in material.factors if levels and level == levels[0])
    if not planes:
        return []
    spectra = {plane: read_array(material.factors[levels[0], plane].s) for plane in planes}
    sigmas = {o.level: o.sigma_added for o in material.item.observations}
    if len(planes) == 1:
        for level in levels[1 : 1 + NOISY_SPECTRA]:
            spectra[f"noise {sigmas.get(level, 0):g} added"] = read_array(
                material.factors[level, planes[0]].s
            )
    known = material.item.truth
    truth = read_array(known) if known is not None and len(planes) == 1 else None
    truth_label = str(known.attrs.get("label", "known")) if known is not None else ""
    marks = _marks(one, tables, list(sigmas.values())[: 1 + NOISY_SPECTRA])
    chosen = "; ".join(f"{rule}{end} takes {rank}" for (rule, end), rank in marks.items()) or "none"
    text = figures.scree(
        spectra,
        truth,
        truth_label,
        marks,
        key=f"scree-{one.key}",
        label=f"Singular values of {one.name}. Ranks: {chosen}",
    )
    return [Card(one, Drawing(Markup(text), _spectrum_words(spectra, truth, truth_label)))]


def _spectrum_words(spectra: Mapping[str, np.ndarray], truth: np.ndarray | None, label: str) -> str:
    first = next(iter(spectra.values()))
    ends = f"from {number(float(first[0]))} to {number(float(first[-1]), 2)}"
    words = f"{count(len(first), 'stored singular value')}, {ends}."
    return words + (f" The grey line is the known spectrum ({label})." if truth is not None else "")


def _marks(one: Shown, tables: Tables, sigmas: Sequence[float]) -> dict[tuple[str, str], int]:
    """Ranks that rules chose for an item: energy targets and rank rules, medians over planes."""
    compress, denoise = one.rows(tables["compress"]), one.rows(tables["denoise"])
    energies = compress[(compress["rule"] == "energy") & compress["reached"]]
    marks = {
        (f"{100 * t:g} %", " energy"): middle_rank(rows["rank"]) for t, rows in groups(energies, "target")
    }
    whole = denoise[denoise["method"].isin(SPECTRAL)]  # ranks of groups and windows are none of the plane
    rules = whole[whole["chosen"] & whole["sigma_added"].isin(list(sigmas))]
    for (sigma, rule), rows in groups(rules, ["sigma_added", "rule"]):
        marks[str(rule).replace("_", "-"), f", noise {sigma:g}" if sigma else ""] = middle_rank(rows["rank"])
    return marks


def _panel(one: Shown, material: Material, tables: Tables, kinds: Mapping[str, str]) -> list[Card]:
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

"""The report: one HTML page that holds everything, opens offline and gives the same bytes on every run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from svdflow.store import open_published, publish_text, read_array
from svdflow.summary import figures, grids
from svdflow.summary.aggregate import read_tables
from svdflow.summary.findings import count, findings, number, sentences
from svdflow.summary.frames import Tables, groups, listed, records
from svdflow.summary.pictures import (
    Kept,
    Library,
    Material,
    Picture,
    denoise_pictures,
    in_order,
    rank_pictures,
)
from svdflow.summary.select import Shown, middle_rank, select

RANK_PICTURES = 5
NOISY_SPECTRA = 2


@dataclass(frozen=True)
class Drawing:
    """A figure with its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Card:
    """An item shown in full in one section: a drawing, pictures, or both."""

    shown: Shown
    drawing: Drawing | None = None
    pictures: Sequence[Picture] = ()


def write_report(
    metrics: str | Path,
    matrices: Sequence[str | Path],
    factors: Sequence[str | Path],
    out: str | Path,
    *,
    study: Mapping[str, Any],
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
    study : mapping
        title, seed, version, config (dict) and datasets (list of dict with name and kind).

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
    context = _context(tables, attrs, kinds, Library(matrices, factors), study)
    publish_text(out, _page(context))


def _context(
    tables: Tables,
    attrs: Mapping[str, Any],
    kinds: Mapping[str, str],
    library: Library,
    study: Mapping[str, Any],
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
            denoising += _denoising(one, material, tables)
    return {
        "title": study.get("title") or "svdflow",
        "sentences": sentences(tables, kinds),
        "tiles": _tiles(tables),
        "datasets": grids.datasets(tables, study.get("datasets", [])),
        "curves": _curves(compress, kinds),
        "errors_at_ranks": grids.errors_at_ranks(
            measured,
            "relative_error",
            "Median relative Frobenius error at each listed rank that the stored factors reach.",
        ),
        "psnr_at_ranks": grids.errors_at_ranks(
            images, "psnr", "Median PSNR of images, in dB, with the peak of the format."
        ),
        "energies": grids.ranks_for_energy(compress),
        "shown": shown,
        "spectra": spectra,
        "panels": panels,
        "denoised": grids.denoised(tables["denoise"]),
        "denoising": denoising,
        "verdicts": grids.verdicts(tables["audit"]),
        "worst_audits": grids.worst_audits(tables["audit"]),
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
        raw = 8.0 if (part["data_range"] == 255).all() else None
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
    return Drawing(Markup(text), f"{words}.{band}{rate}")


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
    rules = denoise[denoise["chosen"] & denoise["sigma_added"].isin(list(sigmas))]
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
    pictures = rank_pictures(material, captions)
    return [Card(one, pictures=pictures)] if len(pictures) > 1 else []


def _denoising(one: Shown, material: Material | None, tables: Tables) -> list[Card]:
    """Denoising curve of an item, and pictures of its noisiest observation."""
    mine = one.rows(tables["denoise"])
    rows = mine.dropna(subset=["psnr"])
    if rows.empty:
        return _denoised_alone(one, material, mine)
    text = figures.denoising(
        rows, key=f"denoise-{one.key}", label=f"PSNR against rank when denoising {one.name}"
    )
    drawing = Drawing(Markup(text), "PSNR against the clean reference; median over planes.")
    pictures: Sequence[Picture] = ()
    if material:
        sigma = float(rows["sigma_added"].max())
        truncated = rows[(rows["sigma_added"] == sigma) & (rows["method"] == "truncate")]
        pictures = denoise_pictures(material, sigma, _denoise_captions(truncated))
    return [Card(one, drawing, pictures)]


def _denoised_alone(one: Shown, material: Material | None, rows: pd.DataFrame) -> list[Card]:
    """Pictures of an image without a clean reference: as observed, and as each method's own choice leaves it."""
    if material is None or material.item.kind != "image" or rows.empty:
        return []
    sigma = float(rows["sigma_added"].max())
    chosen = rows[rows["chosen"] & (rows["sigma_added"] == sigma)]
    pages = material.planes(0).keys()  # of several pages the first is shown, and the captions speak of it
    pictures = denoise_pictures(material, sigma, _own_captions(chosen[chosen["plane"].isin(pages)]))
    return [Card(one, pictures=pictures)] if len(pictures) > 1 else []


def _own_captions(chosen: pd.DataFrame) -> dict[str, dict[str, Kept]]:
    """Caption -> plane -> what a method kept at the rank of its rule."""
    captions = {}
    for (method, rule), rows in groups(chosen, ["method", "rule"]):
        low, high = rows["rank"].min(), rows["rank"].max()
        ranks = f"rank {low}" if low == high else f"ranks {low} to {high}"
        known = "given" if (rows["sigma_source"] == "given").all() else "estimated"
        noise = f"sigma {number(rows['sigma_used'].median(), 2)} {known}"
        captions[f"denoised by {str(rule).replace('_', '-')}: {ranks}, {noise}"] = {
            row["plane"]: Kept(int(row["rank"]), float(row["sigma_used"]) if method == "shrink" else None)
            for row in records(rows)
        }
    return captions


def _denoise_captions(rows: pd.DataFrame) -> dict[str, dict[str, Kept]]:
    """Caption -> plane -> kept of the pictures to show: what each rule chose, and the best listed rank."""
    captions = {}
    for rule, chosen in groups(rows[rows["chosen"]], "rule"):
        name = str(rule).replace("_", "-")
        captions[f"{name}: rank {middle_rank(chosen['rank'])} · {number(chosen['psnr'].median())} dB"] = (
            chosen
        )
    at_ranks = rows[rows["rule"] == "rank"]
    if len(at_ranks):
        best = at_ranks.groupby("rank")["psnr"].median()
        rank = int(best.index[int(best.argmax())])
        captions[f"best listed: rank {rank} · {number(best.max())} dB"] = at_ranks[at_ranks["rank"] == rank]
    return {
        words: dict.fromkeys(chosen["plane"], Kept(middle_rank(chosen["rank"])))
        for words, chosen in captions.items()
    }


def _page(context: Mapping[str, Any]) -> str:
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html.j2").render(context, css=css)

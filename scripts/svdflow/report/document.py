"""The report: one HTML page that holds everything, opens offline and gives the same bytes on every run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.images.colour import in_order
from svdflow.registry import TASKS
from svdflow.registry.declaration import imported
from svdflow.report import audits, figures, grids
from svdflow.report.aggregate import read_tables
from svdflow.report.drift import drift
from svdflow.report.family_pages import write_family_pages
from svdflow.report.findings import count, findings, judged, number, sentences
from svdflow.report.item_sections import Card, Cards, Drawing, Listing, ReportData, Section, Words
from svdflow.report.material import Library, Material
from svdflow.report.page import page
from svdflow.report.select import Shown, select
from svdflow.report.table_rows import Tables
from svdflow.store import open_published, read_array
from svdflow.store.files import publish_text

# Noise levels whose singular values are drawn beside the clean ones: more lines hide each other
NOISY_SPECTRA = 2


def write_report(
    metrics: str | Path,
    matrices: Sequence[str | Path],
    factors: Sequence[str | Path],
    out: str | Path,
    *,
    study: Mapping[str, Any],
    tasks: Sequence[str | Path] = (),
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
    tasks : sequence of path
        Files of tasks, for pictures of what factors cannot give again; see `Library`.
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
    title = study.get("title") or "svdflow"
    data = ReportData(tables, kinds, select(tables, kinds), Library(matrices, factors, tasks))
    sections = [
        _findings(data, study),
        *_spectra(data),
        *(section for load in _loads("sections") for section in imported(load)(data)),
        *_audits(tables, earlier),
        Section("errors", "Errors", [grids.errors(tables["errors"]) or "No item failed."]),
        _provenance(attrs, tables, study),
    ]
    publish_text(
        out, page("document.html.j2", {"title": title, "tiles": _tiles(tables), "sections": sections})
    )
    if pages:
        write_family_pages(tables, earlier, pages, title=title)


def report_stage(
    metrics: str | Path,
    matrices: Sequence[str | Path],
    factors: Sequence[str | Path],
    out: str | Path,
    *,
    runtime: Runtime = ALONE,
    tasks: Sequence[str | Path] = (),
    baseline: str | Path | None = None,
    pages: str | Path | None = None,
    **study: Any,
) -> None:
    """Stage: the report of a study, which the other keywords describe; see `write_report`."""
    write_report(metrics, matrices, factors, out, study=study, tasks=tasks, baseline=baseline, pages=pages)


def _loads(what: str) -> list[str]:
    """Where the tasks' sections and so on stand, in the order of the tasks."""
    return [load for task in TASKS.values() if (load := getattr(task, what))]


def _findings(data: ReportData, study: Mapping[str, Any]) -> Section:
    said = sentences(data.tables, data.kinds)
    said += [f"{words[:1].upper()}{words[1:]}." for words in study.get("left_out", ())]
    ran = grids.datasets(data.tables, study.get("datasets", []))
    return Section("findings", "What was run and what it found", [Words(said), ran], "Findings")


def _spectra(data: ReportData) -> list[Section]:
    cards = data.cards(lambda one, material: _spectrum(one, material, data.tables) if material else [])
    words = (
        "Shown in full, here and below: of each dataset the worst, the median and the best item by relative error, "
        f"{len(data.shown)} in all."
    )
    title = "Spectra and the ranks that were chosen"
    return [Section("spectra", title, [words, Cards(cards, beside=True)], "Spectra")] if cards else []


def _audits(tables: Tables, baseline: pd.DataFrame | None) -> list[Section]:
    worst = audits.worst_audits(judged(tables["audit"]))
    if not worst:
        return []
    links = [
        Markup('<a href="report/{0}.html">{0}</a>').format(f)
        for f in sorted(tables["audit"]["family"].unique())
    ]
    words = Markup(
        "An audit says what was checked, how small an error it could have seen, and its verdict. A page each, with "
        "plots: {}."
    ).format(Markup(", ").join(links))
    drifted = None if baseline is None else audits.drifted(drift(tables["audit"], baseline))
    parts = [
        words,
        audits.verdicts(tables["audit"], "family"),
        audits.worst_ten(judged(tables["audit"])),
        drifted,
        worst,
    ]
    return [Section("audits", "Audits", parts)]


def _provenance(attrs: Mapping[str, Any], tables: Tables, study: Mapping[str, Any]) -> Section:
    config = study.get("config") or {}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    return Section(
        "provenance", "Provenance", [grids.provenance(attrs, tables, study), Listing("Configuration", text)]
    )


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
    """Ranks that tasks chose for an item, by name and what follows it."""
    return {
        key: rank for load in _loads("marks") for key, rank in imported(load)(one, tables, sigmas).items()
    }

"""A page of each family of audits: plots, the worst and how to repeat them, all verdicts."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from svdflow.report import audit_figures, audits
from svdflow.report.drift import drift
from svdflow.report.findings import VERDICTS
from svdflow.report.grids import Grid
from svdflow.report.item_sections import Drawing
from svdflow.report.page import page
from svdflow.report.table_rows import Tables
from svdflow.store import publish_directory

ABOUT = {
    "conditioning": "How far singular values, ranks, solutions and what is computed from them can be trusted: of the "
    "planes of this study, and of matrices whose answer is known.",
    "gradients": "Derivatives in closed form, of dual numbers and of the reverse-mode engine, held against differences "
    "that know their own error, against the complex step, and against each other.",
    "stability": "Sums, exponentials and contractions in each precision, as shares of the error bound that theory "
    "grants them: a value of 1 cannot be rounding.",
    "peers": "Methods known to be poor, and what common libraries do, beside the sound ones: an audit that lets them "
    "pass would let anything pass. They count in no verdict of the run.",
    "mutants": "Planted faults. An audit counts only if it catches what it is there for: each fault must be caught by "
    "the expected audit, with the expected verdict and reason, and the sound original must pass beside it.",
    "own": "Functions and matrices of the file that the config names.",
}
TONES = {"FAIL": "bad", "ERROR": "bad", "PASS": "good"}


def write_family_pages(
    tables: Tables, baseline: pd.DataFrame | None, outdir: str | Path, *, title: str
) -> None:
    """Write ``{family}.html`` for each family of audits into `outdir`, which is replaced as a whole."""
    audit, curves = tables["audit"], tables["curves"]
    families = sorted(audit["family"].unique())
    with publish_directory(outdir) as folder:
        for family in families:
            rows = audit[audit["family"] == family]
            context = {
                "title": title,
                "family": family,
                "families": families,
                "about": ABOUT.get(family, ""),
                "tiles": _tiles(rows),
                "drawings": _drawings(rows, curves[curves["family"] == family]),
                "verdicts": audits.verdicts(rows),
                "worst": audits.worst_ten(rows),
                "drifted": _drifted(rows, family, baseline),
                "all": audits.worst_audits(rows, audits.PAGE_ROWS),
            }
            (folder / f"{family}.html").write_text(page("family_pages.html.j2", context), encoding="utf-8")


def _drifted(rows: pd.DataFrame, family: str, baseline: pd.DataFrame | None) -> Grid | None:
    if baseline is None:
        return None
    return audits.drifted(drift(rows, baseline[baseline["family"] == family]))


def _tiles(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    counts = rows["verdict"].value_counts()
    return [(f"{counts[name]:,}", name, TONES.get(name, "")) for name in reversed(VERDICTS) if name in counts]


def _drawings(rows: pd.DataFrame, curves: pd.DataFrame) -> list[Drawing]:
    found = []
    for name, (draw, caption) in audit_figures.CURVES.items():
        mine = curves[curves["curve"] == name]
        if len(mine):
            found.append(Drawing(Markup(draw(mine, key=name, label=caption)), caption))
    widths = audit_figures.enclosure_points(rows)
    if len(widths):
        caption = audit_figures.WIDTHS
        found.append(Drawing(Markup(audit_figures.enclosures(widths, key="widths", label=caption)), caption))
    margins = rows[rows["margin"].notna()]
    if (margins["margin"] > 0).any():
        caption = audit_figures.MARGINS
        found.append(Drawing(Markup(audit_figures.margins(margins, key="margins", label=caption)), caption))
    return found

"""The figures of a report as SVG text: small enough for a phone, the same bytes on every run.

Colours are placeholders that `svg` turns into CSS variables of the page, so that one drawing serves the
light and the dark scheme; marker shapes repeat what the colours say.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from svdflow.escaping import xml
from svdflow.report.table_rows import groups

# Okabe and Ito (2008), without the yellow and the black, which vanish on one scheme or the other.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, MUTED, GRID, PAPER = "#1f2328", "#6b7078", "#dfe2e6", "#fdfdfe"
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)), (0, (9, 2)))
CHUNK = len(SERIES)  # lines of one figure: more cannot be told apart
LABEL_LENGTH = 26  # characters of a dataset's or method's name in a figure; the rest is cut off. Chosen
Marks = Mapping[tuple[str, str], int]
WIDTH, HEIGHT = 4.1, 2.9  # inches, the legend not counted: text then stands at about 11 px on a phone
LEGEND_ROW = 0.17  # inches that each row of a legend adds to a figure: LEGEND_SIZE and its leading
LEGEND_SIZE = 8.5  # points; with those of STYLE the least that is read on a phone. Chosen
LEGEND_MARGIN = 0.25  # inches that a legend leaves free beside it
LEGEND_HANDLE = 4.1 * LEGEND_SIZE / 72  # inches: a line, the gap behind it and the gap between columns
BAND = (0.1, 0.9)  # quantiles: one flat image would stretch the range to 1e-16 or 320 dB
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "svdflow",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": LEGEND_SIZE,
    "axes.unicode_minus": True,
}
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
_VARIABLES |= {colour: f"--series-{i}" for i, colour in enumerate(SERIES)}


@rc_context(STYLE)  # type: ignore[arg-type]
def rate_curves(
    rows: pd.DataFrame, x: str, y: str, *, key: str, label: str, raw_bits: float | None = None
) -> str:
    """Median of `y` over `x` per dataset, with the middle 80 % of planes as a band.

    Parameters
    ----------
    rows : DataFrame
        Rows of the table compress for at most `CHUNK` datasets, one row a plane and rank.
    x : str
        ``rank`` or ``bits_per_pixel``; its median per rank is drawn.
    y : str
        ``relative_error`` (logarithmic), ``psnr`` or ``ssim``.
    key : str
        Name of the figure, unique in its page.
    label : str
        What a reader who cannot see the figure is told.
    raw_bits : float, optional
        Bits per pixel of the uncompressed images, drawn as a line.

    Returns
    -------
    svg : str
        One ``<svg>`` element.
    """
    figure, axes = new_figure()
    for i, (dataset, group) in enumerate(groups(rows, "dataset")):
        curve = _median_curve(group, x, y)
        marks: dict[str, Any] = {"color": SERIES[i % CHUNK], "marker": MARKERS[i % CHUNK]}
        axes.plot(curve["x"], curve["y"], label=short(str(dataset)), **marks)
        if (curve["n"] > 1).any():
            axes.fill_between(
                curve["x"], curve["low"], curve["high"], color=SERIES[i % CHUNK], alpha=0.14, linewidth=0
            )
    if raw_bits is not None:
        axes.axvline(
            raw_bits,
            color=MUTED,
            linestyle=(0, (2, 2)),
            linewidth=1.2,
            label=f"uncompressed: {raw_bits:g} bits",
        )
    log_axis(axes, "x")
    if y == "relative_error":
        log_axis(axes, "y")
    axes.set_xlabel({"rank": "rank", "bits_per_pixel": "bits per pixel"}[x])
    axes.set_ylabel({"relative_error": "relative error", "psnr": "PSNR (dB)", "ssim": "SSIM"}[y])
    return finish(figure, key, label)


@rc_context(STYLE)  # type: ignore[arg-type]
def scree(
    spectra: Mapping[str, np.ndarray],
    truth: np.ndarray | None,
    truth_label: str,
    marks: Marks,
    *,
    key: str,
    label: str,
) -> str:
    """Singular values over their index, with the ranks that rules chose and the true values where known.

    Parameters
    ----------
    spectra : mapping of str to ndarray, shape (k,)
        Computed singular values per plane, descending.
    truth : ndarray or None
        Known singular values; `truth_label` says how they are known.
    marks : mapping of (str, str) to int
        Name of a rule, what follows the name (as in "90 %", " energy"), and the rank it chose.
    """
    figure, axes = new_figure()
    top = max((float(s[0]) for s in spectra.values() if len(s)), default=1.0) or 1.0
    visible = [s[s > 1e-17 * top] for s in spectra.values()]
    if truth is not None:
        known = truth[: max(map(len, spectra.values()), default=0) * 2]
        known = known[known > 1e-17 * top]
        axes.plot(_index(known), known, color=MUTED, linewidth=4, alpha=0.45, label=f"true ({truth_label})")
    for i, (plane, s) in enumerate(zip(spectra, visible, strict=True)):
        axes.plot(_index(s), s, color=SERIES[i % CHUNK], label=plane, **_sparse_markers(i, len(s)))
    free = [*SERIES[len(spectra) :], INK, MUTED]
    for i, (rank, rules) in enumerate(_by_rank(marks).items()):
        look: dict[str, Any] = {
            "color": free[i % len(free)],
            "linestyle": DASHES[i % len(DASHES)],
            "linewidth": 1.5,
        }
        axes.axvline(max(rank, 0.8), label=f"{rules}: rank {rank}", **look)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set_xlabel("index")
    axes.set_ylabel("singular value")
    return finish(figure, key, label)


def svg(figure: Figure, key: str, label: str) -> str:
    """An ``<svg>`` element of `figure` for use inside a page: no metadata, ids of its own, themed colours."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r" xlink:href=", " href=", text)
    text = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{key}-", text)
    _, width, height = re.search(r'(viewBox)="0 0 (\S+) (\S+)"', text).groups()  # type: ignore[union-attr]
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{xml(label)}">'
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).strip()


def chunks(datasets: Sequence[str]) -> list[list[str]]:
    """Datasets in groups that one figure can tell apart."""
    return [list(datasets[i : i + CHUNK]) for i in range(0, len(datasets), CHUNK)]


def new_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    return figure, figure.add_subplot()


def finish(figure: Figure, key: str, label: str) -> str:
    axes = figure.axes[0]
    handles, names = axes.get_legend_handles_labels()
    if names:
        names, columns = _fitted(names)
        rows = sum(name.count("\n") + 1 for name in names) if columns == 1 else -(-len(names) // columns)
        figure.set_figheight(HEIGHT + LEGEND_ROW * rows)
        figure.legend(
            handles, names, loc="outside lower center", ncols=columns, handlelength=1.9, columnspacing=1.4
        )
    return svg(figure, key, label)


def _fitted(names: Sequence[str]) -> tuple[list[str], int]:
    """Names of a legend, folded where one alone is wider than the figure, and how many stand side by side."""
    room = WIDTH - LEGEND_MARGIN
    widest = max(map(_text_width, names))
    for columns in (4, 3, 2):
        if columns * (widest + LEGEND_HANDLE) <= room:
            return list(names), columns
    return [_folded(name, room - LEGEND_HANDLE) for name in names], 1


def _folded(name: str, room: float) -> str:
    """The name in lines of at most `room` inches."""
    lines, letters = [name], len(name)
    while (widest := max(map(_text_width, lines), default=0.0)) > room and letters > 1:
        letters = min(letters - 1, int(max(map(len, lines)) * room / widest) + 1)
        lines = textwrap.wrap(name, letters, break_on_hyphens=False)
    return "\n".join(lines)


def _text_width(text: str) -> float:
    """Inches in the legend's type; what browsers put in its place runs narrower."""
    return TextPath((0, 0), text, prop=FontProperties(size=LEGEND_SIZE)).get_extents().width / 72


def _median_curve(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Medians per rank, where at least half of the planes reach it, else the curve would change planes."""
    rows = rows[rows["rank"] < rows[["m", "n"]].min(axis=1)]  # full rank is exact and says nothing
    rows = rows.replace([np.inf, -np.inf], np.nan).drop_duplicates(["item", "plane", "rank"])
    ranks = rows.groupby("rank", sort=True)
    curve = ranks.agg(y=(y, "median"), n=(y, "size"))
    curve["low"], curve["high"] = (ranks[y].quantile(share) for share in BAND)
    curve["x"] = curve.index if x == "rank" else ranks[x].median()
    return curve[2 * curve["n"] >= curve["n"].max()]


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis with plain numbers where they are short, powers of ten where they are not."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    getattr(axes, f"set_{which}scale")("log")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 1.0
    subs = (
        (1.0,)
        if decades > 2.5
        else (1.0, 2.0, 5.0)
        if decades > 0.7
        else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: int | None = None) -> str:
    if value <= 0 or 1e-3 <= value < 1e5:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    factor = value / 10.0**power
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if abs(factor - 1) < 1e-6 else f"{factor:.0f}·10{digits}"


def _by_rank(marks: Marks) -> dict[int, str]:
    """Rules that chose the same rank share a line: 90 %, 95 % energy."""
    words: dict[int, dict[str, list[str]]] = {}
    for (rule, suffix), rank in marks.items():
        words.setdefault(rank, {}).setdefault(suffix, []).append(rule)
    return {
        rank: "; ".join(", ".join(rules) + end for end, rules in words[rank].items())
        for rank in sorted(words)
    }


def _index(values: np.ndarray) -> np.ndarray:
    return np.arange(1, len(values) + 1)


def _sparse_markers(i: int, n: int) -> dict[str, Any]:
    """About a dozen markers a line, even on a logarithmic axis: enough to tell planes apart."""
    places = sorted({int(p) - 1 for p in np.geomspace(1, n, 12)}) if n else []
    return {"marker": MARKERS[i % CHUNK], "markevery": places}


def mark(axes: Axes, x: float, y: float, colour: str, marker: str, size: float) -> None:
    axes.plot([max(x, 1)], [y], marker=marker, markersize=size, color=colour, markeredgecolor=PAPER, zorder=5)


def short(name: str) -> str:
    return name if len(name) <= LABEL_LENGTH else name[: LABEL_LENGTH - 1] + "…"

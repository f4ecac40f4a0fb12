"""Plots of the audits: error against step, digits lost against condition, widths of enclosures, margins."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes

from svdflow.report.figures import (
    CHUNK,
    DASHES,
    MARKERS,
    MUTED,
    SERIES,
    STYLE,
    finish,
    log_axis,
    new_figure,
    short,
)
from svdflow.report.table_rows import groups

WIDTH_AUDIT = "enclosure_kappa"
SMALLEST = 1e-17  # errors of 0 are drawn here, a tenth of eps, on a logarithmic axis
WIDTHS = (
    "Relative width of the certified enclosure of the condition number, against the number itself: what rounding "
    "leaves undecided."
)
MARGINS = (
    "Value over limit of every judged audit; what stands right of the line has failed, or cannot be decided."
)


@rc_context(STYLE)  # type: ignore[arg-type]
def error_against_step(rows: pd.DataFrame, *, key: str, label: str) -> str:
    """Relative error of difference formulas over the step, both logarithmic; a line per formula."""
    figure, axes = new_figure()
    _lines(axes, rows.assign(y=np.maximum(rows["y"], SMALLEST)), markers=False)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set_xlabel("step")
    axes.set_ylabel("relative error")
    return finish(figure, key, label)


@rc_context(STYLE)  # type: ignore[arg-type]
def digits_lost(rows: pd.DataFrame, *, key: str, label: str) -> str:
    """Decimal digits lost over the condition number, a line per method."""
    figure, axes = new_figure()
    _lines(axes, rows, markers=True)
    kappa = np.sort(rows["x"].unique())
    axes.plot(kappa, np.log10(kappa), color=MUTED, linestyle=DASHES[1], label="log10 of the condition number")
    log_axis(axes, "x")
    axes.set_xlabel("condition number")
    axes.set_ylabel("digits lost, of 16")
    return finish(figure, key, label)


def _lines(axes: Axes, rows: pd.DataFrame, *, markers: bool) -> None:
    """A line for each series, told apart by colour and mark."""
    for i, (series, line) in enumerate(groups(rows.sort_values("x"), "series")):
        look: dict[str, Any] = {"marker": MARKERS[i % CHUNK]} if markers else {}
        look |= {"color": SERIES[i % CHUNK], "linestyle": "-" if i < CHUNK else DASHES[0]}
        axes.plot(line["x"], line["y"], label=short(series), **look)


CURVES: dict[str, tuple[Callable[..., str], str]] = {
    "error_against_step": (
        error_against_step,
        "Error of difference formulas against their step: truncation from the right, rounding from the left.",
    ),
    "digits_lost": (
        digits_lost,
        "Digits of the solution that each method loses: the condition number costs them, normal equations twice.",
    ),
}


def enclosure_points(rows: pd.DataFrame) -> pd.DataFrame:
    """Condition number (x) and relative width of its enclosure (y) of each plane that has both."""
    place = ["dataset", "item", "plane", "subject"]
    kappa, width = (rows[rows["audit"] == name] for name in ("condition_number", WIDTH_AUDIT))
    both = kappa[[*place, "value"]].merge(width[[*place, "value"]], on=place, suffixes=("_x", "_y"))
    return both.rename(columns={"value_x": "x", "value_y": "y"})


@rc_context(STYLE)  # type: ignore[arg-type]
def enclosures(points: pd.DataFrame, *, key: str, label: str) -> str:
    """Widths over condition numbers, a mark a plane, a colour a dataset."""
    figure, axes = new_figure()
    names = list(dict.fromkeys(points["dataset"]))
    for i, name in enumerate(names):
        mine = points[points["dataset"] == name]
        look: dict[str, Any] = {
            "color": SERIES[i % CHUNK],
            "marker": MARKERS[(i // CHUNK + i) % CHUNK],
            "linestyle": "none",
        }
        axes.plot(mine["x"], np.maximum(mine["y"], SMALLEST), label=short(name or "known matrices"), **look)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set_xlabel("condition number")
    axes.set_ylabel("relative width")
    return finish(figure, key, label)


@rc_context(STYLE)  # type: ignore[arg-type]
def margins(rows: pd.DataFrame, *, key: str, label: str) -> str:
    """How many audits stand at each margin, logarithmic; the limit is a line."""
    figure, axes = new_figure()
    shown = np.clip(rows["margin"].to_numpy(float), 1e-6, 1e6)
    axes.hist(shown, bins=np.geomspace(1e-6, 1e6, 49).tolist(), color=SERIES[0])
    axes.axvline(1.0, color=MUTED, linestyle=DASHES[0], label="limit")
    axes.set_xscale("log")
    axes.set_xlim(1e-6, max(10.0, 3 * float(shown.max())))
    log_axis(axes, "x")
    axes.set_xlabel("value over limit")
    axes.set_ylabel("audits")
    return finish(figure, key, label)

"""Bytes and what they keep: every codec at equal rates and equal errors, with a verdict in words."""

from math import isfinite, nan

import numpy as np
import pandas as pd

from svdflow.codec.comparison import at_error, at_rate, verdict
from svdflow.codec.other_codecs import CodecPoint
from svdflow.metrics import bd_rate
from svdflow.registry import CODECS
from svdflow.registry.tables import Table
from svdflow.report.range_notes import range_words
from svdflow.report.table_rows import groups, sources

RATES = (0.25, 0.5, 1.0, 2.0)  # bits per pixel at which pictures are compared
ERRORS = (1e-1, 1e-2, 1e-3)  # relative errors at which matrices are
REFERENCE = "jpeg"
OURS = "svdflow"
_PLANE = ["item", "plane"]


def codec_name(codec: str, form: str) -> str:
    """What a reader knows a codec by."""
    return f"svdflow, {form}" if codec == OURS else CODECS[codec].title if codec in CODECS else codec


def rate_summary(rates: pd.DataFrame, _: Table | None = None) -> pd.DataFrame:
    """One row a dataset, codec and form: medians over planes.

    Returns
    -------
    summary : DataFrame
        dataset, codec, form, n (planes), data_range (of PSNR; the median) with its source, psnr_at_{rate} in dB at the
        RATES, bits_at_{error} per value at the relative ERRORS, both interpolated between measured points and NaN
        outside; bd_rate in percent of JPEG's bytes; bits_lossless of codecs that lose nothing.
    """
    columns = ["dataset", "codec", "form", "n", "data_range", "data_range_source"]
    columns += [f"psnr_at_{rate:g}" for rate in RATES] + [f"bits_at_{error:g}" for error in ERRORS]
    columns += ["bd_rate", "bits_lossless"]
    curves = rates[~rates["kept"].astype(bool)]
    if curves.empty:
        return pd.DataFrame(columns=columns)
    reference = {
        (dataset, plane): rows
        for dataset, mine in groups(curves[curves["codec"] == REFERENCE], "dataset")
        for plane, rows in groups(mine, _PLANE)
    }
    rows = []
    for (dataset, codec, form), mine in groups(curves, ["dataset", "codec", "form"]):
        planes = groups(mine, _PLANE)
        peak, source = mine["data_range"].median(), sources(mine["data_range_source"])
        figures = [_plane_figures(plane, reference.get((dataset, key))) for key, plane in planes]
        rows.append(
            [
                dataset,
                codec,
                form,
                len(planes),
                peak,
                source,
                *(_median(column) for column in zip(*figures, strict=True)),
            ]
        )
    return pd.DataFrame(rows, columns=columns)


def verdicts(rates: pd.DataFrame) -> list[str]:
    """A sentence or two a dataset: which codec to use, and what the archive is good for there."""
    said = []
    for dataset, rows in groups(rates[~rates["kept"].astype(bool)], "dataset"):
        words = _verdict(rows)
        said.append(f"{dataset}: {words}{range_words(rows) if ' dB' in words else ''}")
    return said


def median_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """One curve of several planes: medians over them, setting by setting.

    Settings of one codec differ from plane to plane; their places from coarse to fine do not.
    """
    ordered = rows.sort_values("bits_per_pixel", kind="stable")
    figures = ["bytes", "bits_per_pixel", "psnr", "relative_error", "max_error", "ssim"]
    places = ordered.groupby(_PLANE).cumcount()
    medians = ordered.replace([np.inf, -np.inf], np.nan).groupby(places)[figures].median()
    return medians.assign(lossless=ordered.groupby(places)["lossless"].all())


def _verdict(rows: pd.DataFrame) -> str:
    curves, ours = {}, []
    for (codec, form), mine in groups(rows, ["codec", "form"]):
        key = f"{codec} {form}".strip()
        curves[key] = _points(codec, median_curve(mine))
        ours += [key] if codec == OURS else []
    return verdict(curves, ours, "images" if REFERENCE in curves else "matrices")


def _points(codec: str, rows: pd.DataFrame) -> list[CodecPoint]:
    columns = ["bytes", "bits_per_pixel", "psnr", "relative_error", "max_error", "ssim", "lossless"]
    return [CodecPoint(codec, "", int(n), *figures) for n, *figures in rows[columns].itertuples(index=False)]


def _plane_figures(rows: pd.DataFrame, reference: pd.DataFrame | None) -> list[float]:
    points = _points("", rows)
    if all(point.lossless for point in points):
        nothing = [nan] * (len(RATES) + len(ERRORS) + 1)
        return [*nothing, min(point.bits_per_value for point in points)]
    against = nan
    if reference is not None:
        against = bd_rate(
            reference["bits_per_pixel"], reference["psnr"], rows["bits_per_pixel"], rows["psnr"]
        )
    return [*(at_rate(points, rate) for rate in RATES), *(at_error(points, e) for e in ERRORS), against, nan]


def _median(values: tuple[float, ...]) -> float:
    known = [value for value in values if isfinite(value)]
    return float(np.median(known)) if known else nan

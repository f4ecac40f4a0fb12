"""Codecs at equal rates: planted curves, whose figures are known, and the words that they lead to."""

import numpy as np
import pandas as pd
import pytest

from svdflow.store.schema import columns
from svdflow.tasks import encode_report
from svdflow.tasks.encode_rates import codec_name, median_curve, rate_summary, verdicts

BLANK = {"text": "", "int": 0, "float": float("nan"), "bool": False}
BITS = np.array([0.125, 0.25, 0.5, 1.0, 2.0, 4.0])


def rows(codec, psnr, *, bits=BITS, item=0, form="", lossless=False, dataset="photos", error=None):
    """One curve: PSNR (or relative errors) at the given bits per pixel."""
    blank = {c.name: BLANK[c.kind] for c in columns("rates")}
    return [
        blank
        | {
            "dataset": dataset,
            "item": item,
            "plane": "grey",
            "codec": codec,
            "form": form,
            "lossless": lossless,
        }
        | {
            "bytes": int(1000 * b),
            "bits_per_pixel": b,
            "psnr": p,
            "relative_error": 10 ** (-p / 20) if error is None else e,
        }
        for b, p, e in zip(bits, psnr, psnr if error is None else error, strict=True)
    ]


def line(gain):
    """6 dB a doubling of the rate, `gain` dB at one bit."""
    return gain + 6 * np.log2(BITS)


def test_figures_at_equal_rates_are_those_of_the_curves():
    table = pd.DataFrame(
        rows("jpeg", line(34))
        + rows("svdflow", line(28), form="svd")
        + rows("png", [np.inf], bits=[5.0], lossless=True)
    )
    summary = rate_summary(table).set_index(["codec", "form"])
    assert summary.loc[("jpeg", ""), "psnr_at_1"] == pytest.approx(34)
    assert summary.loc[("svdflow", "svd"), "psnr_at_0.25"] == pytest.approx(16)
    # 6 dB less is one doubling of the rate: twice the bytes for the same PSNR.
    assert summary.loc[("svdflow", "svd"), "bd_rate"] == pytest.approx(100, rel=1e-6)
    assert summary.loc[("jpeg", ""), "bd_rate"] == pytest.approx(0, abs=1e-9)
    assert summary.loc[("png", ""), "bits_lossless"] == 5.0
    assert np.isnan(summary.loc[("png", ""), "psnr_at_1"])


def test_nothing_is_extrapolated():
    table = pd.DataFrame(rows("jpeg", line(34)[:2], bits=BITS[:2]))
    (summary,) = rate_summary(table).to_dict("records")
    assert (
        np.isfinite(summary["psnr_at_0.25"])
        and np.isnan(summary["psnr_at_1"])
        and np.isnan(summary["bd_rate"])
    )


def test_medians_are_taken_over_planes():
    table = pd.DataFrame([r for i, gain in enumerate((30, 34, 40)) for r in rows("jpeg", line(gain), item=i)])
    (summary,) = rate_summary(table).to_dict("records")
    assert summary["n"] == 3 and summary["psnr_at_1"] == pytest.approx(34)
    assert list(median_curve(table)["psnr"]) == pytest.approx(list(line(34)))


@pytest.mark.parametrize(("ours", "winner"), [(28, "use JPEG"), (40, "use the factor archive")])
def test_the_verdict_says_who_wins_and_never_the_other(ours, winner):
    (words,) = verdicts(pd.DataFrame(rows("jpeg", line(34)) + rows("svdflow", line(ours), form="tiles")))
    assert words.startswith("photos: ") and winner in words
    other = "use the factor archive" if "JPEG" in winner else "use JPEG"
    assert other not in words


def test_kept_archives_are_no_points_of_a_curve():
    table = pd.DataFrame(rows("svdflow", line(28), form="svd"))
    kept = table.head(1).assign(kept=True, psnr=99.0, target="psnr=35")
    both = pd.concat([table, kept], ignore_index=True)
    assert rate_summary(both).equals(rate_summary(table))
    grid = encode_report.archives(both)
    assert grid.rows[0][:3] == ["photos", "psnr=35", "svd"] and encode_report.archives(table) is None


def test_matrices_are_compared_at_equal_errors():
    table = pd.DataFrame(
        rows("zfp", [np.nan] * 6, error=10.0 ** -np.arange(6), dataset="field")
        + rows(
            "svdflow",
            [np.nan] * 6,
            bits=BITS / 2,
            error=10.0 ** -np.arange(6),
            form="tucker",
            dataset="field",
        )
    )
    summary = rate_summary(table).set_index("codec")
    assert summary.loc["svdflow", "bits_at_0.01"] == pytest.approx(summary.loc["zfp", "bits_at_0.01"] / 2)
    assert encode_report.at_rates(table) is None
    assert [row[1] for row in encode_report.at_errors(table).rows] == ["svdflow, tucker", "ZFP"]


def test_an_empty_table_says_nothing():
    empty = pd.DataFrame(columns=[c.name for c in columns("rates")])
    assert verdicts(empty) == [] and rate_summary(empty).empty
    assert (
        encode_report.at_rates(empty)
        is encode_report.at_errors(empty)
        is encode_report.archives(empty)
        is None
    )


def test_names_are_those_that_people_know():
    assert codec_name("jpeg2000", "") == "JPEG 2000" and codec_name("svdflow", "svd") == "svdflow, svd"

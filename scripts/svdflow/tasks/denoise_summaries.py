"""What the table denoise says, in numbers and sentences: the best and the automatic rank, methods beside each other."""

from collections.abc import Mapping

import pandas as pd

from svdflow.report.findings import count, number
from svdflow.report.range_notes import range_words
from svdflow.report.select import middle_rank
from svdflow.report.table_rows import Tables, groups, largest

_CLOSER = ("error_clean", "ms_ssim", "residual_ratio", "whiteness")


def findings(tables: Tables, _: Mapping[str, str]) -> list[str]:
    """What the automatic choice of each method loses to the best listed rank, and how methods compare."""
    denoise, said = tables["denoise"], []
    for method, row in groups(denoise_summary(denoise), "method"):
        row = row.replace(float("inf"), float("nan")).dropna(subset=["psnr_best", "psnr_automatic"])
        if len(row):
            gap = (row["psnr_best"] - row["psnr_automatic"]).median()
            side = "less" if gap >= 0 else "more"
            said.append(
                f"Denoising by {method}, {count(int(row['n'].sum()), 'noisy plane')}: the automatic rank "
                f"gives {number(abs(gap), 2)} dB {side} than the best listed one (median over datasets and "
                f"noise levels). Best single result: {_best(denoise[denoise['method'] == method])}."
                + range_words(denoise[(denoise["method"] == method) & denoise["psnr"].notna()])
            )
    return said + _compared(denoise)


def _compared(denoise: pd.DataFrame) -> list[str]:
    """Which method does best on each dataset with a clean reference, and what all of them give."""
    said = []
    known = denoise[denoise["chosen"]].dropna(subset=["error_clean"])
    for (dataset, sigma), rows in groups(known, ["dataset", "sigma_added"]):
        if rows["method"].nunique() < 2:
            continue
        finite = rows.replace(float("inf"), float("nan"))
        figure, unit = ("psnr", " dB") if finite["psnr"].notna().all() else ("error_clean", "")
        medians = (
            finite.groupby("method")[figure].median().sort_values(ascending=figure != "psnr", kind="stable")
        )
        words = ", ".join(f"{method} {number(value)}{unit}" for method, value in medians.items())
        noise = f" at noise {number(sigma)}" if sigma else ""
        what = "PSNR" if figure == "psnr" else "relative error"
        refers = range_words(finite) if figure == "psnr" else ""
        said.append(
            f"Denoising {dataset}{noise}, {count(len(finite) // len(medians), 'plane')}, {what}: {words}.{refers}"
        )
    return said


def _best(denoise: pd.DataFrame) -> str:
    top = largest(denoise, "psnr")
    noise = f", noise {number(top['sigma_added'])}" if top["sigma_added"] else ""
    return f"PSNR {number(top['psnr'])} dB, rank {top['rank']}, {top['dataset']}{noise}"


def denoise_summary(denoise: pd.DataFrame) -> pd.DataFrame:
    """Best and automatic rank per dataset, noise level and method: medians over planes.

    Returns
    -------
    summary : DataFrame
        dataset, sigma_added, method, n, rank_best, psnr_best, ssim_best, rule, rank_automatic, psnr_automatic,
        ssim_automatic, and of the automatic choice error_clean, ms_ssim, residual_ratio and whiteness.
    """
    keys = ["dataset", "sigma_added", "method"]
    columns = [
        *keys,
        "n",
        "rank_best",
        "psnr_best",
        "ssim_best",
        "rule",
        "rank_automatic",
        "psnr_automatic",
        "ssim_automatic",
        *_CLOSER,
    ]
    rows = []
    for key, group in groups(denoise, keys):
        best = group[group["best"]]
        automatic = group[group["chosen"]]
        planes = len(group[["item", "plane"]].drop_duplicates())
        rule = ", ".join(sorted(automatic["rule"].unique()))
        closer = [automatic[name].median() for name in _CLOSER]
        rows.append([*key, planes, *_medians(best), rule, *_medians(automatic), *closer])
    return pd.DataFrame(rows, columns=columns)


def rule_summary(denoise: pd.DataFrame) -> pd.DataFrame:
    """What each rank rule of truncation chose, and what that loses to the best listed rank: medians over planes.

    Returns
    -------
    summary : DataFrame
        dataset, sigma_added, rule, n, rank, psnr, lost (dB below the best listed rank of the same plane; negative where
        the rule found a better one between the listed ranks).
    """
    columns = ["dataset", "sigma_added", "rule", "n", "rank", "psnr", "lost"]
    rows = []
    truncated = denoise[denoise["method"] == "truncate"]
    keys = ["item", "plane"]
    for (dataset, sigma), mine in groups(truncated, ["dataset", "sigma_added"]):
        best = mine[mine["best"]].set_index(keys)["psnr"]
        for rule, chosen in groups(mine[mine["rule"] != "rank"], "rule"):
            psnr = chosen.set_index(keys)["psnr"]
            lost = (best.reindex(psnr.index) - psnr).median()
            rows.append([dataset, sigma, rule, len(chosen), middle_rank(chosen["rank"]), psnr.median(), lost])
    return pd.DataFrame(rows, columns=columns)


def _medians(rows: pd.DataFrame) -> list[float]:
    if rows.empty:
        return [float("nan")] * 3
    return [middle_rank(rows["rank"]), rows["psnr"].median(), rows["ssim"].median()]

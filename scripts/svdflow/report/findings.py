"""What a metrics file says, in numbers and plain sentences; the report and the verdict both read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import pandas as pd

from svdflow.report.range_notes import masked_words, range_words
from svdflow.report.select import middle_rank
from svdflow.report.table_rows import Tables, groups, largest, listed

_CLOSER = ("error_clean", "ms_ssim", "residual_ratio", "whiteness")
VERDICTS = ("FAIL", "ERROR", "INCONCLUSIVE", "WARN", "SKIP", "PASS")  # worst first


@dataclass(frozen=True)
class Findings:
    """The figures that lead a report."""

    datasets: int
    items: int
    planes: int
    factorizations: int
    highest_rank: int
    measurements: int
    errors: int
    failed_items: int
    verdicts: dict[str, int]
    mutants: int = 0
    survivors: int = 0

    @property
    def audits(self) -> int:
        return sum(self.verdicts.values())


def number(value: float, digits: int = 3) -> str:
    """A figure for a reader: `digits` significant ones, an en dash where there is none."""
    if value is None or not isfinite(value):
        return "∞" if value == float("inf") else "–"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e6 else f"{value:.{digits}g}"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """`n` with its noun: 1 item, 2 items, no items."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}" if n else f"no {plural or noun + 's'}"


def findings(tables: Tables) -> Findings:
    """Count what was done.

    Parameters
    ----------
    tables : dict of str to DataFrame
        All tables of a metrics file.
    """
    done = pd.concat(
        [tables[name][["dataset", "item", "plane"]] for name in ("factorize", "compress", "denoise", "rates")]
    )
    planes = done.drop_duplicates()
    errors = tables["errors"]
    verdicts = judged(tables["audit"])["verdict"].value_counts()
    mutants = tables["audit"][tables["audit"]["audit"] == "mutant"]["verdict"]
    unknown = [name for name in sorted(verdicts.index) if name not in VERDICTS]
    return Findings(
        datasets=pd.concat([planes["dataset"], errors["dataset"]]).nunique(),
        items=len(planes[["dataset", "item"]].drop_duplicates()),
        planes=len(planes),
        factorizations=len(tables["factorize"]),
        highest_rank=int(tables["factorize"]["rank"].max()) if len(tables["factorize"]) else 0,
        measurements=sum(
            len(tables[name]) for name in ("factorize", "compress", "denoise", "rates", "audit")
        ),
        errors=len(errors),
        failed_items=len(errors[["dataset", "item"]].drop_duplicates()),
        verdicts={name: int(verdicts.get(name, 0)) for name in [*VERDICTS, *unknown]},
        mutants=len(mutants),
        survivors=int((mutants != "PASS").sum()),
    )


def judged(audit: pd.DataFrame) -> pd.DataFrame:
    """The table audit without the rows that only show what methods known to be poor do."""
    return audit[audit["family"] != "peers"]


def sentences(tables: Tables, kinds: Mapping[str, str]) -> list[str]:
    """What was run and what it found, most important first."""
    found = findings(tables)
    said = [
        _done(found, tables),
        *_compressed(tables["compress"], kinds),
        *_known_spectra(tables["factorize"]),
        *_denoised(tables["denoise"]),
        *_audited(found),
        *notes(tables),
    ]
    if found.errors:
        said.append(
            f"{count(found.failed_items, 'item')} failed, with {count(found.errors, 'error')}: "
            "they are named below."
        )
    else:
        said.append("No item failed.")
    return said


def notes(tables: Tables) -> list[str]:
    """What was done and is worth less than it looks, a sentence each; for the terminal and the report."""
    poor = tables["rates"][tables["rates"]["note"] != ""]
    masked = [*_stopped_short(tables["factorize"]), *masked_words(tables)]
    if poor.empty:
        return masked
    names = ", ".join(sorted(set(poor["dataset"])))
    return masked + [
        f"{count(len(poor), 'archive')} of {names} {'keeps' if len(poor) == 1 else 'keep'} little of what was encoded "
        f"({poor['note'].iloc[0].split(';')[0]}): see the column note of the table rates."
    ]


def _stopped_short(factorize: pd.DataFrame) -> list[str]:
    """Factorizations that missed their tolerance; those of a fixed number of reads have none, and no estimate."""
    reason = factorize["reason"]
    short = factorize[(reason == "unresolved") | ((reason == "max_reads") & factorize["estimate"].notna())]
    if short.empty:
        return []
    why = ", ".join(f"{name} {n:,}" for name, n in short["reason"].value_counts().items())
    worst, names = short["estimate"].max(), ", ".join(sorted(set(short["dataset"])))
    return [
        f"{count(len(short), 'factorization')} of {names} fell short of the tolerance "
        f"({why}; estimated accuracy {number(worst)} at worst): see the columns reason and estimate of the table "
        "factorize."
    ]


def verdict_words(verdicts: Mapping[str, int]) -> str:
    """For example: 1 FAIL, 2 WARN, 40 PASS."""
    return ", ".join(f"{n:,} {name}" for name, n in verdicts.items() if n) or "none"


def _done(found: Findings, tables: Tables) -> str:
    if not found.items:
        return "Nothing was factorized."
    methods = tables["factorize"]["method"].value_counts()
    by = " and ".join(f"{name} ({n:,})" for name, n in methods.items()) or "none"
    return (
        f"{count(found.items, 'item')} from {count(found.datasets, 'dataset')}, "
        f"{count(found.planes, 'plane')} in all, went through {count(found.factorizations, 'factorization')} "
        f"of rank up to {found.highest_rank:,}; methods: {by}."
    )


def _compressed(compress: pd.DataFrame, kinds: Mapping[str, str]) -> list[str]:
    """Median error of the images (else of all) at a low, the middle and the highest listed rank."""
    measured = listed(compress)
    images = measured[measured["dataset"].map(kinds.get) == "images"]
    rows, noun = (images, "image plane") if len(images) else (measured, "plane")
    if rows.empty:
        return []
    ranks = sorted(rows["rank"].unique())
    said = []
    for rank in sorted({middle_rank(ranks[: len(ranks) // 2 + 1]), middle_rank(ranks), ranks[-1]}):
        at = rows[rows["rank"] == rank]
        said.append(
            f"{number(at['relative_error'].median())} at rank {rank} (PSNR {number(at['psnr'].median())} dB, "
            f"{number(100 * at['value_ratio'].median(), 2)} % of the values, {count(len(at), noun)})"
        )
    return [f"Compression leaves a median relative error of {'; '.join(said)}.{range_words(rows)}"]


def _known_spectra(factorize: pd.DataFrame) -> list[str]:
    # Clean values are not those of the noisy matrix, and a law is met on average only.
    exactly = factorize["truth_label"].isin(["exact", "computed"])
    known = factorize[exactly].dropna(subset=["truth_error"])
    if known.empty:
        return []
    farthest = largest(known, "truth_error")
    return [
        f"Of the {count(len(known), 'factorization')} whose singular values are known, the largest "
        f"deviation is {number(farthest['truth_error'], 2)} of the first one ({farthest['dataset']}, "
        f"{farthest['truth_label']} values); the median is {number(known['truth_error'].median(), 2)}."
    ]


def _denoised(denoise: pd.DataFrame) -> list[str]:
    said = []
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


def _audited(found: Findings) -> list[str]:
    if not found.audits:
        return []
    parts = [count(found.audits, "check"), verdict_words(found.verdicts), kill_words(found)]
    return [f"Audits: {'; '.join(filter(None, parts))}."]


def kill_words(found: Findings) -> str:
    """How many of the planted faults were caught, "" where none was planted."""
    if not found.mutants:
        return ""
    return f"{found.mutants - found.survivors} of {count(found.mutants, 'planted fault')} caught"


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

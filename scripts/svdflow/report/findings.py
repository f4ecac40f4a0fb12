"""What a metrics file says, in numbers and plain sentences; the report and the verdict both read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import pandas as pd

from svdflow.registry import TASKS
from svdflow.registry.declaration import imported
from svdflow.report.range_notes import masked_words
from svdflow.report.table_rows import Tables, largest
from svdflow.store.schema import tables as declared

NOT_APPLICABLE = "not_applicable"
LEFT_OUT = {  # codes of the table errors that say that an item was not worked on, and why
    NOT_APPLICABLE: "which is no failure: what was asked has no meaning there",
    "too_large": "beyond what a method takes",
}
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
    measured = [tables[name] for name, table in declared().items() if table.of_planes]
    planes = pd.concat([table[["dataset", "item", "plane"]] for table in measured]).drop_duplicates()
    errors = failures(tables["errors"])
    verdicts = judged(tables["audit"])["verdict"].value_counts()
    mutants = tables["audit"][tables["audit"]["audit"] == "mutant"]["verdict"]
    unknown = [name for name in sorted(verdicts.index) if name not in VERDICTS]
    return Findings(
        datasets=pd.concat([planes["dataset"], errors["dataset"]]).nunique(),
        items=len(planes[["dataset", "item"]].drop_duplicates()),
        planes=len(planes),
        factorizations=len(tables["factorize"]),
        highest_rank=int(tables["factorize"]["rank"].max()) if len(tables["factorize"]) else 0,
        measurements=sum(map(len, measured)) + len(tables["audit"]),
        errors=len(errors),
        failed_items=len(errors[["dataset", "item"]].drop_duplicates()),
        verdicts={name: int(verdicts.get(name, 0)) for name in [*VERDICTS, *unknown]},
        mutants=len(mutants),
        survivors=int((mutants != "PASS").sum()),
    )


def failures(errors: pd.DataFrame) -> pd.DataFrame:
    """The table errors without what a method or task had nothing to do with."""
    return errors[errors["code"] != NOT_APPLICABLE]


def judged(audit: pd.DataFrame) -> pd.DataFrame:
    """The table audit without the rows that only show what methods known to be poor do."""
    return audit[audit["family"] != "peers"]


def sentences(tables: Tables, kinds: Mapping[str, str]) -> list[str]:
    """What was run and what it found, most important first."""
    found = findings(tables)
    said = [
        _done(found, tables),
        *_known_spectra(tables["factorize"]),
        *(
            words
            for task in TASKS.values()
            if task.findings
            for words in imported(task.findings)(tables, kinds)
        ),
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
    """What was left out, or done and worth less than it looks, a sentence each; for the terminal and the report."""
    factorize = tables["factorize"]
    said = [*_stopped_short(factorize), *_two_devices(factorize), *masked_words(tables)]
    said += [words for task in TASKS.values() if task.notes for words in imported(task.notes)(tables)]
    return [*said, *_left_out(tables["errors"])]


def _left_out(errors: pd.DataFrame) -> list[str]:
    """How much was not worked on, by cause and stage."""
    said = []
    for code, why in LEFT_OUT.items():
        rows = errors[errors["code"] == code]
        if len(rows):
            stages = ", ".join(
                f"{stage} {n:,}" for stage, n in rows["stage"].value_counts(sort=False).items()
            )
            names = ", ".join(sorted(set(rows["dataset"])))
            said.append(
                f"{count(len(rows), 'item')} of {names} left out as {code}, {why} ({stages}): see the table errors."
            )
    return said


def _two_devices(factorize: pd.DataFrame) -> list[str]:
    """A study whose factors NumPy and CuPy computed, as one that was resumed on another machine."""
    counts = factorize["backend"].value_counts().sort_index()
    if len(counts) < 2:
        return []
    by = ", ".join(f"{number:,} by {backend}" for backend, number in counts.items())
    return [
        f"Factorizations of two kinds of device ({by}): they agree to rounding; smaller differences between items mean "
        "nothing; 'runtime: {backend: numpy}' or cupy keeps to one."
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

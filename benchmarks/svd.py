"""The SVD beside scikit-learn, SciPy, dask and LAPACK: both sides in one run, interleaved, and the regret of its rule.

    python benchmarks/svd.py                       every case, as typed and at its best; hours, on an idle machine
    python benchmarks/svd.py --defaults            as users type it alone: default against default, ten seeds
    python benchmarks/svd.py --best                each at its best alone, five seeds
    python benchmarks/svd.py --case memory         the cases whose names begin so (may be given again)
    python benchmarks/svd.py --regret              reads against the fewest that would have done; hours
    python benchmarks/svd.py --regret --shapes narrow complex --seeds 2 --minutes 4     a part; goes on where it ended
    python benchmarks/svd.py --small               all of it on tiny matrices, in minutes; printed and not kept
    python benchmarks/svd.py --list                names and titles
    python benchmarks/svd.py --report              tables and plots anew from the results that are there

Results go to benchmarks/results/svd.json, merged by case, and regret.jsonl, a line a matrix and seed; from there to
results/svd.md, results/regret.md, docs/benchmarks.md and docs/plots/. Matrices are kept in --folder and used again.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "scripts")]

from svdbench import regret, regret_report, report  # noqa: E402  the library beside the benchmark is measured
from svdbench.cases import CASES  # noqa: E402
from svdbench.contests import Case, Options  # noqa: E402
from svdbench.regret_matrices import SHAPES, SMALL_SHAPES, SPECTRA  # noqa: E402
from svdbench.tables import replaced  # noqa: E402
from svdbench.timing import machine  # noqa: E402

RESULTS, DOCS = HERE / "results", ROOT / "docs"
# Seeds where --seeds does not say: 0 to 9 of what is asked of every seed, fewer where each takes minutes.
DEFAULT_SEEDS, BEST_SEEDS, REGRET_SEEDS = 10, 5, 10


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.list:
        print("\n".join(f"{case.name:20} {case.title}" for case in CASES.values()))
        print("\n".join(f"{shape.name:20} {shape.title} (--regret)" for shape in SHAPES.values()))
        return 0
    results, docs = (given.results, given.results / "docs") if given.results else (RESULTS, DOCS)
    kept = bool(given.results) or not given.small
    return (of_regret if given.regret else of_cases)(given, results, docs, kept)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", default=[], help="name, or how names begin")
    parser.add_argument("--seeds", type=int, help="how many, from 0 on")
    parser.add_argument(
        "--small", action="store_true", help="tiny matrices; results are printed and not kept"
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--defaults", action="store_true", help="only what users type")
    part.add_argument("--best", action="store_true", help="only each at its best")
    part.add_argument("--regret", action="store_true", help="reads against the fewest possible")
    parser.add_argument("--shapes", nargs="+", help="of --regret; all, if not given")
    parser.add_argument("--spectra", nargs="+", choices=list(SPECTRA), help="of --regret")
    parser.add_argument("--widths", nargs="+", type=float, default=list(regret.WIDTHS), help="of --regret")
    parser.add_argument("--minutes", type=float, help="of --regret: begin no matrix after so many")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "svdflow-bench")
    parser.add_argument(
        "--results", type=Path, help="folder for results and pages, in place of the repository's"
    )
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of the HDF5 files")
    parser.add_argument("--memory-limit", default="1GiB", help="of ours, in the cases on disk")
    given = parser.parse_args(arguments)
    unknown = [asked for asked in given.case if not any(name.startswith(asked) for name in CASES)]
    if unknown:
        parser.error(f"no case begins with {', '.join(unknown)}; there are {', '.join(CASES)}")
    given.cases = [c for n, c in CASES.items() if not given.case or n.startswith(tuple(given.case))]
    known = SMALL_SHAPES if given.small else SHAPES
    unknown = [name for name in given.shapes or [] if name not in known]
    if unknown:
        parser.error(f"no shape is called {', '.join(unknown)}; there are {', '.join(known)}")
    given.shapes = [known[name] for name in given.shapes or known]
    return given


# Cases


def of_cases(given: argparse.Namespace, results: Path, docs: Path, kept: bool) -> int:
    """Measure the cases that were asked for; 1 where one at best is less accurate than its peer."""
    document = report.upgraded(report.load(results / "svd.json")) if kept else {}
    if given.report:
        published(document, results, docs)
        if (results / "regret.jsonl").exists():
            regret_published(regret.load(results / "regret.jsonl"), given, results, docs)
        return 0
    given.folder.mkdir(parents=True, exist_ok=True)
    warned_of_environment()
    parts = [(report.DEFAULTS, DEFAULT_SEEDS)] * (not given.best) + [(report.CASES, BEST_SEEDS)] * (
        not given.defaults
    )
    for case in given.cases:
        for part, seeds in parts:
            options = Options(
                given.folder,
                range(given.seeds or seeds),
                given.small,
                given.gigabytes,
                given.memory_limit,
                say,
            )
            document = report.merged(document, case.name, run(case, options, part), part)
            if kept:
                published(document, results, docs)
    print(report.section(document))
    rows = [row for c in given.cases for row in document[report.CASES].get(c.name, {}).get("rows", [])]
    unlike = [row for row in rows if not row["comparable"]]
    if unlike:
        say(
            f"{len(unlike)} of {len(rows)} comparisons are not comparable: we were less accurate than the peer"
        )
    return int(bool(unlike))


def run(case: Case, options: Options, part: str) -> dict:
    """One case as it goes into the document."""
    start = time.perf_counter()
    say(f"{case.name}, {'as users type it' if part == report.DEFAULTS else 'at best'}: {case.title}")
    found = case.defaults(options) if part == report.DEFAULTS else case.best(options)
    return {
        "title": case.title,
        "seeds": list(options.seeds[: case.seeds] if part == report.DEFAULTS else options.seeds),
        "machine": machine(),
        "code": regret.code(),
        "minutes": (time.perf_counter() - start) / 60,
        "facts": found.facts,
        "rows": found.rows,
        "sweeps": found.sweeps,
        "wrong": found.wrong,
    }


def published(document: dict, results: Path, docs: Path) -> None:
    """Everything that is made of the results."""
    report.save(results / "svd.json", json.dumps(document, indent=1) + "\n")
    report.save(results / "svd.md", report.markdown(document))
    pictures = [os.path.relpath(path, docs) for path in report.plots(document, docs / "plots")]
    page = docs / "benchmarks.md"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    report.save(page, report.page(old, document, pictures))


# Regret


def of_regret(given: argparse.Namespace, results: Path, docs: Path, kept: bool) -> int:
    """Measure what is not there yet, a line at a time; 1 where the rule is not as good as was asked."""
    path = results / "regret.jsonl"
    records = regret.load(path) if kept else []
    if not given.report:
        warned_of_environment()
        code, started = regret.code(), time.monotonic()
        known = [record.key for record in records if record.code == code]
        for record in regret.measured(
            given.shapes,
            given.spectra or list(SPECTRA),
            range(given.seeds or REGRET_SEEDS),
            done=known,
            widths=given.widths,
            until=started + 60 * given.minutes if given.minutes else float("inf"),
            machine=report.machine_text(machine()),
            code=code,
            say=say,
        ):
            records = regret.merged(records, [record])
            if kept:
                report.save(path, "".join(record.line() + "\n" for record in records))
    if kept:
        regret_published(records, given, results, docs)
    print(regret_report.section(records, regret.TOLERANCES, given.widths))
    return int(not regret_report.summary(regret_report.outcomes(records)).met)


def regret_published(records: list, given: argparse.Namespace, results: Path, docs: Path) -> None:
    """The page of results, and the section of the documentation."""
    text = regret_report.section(records, regret.TOLERANCES, given.widths)
    report.save(results / "regret.md", f"# Regret of the stopping rule\n\n{text}\n")
    page = docs / "benchmarks.md"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    part = f"## Regret of the stopping rule\n\n{text}"
    report.save(page, replaced(old, part, regret_report.BEGIN, regret_report.END))


def warned_of_environment() -> None:
    forced = [key for key in os.environ if key.startswith(("OPENBLAS_", "OMP_", "MKL_"))]
    if forced:
        say(f"{', '.join(forced)} in the environment: they change what BLAS does, on both sides; recorded")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

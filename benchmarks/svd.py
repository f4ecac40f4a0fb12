"""The SVD beside scikit-learn, SciPy, dask and LAPACK: both sides in one run, interleaved, at equal accuracy.

    python benchmarks/svd.py                       every case, five seeds; hours, on an idle machine
    python benchmarks/svd.py --case memory         the cases whose names begin so (may be given again)
    python benchmarks/svd.py --small               all of it on tiny matrices, in minutes; printed and not kept
    python benchmarks/svd.py --list                names and titles
    python benchmarks/svd.py --report              table and plots anew from the results that are there

Results go to benchmarks/results/svd.json, merged by case, and from there to results/svd.md, docs/benchmarks.md and
docs/plots/. Matrices are kept in --folder and used again.
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

from svdbench import report  # noqa: E402  the library beside the benchmark is the one that is measured
from svdbench.cases import CASES, Case, Options  # noqa: E402
from svdbench.timing import machine  # noqa: E402

RESULTS, DOCS = HERE / "results", ROOT / "docs"


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.list:
        print("\n".join(f"{case.name:20} {case.title}" for case in CASES.values()))
        return 0
    results, docs = (given.results, given.results / "docs") if given.results else (RESULTS, DOCS)
    kept = bool(given.results) or not given.small
    document = report.load(results / "svd.json") if kept else {}
    if given.report:
        published(document, results, docs)
        return 0
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(folder, range(given.seeds), given.small, given.gigabytes, given.memory_limit, say)
    warned_of_environment()
    for case in given.cases:
        document = report.merged(document, case.name, run(case, options))
        if kept:
            published(document, results, docs)
    print(report.table(document) + "\n\n" + report.resources(document))
    rows = [row for case in given.cases for row in document["cases"][case.name]["rows"]]
    unlike = [row for row in rows if not row["comparable"]]
    if unlike:
        say(
            f"{len(unlike)} of {len(rows)} comparisons are not comparable: we were less accurate than the peer"
        )
    return int(bool(unlike))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", default=[], help="name, or how names begin")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--small", action="store_true", help="tiny matrices; results are printed and not kept"
    )
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
    return given


def run(case: Case, options: Options) -> dict:
    """One case as it goes into the document."""
    start = time.perf_counter()
    say(f"{case.name}: {case.title}")
    found = case.run(options, case.least, case.aim)
    return {
        "title": case.title,
        "seeds": list(options.seeds),
        "machine": machine(),
        "minutes": (time.perf_counter() - start) / 60,
        "facts": found.facts,
        "rows": found.rows,
        "sweeps": found.sweeps,
    }


def published(document: dict, results: Path, docs: Path) -> None:
    """Everything that is made of the results."""
    report.save(results / "svd.json", json.dumps(document, indent=1) + "\n")
    report.save(results / "svd.md", report.markdown(document))
    pictures = [os.path.relpath(path, docs) for path in report.plots(document, docs / "plots")]
    page = docs / "benchmarks.md"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    report.save(page, report.page(old, document, pictures))


def warned_of_environment() -> None:
    forced = [key for key in os.environ if key.startswith(("OPENBLAS_", "OMP_", "MKL_"))]
    if forced:
        say(f"{', '.join(forced)} in the environment: they change what BLAS does, on both sides; recorded")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

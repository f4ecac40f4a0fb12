"""Results as JSON, merged by case; the table and the plots that are made of it."""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from svdbench.tables import lines_of, marked, replaced
from svdflow.study.sizes import parse_size

Row = dict[str, Any]
SCHEMA = 2
BEGIN, END = "<!-- svd: begin -->", "<!-- svd: end -->"
COLUMNS = (
    "case",
    "against",
    "settings",
    "seconds",
    "our settings",
    "our seconds",
    "reads",
    "our reads",
    "PVE",
    "our PVE",
    "residuals (F, 2)",
    "our residuals",
    "ratio",
    "at least",
    "aim",
    "",
)
# Of the table of defaults, in the place of the ratio.
DEFAULT_RATIOS = ("seed 0", "worst seed", "median")
NOTES = """\
PVE is `max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2` against the known spectrum, the worst over the seeds; residuals are
`||A - U s Vt||` over the least that rank k allows, in the Frobenius and the spectral norm (the latter from below, by
block Lanczos, in the first round). All are computed in float64 by a routine of the benchmark. A read is a pass over
the matrix; a peer's are counted, or follow from its algorithm, one for each product, where ours makes both in one.
Ratios are the peer's seconds over ours, round by round, sides in turn. PVEs below `eps s_1^2 / s_{k+1}^2`, which
factors stored in float32 cannot be told from 0 by, count as equal. A peer's answer is looked at before it is timed, and
one with values that its vectors do not have is named and not timed. One matrix a case, in float32; `truth_pve` in the
JSON bounds what rounding its entries did to the truth."""
DEFAULT_NOTES = """\
**As users type them.** `truncated_svd(A, k)` as it comes beside the peer as it comes (`tol=` or another setting stands
in the row where one is given). Ratios are those of seed 0, which is the default, of the worst seed, and the median;
"at least" is asked of the worst, "aim" of the median. "Less accurate" says that ours was so at some seed: there the
ratio compares two things, and the rows "at PVE" below it compare one."""
BEST_NOTES = """\
**Each at its best.** "Default" is the peer as it comes, "its best" its fastest setting that reaches the accuracy named;
where none reaches our default's, its fastest within twice its least PVE. Beside each stands the fastest setting of ours
that is less accurate at no seed. Ratios are medians (least to greatest). Where we are less accurate at some seed the
row says "not comparable". Seeds are those of the random test matrices, and settings were chosen on others."""
DEFAULTS, CASES = "defaults", "cases"


def merged(old: Row, name: str, case: Row, part: str = CASES) -> Row:
    """The document with one case put into a part, or replaced there; the others stay."""
    if old and old.get("schema") != SCHEMA:
        raise SystemExit(f"results of schema {old.get('schema')}, not {SCHEMA}: move them away")
    kept = {DEFAULTS: old.get(DEFAULTS, {}), CASES: old.get(CASES, {})}
    return {"schema": SCHEMA, **kept, part: {**kept[part], name: case}}


def load(path: Path) -> Row:
    found: Row = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def upgraded(found: Row) -> Row:
    """Results of the SVD in today's schema: the first had no defaults, and its cases are those of today."""
    return found | {"schema": SCHEMA, DEFAULTS: {}} if found.get("schema") == 1 else found


def save(path: Path, text: str) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, and the extremes in brackets."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def settings_text(settings: Row) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"


def table(document: Row) -> str:
    """One line a comparison at best, losing ones among them."""
    rows = [
        cells(case_text(name, case), row) for name, case in document[CASES].items() for row in case["rows"]
    ]
    return lines_of(COLUMNS, rows)


def default_table(document: Row) -> str:
    """One line a comparison as users type them, losing ones among them; below it the peers that were wrong."""
    place = COLUMNS.index("ratio")
    head = [*COLUMNS[:place], *DEFAULT_RATIOS, *COLUMNS[place + 1 :]]
    rows, wrong = [], []
    for name, case in document[DEFAULTS].items():
        for row in case["rows"]:
            line, ratios = cells(case_text(name, case), row), row["ratios"]
            figures = [f"{value:.2f} x" for value in (ratios[0], min(ratios), median(ratios))]
            rows.append([*line[:place], *figures, *line[place + 1 :]])
        wrong += [f"- {name}: {text}; not timed." for text in case["wrong"]]
    return "\n\n".join([lines_of(head, rows), *(["\n".join(wrong)] if wrong else [])])


def case_text(name: str, case: Row) -> str:
    return f"{name}, {case['facts']['bytes'] / 1e9:.1f} GB" if "bytes" in case["facts"] else name


def cells(name: str, row: Row) -> list[str]:
    ours, theirs = row["ours"], row["theirs"]
    return [
        name,
        f"{theirs[0]['side']}, {row['label']}",
        settings_text(theirs[0]["settings"]),
        spread([run["seconds"] for run in theirs]),
        settings_text(ours[0]["settings"]),
        spread([run["seconds"] for run in ours]),
        reads_text(theirs),
        reads_text(ours),
        _worst(theirs, "pve"),
        _worst(ours, "pve"),
        f"{_residual(theirs, 'frobenius')}, {_residual(theirs, 'spectral')}",
        f"{_residual(ours, 'frobenius')}, {_residual(ours, 'spectral')}",
        f"{spread(row['ratios'])} x",
        _times(row["least"]),
        _times(row["aim"]),
        marked(row["verdict"], row["verdict"] in LOST),
    ]


LOST = ("missed", "not comparable", "less accurate")


def reads_text(runs: Sequence[Row]) -> str:
    """Of the runs that say it; least and greatest."""
    reads = sorted({run["reads"] for run in runs if run.get("reads") is not None})
    return "" if not reads else str(reads[0]) if len(reads) == 1 else f"{reads[0]} to {reads[-1]}"


def resources(document: Row) -> str:
    """Method, share of the machine's best and peak memory of our runs, where they were taken."""
    rows = []
    for name, case in [*document[DEFAULTS].items(), *document[CASES].items()]:
        for row in case["rows"]:
            ours, theirs = row["ours"], row["theirs"]
            if "gemm_share" not in ours[0]:
                continue
            reads = sorted({f"{run['reads']} ({run['method']})" for run in ours})
            label = f"{theirs[0]['side']}, {row['label']}"
            share = [spread([run[key] for run in ours]) if key in ours[0] else "" for key in SHARES]
            peaks = ["", ""]
            if "peak_bytes" in ours[0]:
                own, other = (max(run["peak_bytes"] for run in runs) for runs in (ours, theirs))
                limit = case["facts"]["limit"]
                within = "within" if keeps_limit(own, limit) else "**above**"
                peaks = [f"{own / 2**20:.0f} MiB, {within} {limit}", f"{other / 2**20:.0f} MiB"]
            rows.append([name, f"against {label}", ", ".join(reads), *share, *peaks])
    head = ["case", "run", "reads", "of GEMM speed", "of a plain read", "peak memory", "peer's peak"]
    return lines_of(head, rows)


def keeps_limit(peak: int, limit: str) -> bool:
    """Whether a process tree stayed within 1.1 times the limit plus 0.2 GiB for the interpreter."""
    size = parse_size(limit)
    assert size is not None
    return peak <= 1.1 * size + 0.2 * 2**30


SHARES = ("gemm_share", "read_share")


def markdown(document: Row, command: str = "make bench-svd") -> str:
    """The page benchmarks/results/svd.md."""
    return f"# The SVD beside its peers\n\n{section(document)}\n\nCommand: `{command}`\n"


def section(document: Row) -> str:
    """Notes, the defaults first, then each at its best, what the machine could do, and the machine."""
    efficiency = (
        "Our runs and the limits of the machine; products are counted as two of 2 m n b operations a read:"
    )
    first = [DEFAULT_NOTES, default_table(document)] if document[DEFAULTS] else []
    best = [BEST_NOTES, table(document)] if document[CASES] else []
    return "\n\n".join([NOTES, *first, *best, efficiency, resources(document), where(document)])


def where(document: Row) -> str:
    """The machine, the code and the number of seeds of every case."""
    machines: dict[str, list[str]] = defaultdict(list)
    for part, title in ((DEFAULTS, "as typed"), (CASES, "at best")):
        for name, case in document[part].items():
            code = f", code {case['code']}" if "code" in case else ""
            text = f"{machine_text(case['machine'])}{code}"
            machines[text].append(f"{name} {title} ({len(case['seeds'])} seeds)")
    return "\n".join(f"- {text}: {', '.join(names)}." for text, names in machines.items())


def machine_text(machine: Row) -> str:
    libraries = ", ".join(f"{key} {machine[key]}" for key in ("numpy", "scipy", "sklearn", "dask"))
    forced = "".join(f", {key}={value}" for key, value in machine["blas_environment"].items())
    widest = (
        "AVX-512" if "avx512f" in machine["flags"] else "AVX2" if "avx2" in machine["flags"] else "no AVX2"
    )
    return (
        f"{machine['cores']} cores of {machine['processor']} ({widest}), {machine['memory_gib']} GiB, "
        f"{'; '.join(machine['blas'])}{forced}, {libraries}, Python {machine['python']}"
    )


def page(old: str, document: Row, pictures: Sequence[str]) -> str:
    """docs/benchmarks.md with the part between the markers replaced, or put at the end where there are none."""
    shown = "\n".join(f"![Error against time, {Path(name).stem}]({name})" for name in pictures)
    return replaced(old, f"{section(document)}\n\n{shown}", BEGIN, END)


def plots(document: Row, folder: Path) -> list[Path]:
    """Error against time of every setting that was tried, one SVG a case; none without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "svdflow"
    from matplotlib import pyplot

    written = []
    for name, case in document[CASES].items():
        if not case["sweeps"]:
            continue
        figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
        for place, (side, runs) in enumerate(_by_side(case["sweeps"]).items()):
            width = 2 if side == "svdflow" else 1
            axes.plot(*frontier(runs), ".-", color=f"C{place}", lw=width, label=side)
            points = [(run["seconds"], run["pve"]) for run in runs]
            axes.plot(*zip(*points), "o", ms=3, alpha=0.5, color=f"C{place}")
        floor = case["facts"]["floor"]
        axes.axhline(floor, color="0.6", lw=0.8, ls=":", label="rounding of float32 factors, at most")
        axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="PVE", title=case["title"])
        axes.legend(fontsize="small")
        folder.mkdir(parents=True, exist_ok=True)
        written.append(folder / f"svd-{name}.svg")
        figure.savefig(written[-1], metadata={"Date": None})
        pyplot.close(figure)
    return written


def frontier(runs: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Seconds and PVE of the settings that no other beats in both, fastest first."""
    best: list[Row] = []
    for run in sorted(runs, key=lambda run: (run["seconds"], run["pve"])):
        if not best or run["pve"] < best[-1]["pve"]:
            best.append(run)
    return [run["seconds"] for run in best], [run["pve"] for run in best]


def _by_side(runs: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for run in runs:
        found[run["side"]].append(run)
    return found


def _worst(runs: Sequence[Row], key: str) -> str:
    return f"{max(run[key] for run in runs):.1e}"


def _residual(runs: Sequence[Row], key: str) -> str:
    """Median of a residual over its optimum, of the runs where it was taken."""
    return f"{median(run[key] for run in runs if run[key] is not None):.4f}"


def _times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:g} x"

"""What a whole run costs beside its work: fixed, and for each image, at growing numbers of small images.

A run is `svdflow run` of a study that compresses PNG of 64 x 64, to the report. From the lines of the jobs' logs, which
begin and end with the work, follow: the start (from the command to the first job's work), the end (from the last job's
work to the command's end), the work itself (stages of shards), and what is left: starts of jobs, gathering, report.

    python benchmarks/overhead.py                                  10, 1,000 and 10,000 images
    python benchmarks/overhead.py --images 10 1000 10000 100000 --write
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from textwrap import fill

from pipeline import processor
from small_images import Study, crops, processor_seconds

RESULTS = Path(__file__).parent / "results" / "overhead.md"
STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO svdflow: (rule \w+|done)", re.M)
STAGES = ("ingest", "factorize", "compress")


def jobs(results: Path) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of the work of every job, by the folder of its log; seconds of the clock."""
    found: dict[str, list[tuple[float, float]]] = {}
    for log in sorted((results / "logs").rglob("*.log")):
        moments = [
            datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()
            for text, _ in STAMP.findall(log.read_text())
        ]
        stage = log.relative_to(results / "logs").parts[0].removesuffix(".log")
        found.setdefault(stage, []).append((moments[0], moments[-1]))
    return found


def measured(folder: Path, count: int, cores: int) -> dict[str, float]:
    """Seconds of one run on `count` images."""
    crops(folder / "images", count)
    study = Study(folder / "study", folder / "images")
    words = ["-m", "svdflow", "run", "--config", "study.yaml", "--", "--cores", str(cores)]
    begun = time.time()
    spent = processor_seconds([sys.executable, *words], study.folder)
    ended = time.time()
    found = jobs(study.folder / "results")
    times = [pair for pairs in found.values() for pair in pairs]
    work = sum(end - begin for stage in STAGES for begin, end in found[stage])
    return {
        "images": count,
        "shards": len(found["compress"]),
        "start": min(begin for begin, _ in times) - begun,
        "end": ended - max(end for _, end in times),
        "work": work,
        "wall": ended - begun,
        "processor": spent,
    }


def table(rows: list[dict[str, float]], cores: int) -> str:
    """A line a number of images; what grows is the time beside start, end and work, over that of the smallest run."""
    least = rows[0]["wall"] - rows[0]["start"] - rows[0]["end"] - rows[0]["work"] / cores
    lines = [
        "| images | shards | start, s | end, s | fixed, s | work on a core, s | whole, s | grows, s | over the work |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        fixed = row["start"] + row["end"]
        grows = row["wall"] - fixed - row["work"] / cores - least
        share = f"{grows / (row['work'] / cores):.0%}" if row is not rows[0] else ""
        lines.append(
            f"| {row['images']:,.0f} | {row['shards']:.0f} | {row['start']:.1f} | {row['end']:.1f} | {fixed:.1f} | "
            f"{row['work']:.1f} | {row['wall']:.1f} | {grows:.1f} | {share} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    given = parser.parse_args()
    rows = []
    for count in sorted(given.images):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(Path(folder), count, given.cores))
            print(rows[-1], file=sys.stderr)
    machine = f"{given.cores} cores of {processor()}, Python {platform.python_version()}"
    setting = (
        f"PNG of 64 x 64, task compress at six ranks, {machine}; one run each. Fixed is what passes before the work "
        "of the first job and after that of the last. Grows is what else passes beside the work, over that of the "
        "smallest run: starts of jobs, cores that wait for the last shard, gathering, tables, report."
    )
    command = f"Command: `python benchmarks/overhead.py --images {' '.join(map(str, sorted(given.images)))} --write`"
    parts = ["# What a run costs beside its work", fill(setting, 110), table(rows, given.cores), command]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

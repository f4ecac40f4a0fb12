"""What a run will write and take, before it starts: items, shards, jobs, bytes and a guess at the time."""

import shutil
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean

from svdflow.errors import ConfigError
from svdflow.study.families import bytes_of, shape_of
from svdflow.study.manifest_file import GONE, UNREADABLE
from svdflow.study.resources import kept_ranks, mean_pixels, planes_of, work_seconds
from svdflow.study.study import Study

# What `svdflow plan` reckons with. They move the seconds and bytes that it prints and the refusal of a disk that is too
# small, and no result.
SAMPLED = 50  # headers read of a dataset's images, evenly spaced; the rest are taken to be like them. Chosen
VALUE = 8  # bytes of a stored factor's value, at most: float64; real single-precision factors take half
# Seconds that a job costs beside its work: a Python, its imports, Snakemake's records; 0.9 on an idle machine
JOB = 1.5


@dataclass(frozen=True)
class RunEstimate:
    """One dataset: counts, bytes that its stages will write, seconds of computing on one core."""

    name: str
    items: int
    shards: int
    jobs: int
    bytes: int
    seconds: float


def estimate(study: Study) -> list[RunEstimate]:
    """One estimate a dataset: a guess, good for choosing a machine and a disk."""
    return [_of(study, name) for name in study.datasets]


def check_disk(study: Study, estimates: list[RunEstimate]) -> None:
    """Refuse a run whose results would not fit on their disk.

    Raises
    ------
    ConfigError
        Names the bytes needed and the bytes free.
    """
    folder = study.results.absolute()
    while not folder.exists():
        folder = folder.parent
    free, needed = shutil.disk_usage(folder).free, sum(e.bytes for e in estimates)
    written = sum(p.stat().st_size for p in study.results.rglob("*.h5")) if study.results.is_dir() else 0
    if needed > free + written:
        raise ConfigError(
            f"the results need about {human(needed)} and {folder} has {human(free)} free; "
            "free some, lower factorize.max_rank, or name another folder under pathvars.results"
        )


def table(study: Study, estimates: list[RunEstimate]) -> str:
    """The estimates as text, a line a dataset."""
    width = max(len(e.name) for e in estimates)
    lines = [
        f"{'dataset':<{width}}  {'items':>8} {'shards':>7} {'jobs':>6} {'to write':>10} {'core time':>10}"
    ]
    for e in [*estimates, _total(estimates)]:
        lines.append(
            f"{e.name:<{width}}  {e.items:>8,} {e.shards:>7,} {e.jobs:>6,} "
            f"{human(e.bytes):>10} {_clock(e.seconds):>10}"
        )
    lines.append(f"for a run from nothing, into {study.results}/; the time is a guess for one core")
    lines += [f"note: {note}" for note in study.notes()]
    return "\n".join(lines)


def human(size: float) -> str:
    """Bytes in words: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _of(study: Study, name: str) -> RunEstimate:
    row = study.datasets[name]
    jobs = study.shard_count(name) * len(study.stages(name))
    read = 0.0
    if row.kind == "synthetic":
        m, n = shape_of(row.source, row.parameters)
        matrices = bytes_of(row.source, row.parameters, any(task.noisy for task in study.tasks(name)))
    elif row.kind == "images":
        listed = study.listed(name)
        pairs = zip(listed.names, listed.digests, strict=True)
        there = [file for file, digest in pairs if digest not in (GONE, UNREADABLE)]
        names = there[:: ceil(len(there) / SAMPLED) or 1]
        pixels = mean_pixels(listed.folder, names, study.config["ingest"]["pixel_limit"])
        m = n = max(1, round(sqrt(pixels)))
        matrices = round(pixels * planes_of(row) * (1 + 4 * len(row.noise_sigma)))
    else:
        read = mean(max(0, size) for size in study.listed(name).sizes)
        m = n = max(1, round(sqrt(read / 4)))
        matrices = 0
    factors = planes_of(row) * sum(kept_ranks(study, name, min(m, n))) * (m + n) * VALUE
    count = study.count(name)
    seconds = count * work_seconds(study, name, m, n, read) + jobs * JOB
    return RunEstimate(name, count, study.shard_count(name), jobs, count * (matrices + factors), seconds)


def _total(estimates: list[RunEstimate]) -> RunEstimate:
    return RunEstimate(
        "all",
        sum(e.items for e in estimates),
        sum(e.shards for e in estimates),
        sum(e.jobs for e in estimates),
        sum(e.bytes for e in estimates),
        sum(e.seconds for e in estimates),
    )


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

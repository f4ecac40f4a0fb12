"""What a run will write and take, before it starts: items, shards, jobs, bytes and a guess at the time."""

import shutil
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean

from svdflow.errors import ConfigError
from svdflow.study.families import bytes_of, shape_of
from svdflow.study.located import locate
from svdflow.study.manifest_file import GONE, UNREADABLE
from svdflow.study.settings import item_rank, noisy_rank
from svdflow.study.study import Study

# What `svdflow plan` reckons with. They move the seconds and bytes that it prints and the refusal of a disk that is too
# small, and no result.
SAMPLED = 50  # headers read of a dataset's images, evenly spaced; the rest are taken to be like them. Chosen
VALUE = 8  # bytes of a stored factor's value, at most: float64; real single-precision factors take half
# Floating-point operations a second and core: modest, about a tenth of what one AVX2 core can. Chosen
RATE = 5e9
# Seconds that a job costs beside its work: a Python, its imports, Snakemake's records; 0.9 on an idle machine
JOB = 1.5
# Bytes a second read from a linked file: a SATA SSD. Chosen; a disk of today reads up to ten times that
READ = 5e8


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
    ranks = [item_rank(study, name)] + [noisy_rank(study, name)] * len(row.noise_sigma)
    if row.kind == "synthetic":
        m, n = shape_of(row.source, row.parameters)
        matrices, planes, read = (
            bytes_of(row.source, row.parameters, any(task.noisy for task in study.tasks(name))),
            1,
            0.0,
        )
    elif row.kind == "images":
        pixels = _pixels(study, name)
        m = n = max(1, round(sqrt(pixels)))
        planes = 1 if row.colour == "gray" else 3
        matrices, read = round(pixels * planes * (1 + 4 * len(row.noise_sigma))), 0.0
    else:
        size = mean(max(0, size) for size in study.listed(name).sizes)
        m = n = max(1, round(sqrt(size / 4)))
        matrices, planes, read = 0, 1, 5 * size / READ
    kept = [min(r, m, n) for r in ranks]
    factors = planes * sum(kept) * (m + n) * VALUE
    small = min(m, n)
    work = planes * sum(min(22.0 * m * n * small, 60.0 * m * n * (k + 10)) for k in kept if k) / RATE
    values = min(planes * m * n, row.overrides.get("crop", m) ** 2 * planes)
    work += values / 1e6 * sum(task.seconds(study.asked(task, name)) for task in study.tasks(name))
    count = study.count(name)
    seconds = count * (work + read) + jobs * JOB
    return RunEstimate(name, count, study.shard_count(name), jobs, count * (matrices + factors), seconds)


def _pixels(study: Study, name: str) -> float:
    """Mean pixels of an image, from the headers of a few spread over the manifest."""
    import warnings

    from PIL import Image

    manifest = study.listed(name)
    step = ceil(len(manifest) / SAMPLED)
    found = []
    for file, digest in zip(manifest.names[::step], manifest.digests[::step], strict=True):
        if digest in (GONE, UNREADABLE):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(locate(manifest.folder, file)) as image:
                    found.append(image.width * image.height)
        except Exception:  # a broken image is ingest's to report
            continue
    return min(mean(found), study.config["ingest"]["pixel_limit"]) if found else 1e6


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

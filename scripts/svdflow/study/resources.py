"""What the job of a shard asks for, memory, minutes and threads, by its own files; nothing of it changes a result."""

from functools import cache
from math import ceil, sqrt
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from svdflow.registry.kinds import IMAGES, SYNTHETIC
from svdflow.study.families import shape_of
from svdflow.study.located import locate
from svdflow.study.manifest_file import UNREADABLE
from svdflow.study.settings import item_rank, noisy_rank
from svdflow.study.sheet import Dataset
from svdflow.study.sizes import machine_memory, parse_size

if TYPE_CHECKING:
    from svdflow.study.study import Study

SAMPLED = 5  # files of a shard whose headers are read; the others are taken to be like them. Chosen
# Megabytes of a job beside what it works on: Python and the libraries take 140, a shard's tables and buffers some more
OWN = 400
# Megabytes of a job under a scheduler where neither the study nor the profile names any. Chosen
ALLOCATED = 2000
# Bytes for each value of a plane that a thread works on: the most of what factorize, compress and denoise take
BYTES_A_VALUE = 64
# Values up to which planes are worked on side by side, as of svdflow.svd.factorize_shard
SIDE_BY_SIDE = 2**22
# Seconds of work that are worth a thread more, and threads that planes of a shard keep busy. Chosen
WORTH, MOST = 20.0, 8
# A guess of seconds may be wrong by several times, and a job that is killed for its time is lost. Chosen
MARGIN, LEAST_MINUTES = 6.0, 30

# Floating-point operations a second and core: modest, about a tenth of what one AVX2 core can. Chosen
RATE = 5e9
# Bytes a second read from a linked file: a SATA SSD. Chosen; a disk of today reads up to ten times that
READ = 5e8
READS = 5  # of a matrix, as the search of a basis takes them; 2 to 9 (docs/benchmarks.md)


class Work(NamedTuple):
    """Of the items of one shard: how many there are, values of one item, and its bytes on disk where they are read."""

    items: int
    values: float
    bytes: float


class Resources:
    """What jobs of a study ask for; each shard is looked at once."""

    def __init__(self, study: "Study") -> None:
        self._study = study
        self.work = cache(self._work)

    def memory_mb(
        self,
        dataset: str,
        shard: str,
        threads: int,
        attempt: int,
        *,
        share: float | None = None,
        allocated: Any = None,
    ) -> int:
        """Megabytes that a job may take: runtime.memory_limit; where that is auto, its share or what it needs.

        Parameters
        ----------
        dataset, shard : str
            Of the job; empty where it has none.
        attempt : int
            From 1 on: of a scheduler, more is asked for every time.
        share : float, optional
            Of this machine, where jobs run on it: threads of the job over the cores of all that run side by side.
        allocated : int, optional
            What a scheduler gives a job at least; `ALLOCATED` where that is no number.
        """
        size = parse_size(self._study.config["runtime"]["memory_limit"])
        if share is not None:
            return max(1, (int(share * machine_memory()) if size is None else size) // 2**20)
        if size is not None:
            return max(1, size // 2**20) * attempt
        number = getattr(allocated, "value", allocated)  # Snakemake wraps it
        least = number if isinstance(number, int) else ALLOCATED
        needed = self.megabytes(dataset, shard, threads) if shard else 0
        return max(least, needed) * attempt

    def megabytes(self, dataset: str, shard: str, threads: int) -> int:
        """Memory of a job that works on its items side by side."""
        work = self.work(dataset, shard)
        together = threads * min(work.values, SIDE_BY_SIDE)
        if self._study.datasets[dataset].kind == IMAGES:
            together = max(together, work.values)  # large pictures in turn, matrices panel by panel
        return OWN + ceil(together * BYTES_A_VALUE / 2**20)

    def minutes(self, dataset: str, shard: str, threads: int, attempt: int) -> int:
        """Time limit of a job, generously, and more every time that it is tried again."""
        return max(LEAST_MINUTES, ceil(MARGIN * self.seconds(dataset, shard) / threads / 60)) * attempt

    def threads(self, dataset: str, shard: str) -> int:
        """Threads that the work of a job is worth, which Snakemake cuts to the cores that there are."""
        return max(1, min(round(self.seconds(dataset, shard) / WORTH), MOST))

    def seconds(self, dataset: str, shard: str) -> float:
        """A guess at the work of all stages of a shard together, on one core."""
        work = self.work(dataset, shard)
        side = max(1, round(sqrt(work.values)))
        return work.items * work_seconds(self._study, dataset, side, side, work.bytes)

    def _work(self, dataset: str, shard: str) -> Work:
        row, places = self._study.datasets[dataset], self._study.slice(dataset, shard)
        if row.kind == SYNTHETIC:
            m, n = shape_of(row.source, row.parameters)
            return Work(len(places), m * n, 0.0)
        manifest = self._study.manifest(dataset)
        entries = manifest.slice(places.start, places.stop)
        if row.kind == IMAGES:
            there = [e.name for e in entries if not e.gone and e.digest != UNREADABLE]
            names = there[:: ceil(len(there) / SAMPLED) or 1]
            return Work(len(entries), mean_pixels(manifest.folder, names, self._limit), 0.0)
        size = mean(max(0, entry.size) for entry in entries)
        return Work(len(entries), size / 4, size)

    @property
    def _limit(self) -> int:
        return int(self._study.config["ingest"]["pixel_limit"])


def work_seconds(study: "Study", name: str, m: int, n: int, read: float) -> float:
    """Seconds of computing on one core that an item of m x n pixels or values takes, `read` bytes of it from a file."""
    row, small = study.datasets[name], min(m, n)
    kept = kept_ranks(study, name, small)
    work = planes_of(row) * sum(min(22.0 * m * n * small, 60.0 * m * n * (k + 10)) for k in kept if k) / RATE
    values = planes_of(row) * min(m * n, row.overrides.get("crop", m) ** 2)
    work += values / 1e6 * sum(task.seconds(study.asked(task, name)) for task in study.tasks(name))
    return work + READS * read / READ


def planes_of(row: Dataset) -> int:
    """Planes of an item."""
    return 3 if row.kind == "images" and row.colour != "gray" else 1


def kept_ranks(study: "Study", name: str, small: int) -> list[int]:
    """The rank that is factorized of each observation of an item."""
    levels = len(study.datasets[name].noise_sigma)
    return [min(rank, small) for rank in [item_rank(study, name)] + [noisy_rank(study, name)] * levels]


def mean_pixels(folder: str, names: list[str], limit: int) -> float:
    """Mean pixels of images, from their headers."""
    import warnings

    from PIL import Image

    found = []
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(locate(folder, name)) as image:
                    found.append(image.width * image.height)
        except Exception:  # a broken image is ingest's to report
            continue
    return min(mean(found), limit) if found else 1e6

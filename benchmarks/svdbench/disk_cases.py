"""A matrix on disk under a memory limit, against dask; each run in a process of its own."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import psutil

from svdbench import matrices
from svdbench.accuracy import Factors, accuracy
from svdbench.child import run_child
from svdbench.contests import Options, Pair, Problem, Result, dense_facts, finish, with_efficiency
from svdbench.timing import Row, Side, drop_cache, matched, read_plainly, seconds

ACCURATE = {"iterator": "QR", "n_power_iter": 4, "compute": True}
# Ours from loose to tight: a run of half a minute leaves no room for a sweep.
OURS: list[Row] = [{"tol": 0.1}, {}, {"tol": 1e-3}, {"tol": 1e-5}]


def disk_case(spectrum: str) -> Callable[[Options], AbstractContextManager[Problem]]:
    """An HDF5 file, cold and warm."""

    @contextmanager
    def prepare(options: Options) -> Iterator[Problem]:
        n = 400 if options.small else 4000
        shape = (int((0.03 if options.small else options.gigabytes) * 1e9 / 4 / n), n)
        path, true = matrices.in_file(options.folder, spectrum, shape), matrices.spectrum(spectrum, n)
        k, limit = options.rank, options.memory_limit
        facts = dense_facts(spectrum, true, shape, k)
        facts |= {"bytes": path.stat().st_size, "limit": limit, "gemm_flops": options.gemm_flops}
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch, h5py.File(path) as file:
            asked = {"path": str(path), "rank": k, "shape": shape, "folder": scratch}
            judge = partial(accuracy, file["A"], true=true)
            caches = ["warm", "cold"]
            if psutil.virtual_memory().available < facts["bytes"]:
                options.say("  the file is larger than free memory: no warm runs")
                caches = ["cold"]

            def own(cache: str) -> list[Side]:
                return [
                    child_side("svdflow", "svdflow", s | {"memory_limit": limit}, s, asked, path, cache)
                    for s in OURS
                ]

            def dask(cache: str, settings: Row) -> Side:
                return child_side("dask svd_compressed", "dask", settings, settings, asked, path, cache)

            def best(found: Result) -> None:
                for cache in caches:
                    for settings in (ACCURATE, ACCURATE | {"iterator": "power"}):
                        wanted = settings["iterator"] == "QR"
                        if not wanted and cache == "cold":
                            continue
                        peer = dask(cache, settings)
                        comparison = matched(
                            f"{cache} cache", own(cache), peer, options.seeds, judge, facts["floor"]
                        )
                        finish(options, found, comparison, *((3, 6) if wanted else (None, None)))

            def with_speeds(found: Result) -> Result:
                found.facts |= plain_speed(path, options.seeds)
                return with_read_speed(with_efficiency(found, shape, k))

            typed = [
                Pair(f"{cache} cache", own(cache)[1], dask(cache, ACCURATE), *asked_of)
                for cache, asked_of in (("warm", (3, 4)), ("cold", (None, None)))
                if cache in caches
            ]
            # As it comes it makes no power iteration.
            typed.append(Pair(f"{caches[0]} cache, default", own(caches[0])[1], dask(caches[0], {})))
            yield Problem(facts, judge, typed, finish=with_speeds, best=best)

    return prepare


def child_side(name: str, side: str, settings: Row, shown: Row, asked: Row, path: Path, cache: str) -> Side:
    """A run in a child, on a file that is in the page cache or not."""

    def run(seed: int) -> Row:
        if cache == "cold":
            drop_cache(path)
        else:
            read_plainly(path)
        request = asked | {"side": side, "settings": settings, "seed": seed}
        return run_child(request, Path(asked["folder"]))

    def unpack(report: Row) -> Factors:
        with np.load(report["out"]) as stored:
            return Factors(stored["U"], stored["s"], stored["Vt"])

    return Side(name, shown, run, unpack, lambda report: {k: v for k, v in report.items() if k != "out"})


def plain_speed(path: Path, seeds: Sequence[int]) -> Row:
    """Bytes a second of a plain read of the file from disk, and from the page cache; the median."""
    rates: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in seeds:
        drop_cache(path)
        for cache in rates:
            rates[cache].append(path.stat().st_size / seconds(lambda: read_plainly(path)))
    return {f"read_{cache}_rate": float(np.median(values)) for cache, values in rates.items()}


def with_read_speed(found: Result) -> Result:
    """Adds to our rows the speed of reading, over that of a plain read of the same file."""
    for row in found.rows:
        plain = found.facts[f"read_{row['label'].split()[0]}_rate"]
        for run in row["ours"]:
            run["read_share"] = run["reads"] * found.facts["bytes"] / run["seconds"] / plain
    return found

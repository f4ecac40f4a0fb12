"""How fast matrices in files are read in panels, beside a plain sequential read of the same file.

The same float32 matrix is written in each format. `plain` reads the file from its start to its end, 8 MB at a time
into one buffer. The other columns are fractions of its speed: through the library alone (h5py or zarr; a memory map
for npy), and by `MatrixSource` with one and two threads, rising and, as odd reads go, falling: by groups of eight
panels, each of which is read forwards. Cold means that the file was dropped from the page cache before. The first
read of a file with checksums verifies them and has a column of its own. Rounds are interleaved, the best counts.

    python benchmarks/reading.py --gigabytes 1

`--clock cpu` takes the processor's time instead, which says what warm reads cost on a busy machine.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.matrix import MatrixSource, open_matrix
from svdflow.matrix.formats.hdf5_chunks import chunks_of
from svdflow.store import create_array
from svdflow.svd.random_blocks import TILE_ROWS, gaussian

COLUMNS = 4096
BLOCK = 8 * 2**20
GROUP = 8  # panels that are read forwards, whatever the order of the groups
TILES = {"chunks": (256, 256)}
FORMATS = {
    "npy": "a.npy",
    "HDF5 contiguous": "contiguous.h5",
    "HDF5 8 MB bands, crc32": "bands.h5",
    "HDF5 256 x 256 tiles": "tiles.h5",
    "HDF5 tiles, shuffle, gzip 1": "gzip.h5",
    "Zarr 8 MB bands": "a.zarr",
}
MODES = ["plain", "library", "1 thread", "2 threads", "1 falling", "2 falling"]


def write_files(folder: Path, gigabytes: float) -> None:
    """The same matrix in every format."""
    tiles = max(1, round(gigabytes * 1e9 / (TILE_ROWS * COLUMNS * 4)))
    shape = (tiles * TILE_ROWS, COLUMNS)
    options: dict[str, dict] = {
        "contiguous": {},
        "tiles": TILES,
        "gzip": TILES | {"shuffle": True, "compression": 1},
    }
    files = [h5py.File(folder / f"{name}.h5", "w") for name in options]
    targets: list[Any] = [f.create_dataset("A", shape, "f4", **o) for f, o in zip(files, options.values())]
    try:
        import zarr
    except ImportError:
        del FORMATS["Zarr 8 MB bands"]
    else:
        bands = (BLOCK // 4 // COLUMNS, COLUMNS)
        targets.append(
            zarr.create_array(folder / "a.zarr", shape=shape, dtype="f4", chunks=bands, compressors=None)
        )
    with (
        open(folder / "a.npy", "wb") as npy,
        h5py.File(folder / "bands.h5", "w") as file,
        create_array(file, "A", shape, np.float32) as writer,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(npy, header)
        for start in range(0, shape[0], TILE_ROWS):
            rows = np.ascontiguousarray(gaussian(1, TILE_ROWS, COLUMNS, first_row=start), np.float32)
            writer.write(start, rows)
            npy.write(rows.data)
            for target in targets:
                target[start : start + TILE_ROWS] = rows
    for file in files:
        file.close()


def stored_files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def drop(path: Path) -> None:
    """Out of the page cache; what was not written yet must be, or it stays."""
    for file in stored_files(path):
        with open(file, "rb+", buffering=0) as raw:
            os.fsync(raw.fileno())
            os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain_read(path: Path) -> None:
    buffer = memoryview(bytearray(BLOCK))
    for file in stored_files(path):
        with open(file, "rb", buffering=0) as raw:
            while raw.readinto(buffer):
                pass


def library_read(path: Path) -> None:
    """The same panels by h5py or zarr alone."""
    rows = BLOCK // 4 // COLUMNS
    if path.suffix == ".npy":
        mapped = np.load(path, mmap_mode="r")
        for start in range(0, len(mapped), rows):
            np.array(mapped[start : start + rows])
        return
    if path.suffix == ".zarr":
        import zarr

        array = zarr.open_array(path, mode="r")
        for start in range(0, array.shape[0], rows):
            array[start : start + rows]
        return
    with h5py.File(path) as file:
        for start in range(0, file["A"].shape[0], rows):
            file["A"][start : start + rows]


def panel_read(source: MatrixSource, threads: int, step: int = 1) -> None:
    """All panels, group by group, each thread into a buffer of its own."""
    bounds = source.bounds()
    groups = [bounds[first : first + GROUP] for first in range(0, len(bounds), GROUP)][::step]
    height = max(stop - start for start, stop in bounds)
    waiting = iter(groups)

    def work() -> None:
        out = np.empty((height, source.shape[1]), source.dtype)
        for group in waiting:
            for start, stop in group:
                source.read_into(start, stop, out[: stop - start])

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def timed(action: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    action()
    return clock() - start


def measure(folder: Path, rounds: int, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """Bytes a second of every format and way of reading, warm and cold."""
    results = []
    for name, file in FORMATS.items():
        path = folder / file
        size = sum(part.stat().st_size for part in stored_files(path))
        source = open_matrix(path)
        ways: dict[str, Callable[[], None]] = {
            "plain": lambda path=path: plain_read(path),
            "library": lambda path=path: library_read(path),
            "1 thread": lambda source=source: panel_read(source, 1),
            "2 threads": lambda source=source: panel_read(source, 2),
            "1 falling": lambda source=source: panel_read(source, 1, -1),
            "2 falling": lambda source=source: panel_read(source, 2, -1),
        }
        for cache in ("warm", "cold"):
            times: dict[str, list[float]] = {mode: [] for mode in [*MODES, "verifying"]}
            plain_read(path)
            for _ in range(rounds):
                for mode, way in ways.items():
                    if cache == "cold":
                        drop(path)
                    times[mode].append(timed(way, clock))
                if "crc32" in name:
                    if cache == "cold":
                        drop(path)
                    chunks_of.cache_clear()
                    fresh = open_matrix(path)
                    times["verifying"].append(timed(lambda fresh=fresh: panel_read(fresh, 2), clock))
            speeds = {mode: size / min(found) for mode, found in times.items() if found}
            results.append({"format": name, "cache": cache, "bytes": size, "bytes_per_second": speeds})
            print(line(results[-1]), flush=True)
    return results


def line(result: dict[str, Any]) -> str:
    speeds = result["bytes_per_second"]
    cells = [f"{speeds['plain'] / 1e9:.2f}"]
    cells += [f"{speeds[mode] / speeds['plain']:.2f}" for mode in MODES[1:]]
    cells += [f"{speeds['verifying'] / speeds['plain']:.2f}" if "verifying" in speeds else "-"]
    return f"| {result['format']} | {result['cache']} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--folder", help="where the files go; a temporary folder by default")
    parser.add_argument("--json", help="write the measurements to this file too")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        write_files(folder, args.gigabytes)
        print(
            "| file | cache | plain, GB/s | library | 1 thread | 2 threads | 1 falling | 2 falling | verifying |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        results = measure(
            folder, args.rounds, time.process_time if args.clock == "cpu" else time.perf_counter
        )
    finally:
        shutil.rmtree(folder)
    if args.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "h5py": h5py.__version__}
        about = {
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "clock": args.clock,
            **versions,
        }
        Path(args.json).write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

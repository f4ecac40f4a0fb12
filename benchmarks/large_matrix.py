"""A matrix larger than the memory limit, through the whole workflow: peak memory of the process tree, and accuracy.

A file of known spectrum (s_i = 1/i) is written panel by panel, then factorized from where it lies by a run of
Snakemake under ``memory_limit``. Every 20 ms the resident memory of Snakemake and all its children is added up;
mapped pages count. The singular values are compared with those that the file was built from.

    python benchmarks/large_matrix.py --gigabytes 4 --limit 1GiB
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import yaml

from svdflow import read_table
from svdflow.matrix.generators import generate
from svdflow.store import create_array, factors, open_published, read_array

ROOT = Path(__file__).parents[1]
COLUMNS = 1000
SHEET = "name\tkind\tsource\ttasks\nbig\tmatrix\tbig.h5:/A\tcompress;audit\n"


def write_matrix(path: Path, gigabytes: float) -> np.ndarray:
    """A float32 matrix of that size with s_i = 1/i; returns its singular values."""
    rows = int(gigabytes * 1e9 / 4 / COLUMNS)
    matrix = generate("power_decay", {"rows": rows, "columns": COLUMNS, "p": 1.0, "dtype": "float32"}, seed=1)
    with h5py.File(path, "w") as file, create_array(file, "A", matrix.shape, matrix.dtype) as writer:
        for start, panel, _ in matrix.panels():
            writer.write(start, panel)
    return 1 / np.arange(1, COLUMNS + 1)


def peak_of(command: list[str], folder: Path) -> tuple[int, float]:
    """Run a command; returns the peak of the summed resident memory of its process tree, and its seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    start = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        run = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        peak = 0
        while run.poll() is None:
            try:
                peak = max(peak, sum(resident(p) for p in [run, *run.children(recursive=True)]))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)
    if run.returncode:
        raise SystemExit((folder / "run.log").read_text())
    return peak, time.perf_counter() - start


def resident(process: psutil.Process) -> int:
    """Resident bytes; 0 for a process that has just ended."""
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--limit", default="1GiB")
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--folder", help="where the file goes; a temporary one by default")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        true = write_matrix(folder / "big.h5", args.gigabytes)
        (folder / "sheet.tsv").write_text(SHEET)
        ranks = sorted({1, 2, 5, 10, args.rank})
        study = {
            "datasets": "sheet.tsv",
            "compress": {"ranks": ranks},
            "runtime": {"memory_limit": args.limit},
        }
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        snakemake = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--cores",
            "2",
        ]
        peak, seconds = peak_of([*snakemake, "--configfile", "study.yaml"], folder)
        table = read_table(folder / "results" / "metrics.h5", "factorize").iloc[0]
        with open_published(folder / "results" / "factors" / "big" / "00000.h5") as file:
            s = read_array(next(iter(factors(file))).s)
        error = float(np.abs(s - true[: len(s)]).max() / true[0])
        optimum = float(np.sqrt((true[len(s) :] ** 2).sum() / (true**2).sum()))
        size = (folder / "big.h5").stat().st_size
    finally:
        shutil.rmtree(folder)
    print(
        "| matrix | limit | peak of the tree | seconds | method | reads | max err. of s / s_1 | error / optimum |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {size / 1e9:.2f} GB float32 | {args.limit} | {peak / 2**20:.0f} MiB | {seconds:.1f} | {table['method']} "
        f"| {table['reads']} | {error:.1e} | {table['relative_error'] / optimum:.6f} |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

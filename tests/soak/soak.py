"""Repeated small runs with random faults: after each, no file, handle, process or memory is left over.

    PYTHONPATH=tests:scripts python tests/soak/soak.py --minutes 30 --seed 0

Every round draws what happens from the seed: a run that is killed at a random moment, stopped, or left alone, damage to
its results, a change of its settings and back; then it resumes, and its results must be those of an undisturbed run.
Between rounds the library works in this process: shards are read, factorized, compressed and archived, some of them
damaged. Handles must not grow, and the memory that a round leaves behind must not either (Theil-Sen slope over the
second half of the rounds).
"""

import argparse
import gc
import random
import signal
import statistics
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import psutil

from injection import changed, contents, family, kill_all, start, svdflow, users_files
from small_study import smallest_workflow
from svdflow.codec import decode, encode
from svdflow.errors import StoreError
from svdflow.store import open_published, publish, read_table, verify, write_array
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard

LEAK = 64 * 2**10  # bytes a round that memory may grow by: what allocators do not give back at once
WARM = 0.5  # share of the rounds in which caches and pools still fill
LIBRARY_ROUNDS = 5  # in this process for each run of the workflow


def library_round(folder: Path, results: Path, draw: random.Random) -> None:
    """What a job does, in this process: whole, damaged, or broken off in the middle."""
    matrices, factors = folder / "matrices.h5", folder / "factors.h5"
    whole = (results / "matrices" / "photos" / "00000.h5").read_bytes()
    damaged = bytearray(whole)
    if draw.random() < 0.5:
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    matrices.write_bytes(damaged)
    shard = {"dataset": "photos", "shard": 0}
    try:
        verify(matrices)
        factorize_shard(matrices, factors, item_rank=4, noisy_rank=0, seed=1, **shard)
        compress_shard(
            matrices, factors, folder / "compress.h5", folder / "pictures", ranks=[1, 2], energies=[],
            powers_of_two=False, metrics=["psnr"], images="panels", **shard,
        )  # fmt: skip
        assert len(read_table(folder / "compress.h5", "compress"))
    except StoreError:
        assert damaged != whole, "an undamaged file was refused"
    values = np.random.default_rng(draw.randrange(1000)).normal(size=(40, 30))
    encode(values, folder / "archive.h5", rel_error=0.1, force=True)
    decode(folder / "archive.h5")
    try:
        with publish(folder / "broken.h5", "matrices") as file:
            write_array(file, "A", values)
            raise InterruptedError
    except InterruptedError:
        pass
    with open_published(results / "metrics.h5") as file:
        assert len(file)
    left = [p.name for p in folder.rglob("*") if ".tmp-" in p.name]
    assert not left, f"temporary files are left: {left}"


def workflow_round(workflow, expected: dict, seconds: float, draw: random.Random) -> str:
    """One disturbed run and its resumption; returns what was done to it."""
    results, before = workflow.folder / "results", users_files(workflow)
    files = sorted(p for p in results.rglob("*.h5") if not p.name.startswith("."))
    what = draw.choice(["kill", "stop", "flip", "cut", "lose", "nothing"])
    for path in draw.sample(files, k=min(len(files), draw.randrange(1, 4))):
        if what == "flip":
            content = bytearray(path.read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
        elif what == "cut":
            path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
        else:
            path.unlink()
    run = start(workflow)
    if what in ("kill", "stop"):
        time.sleep(draw.random() * seconds)
    processes = family(run)
    if what == "kill":
        kill_all(run)
    elif what == "stop":
        run.send_signal(signal.SIGINT)
        run.wait(timeout=10)
        alive = [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert not alive, f"processes are left: {alive}"
    run.wait(timeout=600)
    done = svdflow(workflow, "resume", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not changed(expected, contents(workflow)), f"after {what}: {changed(expected, contents(workflow))}"
    assert not changed(before, users_files(workflow)), "files of the user's were touched"
    left = [str(p) for p in results.rglob(".*") if ".tmp-" in p.name or p.name.endswith(".scratch")]
    assert not left, f"after {what} files are left: {left}"
    return what


def growth(values: list[float]) -> float:
    """Theil-Sen slope: the median of the slopes of all pairs, which a few leaps do not move."""
    pairs = combinations(enumerate(values), 2)
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in pairs]
    return statistics.median(slopes) if slopes else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    end, draw, me = time.monotonic() + 60 * args.minutes, random.Random(args.seed), psutil.Process()
    handles: list[float] = []
    memory: list[float] = []
    rounds: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        workflow = smallest_workflow(Path(folder, "study"))
        begun = time.monotonic()
        done = svdflow(workflow, "run", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        seconds, expected = time.monotonic() - begun, contents(workflow)
        scratch = Path(folder, "scratch")
        scratch.mkdir()
        while time.monotonic() < end:
            what = workflow_round(workflow, expected, seconds, draw)
            rounds[what] = rounds.get(what, 0) + 1
            for _ in range(LIBRARY_ROUNDS):
                library_round(scratch, workflow.folder / "results", draw)
                gc.collect()
                handles.append(me.num_fds())
                memory.append(me.memory_info().rss)
            print(
                f"round {sum(rounds.values())} ({what}): {handles[-1]} handles, {memory[-1] / 2**20:.1f} MiB",
                flush=True,
            )
    late = int(WARM * len(handles))
    more, leak = max(handles[late:]) - min(handles[late:]), growth(memory[late:])
    said = ", ".join(f"{count} {what}" for what, count in sorted(rounds.items()))
    print(f"{sum(rounds.values())} runs ({said}), {len(handles)} rounds of the library; ", end="")
    print(f"handles within {more}, memory {leak / 2**10:+.1f} KiB a round (limit {LEAK / 2**10:.0f})")
    return int(handles[-1] > handles[late] or leak > LEAK)


if __name__ == "__main__":
    sys.exit(main())

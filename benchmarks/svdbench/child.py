"""One factorization of a file in a process of its own, so that its memory can be seen: `python child.py request.json`.

Prints one JSON object; the factors go to the file that the request names.
"""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil

SAMPLE_SECONDS = 0.02
DASK_CHUNK = 128 * 2**20  # its own default; 32 and 64 MiB took as long
INFO = ("method", "reads", "reason", "block_size", "panel_height")


def by_svdflow(request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from svdflow import truncated_svd

    result = truncated_svd(request["path"], request["rank"], seed=request["seed"], **request["settings"])
    return tuple(result), {key: getattr(result.info, key) for key in INFO}


def by_dask(request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """`svd_compressed` on dask threads with one BLAS thread each; with two on two cores it took five times as long."""
    import dask.array as da
    import h5py
    from threadpoolctl import threadpool_limits

    import dask

    with h5py.File(request["path"]) as file, threadpool_limits(1):
        stored = file["A"]
        height = max(1, DASK_CHUNK // (stored.shape[1] * stored.dtype.itemsize))
        A = da.from_array(stored, chunks=(height, stored.shape[1]))
        lazy = da.linalg.svd_compressed(A, request["rank"], seed=request["seed"], **request["settings"])
        # One pass for A Omega, two a power iteration, one for Q^H A.
        return dask.compute(*lazy), {"reads": 2 * request["settings"].get("n_power_iter", 0) + 2}


SIDES = {"svdflow": by_svdflow, "dask": by_dask}


def run_child(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a request in a child; its report, and the peak of the summed resident memory of its process tree.

    The sum is sampled every 20 ms; where the child's own high-water mark is above it, that counts.
    """
    request = request | {"out": str(folder / "factors.npz")}
    asked = folder / "request.json"
    asked.write_text(json.dumps(request), encoding="utf-8")
    with (folder / "child.log").open("w+") as log:
        run = psutil.Popen([sys.executable, __file__, asked], stdout=subprocess.PIPE, stderr=log, text=True)
        peak = 0
        while run.poll() is None:
            peak = max(peak, _resident(run))
            time.sleep(SAMPLE_SECONDS)
        if run.returncode:
            log.seek(0)
            raise RuntimeError(f"{request['side']} ended with {run.returncode}: {log.read()[-2000:]}")
        assert run.stdout is not None
        report = json.loads(run.stdout.read())
    return report | {"peak_bytes": max(peak, report.pop("high_water")), "out": request["out"]}


def _resident(run: psutil.Process) -> int:
    try:
        return sum(process.memory_info().rss for process in [run, *run.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    work = SIDES[request["side"]]
    for module in (
        "dask.array",
        "h5py",
        "svdflow.svd.factorization",
    ):  # no part of what is timed, on either side
        import_module(module)

    idle, before = status("VmRSS"), counters()
    start = time.perf_counter()
    (U, s, Vt), notes = work(request)
    seconds = time.perf_counter() - start
    high, after = status("VmHWM"), counters()
    np.savez(request["out"], U=U, s=s, Vt=Vt)
    read = {
        f"{name}_bytes": after[key] - before[key]
        for name, key in (("asked", "rchar"), ("disk", "read_bytes"))
    }
    print(json.dumps({"seconds": seconds, "high_water": high, "idle_bytes": idle, **read, **notes}))


def status(key: str) -> int:
    """A size of /proc/self/status in bytes. VmHWM, unlike ru_maxrss, holds nothing of the parent."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def counters() -> dict[str, int]:
    """/proc/self/io: rchar counts what was asked for by read calls, read_bytes what came from the disk."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return {key: int(value) for key, _, value in (line.partition(": ") for line in lines)}


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(Path(__file__).parents[2] / "scripts"))
    main()

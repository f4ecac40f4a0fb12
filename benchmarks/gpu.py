"""svdflow on a GPU against CuPy, torch.svd_lowrank and dask with CuPy, at equal accuracy, with the limits of the card.

Each case is a matrix of known spectrum, resident in device memory or streamed from the host. Accuracy is
``PVE = max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` of the U that comes back, against the known spectrum. Each peer gets
the least effort (power iterations) that meets the accuracy asked for on the first seed, or the most that is tried; then
all sides run in turn, once a seed. Times are those between two CUDA events with the device idle before the first;
svdflow's hold the way of its factors home to the host, while peers leave theirs on the device.

Two rows of ours have ``method="krylov"`` in full and in mixed precision: what TF32 in the search gains.

In the same run the rates are measured that bound any method: reading device memory, the bus from pinned memory, and
matrix products, square and as narrow as svdflow's.

    python benchmarks/gpu.py                          # needs a CUDA device; writes benchmarks/results/gpu.{json,md}
    python benchmarks/gpu.py --backend numpy --small  # the same code on the host, to try it; writes nothing
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from svdflow import truncated_svd
from svdflow.compute import BackendError, namespace, pick, to_numpy
from svdflow.matrix.generators import generate

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("svdflow", "numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "dask")
LAPACK_ENTRIES = 2**27  # larger ones take minutes by cusolver gesvd, and beyond 2**31 its sizes overflow
OVERSAMPLING = 10
PRECISIONS = ("full", "mixed")
EFFORTS = (0, 1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Case:
    """A matrix with ``s_i = i^-decay``, k triplets of which are asked for."""

    name: str
    rows: int
    columns: int
    decay: float
    streamed: bool
    rank: int = 50

    @property
    def spectrum(self) -> np.ndarray:
        return np.arange(1, min(self.rows, self.columns) + 1) ** -float(self.decay)

    def matrix(self) -> np.ndarray:
        """The matrix in host memory, float32."""
        parameters = {"rows": self.rows, "columns": self.columns, "p": self.decay, "dtype": "float32"}
        A = np.empty((self.rows, self.columns), np.float32)
        for start, panel, _ in generate("power_decay", parameters, seed=1).panels():
            A[start : start + len(panel)] = panel
        return A


CASES = (
    Case("20,000 x 4,000, 1/i", 20_000, 4_000, 1.0, streamed=False),
    Case("20,000 x 4,000, 1/sqrt i", 20_000, 4_000, 0.5, streamed=False),
    Case("20,000 x 4,000, i^-1/4", 20_000, 4_000, 0.25, streamed=False),
    Case("200,000 x 1,000, 1/sqrt i", 200_000, 1_000, 0.5, streamed=False),
    Case("200,000 x 10,000, 1/sqrt i", 200_000, 10_000, 0.5, streamed=False),
    Case("200,000 x 10,000, 1/sqrt i, from the host", 200_000, 10_000, 0.5, streamed=True),
    Case("200,000 x 10,000, i^-0.6, from the host", 200_000, 10_000, 0.6, streamed=True),
)
SMALL = (
    Case("900 x 300, 1/i", 900, 300, 1.0, streamed=False, rank=10),
    Case("2,000 x 400, 1/sqrt i, from the host", 2_000, 400, 0.5, streamed=True, rank=10),
)


@dataclass
class Run:
    """One side of one case: what was measured, a figure a seed."""

    case: str
    side: str
    effort: int | None
    seconds: list[float] = field(default_factory=list)
    pve: list[float] = field(default_factory=list)
    frobenius: list[float] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    trouble: str = ""


class Host:
    """NumPy in the place of a device, to try this program."""

    name = "numpy"

    def __init__(self) -> None:
        self.xp = namespace(self.name)

    def put(self, host: np.ndarray) -> Any:
        return host

    def free(self) -> None:
        pass

    def seconds(self, run: Callable[[], Any]) -> tuple[float, Any]:
        start = time.perf_counter()
        result = run()
        return time.perf_counter() - start, result

    def bus(self, megabytes: int) -> float:
        """Bytes a second from host memory to the device."""
        source = np.ones(megabytes * 2**20, np.uint8)
        target = np.empty_like(source)
        return best_rate(self, source.nbytes, lambda: np.copyto(target, source))

    def describe(self) -> dict[str, Any]:
        return {"device": platform.processor() or platform.machine(), "backend": self.name}

    def random_state(self, seed: int) -> Any:
        import dask.array as da

        return da.random.RandomState(seed)


class Cuda(Host):
    """The current CUDA device."""

    name = "cupy"

    def __init__(self) -> None:
        import cupy

        super().__init__()
        self.cupy = cupy

    def put(self, host: np.ndarray) -> Any:
        return self.cupy.asarray(host)

    def free(self) -> None:
        self.cupy.get_default_memory_pool().free_all_blocks()
        self.cupy.get_default_pinned_memory_pool().free_all_blocks()

    def seconds(self, run: Callable[[], Any]) -> tuple[float, Any]:
        device, start, stop = self.cupy.cuda.Device(), self.cupy.cuda.Event(), self.cupy.cuda.Event()
        device.synchronize()
        start.record()
        result = run()
        device.synchronize()  # also of streams that are not the current one
        stop.record()
        stop.synchronize()
        return self.cupy.cuda.get_elapsed_time(start, stop) / 1000, result

    def bus(self, megabytes: int) -> float:
        import cupyx

        source = cupyx.empty_pinned(megabytes * 2**20, dtype=np.uint8)
        target = self.cupy.empty(source.shape, dtype=np.uint8)
        return best_rate(self, source.nbytes, lambda: target.set(source))

    def describe(self) -> dict[str, Any]:
        runtime = self.cupy.cuda.runtime
        properties = runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        return {
            "device": properties["name"].decode(),
            "backend": self.name,
            "memory_bytes": int(properties["totalGlobalMem"]),
            "compute_capability": f"{properties['major']}.{properties['minor']}",
            "cuda_runtime": runtime.runtimeGetVersion(),
            "cuda_driver": runtime.driverGetVersion(),
            "driver": driver_version(),
        }

    def random_state(self, seed: int) -> Any:
        import dask.array as da

        return da.random.RandomState(seed, RandomState=self.cupy.random.RandomState)


def driver_version() -> str:
    """The version that the kernel driver states; empty where nvidia-smi is missing."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def best_rate(device: Host, amount: float, run: Callable[[], Any], times: int = 5) -> float:
    """`amount` over the least seconds of several runs, after one that does not count."""
    run()
    return amount / min(device.seconds(run)[0] for _ in range(times))


def measure_limits(device: Host, small: bool) -> dict[str, float]:
    """Bytes and operations a second that bound any method on this device, in float32."""
    xp = device.xp
    side, height, width, megabytes = (512, 20_000, 75, 32) if small else (8192, 200_000, 75, 1024)
    ones = partial(xp.ones, dtype=xp.float32)
    block, square = ones(megabytes * 2**18), ones((side, side))
    tall, narrow = ones((height, side // 8)), ones((side // 8, width))
    return {
        "memory_bytes_per_s": best_rate(device, block.nbytes, lambda: xp.max(block)),
        "bus_bytes_per_s": device.bus(megabytes),
        "square_flops_per_s": best_rate(device, 2.0 * side**3, lambda: square @ square),
        "narrow_flops_per_s": best_rate(
            device, 2.0 * tall.shape[0] * tall.shape[1] * width, lambda: tall @ narrow
        ),
    }


def accuracy(device: Host, A: Any, U: Any, s: Any, Vt: Any, spectrum: np.ndarray) -> tuple[float, float]:
    """PVE of U against the known spectrum, and the Frobenius error of the factors over the optimum; in float64.

    By panels, so that a matrix that is streamed need not fit. The squared error is
    ``||A||^2 - 2 Re sum_i s_i u_i^H A v_i + ||U diag(s) Vt||^2``.
    """
    xp, rank = device.xp, len(s)
    double = xp.float64
    U, V = (device.put(to_numpy(x).astype(np.float64)) for x in (U, to_numpy(Vt).conj().T))
    s = to_numpy(s).astype(np.float64)
    image, total = xp.zeros((A.shape[1], rank), dtype=double), 0.0
    height = max(1, 2**25 // A.shape[1])
    for start in range(0, A.shape[0], height):
        panel = xp.astype(device.put(A[start : start + height]), double)
        image = image + panel.T @ U[start : start + height]
        total += float(xp.sum(panel * panel))
    cross = to_numpy(xp.sum(image * V, axis=0))
    gram = to_numpy(U.T @ U) * to_numpy(V.T @ V)
    squared = total - 2 * float(s @ cross) + float(s @ gram @ s)
    reached = to_numpy(xp.sum(image * image, axis=0))
    pve = float(np.max(np.abs(spectrum[:rank] ** 2 - reached)) / spectrum[rank] ** 2)
    return pve, float(np.sqrt(max(squared, 0.0) / np.sum(spectrum[rank:] ** 2)))


def by_svdflow(device: Host, A: Any, case: Case, seed: int, tol: float, **options: str) -> Any:
    return truncated_svd(A, rank=case.rank, tol=tol, seed=seed, backend=device.name, **options)


def by_lapack(device: Host, A: Any, case: Case, seed: int) -> Any:
    U, s, Vt = device.xp.linalg.svd(device.put(A), full_matrices=False)
    return U[:, : case.rank], s[: case.rank], Vt[: case.rank]


def by_torch(device: Host, A: Any, case: Case, seed: int, effort: int) -> Any:
    import torch

    torch.manual_seed(seed)
    U, s, V = torch.svd_lowrank(torch.from_dlpack(device.put(A)), q=case.rank + OVERSAMPLING, niter=effort)
    U, s, V = (device.xp.from_dlpack(x[..., : case.rank].contiguous()) for x in (U, s, V))
    return U, s, V.T


def by_dask(device: Host, A: Any, case: Case, seed: int, effort: int) -> Any:
    import dask.array as da

    import dask

    height = max(1, 2**26 // A.shape[1])  # 256 MB of float32
    x = da.from_array(A, chunks=(height, A.shape[1]), asarray=False, name=False)
    if isinstance(A, np.ndarray) and device.name != "numpy":
        x = x.map_blocks(device.put, dtype=A.dtype, meta=device.xp.empty((0, 0), dtype=A.dtype))
    compressed = da.linalg.svd_compressed(
        x,
        case.rank,
        iterator="QR",
        n_power_iter=effort,
        n_oversamples=OVERSAMPLING,
        seed=device.random_state(seed),
        compute=case.streamed,
    )
    return dask.compute(*compressed)


def sides(
    device: Host, case: Case, tol: float
) -> Iterator[tuple[str, Callable[..., Any], tuple[int | None, ...]]]:
    """Name, function ``(A, seed, effort)`` and the efforts to try, of everybody who can do this case here."""
    yield "svdflow", lambda A, seed, effort: by_svdflow(device, A, case, seed, tol), (None,)
    for precision in PRECISIONS:  # krylov alone mixes, so both are by that
        options = {"method": "krylov", "precision": precision}
        yield (
            f"svdflow, krylov, {precision} precision",
            lambda A, seed, effort, options=options: by_svdflow(device, A, case, seed, tol, **options),
            (None,),
        )
    if case.rows * case.columns <= LAPACK_ENTRIES:
        yield f"{device.name}.linalg.svd", lambda A, seed, effort: by_lapack(device, A, case, seed), (None,)
    if importlib.util.find_spec("torch") is not None:
        yield "torch.svd_lowrank", lambda A, seed, effort: by_torch(device, A, case, seed, effort), EFFORTS
    yield "dask svd_compressed", lambda A, seed, effort: by_dask(device, A, case, seed, effort), EFFORTS


def least_effort(
    measure: Callable[[int | None], float], efforts: tuple[int | None, ...], target: float
) -> int | None:
    """The first effort with an error within the target, or the one of least error."""
    found: list[tuple[float, int | None]] = []
    for effort in efforts:
        found.append((measure(effort), effort))
        if found[-1][0] <= target:
            return effort
    return min(found, key=lambda pair: pair[0])[1]


def run_case(device: Host, case: Case, seeds: int, target: float) -> list[Run]:
    """All sides on one matrix: efforts first, which warms everybody up, then in turn, seed by seed."""
    host = case.matrix()
    A = host if case.streamed else device.put(host)
    if not case.streamed:
        del host
    runs: list[tuple[Run, Callable[..., Any]]] = []
    for name, compute, efforts in sides(device, case, target):

        def error(effort: int | None, compute: Callable[..., Any] = compute) -> float:
            return accuracy(device, A, *compute(A, 0, effort), case.spectrum)[0]

        run = Run(case.name, name, None)
        try:
            run.effort = least_effort(error, efforts, target)
        except (
            Exception
        ) as trouble:  # a peer that cannot do a case is a row of the table, not the end of the run
            if name.startswith("svdflow"):
                raise
            run.trouble = f"{type(trouble).__name__}: {trouble}".split("\n")[0][:120]
        runs.append((run, compute))
        device.free()
    for seed in range(seeds):
        for run, compute in runs:
            if run.trouble:
                continue
            seconds, result = device.seconds(partial(compute, A, seed, run.effort))
            pve, frobenius = accuracy(device, A, *result, case.spectrum)
            run.seconds.append(seconds)
            run.pve.append(pve)
            run.frobenius.append(frobenius)
            if run.side.startswith("svdflow"):
                run.rates = rates(case, result.info, A.nbytes, seconds, run.rates)
            del result
            device.free()
    return [run for run, _ in runs]


def rates(case: Case, info: Any, size: int, seconds: float, before: dict[str, float]) -> dict[str, float]:
    """Bytes read and operations done a second; the best over the seeds.

    A read of the search costs ``4 m n b`` operations, ``m n^2`` for ``gram``; the last one about ``4 m n k``.
    """
    entries = float(case.rows) * case.columns
    search = info.reads - 1
    a_read = (
        entries * min(case.rows, case.columns) if info.method == "gram" else 4 * entries * info.block_size
    )
    here = {
        "reads": info.reads,
        "bytes_per_s": info.reads * size / seconds,
        "flops_per_s": (search * a_read + 4 * entries * case.rank) / seconds,
    }
    return {name: max(value, before.get(name, 0.0)) for name, value in here.items()}


def fractions(run: Run, limits: dict[str, float], streamed: bool) -> dict[str, float]:
    """What svdflow reached of the measured limits: the bus where it streams, else device memory; and products."""
    if not run.rates:
        return {}
    tier = "bus_bytes_per_s" if streamed else "memory_bytes_per_s"
    return {
        tier.split("_")[0]: run.rates["bytes_per_s"] / limits[tier],
        "narrow products": run.rates["flops_per_s"] / limits["narrow_flops_per_s"],
        "square products": run.rates["flops_per_s"] / limits["square_flops_per_s"],
    }


def table(runs: list[Run], limits: dict[str, float], cases: tuple[Case, ...]) -> str:
    """Markdown: one row a side and case; the ratio is its median time over svdflow's."""
    streamed = {case.name: case.streamed for case in cases}
    ours = {run.case: median(run.seconds) for run in runs if run.side == "svdflow" and run.seconds}
    lines = [
        "| case | side | power iterations | median s (least) | worst PVE | worst error / optimum | time / svdflow "
        "| of the limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        effort = "" if run.effort is None else str(run.effort)
        if run.trouble:
            lines.append(f"| {run.case} | {run.side} | {effort} | {run.trouble} | | | | |")
            continue
        reached = ", ".join(
            f"{100 * value:.0f} % {name}"
            for name, value in fractions(run, limits, streamed[run.case]).items()
        )
        middle = median(run.seconds)
        lines.append(
            f"| {run.case} | {run.side} | {effort} | {middle:.3f} ({min(run.seconds):.3f}) | {max(run.pve):.1e} "
            f"| {max(run.frobenius):.4f} | {middle / ours[run.case]:.2f} | {reached} |"
        )
    return "\n".join(lines)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def page(report: dict[str, Any], body: str) -> str:
    machine, limits = report["machine"], report["limits"]
    facts = ", ".join(f"{name} {value}" for name, value in {**machine, **report["versions"]}.items() if value)
    measured = ", ".join(f"{name.replace('_', ' ')} {value / 1e9:,.0f}e9" for name, value in limits.items())
    return (
        f"# svdflow on a GPU\n\n`python benchmarks/gpu.py`, {report['seeds']} seeds in turn, float32, accuracy asked "
        f"for: PVE {report['target']:g}.\n\nMachine: {facts}.\n\nMeasured limits: {measured}.\n\n{body}\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=("cupy", "numpy"), default="cupy")
    parser.add_argument("--small", action="store_true", help="two tiny cases, to try the program")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--target", type=float, default=1e-2, help="PVE asked for")
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument("--output", type=Path, help="folder for gpu.json and gpu.md")
    args = parser.parse_args(arguments)
    try:
        device = Cuda() if pick(args.backend) == "cupy" else Host()
    except BackendError as error:
        print(f"benchmarks/gpu.py measures a GPU and found none: {error}", file=sys.stderr)
        return 1
    cases = tuple(case for case in (SMALL if args.small else CASES) if (args.case or "") in case.name)
    if not cases:
        parser.error(f"no case contains {args.case!r}")
    limits = measure_limits(device, args.small)
    device.free()
    folder = args.output or (RESULTS if device.name == "cupy" and not args.small else None)
    report = {
        "machine": device.describe(),
        "versions": versions(),
        "limits": limits,
        "seeds": args.seeds,
        "target": args.target,
        "cases": [asdict(case) for case in cases],
    }
    runs: list[Run] = []
    for case in cases:
        runs += run_case(device, case, args.seeds, args.target)
        print(table([run for run in runs if run.case == case.name], limits, cases), flush=True)
        if folder is not None:  # after every case, so that nothing measured is lost with the next
            folder.mkdir(parents=True, exist_ok=True)
            figures = {**report, "runs": [asdict(run) for run in runs]}
            (folder / "gpu.json").write_text(json.dumps(figures, indent=1) + "\n")
            (folder / "gpu.md").write_text(page(report, table(runs, limits, cases)))
    print("\n" + page(report, table(runs, limits, cases)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The cases: what is factorized, by whom, with which settings, and what the ratio should be."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from scipy.sparse.linalg import svds
from sklearn.decomposition import PCA
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from svdbench import matrices
from svdbench.accuracy import Accuracy, Factors, accuracy, rounding_floor, truth_shift
from svdbench.child import INFO, run_child
from svdbench.timing import (
    Comparison,
    Judge,
    Row,
    Side,
    calibrated,
    cheapest_first,
    drop_cache,
    fastest,
    gemm_rate,
    matched,
    read_plainly,
    seconds,
    settings_grid,
)
from svdflow import truncated_svd
from svdflow.compute.engine import Engine

RANK, SMALL_RANK, PHOTO_RANK = 50, 10, 100
OURS = [{"tol": tol} for tol in (3, 1, 0.3, 0.1, 0.03, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6)]
OURS += [{"tol": 2e-4, "max_reads": reads} for reads in range(2, 9)]
SKLEARN = list(settings_grid(n_iter=(0, 1, 2, 3, 4, 5, 6, 8, 10), n_oversamples=(10, 25, 50)))
SVDS_TOLS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 1e-2, 1e-3, 1e-4, 1e-6, 0)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    folder: Path
    seeds: Sequence[int] = tuple(range(5))
    small: bool = False
    gigabytes: float = 8.0
    memory_limit: str = "1GiB"
    say: Callable[[str], None] = print

    @property
    def rank(self) -> int:
        return SMALL_RANK if self.small else RANK

    def sweep(self, choices: list[Row]) -> list[Row]:
        """A peer's settings to try: all of them, or a few."""
        return choices[::5] if self.small else choices

    @property
    def gemm_flops(self) -> float:
        return gemm_rate(side=512 if self.small else 3072)

    def shape(self, full: tuple[int, int], small: tuple[int, int]) -> tuple[int, int]:
        return small if self.small else full


@dataclass
class Result:
    """What a case found: comparisons as rows, settings tried as sweeps, facts of the matrix."""

    facts: Row
    rows: list[Row] = field(default_factory=list)
    sweeps: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A named measurement: `run(options, least, aim)`."""

    name: str
    title: str
    least: float
    aim: float
    run: Callable[[Options, float, float], Result]


def factors_of(result: Any) -> Factors:
    return Factors(*result)


def described(result: Any) -> Row:
    """What our side says of a run."""
    info = result.info
    return {key: getattr(info, key) for key in INFO}


def ours(A: Any, rank: int, settings: Row) -> Side:
    return Side(
        "svdflow",
        settings,
        lambda seed: truncated_svd(A, rank, seed=seed, **settings),
        factors_of,
        described,
    )


def sklearn_side(A: Any, rank: int, settings: Row) -> Side:
    return Side(
        "scikit-learn randomized_svd",
        settings,
        lambda seed: randomized_svd(A, rank, random_state=seed, **settings),
        factors_of,
    )


def duel(
    options: Options,
    found: Result,
    judge: Judge,
    own: Sequence[Side],
    peers: Sequence[Sequence[Side]],
    least: float,
    aim: float,
) -> None:
    """Each peer at its default, at its best for that accuracy, and at its best for the accuracy of our default.

    The best is its fastest setting that reaches the accuracy. Beside each stands ours that is no less accurate.
    """
    floor = found.facts["floor"]
    tried = calibrated(own, judge, options.say)
    target = next(row["pve"] for side, row in tried if not side.settings)
    found.sweeps += [row for _, row in tried]
    for sides in peers:
        theirs = calibrated(sides, judge, options.say)
        if not theirs:
            continue
        found.sweeps += [row for _, row in theirs]
        for label, (side, row) in contests(theirs, target, floor):
            candidates = cheapest_first(tried, max(row["pve"], floor))
            comparison = matched(label, candidates, side, options.seeds, judge, floor)
            finish(options, found, comparison, least, aim)


def contests(
    theirs: Sequence[tuple[Side, Row]], target: float, floor: float
) -> Iterator[tuple[str, tuple[Side, Row]]]:
    """The settings of a peer that are compared, each once, and what for. Its default is the one with no settings."""
    default = next((entry for entry in theirs if not entry[0].settings), None)
    if default is not None:
        yield "default", default
        side, row, _ = fastest(theirs, max(default[1]["pve"], floor))
        if side is not default[0]:
            yield "its best at that accuracy", (side, row)
    side, row, reached = fastest(theirs, max(target, floor))
    label = "its best at our default's accuracy" if reached else "its most accurate; our default is more so"
    yield label, (side, row)


def finish(
    options: Options, found: Result, comparison: Comparison, least: float | None, aim: float | None
) -> None:
    row = comparison.row(least, aim)
    found.rows.append(row)
    theirs = row["theirs"][0]
    options.say(
        f"  {theirs['side']} {theirs['settings']}, {row['label']}: {np.median(row['ratios']):.2f} x, "
        f"{row['verdict']}; ours {row['ours'][0]['settings']}"
    )


# In memory


def dense_case(spectrum: str, full: tuple[int, int], small: tuple[int, int]) -> Callable[..., Result]:
    """Both of scikit-learn's settings against ours on a float32 array of known spectrum."""

    def run(options: Options, least: float, aim: float) -> Result:
        shape, k = options.shape(full, small), options.rank
        A, true = matrices.in_memory(options.folder, spectrum, shape), matrices.spectrum(spectrum, min(shape))
        found = Result(dense_facts(spectrum, true, shape, k) | {"gemm_flops": options.gemm_flops})
        judge = partial(accuracy, A, true=true)
        own = [ours(A, k, settings) for settings in [{}, *OURS]]
        peer = [sklearn_side(A, k, settings) for settings in [{}, *options.sweep(SKLEARN)]]
        duel(options, found, judge, own, [peer], least, aim)
        return with_efficiency(found, shape, k)

    return run


def dense_facts(spectrum: str, true: np.ndarray, shape: tuple[int, int], k: int) -> Row:
    """Of a matrix with a prescribed spectrum: what rounding it to float32 does to the truth, as a PVE."""
    shift = truth_shift(float(np.linalg.norm(true)), shape, np.float32)
    return {
        "spectrum": spectrum,
        "shape": shape,
        "rank": k,
        "floor": rounding_floor(true, k, np.float32),
        "truth_pve": float(2 * true[0] * shift / true[k] ** 2),
    }


def with_efficiency(found: Result, shape: tuple[int, int], k: int) -> Result:
    """Adds to each of our rows the share of the GEMM speed that its products reached."""
    for row in found.rows:
        for run in row["ours"]:
            run["gemm_share"] = products(run, shape, k) / (run["seconds"] * found.facts["gemm_flops"])
    return found


def products(run: Row, shape: tuple[int, int], k: int) -> float:
    """Operations of the products with A: two of 2 m n b a read, or m n^2 for a Gram matrix, and U at the end.

    One block width stands for all reads, so where a plan changes widths this is an estimate.
    """
    (m, n), last = (max(shape), min(shape)), 4.0 * max(shape) * min(shape) * k
    if run["method"] in ("full", "gram", "tsqr"):
        return last + float(m) * n * n
    return last + 4.0 * m * n * run["block_size"] * (run["reads"] - 1)


def pca_case(options: Options, least: float, aim: float) -> Result:
    """PCA(covariance_eigh) and ours with the same outputs: transformed data U s, s, Vt."""
    spectrum, shape, k = "1/sqrt i", options.shape((200_000, 1000), (5000, 200)), options.rank
    A = matrices.in_memory(options.folder, spectrum, shape)
    A += np.linspace(0, A.std(), shape[1], dtype=np.float32)  # columns that have means to take off
    mean = A.mean(axis=0, dtype=np.float64)
    true = matrices.kept(options.folder, f"pca-{shape[0]}x{shape[1]}", lambda: matrices.gram_truth(A, mean))
    found = Result({"spectrum": f"{spectrum}, column means added", "shape": shape, "rank": k})
    found.facts |= {"floor": rounding_floor(true, k, np.float32), "gemm_flops": options.gemm_flops}

    def by_pca(_: int) -> tuple[Any, Any, Any]:
        model = PCA(k, svd_solver="covariance_eigh")
        scores = model.fit_transform(A)
        return scores, model.singular_values_, model.components_

    def by_us(settings: Row, seed: int) -> Any:
        result = truncated_svd(A, k, center=True, seed=seed, **settings)
        return result.U * result.s.astype(result.U.dtype), result.s, result.Vt, result

    def unpack(result: Any) -> Factors:
        scores, s, Vt = result[:3]
        return Factors(scores / s, s, Vt)

    judge = partial(accuracy, A, true=true, mean=mean)
    choices = [{}, *OURS]
    own = [Side("svdflow", s, partial(by_us, s), unpack, lambda r: described(r[3])) for s in choices]
    peer = Side('scikit-learn PCA("covariance_eigh")', {}, by_pca, unpack)
    tried = calibrated(own, judge, options.say)
    [(_, row)] = calibrated([peer], judge, options.say)
    found.sweeps += [row for _, row in tried] + [row]
    candidates = cheapest_first(tried, max(row["pve"], found.facts["floor"]))
    comparison = matched("same outputs", candidates, peer, options.seeds, judge, found.facts["floor"])
    finish(options, found, comparison, least, aim)
    return with_efficiency(found, shape, k)


# On disk


def disk_case(spectrum: str) -> Callable[..., Result]:
    """An HDF5 file under a memory limit, cold and warm, each run in a process of its own."""

    def run(options: Options, least: float, aim: float) -> Result:
        n = 400 if options.small else 4000
        shape = (int((0.03 if options.small else options.gigabytes) * 1e9 / 4 / n), n)
        path, true = matrices.in_file(options.folder, spectrum, shape), matrices.spectrum(spectrum, n)
        k = options.rank
        facts = dense_facts(spectrum, true, shape, k)
        facts |= {
            "bytes": path.stat().st_size,
            "limit": options.memory_limit,
            "gemm_flops": options.gemm_flops,
        }
        found = Result(facts)
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch, h5py.File(path) as file:
            asked = {"path": str(path), "rank": k, "shape": shape, "folder": scratch}
            judge = partial(accuracy, file["A"], true=true)
            for cache in ("cold", "warm"):
                if cache == "warm" and psutil.virtual_memory().available < facts["bytes"]:
                    options.say("  the file is larger than free memory: no warm runs")
                    continue
                for peer in dask_sides(asked, path, cache):
                    label = f"{cache} cache"
                    us = file_sides(asked, path, cache, options.memory_limit)
                    comparison = matched(label, us, peer, options.seeds, judge, facts["floor"])
                    wanted = peer.settings["iterator"] == "QR"
                    finish(options, found, comparison, least if wanted else None, aim if wanted else None)
            found.facts |= plain_speed(path, options.seeds)
        return with_read_speed(with_efficiency(found, shape, k))

    return run


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


def file_sides(asked: Row, path: Path, cache: str, limit: str) -> list[Side]:
    """Ours under the limit, from loose to tight: a run of half a minute leaves no room for a sweep."""
    choices: list[Row] = [{"tol": 0.1}, {}, {"tol": 1e-3}, {"tol": 1e-5}]
    return [
        child_side("svdflow", "svdflow", s | {"memory_limit": limit}, s, asked, path, cache) for s in choices
    ]


def dask_sides(asked: Row, path: Path, cache: str) -> list[Side]:
    """The iterator QR cold and warm, the default one warm."""
    iterators = ("QR",) if cache == "cold" else ("QR", "power")
    return [
        child_side("dask svd_compressed", "dask", settings, settings, asked, path, cache)
        for settings in settings_grid(iterator=iterators, n_power_iter=[4], compute=[True])
    ]


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


# Sparse


def sparse_case(kind: str) -> Callable[..., Result]:
    """CSR, against scikit-learn and both Lanczos solvers of SciPy."""

    def run(options: Options, least: float, aim: float) -> Result:
        shape, k = options.shape((200_000, 50_000), (3000, 1000)), options.rank
        A = matrices.sparse_rows(kind, shape)
        key = f"sparse-{kind}-{shape[0]}x{shape[1]}-{k}"
        true = matrices.kept(options.folder, key, lambda: matrices.sparse_truth(A, k + 1))
        floor = rounding_floor(true, k, np.float32)
        found = Result({"columns": kind, "shape": shape, "rank": k, "entries": int(A.nnz), "floor": floor})
        own = [ours(A, k, settings) for settings in [{}, *OURS]]
        peers = [[sklearn_side(A, k, settings) for settings in [{}, *options.sweep(SKLEARN)]]]
        peers += [
            [svds_side(A, k, solver, tol) for tol in SVDS_TOLS[:: 3 if options.small else 1]]
            for solver in ("arpack", "propack")
        ]
        duel(options, found, partial(accuracy, A, true=true), own, peers, least, aim)
        return found

    return run


def svds_side(A: Any, rank: int, solver: str, tol: float) -> Side:
    def run(seed: int) -> Any:
        return svds(A, k=rank, tol=tol, solver=solver, rng=seed)

    def unpack(result: Any) -> Factors:
        U, s, Vt = result
        order = np.argsort(s)[::-1]
        return Factors(U[:, order], s[order], Vt[order])

    return Side(f"SciPy svds({solver})", {"tol": tol}, run, unpack)


# Photographs


def photograph_case(options: Options, least: float, aim: float) -> Result:
    """A batch of 8-bit images, one np.linalg.svd each, against ours side by side on all cores."""
    side, k = (128, 25) if options.small else (512, PHOTO_RANK)
    distinct, count = (8, 16) if options.small else (24, 64)
    images = matrices.photographs(side, distinct, count)
    truths = [np.linalg.svd(image.astype(np.float64), compute_uv=False) for image in images[:distinct]]
    floor = max(rounding_floor(true, k, np.float32) for true in truths)
    engine = Engine()
    found = Result({"shape": (side, side), "rank": k, "images": count, "distinct": distinct, "floor": floor})

    def by_us(settings: Row, seed: int) -> list[Any]:
        def one(image: np.ndarray) -> Any:
            return tuple(truncated_svd(image, k, engine=1, seed=seed, **settings))

        return list(engine.stream(one, images))

    def judge(batch: list[Factors], spectral: bool = True) -> Accuracy:
        return worst_of(
            [
                accuracy(A, f, true=true, spectral=spectral)
                for A, f, true in zip(images[:distinct], batch, truths, strict=True)
            ]
        )

    def unpack(batch: list[Any]) -> list[Factors]:
        return [Factors(U[:, :k], s[:k], Vt[:k]) for U, s, Vt in batch[:distinct]]

    own = [Side("svdflow", s, partial(by_us, s), unpack) for s in ({}, {"tol": 1e-4}, {"method": "full"})]
    tried = calibrated(own, judge, options.say)
    found.sweeps += [row for _, row in tried]
    for peer in lapack_sides(images, engine.threads, unpack):
        [(_, row)] = calibrated([peer], judge, options.say)
        found.sweeps.append(row)
        candidates = cheapest_first(tried, max(row["pve"], floor))
        comparison = matched("a piece", candidates, peer, options.seeds, judge, floor)
        in_turn = row["settings"]["at a time"] == 1
        finish(options, found, comparison, least if in_turn else None, aim if in_turn else None)
    return found


def worst_of(each: Sequence[Accuracy]) -> Accuracy:
    """The largest of each figure."""
    rows = [one.row() for one in each]
    return Accuracy(**{name: max((row[name] for row in rows), key=lambda v: v or 0) for name in rows[0]})


def lapack_sides(images: list[np.ndarray], threads: int, unpack: Callable[[Any], Any]) -> Iterator[Side]:
    """np.linalg.svd in both precisions, one image at a time on all BLAS threads or one a thread."""

    def one(dtype: Any, image: np.ndarray) -> Any:
        return np.linalg.svd(image.astype(dtype), full_matrices=False)

    def in_turn(dtype: Any, _: int) -> list[Any]:
        return [one(dtype, image) for image in images]

    def side_by_side(dtype: Any, _: int) -> list[Any]:
        with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
            return list(pool.map(partial(one, dtype), images))

    for dtype in ("float64", "float32"):
        for at_a_time, run in ((1, in_turn), (threads, side_by_side)):
            yield Side("np.linalg.svd", {"dtype": dtype, "at a time": at_a_time}, partial(run, dtype), unpack)


DENSE, TALL = ((20_000, 4000), (1000, 400)), ((200_000, 1000), (5000, 200))
CASES = {
    case.name: case
    for case in [
        Case("memory-inverse", "20,000 x 4,000, 1/i", 4, 8, dense_case("1/i", *DENSE)),
        Case("memory-root", "20,000 x 4,000, 1/sqrt i", 4, 8, dense_case("1/sqrt i", *DENSE)),
        Case("memory-fourth-root", "20,000 x 4,000, i^-1/4", 4, 8, dense_case("i^-1/4", *DENSE)),
        Case("memory-gap", "20,000 x 4,000, gap 50 : 1", 1.5, 2.5, dense_case("gap", *DENSE)),
        Case(
            "memory-exponential",
            "20,000 x 4,000, exp(-i/50) + 1e-3",
            1.5,
            2.5,
            dense_case("exp(-i/50) + 1e-3", *DENSE),
        ),
        Case("tall", "200,000 x 1,000, 1/sqrt i", 5, 10, dense_case("1/sqrt i", *TALL)),
        Case("tall-pca", "200,000 x 1,000, principal components", 1, 1.5, pca_case),
        Case("disk-root", "HDF5 on disk, limited memory, 1/sqrt i", 3, 6, disk_case("1/sqrt i")),
        Case("disk-0.6", "HDF5 on disk, limited memory, i^-0.6", 3, 6, disk_case("i^-0.6")),
        Case("sparse-planted", "CSR 200,000 x 50,000, power law", 2, 4, sparse_case("planted")),
        Case("sparse-uniform", "CSR 200,000 x 50,000, uniform", 2, 4, sparse_case("uniform")),
        Case("photographs", "64 photographs, k = 100", 3, 6, photograph_case),
    ]
}

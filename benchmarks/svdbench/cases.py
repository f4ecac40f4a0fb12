"""The cases: what is factorized, by whom, with which settings, and what the ratio should be."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from svdbench import matrices
from svdbench.accuracy import Accuracy, Factors, accuracy, rounding_floor
from svdbench.contests import (
    FEW_SEEDS,
    OURS,
    SKLEARN,
    Case,
    Options,
    Pair,
    Problem,
    Result,
    dense_facts,
    described,
    finish,
    ours,
    sklearn_side,
    with_efficiency,
    worst_of,
)
from svdbench.disk_cases import disk_case
from svdbench.sparse_cases import sparse_case
from svdbench.timing import Row, Side, calibrated, cheapest_first, matched
from svdflow import truncated_svd
from svdflow.compute.engine import Engine

PHOTO_RANK = 100
Prepare = Callable[[Options], AbstractContextManager[Problem]]


def dense_case(spectrum: str, full: tuple[int, int], small: tuple[int, int]) -> Prepare:
    """Both of scikit-learn's settings against ours on a float32 array of known spectrum."""

    @contextmanager
    def prepare(options: Options) -> Iterator[Problem]:
        shape, k = options.shape(full, small), options.rank
        A, true = matrices.in_memory(options.folder, spectrum, shape), matrices.spectrum(spectrum, min(shape))
        own = [ours(A, k, settings) for settings in [{}, *OURS]]
        peer = [sklearn_side(A, k, settings) for settings in [{}, *options.sweep(SKLEARN)]]
        yield Problem(
            dense_facts(spectrum, true, shape, k) | {"gemm_flops": options.gemm_flops},
            partial(accuracy, A, true=true),
            [Pair("default", own[0], peer[0], 4, 5)],
            own=own,
            peers=[peer],
            finish=partial(with_efficiency, shape=shape, k=k),
        )

    return prepare


def pca_case(full: tuple[int, int], small: tuple[int, int], least: float) -> Prepare:
    """PCA(covariance_eigh) and ours with the same outputs: transformed data U s, s, Vt.

    `least` is of our default beside it.
    """

    @contextmanager
    def prepare(options: Options) -> Iterator[Problem]:
        spectrum, shape, k = "1/sqrt i", options.shape(full, small), options.rank
        A = matrices.in_memory(options.folder, spectrum, shape)
        A += np.linspace(0, A.std(), shape[1], dtype=np.float32)  # columns that have means to take off
        mean = A.mean(axis=0, dtype=np.float64)
        key = f"pca-{shape[0]}x{shape[1]}"
        true = matrices.kept(options.folder, key, lambda: matrices.gram_truth(A, mean))
        own = [centred_side(A, k, settings) for settings in [{}, *OURS]]
        peer = pca_side(A, k)
        yield Problem(
            {
                "spectrum": f"{spectrum}, column means added",
                "shape": shape,
                "rank": k,
                "floor": rounding_floor(true, k, np.float32),
                "gemm_flops": options.gemm_flops,
            },
            partial(accuracy, A, true=true, mean=mean),
            [Pair("default, fit_transform", own[0], peer, least, least)],
            own=own,
            peers=[[peer]],
            finish=partial(with_efficiency, shape=shape, k=k),
        )

    return prepare


def pca_side(A: np.ndarray, k: int) -> Side:
    def run(_: int) -> tuple[Any, Any, Any]:
        model = PCA(k, svd_solver="covariance_eigh")
        scores = model.fit_transform(A)
        return scores, model.singular_values_, model.components_

    # A mean, A^T A and A V: three passes.
    return Side('scikit-learn PCA("covariance_eigh")', {}, run, _of_scores, lambda _: {"reads": 3})


def centred_side(A: np.ndarray, k: int, settings: Row) -> Side:
    def run(seed: int) -> Any:
        result = truncated_svd(A, k, center=True, seed=seed, **settings)
        return result.U * result.s.astype(result.U.dtype), result.s, result.Vt, result

    return Side("svdflow", settings, run, _of_scores, lambda result: described(result[3]))


def _of_scores(result: Any) -> Factors:
    scores, s, Vt = result[:3]
    return Factors(scores / s, s, Vt)


# Photographs


@contextmanager
def photograph_case(options: Options) -> Iterator[Problem]:
    """A batch of 8-bit images, one np.linalg.svd each, against ours side by side on all cores."""
    side, k = (128, 25) if options.small else (512, PHOTO_RANK)
    distinct, count = (8, 16) if options.small else (24, 64)
    images = matrices.photographs(side, distinct, count)
    truths = [np.linalg.svd(image.astype(np.float64), compute_uv=False) for image in images[:distinct]]
    floor = max(rounding_floor(true, k, np.float32) for true in truths)
    engine = Engine()

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
    peers = list(lapack_sides(images, engine.threads, unpack))

    def best(found: Result) -> None:
        tried = calibrated(own, judge, options.say)
        found.sweeps += [row for _, row in tried]
        for peer in peers:
            [(_, row)] = calibrated([peer], judge, options.say)
            found.sweeps.append(row)
            candidates = cheapest_first(tried, max(row["pve"], floor))
            comparison = matched("a piece", candidates, peer, options.seeds, judge, floor)
            in_turn = row["settings"]["at a time"] == 1
            finish(options, found, comparison, *((3, 6) if in_turn else (None, None)))

    facts = {"shape": (side, side), "rank": k, "images": count, "distinct": distinct, "floor": floor}
    # np.linalg.svd takes an image of 8 bits to float64.
    yield Problem(facts, judge, [Pair("default, a piece", own[0], peers[0], 3, 6)], best=best)


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


DENSE, TALL, LONG = (
    ((20_000, 4000), (1000, 400)),
    ((200_000, 1000), (5000, 200)),
    ((1_000_000, 100), (20_000, 60)),
)
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
        Case("tall", "200,000 x 1,000, 1/sqrt i", 5, 10, dense_case("1/sqrt i", *TALL), FEW_SEEDS),
        Case(
            "tall-pca", "200,000 x 1,000, principal components", 1, 1.5, pca_case(*TALL, least=1.0), FEW_SEEDS
        ),
        Case(
            "long-pca", "1,000,000 x 100, principal components", 1, 1.5, pca_case(*LONG, least=1.2), FEW_SEEDS
        ),
        Case("disk-root", "HDF5 on disk, limited memory, 1/sqrt i", 3, 6, disk_case("1/sqrt i"), FEW_SEEDS),
        Case("disk-0.6", "HDF5 on disk, limited memory, i^-0.6", 3, 6, disk_case("i^-0.6"), FEW_SEEDS),
        Case("sparse-power", "CSR 200,000 x 50,000, power law", 1.5, 3, sparse_case("power"), FEW_SEEDS),
        Case(
            "sparse-planted",
            "CSR 200,000 x 50,000, power law and topics",
            2,
            4,
            sparse_case("planted"),
            FEW_SEEDS,
        ),
        Case("sparse-uniform", "CSR 200,000 x 50,000, uniform", 2, 4, sparse_case("uniform"), FEW_SEEDS),
        Case("flat-one-hot", "CSR 3,000 x 7,560, one-hot, k = 10", 1, 1, sparse_case("one-hot"), FEW_SEEDS),
        Case("flat-even", "CSR 3,000 x 2,500, 2 %, k = 10", 1, 1, sparse_case("even"), FEW_SEEDS),
        Case(
            "flat-thin", "CSR 15,000 x 6,000, 200,000 entries, k = 10", 1, 1, sparse_case("thin"), FEW_SEEDS
        ),
        Case("photographs", "64 photographs, k = 100", 3, 6, photograph_case),
    ]
}

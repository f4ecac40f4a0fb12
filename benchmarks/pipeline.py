"""Images per second of the compress path, beside the loop that one would write with NumPy and scikit-image.

Both sides take 60 distinct 8-bit images of 512 x 512, factorize each, and measure PSNR and SSIM at 6 ranks. Their
figures must agree, to 1e-3 dB and 1e-4, before any time counts. Rounds are interleaved, so that a slow moment of
the machine meets all sides.

    python benchmarks/pipeline.py            print a table
    python benchmarks/pipeline.py --write    and keep it in benchmarks/results/pipeline.md
"""

import argparse
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import scipy
import skimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from threadpoolctl import threadpool_limits

from svdflow import read_table, truncated_svd
from svdflow.compute.runtime import Runtime
from svdflow.images.colour import luma
from svdflow.images.ingest_images import ingest_images
from svdflow.metrics import psnr_of_error
from svdflow.tasks.compress import compress_shard, measure

SIDE = 512
RANKS = [2, 5, 10, 20, 50, 100]
RESULTS = Path(__file__).parent / "results" / "pipeline.md"

Figures = np.ndarray  # (images, ranks, 2): PSNR in dB and SSIM


def pictures(count: int) -> list[np.ndarray]:
    """`count` distinct grey crops of 512 x 512 from scikit-image's own pictures, turned and mirrored."""
    sources = [
        data.camera(),
        luma(data.astronaut()),
        data.moon(),
        data.brick(),
        data.grass(),
        data.gravel(),
        luma(data.immunohistochemistry()),
        data.cell(),
        luma(data.hubble_deep_field()),
        luma(data.retina()),
    ]
    found: dict[bytes, np.ndarray] = {}
    for turn, mirror, corner in product(range(4), (False, True), range(4)):
        for plane in sources:
            top = (plane.shape[0] - SIDE) * (corner % 2)
            left = (plane.shape[1] - SIDE) * (corner // 2)
            crop = np.rot90(plane[top : top + SIDE, left : left + SIDE], turn)
            crop = np.ascontiguousarray(crop[:, ::-1] if mirror else crop)
            found.setdefault(crop.tobytes(), crop)
    if len(found) < count:
        raise SystemExit(f"only {len(found)} distinct pictures; ask for fewer than {count}")
    return list(found.values())[:count]


# The peer: what one would write


def plain(image: np.ndarray) -> list[tuple[float, float]]:
    """One image by np.linalg.svd and scikit-image's metrics."""
    A = image.astype(np.float64)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    figures = []
    for k in RANKS:
        approximation = (U[:, :k] * s[:k]) @ Vt[:k]
        psnr = peak_signal_noise_ratio(A, approximation, data_range=255)
        ssim = structural_similarity(
            A, approximation, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        figures.append((psnr, ssim))
    return figures


def plain_loop(images: list[np.ndarray], threads: int) -> Figures:
    with threadpool_limits(threads):
        return np.array([plain(image) for image in images])


def plain_pool(images: list[np.ndarray], pool: "multiprocessing.pool.Pool") -> Figures:
    return np.array(pool.map(plain, images, chunksize=1))


# svdflow


def ours(image: np.ndarray) -> list[tuple[float, float]]:
    """One image by truncated_svd and one sweep over all ranks."""
    U, s, Vt = truncated_svd(image, max(RANKS), engine=1)
    found = measure(image, U, s, Vt, RANKS, data_range=255)
    return [(psnr_of_error(found[k].squared_error, image.size, 255), found[k].ssim) for k in RANKS]


def ours_in_memory(images: list[np.ndarray], threads: int) -> Figures:
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(ours, images)))


def ours_through_files(matrices: Path, threads: int) -> Figures:
    """The two stages as the workflow runs them: factors written, synced, verified, read again, results published."""
    from svdflow.svd.factorize_shard import factorize_shard

    place = {"dataset": "pipeline", "shard": 0}
    factors, out = matrices.with_name("factors.h5"), matrices.with_name("compress.h5")
    settings = {"method": "auto", "tol": 1e-2, "center": False, "seed": 0}
    with threadpool_limits(1):
        factorize_shard(
            matrices,
            factors,
            item_rank=max(RANKS),
            noisy_rank=0,
            runtime=Runtime(threads=threads),
            **place,
            **settings,
        )
        compress_shard(
            matrices,
            factors,
            out,
            matrices.with_name("pictures"),
            ranks=RANKS,
            energies=[],
            powers_of_two=False,
            metrics=["psnr", "ssim"],
            images="none",
            runtime=Runtime(threads=threads),
            **place,
        )
    return read_table(out, "compress")[["psnr", "ssim"]].to_numpy().reshape(-1, len(RANKS), 2)


def ingested(images: list[np.ndarray], folder: Path) -> Path:
    """The matrices file of the images; ingest is no part of what is timed, on either side."""
    files = []
    for index, image in enumerate(images):
        path = folder / f"{index:03d}.npy"
        np.save(path, image)
        files.append({"index": index, "path": str(path), "name": path.name})
    out = folder / "matrices.h5"
    ingest_images(files, out, dataset="pipeline", shard=0, colour="gray", noise_sigma=[], seed=0)
    return out


# The comparison


def disagreement(figures: Figures, reference: Figures) -> tuple[float, float]:
    """Largest difference of PSNR (dB) and of SSIM."""
    psnr, ssim = np.abs(figures - reference).max(axis=(0, 1))
    return float(psnr), float(ssim)


def timed(sides: dict[str, Callable[[], Figures]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round, after one round that also checks the figures."""
    reference = None
    for name, run in sides.items():
        figures = run()
        reference = figures if reference is None else reference
        psnr, ssim = disagreement(figures, reference)
        print(f"{name}: differs by {psnr:.1e} dB and {ssim:.1e} from the plain loop", file=sys.stderr)
        if not (psnr < 1e-3 and ssim < 1e-4):
            raise SystemExit(f"{name}: the figures differ; times would mean nothing")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: dict[str, list[float]], count: int, peers: list[str]) -> str:
    """Images per second of each side, and how many times faster than each peer it is, round by round."""
    lines = [
        f"| side | images per second |{''.join(f' against {peer} |' for peer in peers)}",
        "|---|---|" + "---|" * len(peers),
    ]
    for name, times in seconds.items():
        rates = [count / t for t in times]
        cells = [name, spread(rates)]
        for peer in peers:
            ratios = [theirs / own for theirs, own in zip(seconds[peer], times, strict=True)]
            cells.append("" if name in peers else f"{spread(ratios)} x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int = 1) -> str:
    """Median, and the extremes in brackets."""
    middle, least, most = (f"{v:.{digits}f}" for v in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    given = parser.parse_args()
    images, threads = pictures(given.images), given.threads
    # Workers inherit the limit, and live through all rounds: starting them is not charged to the peer.
    with (
        threadpool_limits(1),
        multiprocessing.get_context("spawn").Pool(threads, initializer=_one_thread) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        matrices = ingested(images, Path(folder))
        peers = {
            f"the plain loop, {threads} BLAS threads": partial(plain_loop, images, threads),
            f"its pool of {threads} processes": partial(plain_pool, images, pool),
        }
        sides = peers | {
            f"svdflow, {threads} threads, in memory": partial(ours_in_memory, images, threads),
            f"svdflow, {threads} threads, stages through HDF5": partial(
                ours_through_files, matrices, threads
            ),
        }
        seconds = timed(sides, given.rounds)
    text = (
        f"# The compress path\n\n{len(images)} images of {SIDE} x {SIDE}, 8 bits; ranks {', '.join(map(str, RANKS))}; "
        f"PSNR and SSIM.\nMedian of {given.rounds} interleaved rounds (least to greatest) on {threads} cores of "
        f"{processor()}.\nNumPy {np.__version__}, SciPy {scipy.__version__}, scikit-image {skimage.__version__}, "
        f"Python {platform.python_version()}. All sides give the same figures, to 1e-3 dB and 1e-4.\n\n"
        f"{table(seconds, len(images), list(peers))}\n\nCommand: `python benchmarks/pipeline.py --write`\n"
    )
    print(text)
    if given.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


def _one_thread() -> None:
    threadpool_limits(1)


def processor() -> str:
    """Model of the processor, as the kernel names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    main()

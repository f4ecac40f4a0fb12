"""Large photographs through every denoiser, compress and encode: seconds a megapixel and peak memory, of any size.

    python benchmarks/large_pictures.py --megapixels 1 24 --methods patch_svd tv compress --passes 1 --limit 2GiB

Each works in a process of its own on a photograph that is made of scikit-image's samples, tiled, each tile turned and
lit in another way, with noise of 25 added for denoisers; the stage `denoise` is what a job of a study does: it reads,
denoises, judges and writes the picture. `compress` and `encode` are the stages of that name as the default study asks
for them; of encode, the column PSNR is that of the archive. Slow methods take their time: 24 megapixels of wnnm are an
hour of one core.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, product
from pathlib import Path

import numpy as np
from skimage import color, data

from svdflow.compute.runtime import Runtime
from svdflow.images.ingest_images import ingest_images
from svdflow.images.io import write_image
from svdflow.registry import DENOISERS
from svdflow.registry.kinds import IMAGES
from svdflow.store import read_table
from svdflow.study.config import complete_config
from svdflow.study.sizes import parse_size
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard
from svdflow.tasks.denoise import denoise_shard
from svdflow.tasks.encode import encode_shard

SIGMA, RANK = 25, 256
SAMPLES = ("camera", "astronaut", "coffee", "chelsea", "brick", "grass", "gravel")


def photograph(megapixels: float, *, colour: bool = False) -> np.ndarray:
    """A picture of 3 to 2, uint8: samples side by side, no two of them alike."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    picture = np.zeros((height, round(1.5 * height), 3), np.uint8)
    rng = np.random.default_rng(0)
    tiles = cycle(SAMPLES)
    for top, left in product(range(0, picture.shape[0], 384), range(0, picture.shape[1], 384)):
        tile = getattr(data, next(tiles))()
        tile = (tile if tile.ndim == 3 else color.gray2rgb(tile))[:300, :400]
        tile = np.rot90(np.tile(tile, (2, 2, 1))[:384, :384], rng.integers(4))
        lit = np.clip(tile * rng.uniform(0.6, 1.1) + rng.uniform(-10, 20), 0, 255).astype(np.uint8)
        part = picture[top : top + 384, left : left + 384]
        part[:] = lit[: part.shape[0], : part.shape[1]]
    return picture if colour else picture[..., 1]


def measure(
    method: str,
    megapixels: float,
    limit: int,
    threads: int,
    colour: bool,
    passes: int | None,
    codecs: list[str] | None,
) -> dict:
    """Seconds of the stage, and the peak of memory of this process, in MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_image(folder / "photograph.png", photograph(megapixels, colour=colour))
        matrices, factors, out = (folder / f"{stage}.h5" for stage in ("matrices", "factors", "out"))
        file = {"index": 0, "path": str(folder / "photograph.png"), "name": "photograph.png"}
        place = {"dataset": "large", "shard": 0}
        kind = "rgb" if colour else "gray"
        ingest_images([file], matrices, **place, colour=kind, noise_sigma=[SIGMA], seed=0)
        stored = (
            RANK
            if method == "compress" or (method in DENOISERS and DENOISERS[method].works_on == "factors")
            else 0
        )
        ranks = {"item_rank": stored if method == "compress" else 0, "noisy_rank": stored}
        start = time.perf_counter()
        factorize_shard(matrices, factors, **place, **ranks, seed=0, refuse_masked=False)
        factorized = time.perf_counter() - start
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start, used = time.perf_counter(), time.process_time()
        runtime = Runtime(threads=threads, memory_limit=limit)
        asked = complete_config({})
        if method == "compress":
            kept = {
                name: asked[method][name]
                for name in ("ranks", "energies", "powers_of_two", "metrics", "images")
            }
            compress_shard(matrices, factors, out, folder / "pictures", **place, **kept, runtime=runtime)
        elif method == "encode":
            kept = {name: asked[method][name] for name in ("target", "forms")}
            named = asked[method]["codecs"] if codecs is None else codecs
            encode_shard(
                matrices, out, folder / "archives", **place, **kept, codecs=named, seed=0, runtime=runtime
            )
        else:
            denoise_shard(
                matrices, factors, out, folder / "pictures", **place, method=method, ranks=[],
                rank_rules=["gavish_donoho"], runtime=runtime,
                options={"passes": passes} if passes and method == "patch_svd" else {},
            )  # fmt: skip
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
        table = read_table(out, {"compress": "compress", "encode": "rates"}.get(method, "denoise"))
        errors = read_table(out, "errors")
        chosen = table[table[{"compress": "reached", "encode": "kept"}.get(method, "chosen")]]
    return {
        "method": method, "megapixels": megapixels, "factorize_s": factorized, "seconds": seconds, "cpu_s": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "before_mib": before,
        "psnr": float(chosen["psnr"].mean()) if len(chosen) else None,
        "errors": [f"{row.code}: {row.message}" for row in errors.itertuples()],
    }  # fmt: skip


def main() -> None:
    pictures = [name for name, declared in DENOISERS.items() if IMAGES in declared.applies_to]
    stages = [*pictures, "compress", "encode"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 24])
    parser.add_argument("--methods", nargs="+", choices=stages, default=stages)
    parser.add_argument("--limit", default="2GiB", help="runtime.memory_limit of the job")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passes", type=int, help="of patch_svd; by default its own")
    parser.add_argument("--codecs", nargs="*", help="beside encode; by default those of the default study")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        found = measure(
            args.methods[0],
            args.megapixels[0],
            parse_size(args.limit),
            args.threads,
            args.colour,
            args.passes,
            args.codecs,
        )
        print(json.dumps(found))
        return
    print(
        "| method | megapixels | CPU s a megapixel | over the first | peak, MiB | before, MiB | PSNR | errors |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for method in args.methods:
        first = None
        for megapixels in args.megapixels:
            words = [sys.executable, __file__, *sys.argv[1:], "--one"]
            words += ["--methods", method, "--megapixels", str(megapixels)]
            child = subprocess.run(words, capture_output=True, text=True, check=True)
            found = json.loads(child.stdout.splitlines()[-1])
            each = found["cpu_s"] / megapixels
            first = first or each
            psnr = "-" if found["psnr"] is None else f"{found['psnr']:.2f}"
            print(
                f"| {method} | {megapixels:g} | {each:.2f} | {each / first:.2f} | {found['peak_mib']:.0f} | "
                f"{found['before_mib']:.0f} | {psnr} | {'; '.join(found['errors']) or 'none'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

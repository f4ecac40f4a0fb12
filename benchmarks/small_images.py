"""Processor seconds of thousands of small images through the workflow, beside the loop that one would write.

Both sides are commands, with all that they start: `svdflow run` to the end of compress at the default shard size, and a
process that opens each PNG with Pillow, takes np.linalg.svd and asks scikit-image for PSNR and SSIM at each rank. Their
figures must agree, to 1e-3 dB (up to 100 dB) and 1e-4, before any time counts. What starting costs is measured apart,
by the same two commands on as many images as the study has shards. Rounds are interleaved; one thread of BLAS.

    python benchmarks/small_images.py            print a table
    python benchmarks/small_images.py --write    and keep it in benchmarks/results/small_images.md
"""

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import fill

import h5py
import numpy as np
import pandas as pd
import yaml
from PIL import Image
from pipeline import pictures, processor, spread

from svdflow import read_table

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "small_images.md"
SIDE, RANKS = 64, [1, 2, 4, 8, 16, 32]
COMPRESS = {"ranks": RANKS, "energies": [], "rank_rules": [], "metrics": ["psnr", "ssim"], "images": "none"}
EXACT = 100.0  # dB: where a crop has such a low rank only rounding is left, and factors are stored in single precision
NUMBERS = ("pixels", "U", "s", "Vt", "spectrum")
LOOP = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

rows = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    A = np.asarray(Image.open(path)).astype(np.float64)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    for k in map(int, sys.argv[3].split(",")):
        B = (U[:, :k] * s[:k]) @ Vt[:k]
        psnr = peak_signal_noise_ratio(A, B, data_range=255)
        ssim = structural_similarity(
            A, B, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        rows.append(f"{path.name},{k},{psnr:.17g},{ssim:.17g}\\n")
Path(sys.argv[2]).write_text("name,rank,psnr,ssim\\n" + "".join(rows))
"""


def crops(folder: Path, count: int) -> None:
    """`count` crops of 64 x 64 as PNG, at random places of the pictures of benchmarks/pipeline.py."""
    sources, rng = pictures(40), np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        picture = sources[index % len(sources)]
        top, left = (int(rng.integers(side - SIDE + 1)) for side in picture.shape)
        Image.fromarray(picture[top : top + SIDE, left : left + SIDE]).save(folder / f"{index:06d}.png")


def processor_seconds(words: list[str], folder: Path) -> float:
    """User and system time of a command and of all that it starts, in seconds."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": str(folder / "scripts")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class Study:
    """A copy of the workflow that does nothing but compress the images of a folder."""

    def __init__(self, folder: Path, images: Path, shard_size: int | None = None) -> None:
        self.folder = folder
        for part in ("Snakefile", "rules", "scripts", "config"):
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            folder.mkdir(parents=True, exist_ok=True)
            copy(source, folder / part)
        config = {"datasets": "sheet.tsv", "compress": COMPRESS}
        (folder / "study.yaml").write_text(yaml.safe_dump(config))
        (folder / "sheet.tsv").write_text(
            "name\tkind\tsource\tcolour\ttasks\tshard_size\n"
            f"small\timages\t{images}\tgray\tcompress\t{shard_size or '-'}\n"
        )

    def run(self) -> float:
        """Processor seconds of a whole new run to the end of compress, the plan included."""
        for made in ("results", ".snakemake"):
            shutil.rmtree(self.folder / made, ignore_errors=True)
        words = ["run", "--config", "study.yaml", "--", "--cores", "1", "--until", "compress"]
        return processor_seconds([sys.executable, "-m", "svdflow", *words], self.folder)

    def files(self, stage: str) -> list[Path]:
        return sorted((self.folder / "results" / stage / "small").glob("*.h5"))

    def figures(self) -> np.ndarray:
        """(images, ranks, 2): PSNR in dB and SSIM."""
        table = pd.concat(read_table(file, "compress") for file in self.files("compress"))
        return table[["psnr", "ssim"]].to_numpy().reshape(-1, len(RANKS), 2)

    def sizes(self) -> tuple[int, int]:
        """Bytes of all files of the results, and of the numbers in them: pixels, factors and singular values."""
        results = self.folder / "results"
        numbers = 0
        for file in [*self.files("matrices"), *self.files("factors")]:
            with h5py.File(file) as opened:
                for stack in filter(str.isdigit, opened["stacks"]):
                    parts = opened["stacks"][stack].items()
                    numbers += sum(part.nbytes for name, part in parts if name in NUMBERS)
        return sum(file.stat().st_size for file in results.rglob("*") if file.is_file()), numbers


class Loop:
    """The plain loop over the images of a folder, a process of its own."""

    def __init__(self, folder: Path, images: Path) -> None:
        self.folder, self.images = folder, images
        folder.mkdir()
        (folder / "loop.py").write_text(LOOP)

    def run(self) -> float:
        """Processor seconds of the process."""
        words = ["loop.py", str(self.images), "figures.csv", ",".join(map(str, RANKS))]
        return processor_seconds([sys.executable, *words], self.folder)

    def figures(self) -> np.ndarray:
        """(images, ranks, 2): PSNR in dB and SSIM."""
        table = pd.read_csv(self.folder / "figures.csv")
        return table[["psnr", "ssim"]].to_numpy().reshape(-1, len(RANKS), 2)


def measured(folder: Path, count: int, rounds: int) -> dict:
    """Processor seconds of both sides on `count` images, and of their starts; sizes of the results."""
    crops(folder / "images", count)
    study, loop = Study(folder / "study", folder / "images"), Loop(folder / "loop", folder / "images")
    sides = {"svdflow": [study.run()], "loop": [loop.run()]}
    compared = [np.minimum(side.figures(), EXACT) for side in (study, loop)]
    difference = np.abs(np.subtract(*compared)).max(axis=(0, 1))
    print("differ by {:.1e} dB and {:.1e}".format(*difference), file=sys.stderr)
    if not (difference < (1e-3, 1e-4)).all():
        raise SystemExit("the figures differ; times would mean nothing")
    size, numbers = study.sizes()
    shards = len(study.files("compress"))
    crops(folder / "few", shards)
    starts = {
        "svdflow": Study(folder / "start", folder / "few", shard_size=1),
        "loop": Loop(folder / "start-loop", folder / "few"),
    }
    start: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(rounds):
        for name, side in {"svdflow": study, "loop": loop}.items():
            sides[name].append(side.run())
            start[name].append(starts[name].run())
    seconds = {name: times[1:] for name, times in sides.items()}
    return {"seconds": seconds, "start": start, "size": size, "numbers": numbers, "shards": shards}


def table(found: dict, count: int) -> str:
    """Milliseconds an image of each side, whole and without its start, and the ratios round by round."""
    seconds, start = found["seconds"], found["start"]
    net = {side: np.subtract(seconds[side], start[side]) for side in seconds}
    rows = [
        ("whole", seconds, count, "ms an image"),
        ("start alone", start, 1000, "s"),
        ("without start", net, count, "ms an image"),
    ]
    lines = ["| | the plain loop | svdflow | ratio |", "|---|---|---|---|"]
    for name, times, number, unit in rows:
        scale = 1000 / number
        ours, theirs = np.asarray(times["svdflow"]), np.asarray(times["loop"])
        cells = [f"{spread([scale * t for t in side], 2)} {unit}" for side in (theirs, ours)]
        ratio = "" if name == "start alone" else spread(list(ours / theirs), 2)
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given.images, given.rounds)
    size, rounds = found["size"], given.rounds
    setting = (
        f"{given.images:,} PNG of {SIDE} x {SIDE}, 8 bits, in {found['shards']} shards; ranks "
        f"{', '.join(map(str, RANKS))}; PSNR and SSIM. Processor seconds, median of {rounds} interleaved rounds (least "
        f"to greatest), on {processor()}, Python {platform.python_version()}. Both sides give the same figures, to "
        "1e-3 dB and 1e-4. svdflow: plan, Snakemake, and a job for each of ingest, factorize and compress of a shard."
    )
    room = (
        f"The results folder takes {size / given.images:,.0f} bytes an image, {size / found['numbers']:.2f} times the "
        "pixels, factors and singular values in it."
    )
    command = "Command: `python benchmarks/small_images.py --write`"
    parts = ["# Many small images", fill(setting, 110), table(found, given.images), fill(room, 110), command]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

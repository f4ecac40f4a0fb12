"""What planning costs with very many images: processor seconds and peak memory of each command.

    python benchmarks/many_images.py                      a million tiny PNG
    python benchmarks/many_images.py --images 10000       fewer
    python benchmarks/many_images.py --write              and keep the table in benchmarks/results/many_images.md

Making a million files takes minutes and 4 GB of a disk, none of which is measured.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import fill

import numpy as np
from PIL import Image
from pipeline import processor
from small_images import Study

RESULTS = Path(__file__).parent / "results" / "many_images.md"
JOB = """
import sys
from pathlib import Path
from svdflow.study.config import load_config
from svdflow.study.study import Study

study = Study(load_config(["config/config.yaml", "study.yaml"]), Path(), in_job=True)
shard = study.shards("small")[-1]
for stage in ("ingest_images", "factorize", "compress"):
    study.settings(stage, "small", shard)
    study.code(stage, "small", shard)
"""
# A small process that starts the command: what a child takes at its peak is at least what its parent takes (Linux).
LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(f"[{usage.ru_utime + usage.ru_stime}, {usage.ru_maxrss}]")
sys.exit(os.waitstatus_to_exitcode(status))
"""
COMMANDS = {
    "first plan, all files digested": ["-m", "svdflow", "plan", "--write", "--config", "study.yaml"],
    "plan again, nothing changed": ["-m", "svdflow", "plan", "--write", "--config", "study.yaml"],
    "snakemake --dry-run": ["-m", "snakemake", "--dry-run", "--quiet", "--configfile", "study.yaml"],
    "import of snakemake alone": ["-c", "import snakemake.cli"],
    "what a job of a cluster asks of its study": ["-c", JOB],
}


def images(folder: Path, count: int) -> None:
    """`count` PNG of 64 x 64 that differ in what stands behind their last chunk, which decoders skip."""
    folder.mkdir(parents=True)
    picture = io.BytesIO()
    Image.fromarray(np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)).save(picture, "png")
    for number in range(count):
        (folder / f"image_{number:07d}.png").write_bytes(picture.getvalue() + b"%d" % number)


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of one command."""
    environment = os.environ | {"PYTHONPATH": str(folder / "scripts")}
    command = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images(folder / "images", given.images)
        Study(folder / "study", folder / "images")
        rows = ["| command | processor seconds | peak memory |", "|---|---|---|"]
        for name, words in COMMANDS.items():
            seconds, peak = measured(words, folder / "study")
            rows.append(f"| {name} | {seconds:.2f} | {peak:,.0f} MB |")
            print(rows[-1], file=sys.stderr)
    setting = (
        f"{given.images:,} PNG of 64 x 64 in one folder, task compress, shards of the default size. One run each, on "
        f"{processor()}, Python {platform.python_version()}."
    )
    command = "Command: `python benchmarks/many_images.py --write`"
    text = "\n\n".join(["# Planning very many images", fill(setting, 110), "\n".join(rows), command]) + "\n"
    print(text)
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

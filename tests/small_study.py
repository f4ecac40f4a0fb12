"""A copy of the workflow with a small study in it, for tests that run commands as a user would."""

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import h5py
import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
PARTS = ["Snakefile", "rules", "scripts", "config", "profiles", "docs"]
OWN = """\
import numpy as np

def squares(rng):
    return lambda x: x @ x, lambda x: 2 * x, rng.standard_normal(4)

def identity():
    return np.eye(3)
"""
SHEET = """\
name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters
photos\timages\tphotos\tgray\t20\tcompress;denoise;encode;audit\t3\t-
groups\timages\tphotos\trgb\t20\tdenoise\t6\tcrop=24;methods=patch_svd,nl_means
waves\tsynthetic\twaves\t-\t-\tcompress;denoise;audit\t-\trows=48;columns=40
file\tmatrix\tmatrix.h5:/A\t-\t-\tcompress;audit\t-\t-
"""
CONFIG = {
    "datasets": "sheet.tsv",
    "compress": {"ranks": [1, 3, 6, 10]},
    "denoise": {"ranks": [1, 3, 6]},
    "factorize": {"max_rank": 20},
    "audit": {"functions_file": "own.py", "functions": ["squares", "identity"]},
}

SMALLEST_SHEET = """\
name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters
photos\timages\tphotos\tgray\t20\tcompress;denoise;encode;audit\t2\t-
waves\tsynthetic\twaves\t-\t-\tcompress\t-\trows=24;columns=20
file\tmatrix\tmatrix.h5:/A\t-\t-\tcompress\t-\t-
"""
SMALLEST = {
    "compress": {"ranks": [1, 3]},
    "denoise": {"ranks": [1, 3], "methods": ["shrink"]},
    "encode": {"codecs": ["png"], "forms": ["svd"]},
    "factorize": {"max_rank": 6},
    "audit": {"functions_file": "own.py", "functions": ["identity"], "mutants": False},
}


class Workflow:
    """A working copy in which commands run as a user would run them."""

    def __init__(self, folder: Path, path: tuple[Path, ...] = ()) -> None:
        self.folder = folder
        self.path = path  # of packages beside svdflow

    def copy(self, folder: Path) -> "Workflow":
        """The same with its results, in a new place; modification times are kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder, self.path)

    def command(
        self, *words: str, module: str = "snakemake", timeout: int = 900
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, [self.folder / "scripts", *self.path]))
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Plan and run, as `make run` does."""
        planned = self.command("plan", "--write", "--config", "study.yaml", module="svdflow")
        return planned if planned.returncode else self.command(*words, "--configfile", "study.yaml")

    def configure(self, **changes) -> None:
        """Write study.yaml: the small study with these changes, a dict laid over a dict."""
        config = {**CONFIG}
        for key, value in changes.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        (self.folder / "study.yaml").write_text(yaml.safe_dump(config))

    def dry_run(self) -> tuple[int, str]:
        """Status and words of ``snakemake --dry-run``."""
        done = self.forked("--dry-run", "--configfile", "study.yaml")
        return done.returncode, done.stdout

    def forked(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of Snakemake's that starts no job, in a fork of this process, which has Snakemake imported once."""
        import snakemake.cli

        with tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if child == 0:
                status = 1
                gc.disable()  # it would copy all that this process holds, page by page
                try:
                    os.dup2(said.fileno(), 1)
                    os.dup2(said.fileno(), 2)
                    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                    os.chdir(self.folder)
                    paths = [str(self.folder / "scripts"), *map(str, self.path)]
                    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
                    sys.path[:0] = paths
                    ours = {"svdflow", *(file.stem for folder in self.path for file in folder.glob("*.py"))}
                    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
                        del sys.modules[name]  # the copy in the folder is imported anew
                    snakemake.cli.main(list(words))
                    status = 0
                except SystemExit as stop:
                    status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            return subprocess.CompletedProcess(words, status, said.read(), "")

    def due(self) -> dict[str, int]:
        """The rules that a run would execute now, with the number of jobs each, `all` left out."""
        status, text = self.dry_run()
        assert status == 0, text
        if "Nothing to be done" in text:
            return {}
        block = text[text.rindex("Job stats:") :]
        rows = dict(re.findall(r"^(\w+)\s+(\d+)$", block, flags=re.MULTILINE))
        return {rule: int(n) for rule, n in rows.items() if rule not in ("all", "total")}


def smallest_workflow(folder: Path) -> Workflow:
    """The smallest study that has every stage, with files of the user's beside its results."""
    workflow = small_workflow(folder)
    for name in ("photo4.png", "photo5.png"):
        (folder / "photos" / name).unlink()
    (folder / "sheet.tsv").write_text(SMALLEST_SHEET)
    workflow.configure(**SMALLEST)
    mine = folder / "results" / "pictures" / "mine"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("ten years\n")
    (folder / "results" / "notes.txt").write_text("mine\n")
    return workflow


def small_workflow(folder: Path) -> Workflow:
    """A copy of the workflow with six images, one generator and one matrix file; nothing has run."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    random = np.random.default_rng(7)
    (folder / "photos").mkdir()
    for i in range(6):
        smooth = random.normal(size=(40, 6)) @ random.normal(size=(6, 32))
        values = np.clip(128 + 20 * smooth, 0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / "photos" / f"photo{i}.png")
    with h5py.File(folder / "matrix.h5", "w") as file:
        file["A"] = random.normal(size=(60, 30)).astype(np.float32)
    os.utime(folder / "matrix.h5", (0, 0))  # its date is part of what a result says of its input
    (folder / "sheet.tsv").write_text(SHEET)
    (folder / "own.py").write_text(OWN)
    workflow = Workflow(folder)
    workflow.configure()
    return workflow

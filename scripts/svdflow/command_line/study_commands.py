"""Commands on a study: plan, run, check and resume it, remove its results."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svdflow.command_line.command import Command, option
from svdflow.errors import ConfigError
from svdflow.escaping import visible
from svdflow.study.run_lock import RunLock

if TYPE_CHECKING:
    from svdflow.study.study import Study

LISTED = 20  # files that a message names one by one, what fits a terminal of 24 lines; chosen


def plan(args: argparse.Namespace) -> int:
    """Print what a run will do; with --write, fix the order of the files in the manifests."""
    _prepare(_study(args), write=args.write, quiet=args.quiet)
    return 0


def run(args: argparse.Namespace) -> int:
    """Run a study: write the manifests, make way for what is damaged, start Snakemake."""
    from svdflow.study.launch import launch

    study = _study(args)
    _prepare(study, write=True, quiet=args.quiet)
    return launch(study, args.config, args.words, checksums=False)


def check(args: argparse.Namespace) -> int:
    """Verify that every result is complete and as svdflow left it; names all that are not."""
    from svdflow.errors import StoreError
    from svdflow.store import verify
    from svdflow.study.repair import changed_files

    study = _study(args)
    files = sorted(p for p in study.results.rglob("*.h5") if not _hidden(p.relative_to(study.results)))
    damaged = 0
    for file in files:
        try:
            verify(file)
        except (StoreError, OSError) as error:
            damaged += 1
            print(visible(error), file=sys.stderr)
    changed = list(changed_files(study))
    for sentence in changed:
        print(visible(sentence), file=sys.stderr)
    beside = f", {len(changed)} changed or missing" if changed else ""
    print(f"{len(files)} files checked, {damaged} damaged{beside}")
    if damaged or changed:
        print(
            "'make resume' makes anew what is damaged or missing; what was changed is yours: move it elsewhere first"
        )
    return int(bool(damaged or changed) or not files)


def resume(args: argparse.Namespace) -> int:
    """Go on after a kill or damage: release the lock that is left, verify every result, and run what is due."""
    from svdflow.study.launch import launch

    return launch(_study(args), args.config, args.words, checksums=True)


def clean(args: argparse.Namespace) -> int:
    """Remove the results of a study: what svdflow wrote and nobody changed, and nothing else."""
    from svdflow.study.config import complete_config, load_config
    from svdflow.study.outputs import clean as remove

    root = _workflow()
    files = [root / "config" / "config.yaml", *([Path(args.config)] if args.config else [])]
    results = Path(complete_config(load_config(files), files)["pathvars"]["results"])
    lock = RunLock(results)
    if holder := lock.holder():
        raise ConfigError(lock.complaint(holder))
    removed, kept = remove(results)
    print(f"{removed} files removed from {results}/")
    _list([f"kept {visible(path)}: {why}" for path, why in kept], "kept {} more")
    if kept:
        print("what an earlier version of svdflow wrote without marks becomes its own by 'svdflow adopt'")
    return 0


def adopt(args: argparse.Namespace) -> int:
    """Mark the results of an earlier version of svdflow, which kept no marks, as its own."""
    from svdflow.study.outputs import adopt as find

    found = find(_study(args), write=args.yes)
    _list([visible(path) for path in found], "and {} more")
    if args.yes or not found:
        print(f"{len(found)} files are svdflow's from now on")
    else:
        print(
            f"{len(found)} files without a mark stand where this study writes. If svdflow wrote them all, "
            "'svdflow adopt --yes' marks them; runs replace them then, and 'svdflow clean' removes them"
        )
    return 0


def _prepare(study: "Study", *, write: bool, quiet: bool) -> None:
    from svdflow.study.estimate import check_disk, estimate, table
    from svdflow.study.outputs import check_outputs

    check_outputs(study)
    estimates = estimate(study)
    if not quiet:
        print(visible(table(study, estimates), keep="\n"))
    check_disk(study, estimates)
    if write:
        study.write_manifests()


def _study(args: argparse.Namespace) -> "Study":
    from svdflow.study.study import Study

    return Study.load(_workflow(), args.config)


def _workflow() -> Path:
    root = Path.cwd()
    if not (root / "Snakefile").is_file() or not (root / "config" / "config.yaml").is_file():
        raise ConfigError(f"{root} is not a svdflow workflow; change to the folder of its Snakefile")
    return root


def _hidden(path: Path) -> bool:
    """Whether it is of a run that goes on, or was killed: a temporary file or a checkpoint."""
    return any(part.startswith(".") for part in path.parts)


def _list(lines: Sequence[str], more: str) -> None:
    for line in lines[:LISTED]:
        print(line)
    if len(lines) > LISTED:
        print(more.format(len(lines) - LISTED))


CONFIG = option("--config", help="file of a study, laid over config/config.yaml")
QUIET = option("--quiet", action="store_true", help="print only what is wrong before jobs start")
WORDS = option("words", nargs="*", metavar="-- WORD", help="for Snakemake, after --: -- --cores 4")
COMMANDS = [
    Command(plan, [CONFIG, option("--write", action="store_true", help="write the manifests"), QUIET]),
    Command(check, [CONFIG]),
    Command(run, [CONFIG, QUIET, WORDS]),
    Command(resume, [CONFIG, WORDS]),
    Command(clean, [CONFIG]),
    Command(adopt, [CONFIG, option("--yes", action="store_true", help="write the marks")]),
]

"""Where a study writes: which folder may hold its results, and that nothing of the user's stands where one would be."""

import posixpath
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from svdflow.errors import ConfigError
from svdflow.registry import TASKS
from svdflow.study.located import PACKAGE
from svdflow.study.run_lock import NAME as LOCK

if TYPE_CHECKING:
    from svdflow.study.study import Study

# Stage files that one job gathers; above it there are parts first, so that a million images end in 489 parts and one
# last job. More would lengthen the command lines of jobs, fewer add levels. Chosen
GATHER = 500
# What svdflow keeps below the folder of its results, and removes when it cleans.
FOLDERS = tuple(
    sorted(
        {"audit", "benchmarks", "factors", "logs", "manifests", "matrices", "parts", "report", "tables"}
        | {
            pattern.split("/")[0]
            for task in TASKS.values()
            for pattern in (task.pattern, *task.leaves.values())
        }
    )
)
FILES = ("metrics.h5", "report.html", "selfcheck.h5", "summary.txt")
# Folders of the workflow itself: none of them is one for results.
PARTS = (
    ".ci", ".git", ".snakemake", ".venv", "benchmarks", "config", "data", "docs", "findings", "profiles",
    "requirements", "rules", "scripts", "tests",
)  # fmt: skip
RULE_OF = {
    "matrices": "ingest",
    "factors": "factorize",
}  # stages whose logs bear the name of their rule instead
NAMED = 10  # files that a refusal names one by one, the others as a number. Chosen to fit a terminal
LOG = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO svdflow: rule ", re.M)
BENCHMARK = b'{"cpu_'  # as Snakemake begins a line of JSON about a job


def check_place(study: "Study") -> None:
    """Refuse a folder for results that is, or holds, the workflow or what it reads.

    Raises
    ------
    ConfigError
        Names the folder, what it is, and what to write instead.
    """
    results = study.results
    try:
        resolved = results.resolve()
        taken = results.exists() and not results.is_dir()
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{study.where('pathvars', 'results')} is '{results}', which cannot be followed: {error}"
        ) from error
    if taken or (results.is_symlink() and not results.exists()):
        what = "a file" if taken else "a link to nothing"
    else:
        what = _occupied(study, resolved)
    if what:
        key = study.where("pathvars", "results")
        raise ConfigError(
            f"{key} is '{results}', {what}; name a folder for results alone, such as 'results/study'"
        )


def _occupied(study: "Study", results: Path) -> str:
    """What a folder is that must not hold results; empty where it may."""
    for place in {Path.cwd().resolve(), study.root.resolve()}:
        if _within(place, results):
            return "the folder of the workflow, or one above it"
        for part in PARTS:
            if _within(results, place / part) or _within((place / part).resolve(), results):
                return f"which is {part}/ of the workflow, or in it"
    for name, row in study.datasets.items():
        if row.kind == "synthetic" or (manifest := study.listed(name)).folder.startswith(PACKAGE):
            continue
        folder = Path(manifest.folder).resolve()
        if _within(folder, results):
            return f"which holds the files of dataset '{name}'"
        if _within(results, folder):
            below = results.relative_to(folder).as_posix() if results.is_relative_to(folder) else ""
            inside = {posixpath.dirname(name) for name in manifest.names} | {
                name for name in manifest.names if name.endswith(".zarr")
            }
            if any(
                _below(place, below) or (place.endswith(".zarr") and _below(below, place)) for place in inside
            ):
                return f"which holds files of dataset '{name}'"
            if "**" in row.source:
                return f"in the folder of dataset '{name}', which is searched to all depths"
    return ""


def _below(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")


def _within(inner: Path, outer: Path) -> bool:
    """Whether a folder is another one or lies in it, by name or, where it exists, by itself."""
    if inner.is_relative_to(outer):
        return True
    return outer.exists() and any(p.exists() and p.samefile(outer) for p in (inner, *inner.parents))


def check_outputs(study: "Study") -> None:
    """Refuse a study that would write where something stands that svdflow did not write, or that was changed since.

    Snakemake empties folders and removes files before a job that writes them starts, so this precedes all jobs.

    Raises
    ------
    ConfigError
        Names the files, and what to do.
    """
    found = [f"  {path}: {why}" for path, why in foreign_outputs(study)]
    if found:
        more = [f"  and {len(found) - NAMED} more"] if len(found) > NAMED else []
        raise ConfigError(
            f"{study.where('pathvars', 'results')} is '{study.results}', where svdflow would write over "
            "what is not its own; nothing was started, and all of it stays as it is:",
            *found[:NAMED],
            *more,
            "Name another folder under pathvars.results, or move these elsewhere. What a version of svdflow "
            "that kept no marks wrote becomes its own again by 'svdflow adopt'.",
        )


def foreign_outputs(study: "Study") -> Iterator[tuple[Path, str]]:
    """What stands where a study would write and is not ours, and why it is not."""
    from svdflow.store.ownership import foreign_file, listed, survey  # HDF5 costs a fifth of a second

    if not study.results.is_dir():
        return
    files: dict[Path, set[str]] = {}
    for path in output_files(study):
        files.setdefault(path.parent, set()).add(path.name)
    folders = list(output_folders(study))
    blocked = {
        above for path in {*files, *folders} for above in path.parents if above.is_relative_to(study.results)
    }
    for path in sorted(blocked | files.keys()):
        if path != study.results and (path.is_symlink() or path.exists()) and not path.is_dir():
            yield path, "a file, where a folder would stand"
    for folder, names in sorted(files.items()):
        if not folder.is_dir():
            continue
        listing = listed(folder)
        for name in sorted(names & {p.name for p in folder.iterdir()}):
            why = foreign_file(folder / name, listing)
            if why and not is_record(study.results, folder / name):
                yield folder / name, why
    for folder in folders:
        if folder.is_symlink():
            yield folder, "a link that svdflow did not make"
        elif folder.is_dir():
            yield from ((path, why) for path, why in survey(folder) if why)
        elif folder.exists():
            yield folder, "a file, where a folder would stand"


def is_record(results: Path, path: Path) -> bool:
    """Whether a file is a log or benchmark of a job; they carry no marks, since Snakemake writes some of them."""
    kind = path.relative_to(results).parts[0]
    if kind not in ("logs", "benchmarks") or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return not head or (head.startswith(BENCHMARK) if kind == "benchmarks" else LOG.search(head) is not None)


def clean(results: Path) -> tuple[int, list[tuple[Path, str]]]:
    """Remove what svdflow wrote for a study, and nothing else; the folder itself stays, and a link that it may be.

    Parameters
    ----------
    results : Path
        Its folder. What other studies keep in folders below it stays too.

    Returns
    -------
    removed : int
        Number of files.
    kept : list of (path, why)
        What stands where svdflow writes and is not its own.
    """
    from svdflow.store.ownership import MARK, TEMPORARY, foreign_file, is_mark, remove_ours

    removed: list[Path] = []
    kept: list[tuple[Path, str]] = []
    if not results.is_dir():
        return 0, kept
    for name in FILES:
        path = results / name
        if why := foreign_file(path):
            kept.append((path, why))
        elif path.exists():
            path.unlink()
            removed.append(path)
    for name in FOLDERS:
        gone, left = remove_ours(results / name, also=partial(is_record, results))
        removed += gone
        kept += left
        if gone and (results / name).is_dir() and not any((results / name).iterdir()):
            (results / name).rmdir()
    for path in results.iterdir():
        half = path.name.removeprefix(".").partition(".tmp-")[0].removesuffix(MARK)
        if TEMPORARY.fullmatch(path.name) and (half in (*FILES, *FOLDERS) or path.name == LOCK):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if is_mark(results / MARK):
        (results / MARK).unlink()
    return len(removed), kept


def adopt(study: "Study", *, write: bool) -> list[Path]:
    """Mark as svdflow's what an earlier version wrote without marks; files that were changed since stay the user's.

    Parameters
    ----------
    write : bool
        Write the marks; otherwise only find the files.

    Raises
    ------
    ConfigError
        The folder holds no result that is known by its content, so nothing says that svdflow ever wrote there.
    """
    from svdflow.store.ownership import MARK, NO_MARK, beside, claim_all

    found = [path for path, why in foreign_outputs(study) if why == NO_MARK]
    if found and not any(_is_result(path) for path in found):
        raise ConfigError(
            f"{study.results}: none of the files there is known for a result of svdflow; nothing to adopt"
        )
    folders = list(output_folders(study))
    for path in found if write else []:
        folder = next((f for f in folders if path.is_relative_to(f)), None)
        place, mark = (path.parent, path.parent / MARK) if folder is None else (folder, beside(folder))
        claim_all(place, [path.relative_to(place).as_posix()], place, mark)
    return found


def _is_result(path: Path) -> bool:
    from svdflow.errors import StoreError
    from svdflow.store import open_published

    if path.suffix != ".h5":
        return False
    try:
        with open_published(path):
            return True
    except (StoreError, KeyError):
        return False


def output_files(study: "Study") -> Iterator[Path]:
    """Every file that a run of a study writes, folders left out: results, manifests, logs and benchmarks."""
    results = study.results
    yield from (results / name for name in FILES if name != "selfcheck.h5")  # of the audits, below
    yield from (study.manifest_path(name) for name in [*study.named("images"), *study.named("matrix")])
    for folder, shard in study.parts():
        yield results / folder / f"{shard}.h5"
        stage, _, rest = folder.partition("/")
        yield from _records(results, f"{RULE_OF.get(stage, stage)}/{rest}/{shard}")
    for file in study.audit_files:
        yield results / file
        yield from _records(results, file.removesuffix(".h5"))
    for file in gathered_files(study):
        if file.startswith("parts/"):
            yield results / file
            yield from _records(results, f"gather/{Path(file).stem}")
    for rule in ("aggregate", "tables", "report", "verdict"):
        yield from _records(results, rule)


def shard_files(study: "Study", tops: Sequence[str]) -> list[str]:
    """Files of all shards in these folders below the results, in the order of the sheet."""
    return [f"{folder}/{shard}.h5" for folder, shard in study.parts() if folder.split("/")[0] in tops]


def stage_files(study: "Study") -> list[str]:
    """Every file below the results with measurements or errors in it."""
    return [f"{folder}/{shard}.h5" for folder, shard in study.parts()] + study.audit_files


def gathered_files(study: "Study") -> list[str]:
    """What the metrics are gathered from: the stage files, or their parts where there are many."""
    files = stage_files(study)
    if len(files) <= GATHER:
        return files
    return [f"parts/{part:05d}.h5" for part in range(-(-len(files) // GATHER))]


def files_of_part(study: "Study", part: int) -> list[str]:
    """The stage files of one part."""
    return stage_files(study)[part * GATHER : (part + 1) * GATHER]


def everything(study: "Study") -> list[str]:
    """Files and folders below the results that a run makes: what is missing is made anew, whatever stands after it."""
    made = [*result_files(study), *output_folders(study)]
    return [str(path.relative_to(study.results)) for path in made]


def result_files(study: "Study") -> Iterator[Path]:
    """Every file that a run makes and that is read again: without manifests, logs and benchmarks."""
    for path in output_files(study):
        if path.relative_to(study.results).parts[0] not in ("manifests", "logs", "benchmarks"):
            yield path


def output_folders(study: "Study") -> Iterator[Path]:
    """Every folder that a run of a study writes as a whole."""
    yield study.results / "tables"
    yield study.results / "report"
    yield from (study.results / folder for folder in study.left_folders())


def _records(results: Path, job: str) -> Iterator[Path]:
    yield results / "logs" / f"{job}.log"
    yield results / "benchmarks" / f"{job}.jsonl"

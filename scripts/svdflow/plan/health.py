"""What a study has made and what is missing or damaged of it, so that the next run makes it anew."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from svdflow.plan.study import Study

RECORDS = Path(".snakemake", "metadata")
HIDDEN = "."


def make_way(study: Study, *, checksums: bool) -> list[str]:
    """Remove results of ours that are damaged or incomplete, so that Snakemake makes them anew; says what and why.

    Parameters
    ----------
    checksums : bool
        Read every result whole. Otherwise size, the mark ``complete`` and the structure at the root are looked at.

    Notes
    -----
    What is missing needs no help: the rule ``all`` asks for every result. A file that the user changed is the user's
    and is neither removed nor replaced; `svdflow check` names it.
    """
    from svdflow.store.ownership import foreign_file

    said = []
    for path, why in [*damaged_files(study.results, checksums=checksums), *damaged_records(study.results)]:
        if path.is_file() and not foreign_file(path):
            path.unlink()
            said.append(f"{why}; it is made anew")
        elif path.exists():
            said.append(f"{why}; it is not as svdflow left it and stays: move it elsewhere to have it made anew")
    for folder, why in torn_folders(study):
        said.append(f"{folder}: {why}; " + _emptied(folder))
    return said


def damaged_files(results: Path, *, checksums: bool) -> Iterator[tuple[Path, str]]:
    """Result files that are empty, unfinished or, where `checksums` are compared, not as they were published."""
    from svdflow.store import StoreError, open_published, verify

    for path in sorted(results.rglob("*")):
        inside = path.relative_to(results).parts
        if any(part.startswith(HIDDEN) for part in inside) or inside[0] in UNTRACKED or not path.is_file():
            continue
        if path.suffix == ".h5" and inside[0] != "archives":
            try:
                if checksums:
                    verify(path)
                else:
                    with open_published(path):
                        pass
            except StoreError as error:
                yield path, str(error).partition("; run again")[0]
        elif not path.stat().st_size and inside[0] not in FOLDERS:
            yield path, f"{path}: the file is empty"


UNTRACKED = ("logs", "benchmarks", "manifests")
FOLDERS = ("pictures", "archives", "tables", "report")


def torn_folders(study: Study) -> Iterator[tuple[Path, str]]:
    """Folders of pictures, archives, tables and pages that lack a file which their mark lists, or hold an empty one."""
    from svdflow.store.ownership import MARK, listed

    for kind in FOLDERS:
        for mark in sorted((study.results / kind).rglob(MARK)):
            folder = mark.parent
            for name, entries in sorted(listed(folder).items()):
                path = folder / name
                if not path.exists():
                    yield folder, f"lacks {name}"
                    break
                if path.is_file() and not path.stat().st_size and any(entry.size for entry in entries):
                    yield folder, f"{name} is empty"
                    break


def damaged_records(results: Path) -> Iterator[tuple[Path, str]]:
    """Results whose record at Snakemake cannot be read: whether they are up to date, nobody can tell."""
    for record in sorted(RECORDS.rglob("*")) if RECORDS.is_dir() else ():
        if record.is_file():
            try:
                json.loads(record.read_text(encoding="utf-8"))
                continue
            except (ValueError, OSError):
                encoded = "".join(part.removeprefix("@") for part in record.relative_to(RECORDS).parts)
            with suppress(ValueError):
                path = Path(urlsafe_b64decode(encoded).decode())
                if path.is_relative_to(results):
                    yield path, f"{path}: Snakemake's record of it ({record}) is damaged"


def changed_files(results: Path) -> Iterator[str]:
    """What svdflow wrote and somebody changed since, a sentence each, for `svdflow check`."""
    from svdflow.store.ownership import MARK, foreign_file, listed

    for mark in sorted(results.rglob(MARK)):
        listing = listed(mark.parent)
        for name in sorted(listing):
            path = mark.parent / name
            if path.suffix == ".h5" and "archives" not in path.relative_to(results).parts:
                continue  # verified by their checksums
            why = foreign_file(path, {path.name: listing[name]}) if path.exists() else "is missing"
            if why:
                yield f"{path}: {why}"


def _emptied(folder: Path) -> str:
    from svdflow.store.ownership import remove_ours

    kept = remove_ours(folder, made=True)
    return f"{kept[0].name} in it is not svdflow's, so it stays" if kept else "the folder is made anew"

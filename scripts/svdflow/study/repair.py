"""What is damaged of a study's results, and out of the way so that the next run makes it anew."""

import json
import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from svdflow.study.outputs import output_folders, result_files

if TYPE_CHECKING:
    from svdflow.store.ownership import MarkEntry
    from svdflow.study.study import Study

# A result dated later than this many seconds from now has a wrong date and is dated now; below it the clocks of two
# hosts, or of a host and its file server, may just differ. Chosen: clocks kept by NTP differ by less than a second
SKEW = 60.0
RECORDS = Path(".snakemake", "metadata")


def make_way(study: "Study", *, checksums: bool) -> list[str]:
    """Remove results of ours that are damaged or incomplete, so that Snakemake makes them anew; says what and why.

    Parameters
    ----------
    checksums : bool
        Read every result whole. Otherwise size, the mark ``complete`` and the structure at the root are looked at.

    Notes
    -----
    What is missing needs no help: the rule ``all`` asks for every result. A file that the user changed is the user's:
    it stays, and planning refuses to write over it (`svdflow.study.outputs.check_outputs`).
    """
    from svdflow.store.ownership import foreign_file, remove_ours

    said = date_back(study)
    for path, why in [*damaged_files(study, checksums=checksums), *damaged_records(study)]:
        if path.is_dir():
            remove_ours(path, made=True)
        elif path.is_file() and not foreign_file(path):
            path.unlink()
        if not path.exists():
            said.append(f"{why}; it is made anew")
    for folder, why in torn_folders(study, checksums=checksums):
        remove_ours(folder, made=True)
        said.append(f"{folder}: {why}; the folder is made anew")
    return said


def date_back(study: "Study") -> list[str]:
    """Give results that a wrong clock dated in the future the date of now, which Snakemake asks for; says so."""
    now, found = time.time(), 0
    for path in [*result_files(study), *output_folders(study)]:
        for dated in (path / ".snakemake_timestamp", path):
            if dated.exists() and dated.stat().st_mtime > now + SKEW:
                os.utime(dated, (now, now))
                found += 1
    return (
        [f"{found} results were dated in the future, by a wrong clock; they are dated now"] if found else []
    )


def damaged_files(study: "Study", *, checksums: bool) -> Iterator[tuple[Path, str]]:
    """Result files that are empty, unfinished or, where `checksums` are compared, not as they were published."""
    from svdflow.errors import StoreError
    from svdflow.store import open_published, verify

    for path in result_files(study):
        if not path.is_file():
            continue
        if not path.stat().st_size:
            yield path, f"{path}: the file is empty"
        elif path.suffix == ".h5":
            try:
                if checksums:
                    verify(path)
                    if not _as_listed(path):
                        yield path, f"{path}: differs from what svdflow wrote"
                else:
                    with open_published(path):
                        pass
            except StoreError as error:
                yield path, str(error).partition("; run again")[0]


def _as_listed(path: Path) -> bool:
    """Whether a file is, byte for byte, one that its mark lists; bytes that mean nothing to HDF5 count too."""
    from svdflow.store.ownership import digest_of, listed

    size = path.stat().st_size
    digests = {entry.digest for entry in listed(path.parent).get(path.name, []) if entry.size == size}
    return not digests or digest_of(path, size) in digests


def torn_folders(study: "Study", *, checksums: bool) -> Iterator[tuple[Path, str]]:
    """Folders of pictures, archives, tables and pages that lack a file of their mark, or hold a damaged one."""
    from svdflow.store.ownership import beside, read_mark

    for folder in output_folders(study):
        for name, entries in sorted(read_mark(beside(folder)).items()) if folder.is_dir() else ():
            if why := _torn(folder / name, entries, checksums):
                yield folder, f"{why} {name}"
                break


def _torn(path: Path, entries: "list[MarkEntry]", checksums: bool) -> str:
    """What is wrong with a file of such a folder; a picture or a table of another length is the user's by now."""
    from svdflow.store.ownership import digest_of

    if not path.exists():
        return "lacks"
    size = path.stat().st_size
    if not size and any(entry.size for entry in entries):
        return "has an empty"
    if path.suffix != ".h5":
        return ""
    same = {entry.digest for entry in entries if entry.size == size}
    return "" if same and (not checksums or digest_of(path, size) in same) else "has a damaged"


def damaged_records(study: "Study") -> Iterator[tuple[Path, str]]:
    """Results whose record at Snakemake cannot be read: whether they are up to date, nobody can tell.

    Snakemake takes such a result for up to date, whatever was changed in the configuration since.
    """
    for record in sorted(RECORDS.rglob("*")) if RECORDS.is_dir() else ():
        if record.is_file():
            try:
                if isinstance(json.loads(record.read_text(encoding="utf-8")), dict):
                    continue
            except (ValueError, OSError):
                pass
            encoded = "".join(part.removeprefix("@") for part in record.relative_to(RECORDS).parts)
            with suppress(ValueError):
                path = Path(urlsafe_b64decode(encoded).decode())
                if path.is_relative_to(study.results) and path.exists():
                    yield path, f"{path}: Snakemake's record of it ({record}) is damaged"


def changed_files(study: "Study") -> Iterator[str]:
    """Results that were changed or are missing, a sentence each, for `svdflow check`."""
    from svdflow.study.outputs import foreign_outputs

    yield from (f"{path}: {why}" for path, why in foreign_outputs(study))
    yield from (f"{folder}: {why}" for folder, why in torn_folders(study, checksums=True))
    missing = [p for p in [*result_files(study), *output_folders(study)] if not p.exists()]
    yield from (f"{path}: is missing" for path in missing)

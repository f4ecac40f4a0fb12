"""What svdflow wrote, and so may replace or remove: a mark beside it, ``.svdflow``, one file a folder.

A mark lists what svdflow put into its folder, a line of JSON each: name, size, time of last change and digest. A file
is ours where it is listed and still as listed; one that was edited since is the user's, and so is everything else.
Lines are only added, and before the file takes its place, so that no kill leaves a file of ours without its line. The
mark of a folder that is published as a whole stands beside it, ``.NAME.svdflow``: Snakemake, which empties such folders
file by file and may be killed meanwhile, leaves it alone; and a copy of the folder elsewhere is the user's.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdflow.errors import NotOursError

MARK = ".svdflow"
HEAD = "# Written by svdflow: what it put here. It replaces and removes these files while unchanged, and no others.\n"
# What Snakemake, the desktops and network disks leave in any folder: nobody's work.
STAMP = ".snakemake_timestamp"  # in a folder that a job wrote, an empty one too
LITTER = re.compile(rf"{re.escape(STAMP)}|\.DS_Store|Thumbs\.db|desktop\.ini|\.directory|\.nfs[0-9a-f]{{8,}}")
# The digest of a mark covers files of up to WHOLE bytes, and BLOCKS evenly spaced blocks of BLOCK bytes of larger ones:
# 64 MiB take sha256 about 0.2 s, whatever the file. More sees more edits, which size and mtime show already. Marks of
# other values are not recognized. Chosen
WHOLE = 2**26
BLOCKS, BLOCK = 64, 2**20
TEMPORARY = re.compile(r"\..+\.tmp-[0-9]+|\.svdflow-.+\.scratch")  # what a killed writer leaves
NO_MARK = "exists, and svdflow did not write it"
MADE = '{"made": true}\n'  # the line of a folder that svdflow made
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Seconds to wait for the lock of a mark, which writers hold for milliseconds, before going on without it: a writer that
# hangs then delays others by this much and stops none. Where a file system has no locks nobody waits. Chosen
PATIENCE = 5.0


@dataclass(frozen=True)
class MarkEntry:
    """One line of a mark: a file as svdflow left it."""

    size: int
    mtime_ns: int
    digest: str


Listing = dict[str, list[MarkEntry]]


def refuse_foreign(path: str | Path, *, force: bool = False, listing: Listing | None = None) -> None:
    """Return where `path` may be written: it does not exist, or is a file of ours that nobody changed.

    Parameters
    ----------
    path : path
        Where a file is about to be published.
    force : bool
        Replace a file of the user's; links, folders and devices are refused nevertheless.
    listing : dict, optional
        Of the folder's mark, where it was read already.

    Raises
    ------
    NotOursError
        Names the file and what to do.
    """
    path = Path(path)
    why = foreign_file(path, listing)
    if why and not (force and stat.S_ISREG(os.lstat(path).st_mode)):
        or_force = ", or --force (force=True) to replace it" if stat.S_ISREG(os.lstat(path).st_mode) else ""
        raise NotOursError(f"{path}: {why}; it stays as it is: name another file{or_force}")


def refuse_foreign_in(folder: str | Path) -> None:
    """Return where `folder` may be replaced as a whole: it does not exist, or all that it holds is ours.

    Raises
    ------
    NotOursError
        Names what is not ours, and what to do.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise NotOursError(f"{folder}: not a folder that svdflow made; it stays as it is: name another one")
    if found := [f"{path} ({why})" for path, why in survey(folder) if why]:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise NotOursError(
            f"{folder}: holds what svdflow did not write: {', '.join(found[:3])}{more}; "
            "all of it stays as it is: name another folder, or move these elsewhere"
        )


def foreign_file(path: Path, listing: Listing | None = None) -> str:
    """Why the file at `path` is not ours; empty where it is, or where there is none.

    Parameters
    ----------
    listing : dict, optional
        Of the folder's mark, where it was read already.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISLNK(status.st_mode):
        return "a link that svdflow did not make"
    if stat.S_ISDIR(status.st_mode):
        return "a folder, where a file would stand"
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    entries = (listed(path.parent) if listing is None else listing).get(path.name, [])
    return _changed(path, status, entries)


def survey(folder: Path, listing: Listing | None = None) -> Iterator[tuple[Path, str]]:
    """Every file below a folder, and why it is not ours; empty where it is. Links are not followed.

    Parameters
    ----------
    listing : dict, optional
        What marks of folders above list of this one, by the names below it.
    """
    here, below = _split(_joined(listing or {}, listed(folder), read_mark(beside(folder))))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if TEMPORARY.fullmatch(entry.name) or LITTER.fullmatch(entry.name) or is_mark(path):
            yield path, ""
        elif entry.is_dir(follow_symlinks=False):
            yield from survey(path, below.get(entry.name))
        else:
            yield path, foreign_file(path, here)


def beside(folder: Path) -> Path:
    """The mark of a folder that is published as a whole."""
    return folder.parent / f".{folder.name}{MARK}"


def is_mark(path: Path) -> bool:
    """Whether a file is a mark that svdflow wrote."""
    if not path.name.endswith(MARK) or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD.encode()


def remove_ours(
    folder: str | Path, *, made: bool = False, also: Callable[[Path], bool] | None = None
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Remove what svdflow wrote below a folder, and the folders in it that this empties.

    Parameters
    ----------
    made : bool
        svdflow made the folder and all folders in it: empty ones go, itself too. By default the mark says whether it
        made the folder itself.
    also : callable, optional
        What says of a file without a mark that it is ours nevertheless.

    Returns
    -------
    removed : list of Path
        What was ours, marks left out.
    kept : list of (path, why)
        What is not, and stays.
    """
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        return [], [(folder, "not a folder that svdflow made")] if os.path.lexists(folder) else []
    itself = made or is_mark(beside(folder)) or MADE in _text(folder / MARK)
    surveyed = list(survey(folder))
    found = [(path, why) for path, why in surveyed if not LITTER.fullmatch(path.name)]
    if also is not None:
        found = [(path, "" if why and also(path) else why) for path, why in found]
    emptied = {path.parent for path, _ in surveyed if path.name == STAMP}
    if made:
        emptied |= {path for path in folder.rglob("*") if path.is_dir()} | {folder}
    removed = [path for path, why in found if not why and not is_mark(path)]
    for path in [path for path, why in found if not why] + (
        [beside(folder)] if is_mark(beside(folder)) else []
    ):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        emptied.add(path.parent)
    for below in sorted(_with_parents(emptied, folder), key=lambda p: len(p.parts), reverse=True):
        if below.is_dir() and not below.is_symlink() and (itself or below != folder):
            _remove_empty(below)
    return removed, [(path, why) for path, why in found if why]


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing, or litter alone."""
    left = list(folder.iterdir())
    if all(LITTER.fullmatch(path.name) and path.is_file() for path in left):
        for path in left:
            path.unlink()
        folder.rmdir()


def walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder itself, sorted; links are not followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        else:
            yield Path(entry.path)


def make_folder(folder: str | Path) -> None:
    """Make a folder where there is none, and keep in its mark that svdflow made it."""
    folder = Path(folder)
    if not folder.exists():
        folder.mkdir(parents=True)
        _append(folder / MARK, [MADE])


def claim(path: str | Path, written: str | Path) -> None:
    """List the file `written` as what will stand at `path`; called before it takes its place."""
    path = Path(path)
    _append(path.parent / MARK, [_line(path.name, Path(written))])


def claim_all(
    folder: str | Path, names: Iterable[str], written: str | Path, mark: Path | None = None
) -> None:
    """List files of the folder `written`, by their names below it, as what will stand in `folder`.

    Parameters
    ----------
    mark : path, optional
        By default the one in `folder`.
    """
    _append(mark or Path(folder, MARK), [_line(name, Path(written, name)) for name in names])


@contextmanager
def claimed_folder(path: str | Path, written: str | Path) -> Iterator[None]:
    """List all files of the folder `written` as what will stand in the folder `path`, in the mark beside it.

    Inside the block the folder takes its place; what stood there before is listed until then.
    """
    mark, written = beside(Path(path)), Path(written)
    lines = [_line(file.relative_to(written).as_posix(), file) for file in walk(written)]
    if lines:
        _append(mark, lines)
    yield
    if lines:
        for left in mark.parent.iterdir():
            if TEMPORARY.fullmatch(left.name) and left.name.startswith(f"{mark.name}.tmp-"):
                left.unlink(missing_ok=True)
        temporary = mark.with_name(f"{mark.name}.tmp-{os.getpid()}")
        temporary.write_text("".join([HEAD, *lines]), encoding="utf-8")
        os.replace(temporary, mark)


def listed(folder: Path) -> Listing:
    """What the mark in a folder lists: every state in which svdflow left a file, by its name below the folder."""
    return read_mark(folder / MARK)


def read_mark(mark: Path) -> Listing:
    """The entries of a mark by name; none where there is no mark."""
    found: Listing = {}
    for line in _text(mark).splitlines():
        # A line that a crash of the machine cut short is no line.
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found.setdefault(row["name"], []).append(
                MarkEntry(int(row["size"]), int(row["mtime_ns"]), str(row["digest"]))
            )
    return found


def digest_of(path: Path, size: int) -> str:
    """The sha256 of a file; of a large one, of blocks spread over it, which an edit that moves the rest changes."""
    sha256 = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        if size <= WHOLE:
            return hashlib.file_digest(file, lambda: sha256).hexdigest()
        for block in range(BLOCKS):
            file.seek(block * (size - BLOCK) // (BLOCKS - 1))
            sha256.update(file.read(BLOCK))
    return f"blocks-{sha256.hexdigest()}"


def _text(mark: Path) -> str:
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return mark.read_text(encoding="utf-8", errors="replace")
    return ""


def _joined(*listings: Listing) -> Listing:
    found: Listing = {}
    for listing in listings:
        for name, entries in listing.items():
            found.setdefault(name, []).extend(entries)
    return found


def _split(listing: Listing) -> tuple[Listing, dict[str, Listing]]:
    """The entries of a folder itself, and those of each folder in it by their names below that."""
    here: Listing = {}
    below: dict[str, Listing] = {}
    for name, entries in listing.items():
        first, slash, rest = name.partition("/")
        (below.setdefault(first, {}) if slash else here)[rest or first] = entries
    return here, below


def _with_parents(folders: Iterable[Path], root: Path) -> set[Path]:
    return {above for folder in folders for above in (folder, *folder.parents) if above.is_relative_to(root)}


def _changed(path: Path, status: os.stat_result, entries: list[MarkEntry]) -> str:
    """Why a regular file is not one of these entries; empty where it is."""
    if not entries:
        return NO_MARK
    size = status.st_size
    same = [entry for entry in entries if entry.size == size]
    if any(entry.mtime_ns == status.st_mtime_ns for entry in same):
        return ""
    # Nobody edits a result file without changing its length; damaged ones are ours, and made anew.
    if size == 0 or (path.suffix == ".h5" and (same or _cut_short(path, size, entries))):
        return ""
    if same and digest_of(path, size) in {entry.digest for entry in same}:
        return ""
    return "was changed since svdflow wrote it"


def _cut_short(path: Path, size: int, entries: list[MarkEntry]) -> bool:
    """Whether an HDF5 file is a torn piece of a longer one: it begins like one and cannot be opened."""
    with path.open("rb") as file:
        if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE or size >= max(entry.size for entry in entries):
            return False
    import h5py  # planning looks at marks, and seldom at this

    try:
        h5py.File(path, "r", locking=False).close()
    except OSError:
        return True
    return False


def _line(name: str, written: Path) -> str:
    status = os.stat(written)
    row: dict[str, Any] = {"name": name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return json.dumps({**row, "digest": digest_of(written, status.st_size)}) + "\n"


def _append(mark: Path, lines: list[str]) -> None:
    """Add lines to a mark, whole, on disk, whoever else adds to it: other threads, processes or hosts."""
    text = "".join(lines).encode()
    while lines:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            with _locked(descriptor):
                os.write(descriptor, _before(mark, descriptor) + text)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Where a file system has no locks, appending from two hosts at once may lose one's lines.
        if text in mark.read_bytes():
            return


def _before(mark: Path, descriptor: int) -> bytes:
    """What stands between the end of a mark and a new line."""
    size = os.fstat(descriptor).st_size
    if not size:
        return HEAD.encode()
    if os.pread(descriptor, len(HEAD), 0) != HEAD.encode():
        raise NotOursError(
            f"{mark}: a file of this name that svdflow did not write; it needs the name for its mark"
        )
    return b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file; go on without where the file system has none or its holder does not let go."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            break
    yield  # closing the file lets go

"""Atomic publication: a file or folder at its final path is finished, or it is not there.

A file is written under a temporary name in the same folder, sealed by a last attribute ``complete``,
closed, reopened and verified, flushed to the disk and renamed. A killed writer leaves only its
temporary file, which the next writer of the same path removes. What stands at the path already is replaced only where
svdflow wrote it and nobody changed it since (`svdflow.store.ownership`).
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from svdflow.errors import DamagedError, NotOursError, StoreError
from svdflow.store.error_rows import writing
from svdflow.store.heaps import endless_heap
from svdflow.store.ownership import (
    MARK,
    claim,
    claim_all,
    claimed_folder,
    listed,
    refuse_foreign,
    refuse_foreign_in,
    walk,
)
from svdflow.store.reading import COMPLETE, REMEDY, STRUCTURE, StoredFile, damage, read_rows, seal_nodes
from svdflow.store.sink import Sink
from svdflow.store.stacks import StackedFile

# Versions of our files: a reader refuses what it does not know. Raise them when an older svdflow would misread a file.
SCHEMA_VERSION = 3  # 2: every node carries a digest of its structure; 3: small arrays stand in stacks
ARCHIVE_VERSION = 1  # archives have checksums of their own (docs/archives.md)
# Newer formats lock out MATLAB, R and HDF5 1.14; older ones reopen as silent zeros after a kill.
LIBVER = ("v110", "v110")
LEFT = re.compile(r"\..+\.tmp-([0-9]+)")


@contextmanager
def publish(
    path: str | Path, kind: str, provenance: Mapping[str, Any] | None = None, *, force: bool = False
) -> Iterator[h5py.File]:
    """Write one HDF5 file so that it appears whole or not at all.

    Parameters
    ----------
    path : path
        Final place; its folder is made.
    kind : str
        What the file is: ``matrices``, ``factors``, ``compress``, ``denoise``, ``encode``, ``archive``, ``audit`` or
        ``metrics``.
    provenance : dict, optional
        Root attributes; nested values are stored as JSON.
    force : bool
        Replace a file at `path` that is not ours.

    Yields
    ------
    file : h5py.File
        Open for writing. An exception inside the block removes it and publishes nothing.

    Raises
    ------
    NotOursError
        A file that svdflow did not write, or that was changed since, stands at `path`.
    WriteError
        The disk is full, read-only or failing; nothing is left behind.
    """
    path = Path(path)
    temporary = _begin(path, force)
    try:
        with _created(temporary, path, small=isinstance(kind, bytes)) as file:
            file.attrs["kind"] = kind
            file.attrs["schema_version"] = ARCHIVE_VERSION if isinstance(kind, bytes) else SCHEMA_VERSION
            for key, value in sorted((provenance or {}).items()):
                file.attrs[key] = (
                    value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)
                )
            yield file
            if isinstance(kind, bytes):  # an archive: its array and its streams carry their own checksums
                file.attrs[COMPLETE] = True
            else:
                seal_nodes(file)
        verify(temporary, kind)
        _place(temporary, path, force)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _created(path: Path, final: Path, *, small: bool) -> Iterator[h5py.File]:
    """A new HDF5 file, written through a `Sink`; a `small` one is laid out in memory first.

    HDF5 packs what it lays out in memory as it packs a file that it opens itself, and what it writes through a sink
    more tightly. Archives keep the one layout, in which their bytes were always counted.
    """
    options: dict[str, Any] = {"libver": LIBVER, "track_order": False}
    with Sink(path, final) as sink:
        if not small:
            with h5py.File(sink, "w", **options) as file:
                yield file
            return
        with h5py.File(path, "w", driver="core", backing_store=False, **options) as file:
            yield file
            file.flush()
            sink.write(memoryview(file.id.get_file_image()))


@contextmanager
def open_published(path: str | Path, kind: str | None = None) -> Iterator[StoredFile]:
    """Open a published file for reading.

    Raises
    ------
    StoreError
        The file is missing, unfinished, damaged or of another kind; the message names it and says what to do.

    Notes
    -----
    Files of schema versions 1 and 2 are read too. Those of version 1 have checksums of their numbers and none of their
    names and attributes; in those of version 2 every array stands for itself.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: no such file; run the rule that makes it")
    if (place := endless_heap(path)) is not None:
        raise DamagedError(f"{path}: damaged at byte {place}, among its texts; {REMEDY}")
    try:
        # Published files are never written again, so no lock is needed, and some file systems have none.
        file = h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise DamagedError(f"{path}: not a readable HDF5 file ({error}); {REMEDY}") from error
    with file:
        with damage(path):
            if not file.attrs.get(COMPLETE, False):
                raise DamagedError(f"{path}: the file is unfinished; {REMEDY}")
            version = int(file.attrs["schema_version"])
            found = _text(file.attrs["kind"])
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path}: schema version {version} is later than {SCHEMA_VERSION}; use a newer svdflow"
            )
        stored = StackedFile(file, path, sealed=STRUCTURE in file.attrs)
        if version > 1 and STRUCTURE not in file.attrs and found != "archive":
            raise DamagedError(f"{path}: has lost the digest of its structure; {REMEDY}")
        if kind is not None and found != _text(kind):
            raise StoreError(f"{path}: a file of kind {found!r}, expected {_text(kind)!r}")
        yield stored


def verify(path: str | Path, kind: str | None = None) -> None:
    """Check that a published file is complete, that every node is as it was sealed and every chunk as its crc32 says.

    Raises
    ------
    StoreError
        Naming the file and the array that is damaged.
    """
    with open_published(path, kind) as file:
        for stored in file.arrays():
            step = stored.chunks[0] if stored.chunks else max(1, len(stored))
            for start in range(0, len(stored), step):
                read_rows(stored, start, start + step)


@contextmanager
def publish_directory(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name and put it at `path` as a whole.

    Yields
    ------
    folder : Path
        An empty folder. An exception inside the block removes it and leaves `path` as it was.

    Raises
    ------
    NotOursError
        The folder at `path` holds something that svdflow did not put there.
    """
    path = Path(path)
    temporary = _temporary(path)
    old = temporary.with_name(f"{temporary.name}0")
    with writing(path):
        refuse_foreign_in(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary.mkdir()
    try:
        yield temporary
        with writing(path):
            for mark in temporary.rglob(f"*{MARK}"):
                mark.unlink()
            for file in temporary.rglob("*"):
                _sync(file)
            refuse_foreign_in(path)
            with claimed_folder(path, temporary):
                if path.exists():
                    os.rename(path, old)
                os.replace(temporary, path)
                _sync(path.parent)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def publish_file(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Write one file of any format so that it appears whole or not at all; raises as `publish` does.

    Yields
    ------
    unfinished : Path
        Where to write it: of the same name, in a folder of its own.
    """
    path = Path(path)
    folder = _begin(path, force)
    try:
        with writing(path):
            folder.mkdir()
            yield folder / path.name
        _place(folder / path.name, path, force)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_files(made: str | Path, folder: str | Path, *, force: bool = False) -> list[Path]:
    """Put the files of the folder `made` beside what is in `folder`: all of them, or none.

    Parameters
    ----------
    made : path
        A folder of finished files, which stay there; they keep their places below it.
    folder : path
        Made where it is missing; a link to a folder is followed.
    force : bool
        Replace files of the user's that have the same names.

    Returns
    -------
    paths : list of Path
        What was written.

    Raises
    ------
    NotOursError
        A file of that name is not ours, or `folder` is no folder; nothing was written.
    """
    made, folder = Path(made), Path(folder)
    names = [path.relative_to(made).as_posix() for path in walk(made) if path.name != MARK]
    _refuse_among(folder, names, force)
    waiting = {name: _temporary(folder / name) for name in names}
    try:
        with writing(folder):
            for name, temporary in waiting.items():
                temporary.parent.mkdir(parents=True, exist_ok=True)
                _sweep(folder / name)
                shutil.copy2(made / name, temporary)
                _sync(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            claim_all(folder, names, made)
            for name, temporary in waiting.items():
                os.replace(temporary, folder / name)
                _sync(temporary.parent)
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)
    return [folder / name for name in names]


def publish_text(path: str | Path, text: str, *, force: bool = False) -> None:
    """Write a text file so that it appears whole or not at all; raises as `publish` does."""
    path = Path(path)
    temporary = _begin(path, force)
    try:
        with writing(path):
            temporary.write_text(text, encoding="utf-8")
        _place(temporary, path, force)
    finally:
        temporary.unlink(missing_ok=True)


def _begin(path: Path, force: bool) -> Path:
    """The temporary file of a writer of `path`, in a folder that is there and swept."""
    refuse_foreign(path, force=force)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
    return _temporary(path)


def _place(temporary: Path, path: Path, force: bool) -> None:
    """Put a finished file at its place, its line in the mark first."""
    with writing(path):
        _sync(temporary)
        refuse_foreign(path, force=force)
        claim(path, temporary)
        os.replace(temporary, path)
        _sync(path.parent)


def _refuse_among(folder: Path, names: list[str], force: bool) -> None:
    """Refuse a folder in which one of these files may not be written."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotOursError(f"{folder}: a file, where a folder for the pictures would stand; name a folder")
    listing = listed(folder)
    for name in names:
        path = folder / name
        above = path.parent
        while above != folder:
            if os.path.lexists(above) and (above.is_symlink() or not above.is_dir()):
                raise NotOursError(
                    f"{above}: in the way of {path.name}; it stays as it is: name another folder"
                )
            above = above.parent
        refuse_foreign(path, force=force, listing={path.name: listing.get(name, [])})


def _text(kind: str | bytes) -> str:
    """Archives keep their kind as bytes, which HDF5 stores in fewer of them."""
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def _sweep(path: Path) -> None:
    """Remove what killed writers of `path` left behind."""
    left_by_us = re.compile(re.escape(f".{path.name}.tmp-") + "[0-9]+")
    for left in path.parent.iterdir():
        if left_by_us.fullmatch(left.name) and not left.is_symlink():
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def sweep_dead(folder: Path) -> None:
    """Remove what killed writers left in a folder: temporary files and folders of processes that are no more."""
    for left in folder.iterdir():
        written = LEFT.fullmatch(left.name)
        if written and not left.is_symlink() and not _exists(int(written[1])):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

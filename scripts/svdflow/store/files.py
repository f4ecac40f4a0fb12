"""Atomic publication: a file or folder at its final path is finished, or it is not there.

A file is written under a temporary name in the same folder, sealed by a last attribute ``complete``,
closed, reopened and verified, flushed to the disk and renamed. A killed writer leaves only its
temporary file, which the next writer of the same path removes.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from svdflow.store.arrays import verify_checksums
from svdflow.store.errors import StoreError

SCHEMA_VERSION = 1
# Newer formats lock out MATLAB, R and HDF5 1.14; older ones reopen as silent zeros after a kill.
LIBVER = ("v110", "v110")


@contextmanager
def publish(path: str | Path, kind: str, provenance: dict[str, Any] | None = None) -> Iterator[h5py.File]:
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

    Yields
    ------
    file : h5py.File
        Open for writing. An exception inside the block removes it and publishes nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with h5py.File(temporary, "w", libver=LIBVER, track_order=False) as file:
            file.attrs["kind"] = kind
            file.attrs["schema_version"] = SCHEMA_VERSION
            for key, value in sorted((provenance or {}).items()):
                file.attrs[key] = (
                    value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)
                )
            yield file
            file.attrs["complete"] = True
        verify(temporary, kind)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_published(path: str | Path, kind: str | None = None) -> Iterator[h5py.File]:
    """Open a published file for reading.

    Raises
    ------
    StoreError
        The file is missing, unfinished or of another kind; the message names it and says what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: no such file; run the rule that makes it")
    try:
        # Published files are never written again, so no lock is needed, and some file systems have none.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise StoreError(f"{path}: not a readable HDF5 file ({error}); delete it and run again") from error
    with file:
        if not file.attrs.get("complete", False):
            raise StoreError(f"{path}: the file is unfinished; delete it and run again")
        found = _text(file.attrs["kind"])
        if kind is not None and found != _text(kind):
            raise StoreError(f"{path}: a file of kind {found!r}, expected {_text(kind)!r}")
        yield file


def verify(path: str | Path, kind: str | None = None) -> None:
    """Check that a published file is complete and that every chunk matches its crc32.

    Raises
    ------
    StoreError
        Naming the file and the array that is damaged.
    """
    with open_published(path, kind) as file:
        try:
            verify_checksums(file)
        except (StoreError, OSError) as error:
            raise StoreError(f"{path}: {error}; delete the file and run again") from error


@contextmanager
def publish_directory(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name and put it at `path` as a whole.

    Yields
    ------
    folder : Path
        An empty folder. An exception inside the block removes it and leaves `path` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_text(path: str | Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _text(kind: str | bytes) -> str:
    """Archives keep their kind as bytes, which HDF5 stores in fewer of them."""
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _sweep(path: Path) -> None:
    """Remove what killed writers of `path` left behind."""
    for left in path.parent.glob(f".{path.name}.tmp-*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

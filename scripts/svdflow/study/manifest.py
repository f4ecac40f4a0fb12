"""The files of a dataset in a fixed order, so that a shard is always the same slice.

Known files keep their place, new ones are appended in sorted order, and one that is gone leaves its place
empty. A file's digest is that of its content, computed once and believed as long as size and mtime stay.
"""

import csv
import hashlib
import os
import posixpath
import re
import stat
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from svdflow.errors import ConfigError
from svdflow.study import contents
from svdflow.study.digest import file_digest
from svdflow.study.globbing import before_wildcards, matches
from svdflow.study.located import PACKAGE, file_state, leaves, locate
from svdflow.study.manifest_file import GONE, UNREADABLE, BelievedManifest, Manifest, extent_of, read
from svdflow.study.sheet import Dataset
from svdflow.study.suffixes import FOLDER_SUFFIXES, IMAGE_SUFFIXES, left_out, left_out_words, suffix_of
from svdflow.study.value_range import Extent

# Files of a shard where the sheet names no shard_size and no plan has chosen one: FEWEST, as a changed file reruns all
# of its shard, up to MOST, as long as it holds at most BYTES of files: compress takes 4 s for 64 pictures of 512 x 512
# and 4 s for 4,096 of 64 x 64, beside which the 1.5 s that its jobs cost to start are little. SHARDS at most, where
# more files make them larger. Chosen; another value cuts new studies otherwise, and no old one.
FEWEST, MOST, BYTES, SHARDS = 64, 4096, 2**25, 512
SMALL = 2**16  # bytes of a file that is hashed in one piece; chosen
LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # the name of a tracked list in config/manifests
PACKAGE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


def scan(dataset: Dataset, root: Path, written: Path) -> Manifest:
    """The manifest of a dataset as its files are now, without digests of those that are new or changed.

    Parameters
    ----------
    root : Path
        Folder of the workflow, where the lists of packaged files stand; other paths are relative to the
        working directory.
    written : Path
        Where an earlier `write` put it; it fixes the order and the shards, and spares reading unchanged files.
    """
    known = (read(written, "") if written.is_file() else None) or None  # an empty one says nothing
    if dataset.source.startswith("manifest:"):
        return _as_known(_packaged(dataset, root), known)
    folder, names = _list(dataset)
    found = _Columns(folder, dataset.kind == "matrix", known)
    if known is None:
        found.extend(names)
        return found.manifest(1 if dataset.kind == "matrix" else default_size(found.sizes))
    gone, new = _differ(known.names, names)
    del names  # a million of them are a tenth of the memory
    found.update(gone)
    found.extend(new)
    # A manifest that names no shard_size is of a version in which the default was this.
    size = known.shard_size or (1 if dataset.kind == "matrix" else FEWEST)
    return found.manifest(size, written=known.written and not found.changed)


def _as_known(found: Manifest, known: Manifest | None) -> Manifest:
    """The files of a package with what an earlier manifest knows of those that it lists with the same digest."""
    if known is None:
        return found
    told = {
        (name, digest): extent
        for name, digest, extent in zip(known.names, known.digests, known.extents, strict=True)
    }
    extents = [told.get(pair, "") for pair in zip(found.names, found.digests, strict=True)]
    found = replace(found, extents=extents, shard_size=known.shard_size or FEWEST)
    return replace(found, written=known.written and replace(known, folder=found.folder) == found)


def _differ(known: list[str], names: list[str]) -> tuple[set[str], list[str]]:
    """Which known names are gone, and which are new."""
    if known == names:
        return set(), []
    there = set(names)
    gone = {name for name in known if name not in there}
    return gone, sorted(there.difference(known))


def default_size(sizes: Sequence[int]) -> int:
    """Files of a shard, a power of two, for files of so many bytes."""
    mean = max(1, sum(size for size in sizes if size > 0) // max(1, len(sizes)))
    fitting = 1 << max(1, BYTES // mean).bit_length() - 1
    needed = 1 << (max(1, -(-len(sizes) // SHARDS)) - 1).bit_length()
    return max(FEWEST, min(MOST, fitting), needed)


def digested(manifest: Manifest) -> Manifest:
    """The manifest with the digest of every file; what is known is not read again."""
    unknown = [i for i, digest in enumerate(manifest.digests) if not digest]
    if not unknown:
        return manifest
    digests = list(manifest.digests)
    for i in unknown:
        digests[i] = _digest(os.path.join(manifest.folder, manifest.names[i]))
    return replace(manifest, digests=digests, written=False)


def measured(manifest: Manifest, pixel_limit: int, channels: bool) -> Manifest:
    """The manifest with the extent of every image that is there; what is known is not measured again."""
    ending = " channels" if channels else ""
    unknown = [
        i
        for i, (extent, digest) in enumerate(zip(manifest.extents, manifest.digests, strict=True))
        if digest != GONE and (not extent or extent.endswith(" channels") != channels)
    ]
    if not unknown:
        return manifest
    try:
        folder = str(locate(manifest.folder))
    except FileNotFoundError:  # a package that is not installed, as its ingest will say
        return manifest
    extents = list(manifest.extents)
    paths = [os.path.join(folder, manifest.names[i]) for i in unknown]
    for i, extent in zip(unknown, contents.measured(paths, pixel_limit, channels), strict=True):
        extents[i] = sys.intern(extent + ending)
    return replace(manifest, extents=extents, written=False)


class _Columns:
    """The columns of a manifest while its files are looked at."""

    def __init__(self, folder: str, matrices: bool, known: Manifest | None = None) -> None:
        """From nothing, or from those of an earlier manifest, which are taken over: a million files are no little."""
        self._folder, self._matrices = folder, matrices
        none = Manifest(folder, [], array("q"), array("q"), [], [], 0)
        start = none if known is None else known
        self._names, self.sizes, self._times = start.names, start.sizes, start.times
        self._digests, self._extents = start.digests, start.extents
        self.changed = False

    def extend(self, names: Iterable[str]) -> None:
        """Files that nothing is known of."""
        for name in names:
            size, time, digest = self._state(name)
            self._names.append(name)
            self.sizes.append(size)
            self._times.append(time)
            self._digests.append(digest)
            self._extents.append("")
            self.changed = True

    def update(self, gone: set[str]) -> None:
        """The known files as they are now."""
        for i, name in enumerate(self._names):
            digest = self._digests[i]
            if name in gone:
                self._digests[i] = GONE
                self.changed |= digest != GONE
                continue
            size, time, found = self._state(name)
            same = (size, time) == (self.sizes[i], self._times[i]) and digest not in (GONE, "")
            if not same or (digest == UNREADABLE) < (found == UNREADABLE):
                self.sizes[i], self._times[i], self._digests[i], self._extents[i] = size, time, found, ""
                self.changed = True

    def manifest(self, shard_size: int, *, written: bool = False) -> Manifest:
        columns = (self._names, self.sizes, self._times, self._digests, self._extents)
        return Manifest(self._folder, *columns, shard_size, written)

    def _state(self, name: str) -> tuple[int, int, str]:
        """Bytes, time of the last change in ns and, where no reading is due, digest of a file."""
        path = os.path.join(self._folder, name)
        try:
            status = os.stat(path)
            # Nothing but a file, or a folder that is a matrix, is opened: a pipe would wait for ever.
            if stat.S_ISREG(status.st_mode):
                size, time = status.st_size, status.st_mtime_ns
            elif self._matrices and stat.S_ISDIR(status.st_mode):
                size, time = file_state(Path(path))
            else:
                return -1, -1, UNREADABLE
        except (OSError, ValueError):
            # A dangling link, say: the item exists and cannot be read, which ingest will report.
            return -1, -1, UNREADABLE
        # Hashing a terabyte at every change of date would cost more than the factorization.
        return size, time, f"{size}-{time}" if self._matrices else ""


def extents(manifest: Manifest | BelievedManifest) -> list[Extent]:
    """What the images that are there and can be read span; what many have in common stands once."""
    return [found for text in sorted(manifest.different_extents()) if (found := extent_of(text))]


def _packaged(dataset: Dataset, root: Path) -> Manifest:
    """A tracked list of files of one installed package, with the checksums that they must have."""
    folder, name = root / "config" / "manifests", dataset.source.removeprefix("manifest:")
    path = folder / f"{name}.tsv"
    if not LIST_NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.tsv"))) or "none"
        raise ConfigError(f"dataset '{dataset.name}': no manifest '{name}' in {folder} (there: {known})")
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        files = [(f"{row['package']}/{row['path']}", row["sha256"].lower()) for row in rows]
        outside = [row for row in rows if not PACKAGE_NAME.fullmatch(row["package"]) or leaves(row["path"])]
    except (KeyError, TypeError, AttributeError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: a damaged manifest ({error}); restore it") from error
    if outside:
        raise ConfigError(
            f"{path}: '{outside[0]['package']}/{outside[0]['path']}' is not a file within a package; "
            "name packages and, below them, paths without '..'"
        )
    if unknown := [name for name, sha256 in files if not SHA256.fullmatch(sha256)]:
        raise ConfigError(f"{path}: the sha256 of '{unknown[0]}' is not 64 hexadecimal digits")
    if not files:
        raise ConfigError(f"{path}: names no file")
    inside = posixpath.commonpath([posixpath.dirname(name) for name, _ in files])
    names, digests = [name[len(inside) + 1 :] for name, _ in files], [sha256 for _, sha256 in files]
    nowhere = array("q", [-1]) * len(files)
    return Manifest(PACKAGE + inside, names, nowhere, nowhere, digests, [""] * len(files), FEWEST)


def _list(dataset: Dataset) -> tuple[str, list[str]]:
    """The folder of a dataset's files and their names below it, in order."""
    folder, pattern = _place(dataset)
    if pattern is None:
        names = [
            name
            for name in os.listdir(folder)
            if suffix_of(name) in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    else:
        # What is no file but is no folder either, a pipe or a link to nothing, is an item that ingest will report.
        found = [p for p in matches(pattern) if not p.is_dir() or p.suffix in FOLDER_SUFFIXES]
        names = list({p.relative_to(folder).as_posix() for p in found})
    if not names:
        word = "image" if dataset.kind == "images" else "file"
        fixed = Path(*before_wildcards(Path(dataset.source if pattern is None else pattern).parts))
        raise ConfigError(f"dataset '{dataset.name}': no {word} matches {dataset.source}{_near(fixed)}")
    return folder.as_posix(), sorted(names)


def believed(dataset: Dataset, root: Path, written: Path) -> Manifest | BelievedManifest:
    """The manifest as an earlier `write` left it, for jobs: no file of the dataset is looked at."""
    if not written.is_file() or dataset.source.startswith("manifest:"):
        return digested(scan(dataset, root, written))
    return BelievedManifest(written, _place(dataset)[0].as_posix())


def _place(dataset: Dataset) -> tuple[Path, str | None]:
    """The folder of a dataset's files, and the pattern that they match; None for all images in it."""
    source = matrix_source(dataset.source)[0] if dataset.kind == "matrix" else dataset.source
    path = Path(source)
    if path.is_dir() and dataset.kind == "images":
        return path, None
    fixed = Path(*before_wildcards(path.parts))
    return (fixed if fixed.is_dir() and fixed != path else fixed.parent), source


def _digest(path: str) -> str:
    """The sha256 of a file's content, as `sha256sum` prints it; small files in one call each."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            if len(content := os.read(handle, SMALL)) < SMALL and not os.read(handle, 1):
                return hashlib.sha256(content).hexdigest()
        finally:
            os.close(handle)
        return file_digest(Path(path))
    except OSError:
        return UNREADABLE


def matrix_source(source: str) -> tuple[str, str]:
    """Split ``FILE:DATASET``; the dataset may be absent, and a file's own name may hold colons."""
    file, colon, dataset = source.rpartition(":")
    return (file, dataset) if colon and not Path(source).exists() else (source, "")


def _near(path: Path) -> str:
    """The end of a message: the existing folder or file whose name is nearest."""
    if path.is_dir():
        there = left_out_words(left_out(path))
        return f"; {path} holds none" + (f", but {there}" if there else "")
    around = {p.name.lower(): p for p in path.parent.iterdir()} if path.parent.is_dir() else {}
    close = get_close_matches(path.name.lower(), list(around), n=1)
    if not close:
        return f"; {path} does not exist"
    nearest = around[close[0]]
    return f" (nearest {'folder' if nearest.is_dir() else 'file'}: {nearest})"

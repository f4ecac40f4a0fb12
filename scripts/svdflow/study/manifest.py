"""The files of a dataset in a fixed order, so that a shard is always the same slice.

Known files keep their place, new ones are appended in sorted order, and one that is gone leaves its place
empty. A file's digest is that of its content, computed once and believed as long as size and mtime stay.
"""

import csv
import io
import posixpath
import re
from collections import Counter
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path

from svdflow.errors import ConfigError
from svdflow.study import contents
from svdflow.study.digest import file_digest
from svdflow.study.globbing import before_wildcards, matches
from svdflow.study.located import PACKAGE, file_state, leaves, locate
from svdflow.study.sheet import Dataset
from svdflow.study.suffixes import FOLDER_SUFFIXES, IMAGE_SUFFIXES, left_out, left_out_words
from svdflow.study.value_range import Extent

COLUMNS = ["index", "name", "size", "mtime_ns", "digest", "extent"]
GONE, UNREADABLE = "gone", "unreadable"
LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # the name of a tracked list in config/manifests
PACKAGE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ManifestEntry:
    """One file: its name below the manifest's folder, what tells whether it changed, and what its values span.

    `extent` is as `svdflow.study.contents.measured` gives it, with the word ``channels`` behind it where every band
    is a plane; empty as long as nobody has asked.
    """

    name: str
    size: int
    mtime_ns: int
    digest: str
    extent: str = ""

    @property
    def gone(self) -> bool:
        return self.digest == GONE


@dataclass(frozen=True)
class Manifest:
    """The files of a dataset: `folder` is a path, or ``package:NAME`` for files of an installed package."""

    folder: str
    entries: list[ManifestEntry]

    def slice(self, start: int, stop: int) -> list[ManifestEntry]:
        return self.entries[start:stop]


def scan(dataset: Dataset, root: Path, written: Path) -> Manifest:
    """The manifest of a dataset as its files are now; nothing is written.

    Parameters
    ----------
    root : Path
        Folder of the workflow, where the lists of packaged files stand; other paths are relative to the
        working directory.
    written : Path
        Where an earlier `write` put it; it fixes the order and spares reading unchanged files.
    """
    if dataset.source.startswith("manifest:"):
        return _packaged(dataset, root)
    folder, names = _list(dataset)
    known = _read(written)
    fresh = set(names)
    entries = []
    for old in known:
        entries.append(_current(dataset, folder, old) if old.name in fresh else replace(old, digest=GONE))
    old_names = {old.name for old in known}
    entries += [_current(dataset, folder, ManifestEntry(n, -1, -1, "")) for n in names if n not in old_names]
    return Manifest(folder, entries)


def measured(manifest: Manifest, pixel_limit: int, channels: bool) -> Manifest:
    """The manifest with the extent of every image that is there; what is known is not measured again."""
    ending = " channels" if channels else ""
    unknown = [
        i
        for i, entry in enumerate(manifest.entries)
        if not entry.gone and (not entry.extent or entry.extent.endswith(" channels") != channels)
    ]
    if not unknown:
        return manifest
    entries = list(manifest.entries)
    try:
        paths = [locate(manifest.folder, entries[i].name) for i in unknown]
    except FileNotFoundError:  # a package that is not installed, as its ingest will say
        return manifest
    for i, extent in zip(unknown, contents.measured(paths, pixel_limit, channels), strict=True):
        entries[i] = replace(entries[i], extent=extent + ending)
    return replace(manifest, entries=entries)


def extents(manifest: Manifest) -> list[Extent]:
    """What the images that are there and can be read span; what many have in common stands once."""
    different = {entry.extent for entry in manifest.entries if not entry.gone}
    return [found for text in sorted(different) if (found := _extent(text))]


def _extent(text: str) -> Extent | None:
    """An extent from its text; None of what is none, a file that cannot be read among them."""
    words = text.removesuffix(" channels").split()
    try:
        found = Extent(words[0], int(words[1]), float(words[2]), float(words[3]))
    except (IndexError, ValueError):
        return None
    known = len(words) == 4 and re.fullmatch(r"u?int(8|16|32|64)|float(16|32|64)", found.dtype)
    return found if known and -inf < found.low <= found.high < inf else None


def _believed(text: str) -> str:
    """What a manifest says of an extent, empty where that is nothing that was ever written: it is measured again."""
    return text if text.removesuffix(" channels") == contents.UNKNOWN or _extent(text) else ""


def write(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all; an unchanged one is left alone.

    Raises
    ------
    NotOursError
        A file that svdflow did not write, or that was changed since, stands there.
    """
    from svdflow.store.files import publish_file

    rows = [
        [str(i), e.name, str(e.size), str(e.mtime_ns), e.digest, e.extent]
        for i, e in enumerate(manifest.entries)
    ]
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
    content = text.getvalue().encode("utf-8", "surrogateescape")
    if not path.is_file() or path.read_bytes() != content:
        with publish_file(path) as unfinished:
            unfinished.write_bytes(content)


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
    return Manifest(
        PACKAGE + inside, [ManifestEntry(name[len(inside) + 1 :], -1, -1, sha256) for name, sha256 in files]
    )


def _list(dataset: Dataset) -> tuple[str, list[str]]:
    """The folder of a dataset's files and their names below it."""
    source = matrix_source(dataset.source)[0] if dataset.kind == "matrix" else dataset.source
    path = Path(source)
    fixed = Path(*before_wildcards(path.parts))
    if path.is_dir() and dataset.kind == "images":
        folder = path
        found = [
            p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
        ]
    else:
        folder = fixed if fixed.is_dir() and fixed != path else fixed.parent
        # What is no file but is no folder either, a pipe or a link to nothing, is an item that ingest will report.
        found = [p for p in matches(source) if not p.is_dir() or p.suffix in FOLDER_SUFFIXES]
    names = sorted({p.relative_to(folder).as_posix() for p in found})
    if not names:
        word = "image" if dataset.kind == "images" else "file"
        raise ConfigError(f"dataset '{dataset.name}': no {word} matches {dataset.source}{_near(fixed)}")
    return folder.as_posix(), names


def _current(dataset: Dataset, folder: str, old: ManifestEntry) -> ManifestEntry:
    path = locate(folder, old.name)
    try:
        # Nothing but a file, or a folder that is a matrix, is opened: a pipe would wait for ever.
        if not path.is_file() and not (dataset.kind == "matrix" and path.is_dir()):
            return ManifestEntry(old.name, -1, -1, UNREADABLE)
        state = file_state(path)
    except OSError:
        # A dangling link, say: the item exists and cannot be read, which ingest will report.
        return ManifestEntry(old.name, -1, -1, UNREADABLE)
    if state == (old.size, old.mtime_ns) and old.digest not in (GONE, ""):
        return old
    return ManifestEntry(old.name, *state, _digest(dataset, path, state))


def _digest(dataset: Dataset, path: Path, state: tuple[int, int]) -> str:
    if dataset.kind == "matrix":
        # Hashing a terabyte at every change of date would cost more than the factorization.
        return f"{state[0]}-{state[1]}"
    try:
        return file_digest(path)
    except OSError:
        return UNREADABLE


def matrix_source(source: str) -> tuple[str, str]:
    """Split ``FILE:DATASET``; the dataset may be absent, and a file's own name may hold colons."""
    file, colon, dataset = source.rpartition(":")
    return (file, dataset) if colon and not Path(source).exists() else (source, "")


def _read(path: Path) -> list[ManifestEntry]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        try:
            entries = [
                ManifestEntry(
                    r["name"],
                    int(r["size"]),
                    int(r["mtime_ns"]),
                    r["digest"],
                    _believed(r.get("extent") or ""),
                )
                for r in rows
            ]
            counted = Counter(entry.name for entry in entries)
            if twice := [name for name, count in counted.items() if count > 1]:
                raise ValueError(f"{twice[0]!r} stands twice")
            return entries
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ConfigError(
                f"{path}: a damaged manifest ({error}); move it elsewhere and plan again"
            ) from error


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

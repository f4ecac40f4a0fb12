"""A manifest: the files of a dataset, column by column in memory and a table that people read on disk."""

import csv
import re
from array import array
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, count, islice, repeat
from math import inf
from pathlib import Path
from typing import TextIO

from svdflow.errors import ConfigError
from svdflow.study import contents
from svdflow.study.value_range import Extent

COLUMNS = ["index", "name", "size", "mtime_ns", "digest", "extent", "shard_size"]
GONE, UNREADABLE = "gone", "unreadable"


@dataclass(frozen=True)
class ManifestEntry:
    """One file: its name below the manifest's folder, what tells whether it changed, and what its values span.

    `extent` is as `svdflow.study.contents.measured` gives it, with the word ``channels`` behind it where every band
    is a plane; empty as long as nobody has asked. So is `digest`, as long as nobody has read the file.
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
    """The files of a dataset, a column for each field of `ManifestEntry`, for there may be millions.

    Attributes
    ----------
    folder : str
        A path, or ``package:NAME`` for files of an installed package.
    shard_size : int
        Files of a shard where the sheet says nothing.
    written : bool
        Whether the file on disk says the same.
    """

    folder: str
    names: list[str]
    sizes: "array[int]"
    times: "array[int]"
    digests: list[str]
    extents: list[str]
    shard_size: int
    written: bool = field(default=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def entries(self) -> list[ManifestEntry]:
        """All files, an object each."""
        return self.slice(0, len(self))

    def slice(self, start: int, stop: int) -> list[ManifestEntry]:
        columns = (self.names, self.sizes, self.times, self.digests, self.extents)
        return [ManifestEntry(*row) for row in zip(*(c[start:stop] for c in columns), strict=True)]

    def different_extents(self) -> set[str]:
        """The extents of files that are there."""
        return {extent for extent, digest in zip(self.extents, self.digests, strict=True) if digest != GONE}


class BelievedManifest:
    """A manifest as it was written, believed without a look at the files; of a shard only its own lines are read.

    Parameters
    ----------
    path : Path
        Where `write` put it.
    folder : str
        Of the files.
    """

    def __init__(self, path: Path, folder: str) -> None:
        self.folder, self._path = folder, path
        with path.open("rb") as lines:
            self._header = lines.readline().decode("utf-8", "surrogateescape")
            ((found, last),) = deque(enumerate(lines, 1), maxlen=1) or [(0, b"")]
        index = last.partition(b"\t")[0].strip(b'"\n')
        # Where a name holds a line break, lines and indices differ.
        self._all = None if index == b"%d" % (found - 1) else read(path, folder)
        self._count = found if self._all is None else len(self._all)
        self.shard_size = (self._lines(0, 1) if self._all is None else self._all).shard_size

    def __len__(self) -> int:
        return self._count

    def slice(self, start: int, stop: int) -> list[ManifestEntry]:
        """As of `Manifest`."""
        return self._lines(start, stop).entries if self._all is None else self._all.slice(start, stop)

    def different_extents(self) -> set[str]:
        """As of `Manifest`; where all lines end alike, as they do in most folders, none is parsed."""
        content = self._path.read_bytes()
        end = content[content.rfind(b'"\t"', 0, content.rfind(b'"\t"')) :]
        if self._all is None and content.count(end) == len(self):
            return {entry.extent for entry in self.slice(0, 1)}
        return (self._all or read(self._path, self.folder)).different_extents()

    def _lines(self, start: int, stop: int) -> Manifest:
        with _text(self._path) as lines:
            return _parsed(chain([self._header], islice(lines, 1 + start, 1 + stop)), self._path, self.folder)


def read(path: Path, folder: str) -> Manifest:
    """The manifest that stands in a file.

    Raises
    ------
    ConfigError
        It is damaged.
    """
    with _text(path) as lines:
        return _parsed(lines, path, folder)


def write(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all; an unchanged one is left alone.

    Raises
    ------
    NotOursError
        A file that svdflow did not write, or that was changed since, stands there.
    """
    from svdflow.store.files import publish_file

    if manifest.written and path.is_file():
        return
    columns = (manifest.names, manifest.sizes, manifest.times, manifest.digests, manifest.extents)
    with (
        publish_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL)
        table.writerow(COLUMNS)
        table.writerows(zip(count(), *columns, repeat(manifest.shard_size)))


def _text(path: Path) -> TextIO:
    return path.open(encoding="utf-8", errors="surrogateescape", newline="\n")


def _parsed(lines: Iterable[str], path: Path, folder: str) -> Manifest:
    names, sizes, times, digests, extents = [], array("q"), array("q"), [], []
    known: dict[str, str] = {}  # texts that many files have in common, and what is believed of them
    at: list[int] = []
    size = 0
    try:
        rows = csv.reader(lines, delimiter="\t")
        header = next(rows, [])
        extent_at, shard_at = (header.index(name) if name in header else None for name in COLUMNS[5:])
        for row in rows:
            at = at or [header.index(name) for name in COLUMNS[1:5]]
            name, bytes_, time, digest = (row[place] for place in at)
            names.append(name)
            sizes.append(int(bytes_))
            times.append(int(time))
            digests.append(digest)
            extent = "" if extent_at is None else row[extent_at]
            if extent not in known:
                known[extent] = believed(extent)
            extents.append(known[extent])
        if names and shard_at is not None:
            size = int(row[shard_at])
            if size < 1:
                raise ValueError(f"shard_size is {size}")
        if len(set(names)) < len(names):
            (twice, _), *_ = Counter(names).most_common(1)
            raise ValueError(f"{twice!r} stands twice")
    except (IndexError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ConfigError(
            f"{path}: a damaged manifest ({error}); move it elsewhere and plan again"
        ) from error
    return Manifest(folder, names, sizes, times, digests, extents, size, written=shard_at is not None)


def extent_of(text: str) -> Extent | None:
    """An extent from its text; None of what is none, a file that cannot be read among them."""
    words = text.removesuffix(" channels").split()
    try:
        found = Extent(words[0], int(words[1]), float(words[2]), float(words[3]))
    except (IndexError, ValueError):
        return None
    known = len(words) == 4 and re.fullmatch(r"u?int(8|16|32|64)|float(16|32|64)", found.dtype)
    return found if known and -inf < found.low <= found.high < inf else None


def believed(text: str) -> str:
    """What a manifest says of an extent, empty where that is nothing that was ever written: it is measured again."""
    return text if text.removesuffix(" channels") == contents.UNKNOWN or extent_of(text) else ""

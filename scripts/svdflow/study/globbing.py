"""The paths that a pattern names: folders are looked into once, whatever links lead to them, and not without end."""

import glob
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from svdflow.errors import ConfigError

# Entries of folders that one pattern may look at before it is refused: a million images, which svdflow is made for,
# with four other files beside each; a pattern such as /**/*.png would otherwise go through a whole disk. Chosen
MAX_ENTRIES = 5_000_000


def matches(pattern: str) -> Iterator[Path]:
    """Paths that match a pattern, as `glob` has it: ``**`` stands for folders of any depth, hidden ones left out.

    Links to folders are followed, but no folder is entered twice: its own name goes before that of a link to it, so a
    link to a folder above adds nothing, where `glob` goes round until names get too long.

    Raises
    ------
    ConfigError
        More than MAX_ENTRIES entries would have to be looked at, or ``..`` stands behind a wildcard.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from map(Path, glob.iglob(pattern))
        return
    base = before_wildcards(parts)
    rest = parts[len(base) :]
    if ".." in rest:
        raise ConfigError(f"{pattern}: '..' behind a wildcard; name the folder itself")
    wanted = tuple(
        part for part, before in zip(rest, ("", *rest), strict=False) if part != "**" or before != "**"
    )
    for path, names in _walk(Path(*base), wanted):
        if _match(wanted, names):
            yield path


def before_wildcards(parts: tuple[str, ...]) -> list[str]:
    """The first parts of a pattern, which stand for themselves."""
    kept: list[str] = []
    for part in parts:
        if glob.has_magic(part):
            break
        kept.append(part)
    return kept


def _walk(base: Path, wanted: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Everything below a folder where matches may be, with the names that lead there; links to folders come last."""
    waiting: list[tuple[Path, tuple[str, ...]]] = [(base, ())]
    seen: set[tuple[int, int]] = set()
    count = 0
    while waiting:
        found = sorted(waiting)
        waiting = []
        while found:
            folder, names = found.pop()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:  # gone meanwhile, or not ours to look into
                continue
            count += len(entries)
            if count > MAX_ENTRIES:
                raise ConfigError(
                    f"{base}: more than {MAX_ENTRIES:,} files and folders to look at; name a folder nearer to the files"
                )
            for entry in entries:
                path, below = Path(entry.path), (*names, entry.name)
                yield path, below
                if _is_folder(entry) and _leads(wanted, below):
                    (waiting if entry.is_symlink() else found).append((path, below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _match(wanted: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether names of folders and a file, one below the other, match the parts of a pattern."""
    if not wanted or not names:
        return not names and wanted in ((), ("**",))
    first, rest = wanted[0], wanted[1:]
    if first != "**":
        return _named(first, names[0]) and _match(rest, names[1:])
    return (bool(rest) and _match(rest, names)) or (names[0][0] != "." and _match(wanted, names[1:]))


def _leads(wanted: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether something below a folder of these names may match."""
    if not wanted or not names:
        return bool(wanted)
    first, rest = wanted[0], wanted[1:]
    if first != "**":
        return _named(first, names[0]) and _leads(rest, names[1:])
    return _leads(rest, names) or (names[0][0] != "." and _leads(wanted, names[1:]))


def _named(pattern: str, name: str) -> bool:
    return (name[0] != "." or pattern[0] == ".") and fnmatchcase(name, pattern)

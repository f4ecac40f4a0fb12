"""Suffixes of files that are read as images, and what a picture folder holds beside them: counted, and said."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from svdflow.registry import IMAGE_FORMATS, MATRIX_FORMATS

IMAGE_SUFFIXES = frozenset(suffix for form in IMAGE_FORMATS.values() for suffix in form.suffixes)
FOLDER_SUFFIXES = frozenset(
    suffix for form in MATRIX_FORMATS.values() if form.folder for suffix in form.suffixes
)

_PLAIN = re.compile(r"\.[A-Za-z0-9_-]{1,12}")  # other suffixes are counted together: names come from users
FOLDERS, NO_SUFFIX, OTHERS = "folders", "without a suffix", "with other suffixes"


def suffix_of(name: str) -> str:
    """The suffix of a file's name in lower case, ``.png``, as `Path.suffix` has it but several times faster."""
    stem, _, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else ""


def left_out(folder: Path) -> dict[str, int]:
    """How many entries of a folder are not read, by suffix in lower case; hidden ones are not counted.

    Returns
    -------
    counts : dict of str to int
        Suffixes in order; then folders that are not looked into, and files whose suffix is missing or strange.
    """
    counts: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = suffix_of(entry.name)
            if entry.name.startswith(".") or suffix in IMAGE_SUFFIXES:
                continue
            if entry.is_dir() and suffix not in FOLDER_SUFFIXES:
                counts[FOLDERS] += 1
            else:
                counts[(suffix if _PLAIN.fullmatch(suffix) else OTHERS) if suffix else NO_SUFFIX] += 1
    return dict(sorted(counts.items(), key=lambda item: (not item[0].startswith("."), item[0])))


def left_out_words(counts: Mapping[str, int]) -> str:
    """For example: ``12 .dcm, 3 .pgm, 1 folder (not read)``; empty where nothing is left out."""
    words = [f"{n:,} {'folder' if kind == FOLDERS and n == 1 else kind}" for kind, n in counts.items()]
    return f"{', '.join(words)} (not read)" if words else ""

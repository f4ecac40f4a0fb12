"""One command, and the options that several commands share."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdflow.command_line.argument_types import positive


@dataclass(frozen=True)
class Option:
    """An argument or option: its names, and what `argparse` is told of it."""

    names: Sequence[str]
    settings: dict[str, Any]


def option(*names: str, help: str | None = None, **settings: Any) -> Option:
    """An option, in whose help `argparse` replaces nothing."""
    return Option(names, {"help": help and help.replace("%", "%%"), **settings})


@dataclass(frozen=True)
class Command:
    """A command: its function, which bears its name and explains it, and its options, or what tells them."""

    run: Callable[[argparse.Namespace], int]
    options: Sequence[Option] | Callable[[], Sequence[Option]]


FORCE = option("--force", action="store_true", help="replace files that svdflow did not write")
DATA_RANGE = option(
    "--data-range", type=positive, help="peak of PSNR and SSIM, in place of the one that the file tells"
)


def refuse_input(file: str, outputs: Sequence[Path]) -> None:
    """Refuse to write over the file that is read, whatever it is called; --force does not allow it either."""
    from svdflow.images.io import split_dataset

    read, _ = split_dataset(file)
    for path in outputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise ValueError(f"{path} is the file that is read; name another one for what is written")

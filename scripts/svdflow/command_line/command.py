"""One command, and the options that several commands share."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from svdflow.command_line.argument_types import positive


@dataclass(frozen=True)
class Command:
    """A command: its function, which bears its name and explains it, and what adds its options to a parser."""

    run: Callable[[argparse.Namespace], int]
    options: Sequence[Callable[[argparse.ArgumentParser], object]] = ()


def forced(parser: argparse.ArgumentParser) -> None:
    """`--force`, of commands that write where a user says."""
    parser.add_argument("--force", action="store_true", help="replace files that svdflow did not write")


def ranged(parser: argparse.ArgumentParser) -> None:
    """`--data-range`, of commands that measure PSNR."""
    parser.add_argument(
        "--data-range",
        type=positive,
        help="peak of PSNR and SSIM, in place of the one that the file tells",
    )


def text(words: str) -> str:
    """A help text in which argparse replaces nothing."""
    return words.replace("%", "%%")


def refuse_input(file: str, outputs: Sequence[Path]) -> None:
    """Refuse to write over the file that is read, whatever it is called; --force does not allow it either."""
    from svdflow.images.io import split_dataset

    read, _ = split_dataset(file)
    for path in outputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise ValueError(f"{path} is the file that is read; name another one for what is written")

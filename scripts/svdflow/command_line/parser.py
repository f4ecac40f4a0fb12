"""The parser of all commands, and what becomes of their errors."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import svdflow
from svdflow.command_line import archive_commands, audit_commands, picture_commands, study_commands
from svdflow.errors import ConfigError, SvdflowError
from svdflow.escaping import visible

COMMANDS = [
    command
    for noun in (study_commands, picture_commands, archive_commands, audit_commands)
    for command in noun.COMMANDS
]
# What bad input and a full disk raise: one line on the terminal, no traceback.
EXPECTED = (OSError, ValueError, ArithmeticError, MemoryError, ImportError, RuntimeError, SvdflowError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 where it did what was asked, 1 where it did not, 2 for a wrong command."""
    try:
        args = _parser().parse_args(arguments)
        return args.run(args)
    except ConfigError as error:  # each of its lines is escaped already
        print(f"svdflow: {error}", file=sys.stderr)
    except BrokenPipeError:  # the reader of our lines has had enough; Python would say so again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EXPECTED as error:
        print(f"svdflow: {visible(error) or type(error).__name__}", file=sys.stderr)
    return 1


class _Parser(argparse.ArgumentParser):
    """Repeats wrong words so that they are read only."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="svdflow",
        description="Plan, check and resume a study; compress, denoise, encode or decode one file; repeat an audit.",
    )
    parser.add_argument("--version", action="version", version=f"svdflow {svdflow.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.run.__name__, help=command.run.__doc__, description=command.run.__doc__
        )
        sub.set_defaults(run=command.run)
        for one in command.options() if callable(command.options) else command.options:
            sub.add_argument(*one.names, **one.settings)
    return parser

"""What the libraries beneath find wrong with a file, as one kind of error that names it."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from tokenize import TokenError
from typing import Any, TypeVar

T = TypeVar("T")

# Nothing but a damaged file raises these.
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error, TokenError)
# Faults of a program too: taken for damage only where a library raises them, not svdflow.
_EITHER = (RuntimeError, LookupError, TypeError, AttributeError, OverflowError, SyntaxError)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Raise what a damaged file makes a library raise as a ValueError that names the file.

    The library's words are left out unless the system said them: they may repeat what stands in the file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error})") from error
    except _DAMAGE as error:
        raise ValueError(f"{name}: damaged ({_kind(error)}); make or copy it anew") from error
    except _EITHER as error:
        if not _of_a_library(error):
            raise
        raise ValueError(f"{name}: damaged, or of a kind that is not read ({_kind(error)})") from error


def naming(method: Callable[..., T]) -> Callable[..., T]:
    """A method of a source, by whose `name` it names what `named` finds."""

    @wraps(method)
    def wrapped(self: Any, *arguments: Any) -> T:
        with named(self.name):
            return method(self, *arguments)

    return wrapped


def _of_a_library(error: BaseException) -> bool:
    """Whether the code that raised it is not svdflow's."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame else ""
    return not (module.startswith("svdflow") or type(error).__module__.startswith("svdflow"))


def _kind(error: BaseException) -> str:
    module = type(error).__module__
    return type(error).__name__ if module == "builtins" else f"{module}.{type(error).__name__}"

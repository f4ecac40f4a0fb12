"""A declaration: a name, a few facts, and the code as a string; and the table of all declarations of a kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from svdflow.errors import RegistryError


def imported(place: str) -> Any:
    """What stands at a place ``"package.module:name"``, imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of a thing before its code is imported.

    Attributes
    ----------
    name : str
        By which it is chosen: in the config, the sheet and on the command line.
    summary : str
        One line for tables and help.
    load : str
        Where its code stands, ``"package.module:name"``.
    source : str
        The paper, standard or library that it follows.
    order : int
        Place among its kind where names are listed, smaller ones first; of equal ones those of svdflow come first, by
        module, then others.
    """

    name: str
    summary: str
    load: str
    source: str = ""
    order: int = 1000

    @property
    def module(self) -> str:
        """The module that holds the code."""
        return self.load.partition(":")[0]

    def code(self) -> Any:
        """The function or class that does the work, imported now."""
        return imported(self.load)


D = TypeVar("D", bound=Declaration)


@dataclass(frozen=True)
class Registry(Mapping[str, D], Generic[D]):
    """All declarations of a kind, by name, in their `order`.

    Parameters
    ----------
    kind : type
        Class of the declarations.
    word : str
        What messages call one, such as "denoiser".
    folder : str
        Subpackage of `svdflow.registry` whose modules each hold a list ``DECLARED``, and the name of the entry points
        of other distributions (``svdflow.denoisers``), each of which names a declaration or a list of them.
    """

    kind: type[D]
    word: str
    folder: str

    @cached_property
    def _found(self) -> dict[str, D]:
        package = import_module(f"svdflow.registry.{self.folder}")
        modules = sorted(m.name for m in iter_modules(package.__path__))
        listed = [import_module(f"{package.__name__}.{name}").DECLARED for name in modules]
        listed += [
            point.load()
            for point in sorted(entry_points(group=f"svdflow.{self.folder}"), key=lambda p: p.name)
        ]
        found: dict[str, D] = {}
        for declared in listed:
            for one in declared if isinstance(declared, list | tuple) else (declared,):
                self._add(found, one)
        return dict(sorted(found.items(), key=lambda item: item[1].order))

    def _add(self, found: dict[str, D], one: D) -> None:
        if not isinstance(one, self.kind):
            raise RegistryError(f"svdflow.{self.folder}: {one!r} is no {self.kind.__name__}; declare one")
        if one.name in found:
            raise RegistryError(
                f"{self.word} {one.name!r} is declared twice, for {found[one.name].load} and {one.load}; rename one"
            )
        found[one.name] = one

    def __getitem__(self, name: str) -> D:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def find(self, name: str) -> D:
        """The declaration of that name.

        Raises
        ------
        RegistryError
            There is none; the message gives the nearest name.
        """
        if name in self._found:
            return self._found[name]
        close = get_close_matches(str(name), self._found, n=1)
        remedy = f"nearest: {close[0]}" if close else f"one of {', '.join(self._found)}"
        raise RegistryError(f"unknown {self.word} {name!r} ({remedy})")

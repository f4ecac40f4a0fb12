"""Digests: of code, so that a changed algorithm reruns what reaches it, and of files.

Snakemake does not notice an edited module. Each job therefore carries a digest of the syntax trees of every svdflow
module that its function reaches, by imports and through the registries: of these it follows what the job chooses, and
all that they hold where it chooses nothing. Comments, docstrings and layout do not count. What another distribution
declares counts by the files of its package.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from svdflow import registry
from svdflow.registry import Audit, Declaration, Registry, Task
from svdflow.study.syntax import PACKAGE, Module, kept, syntax

TEMPLATES = {".j2", ".css", ".json"}
# What a declaration says to people and to the check of a sheet: nothing of it reaches a result. Nor does a cost that is
# a number, which is for the plan alone.
SAID = {"summary", "source", "advice", "title", "applies_to"}
PLACE = re.compile(r"[A-Za-z_]\w*([.]\w+)*:\w+")


def code_digest(
    loads: Iterable[str],
    scripts: Path,
    chosen: Mapping[str, Sequence[str]] | None = None,
    facts: Any = None,
) -> str:
    """Digest of the code that a job reaches.

    Parameters
    ----------
    loads : strings ``"module:function"``
        What it runs.
    scripts : Path
        Folder of the package svdflow.
    chosen : mapping of folder of a registry to names
        What it chooses there, such as ``{"denoisers": ["wnnm"]}``.
    facts : JSON value
        What else counts.
    """
    found = Reached(scripts, chosen or {})
    for load in loads:
        found.follow(load.partition(":")[0])
    return found.digest(facts)


def audit_digest(audit: Audit, scripts: Path) -> str:
    """Digest of what an audit does: its code, keywords and limits; not of what is said about it."""
    return digest([_reached_by(tuple(audit.modules), scripts), facts_of(audit)])


@cache
def _reached_by(modules: tuple[str, ...], scripts: Path) -> str:
    found = Reached(scripts, {"audits": []})
    for module in modules:
        found.follow(module)
    return found.digest()


class Reached:
    """What modules reach: files of svdflow, files of other distributions, and declarations.

    Attributes
    ----------
    files : set of Path
        Modules of svdflow.
    outside : dict of str to str
        Digest of each file of the other packages.
    facts : dict of str to dict
        What each declaration says that shapes a result.
    """

    def __init__(self, scripts: Path, chosen: Mapping[str, Sequence[str]]) -> None:
        self.scripts, self._chosen = scripts, chosen
        self.files: set[Path] = set()
        self.outside: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self._packages: set[str] = set()
        self._run: set[str] = set()

    def follow(self, module: str) -> None:
        """Take in a module and all that it reaches."""
        if module.partition(".")[0] == PACKAGE:
            self.take(_resolve((module,), self.scripts))
        else:
            self._package(module.partition(".")[0])

    def digest(self, facts: Any = None) -> str:
        """The digest of all that was reached, and of other facts."""
        templates = {file: file_digest(file) for module in self.files for file in _templates(module)}
        code = {path: syntax(path).digest for path in self.files} | templates
        named = {str(path.relative_to(self.scripts)): value for path, value in code.items()}
        kept().write()
        return digest([named, self.outside, self.facts, facts])

    def take(self, paths: Iterable[Path]) -> None:
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path in self.files:
                continue
            self.files.add(path)
            module = syntax(path)
            waiting.extend(_resolve(module.imports, self.scripts))
            for face in _faces(module.imports, self.scripts):
                waiting.extend(_resolve(face.places, self.scripts))
                self._registries(face.imports)
            runs = not module.lazy and path.relative_to(self.scripts).parts[:2] != (PACKAGE, "registry")
            self._registries(module.imports, run=runs)

    def _registries(self, names: Iterable[str], *, run: bool = True) -> None:
        """The declarations of the registries that a module imports, and their code where the module may run it.

        Modules of `svdflow.registry` read what declarations say, and run none; packages that import their names when
        these are asked for run what is asked for. Tasks are followed by name only.
        """
        for name in names:
            table = _registries().get(name)
            if table is None:
                continue
            for one in chosen_of(table, self._chosen.get(table.folder)):
                key = f"{table.folder}/{one.name}"
                self.facts.setdefault(key, facts_of(one))
                if run and key not in self._run:
                    self._run.add(key)
                    for load in loads_of(one):
                        self.follow(load.partition(":")[0])

    def _package(self, name: str) -> None:
        """All files of a package of another distribution, and what of svdflow they import."""
        if name in self._packages:
            return
        self._packages.add(name)
        for path, label in _files_of(name):
            self.outside[label] = syntax(path).digest if path.suffix == ".py" else file_digest(path)
            if path.suffix == ".py":
                imports = syntax(path).imports
                self.take(_resolve(imports, self.scripts))
                for face in _faces(imports, self.scripts):
                    self.take(_resolve(face.places, self.scripts))
                    self._registries(face.imports)
                self._registries(imports)


def chosen_of(table: Registry[Any], names: Sequence[str] | None) -> list[Declaration]:
    """The declarations of these names; all where nothing is chosen, or something that stands for many such as auto."""
    if names is None or not all(name in table for name in names):
        return list(table.values())
    return [table[name] for name in names]


def loads_of(one: Declaration) -> list[str]:
    """Every place ``"package.module:name"`` in a declaration: its code, and what else of it is loaded on use."""
    values = (getattr(one, f.name) for f in fields(one)) if is_dataclass(one) else ()
    return sorted({value for value in values if isinstance(value, str) and PLACE.fullmatch(value)})


def facts_of(one: Declaration) -> dict[str, Any]:
    """What a declaration says that shapes a result, as JSON."""
    if isinstance(one, Task):
        return {"load": one.load, "place": one.place, "tables": [[t.name, t.columns] for t in one.tables]}
    said = (
        {f.name: getattr(one, f.name) for f in fields(one) if f.name not in SAID} if is_dataclass(one) else {}
    )
    return {name: plain for name, value in said.items() if (plain := _plain(value)) is not None}


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits for any JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file's content, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON; None for functions, classes and what else has no text that stays the same."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        said = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in SAID}
        return {name: _plain(v) for name, v in said.items() if name != "cost" or isinstance(v, str)}
    return None


@cache
def _registries() -> dict[str, Registry[Any]]:
    """Registries by the name under which modules import them."""
    tables = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
    return {f"{registry.__name__}.{name}": value for name, value in tables.items() if value.kind is not Task}


@cache
def _files_of(package: str) -> list[tuple[Path, str]]:
    """The files of an installed package or module, with names that do not depend on where it is installed."""
    spec = find_spec(package)
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        return [(Path(str(spec.origin)), package)]
    found = []
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                found.append((path, f"{package}/{path.relative_to(folder).as_posix()}"))
    return found


@cache
def _templates(module: Path) -> list[Path]:
    """The templates beside a module."""
    return [file for file in module.parent.glob(f"{module.stem}.*") if file.suffix in TEMPLATES]


@cache
def _resolve(names: tuple[str, ...], scripts: Path) -> list[Path]:
    """Files of the modules named, and of the packages that importing them runs."""
    return [path for name in names for path in _located(name, scripts)]


def _faces(names: tuple[str, ...], scripts: Path) -> list[Module]:
    """Packages of which a name is imported that they import themselves only when it is asked for."""
    found = ((syntax(file), inner) for file, inner in _packages_of(names, scripts))
    return [module for module, inner in found if module.lazy and inner not in module.bound]


@cache
def _packages_of(names: tuple[str, ...], scripts: Path) -> list[tuple[Path, str]]:
    """For each name that is no module, the file of the package that gives it, and the name within."""
    found = []
    for package, _, inner in (name.rpartition(".") for name in names):
        file = scripts.joinpath(*package.split("."), "__init__.py")
        if file in _located(package, scripts) and not _is_module(f"{package}.{inner}", scripts):
            found.append((file, inner))
    return found


@cache
def _located(name: str, scripts: Path) -> tuple[Path, ...]:
    parts = name.split(".")
    stems = [scripts.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return tuple(path for s in stems for path in (s / "__init__.py", s.with_suffix(".py")) if path.is_file())


def _is_module(name: str, scripts: Path) -> bool:
    stem = scripts.joinpath(*name.split("."))
    return any(path in _located(name, scripts) for path in (stem / "__init__.py", stem.with_suffix(".py")))

"""Digests: of code, so that a changed algorithm reruns what reaches it, and of files.

Snakemake does not notice an edited module. Each job therefore carries a digest of the syntax trees of every svdflow
module that its function reaches, by imports and through the registries: of these it follows what the job chooses, and
all that they hold where it chooses nothing. Comments, docstrings and layout do not count. What another distribution
declares counts by the files of its package.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from svdflow import registry
from svdflow.registry import Audit, Declaration, Registry, Task

PACKAGE = "svdflow"
TEMPLATES = {".j2", ".css", ".json"}
# What a declaration says to people, to the plan and to the check of a sheet: nothing of it reaches a result.
SAID = {"summary", "source", "cost", "applies_to"}


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


def audits_digest(audits: Iterable[Audit], scripts: Path) -> str:
    """Digest of what audits do: their code, keywords and limits; not of what is said about them."""
    found = Reached(scripts, {"audits": []})
    audits = list(audits)
    for audit in audits:
        for module in audit.modules:
            found.follow(module)
    return found.digest([facts_of(audit) for audit in audits])


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
            self.take(_resolve([module], self.scripts))
        else:
            self._package(module.partition(".")[0])

    def digest(self, facts: Any = None) -> str:
        """The digest of all that was reached, and of other facts."""
        templates = {file: known for module in self.files for file, known in _templates(module).items()}
        code = {path: _tree(path)[0] for path in self.files} | templates
        named = {str(path.relative_to(self.scripts)): value for path, value in code.items()}
        return digest([named, self.outside, self.facts, facts])

    def take(self, paths: Iterable[Path]) -> None:
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path not in self.files:
                self.files.add(path)
                names = _tree(path)[1]
                waiting.extend(_resolve(names, self.scripts))
                self._registries(names, run=path.relative_to(self.scripts).parts[:2] != (PACKAGE, "registry"))

    def _registries(self, names: Iterable[str], *, run: bool = True) -> None:
        """The declarations of the registries that a module imports, and their code where the module may run it.

        Modules of `svdflow.registry` read what declarations say, and run none. Tasks are followed by name only.
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
                    self.follow(one.module)

    def _package(self, name: str) -> None:
        """All files of a package of another distribution, and what of svdflow they import."""
        if name in self._packages:
            return
        self._packages.add(name)
        for path, label in _files_of(name):
            self.outside[label] = _tree(path)[0] if path.suffix == ".py" else file_digest(path)
            if path.suffix == ".py":
                names = _tree(path)[1]
                self.take(_resolve(names, self.scripts))
                self._registries(names)


def chosen_of(table: Registry[Any], names: Sequence[str] | None) -> list[Declaration]:
    """The declarations of these names; all where nothing is chosen, or something that stands for many such as auto."""
    if names is None or not all(name in table for name in names):
        return list(table.values())
    return [table[name] for name in names]


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
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in SAID}
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
def _templates(module: Path) -> dict[Path, str]:
    """The templates beside a module, with their digests."""
    beside = module.parent.glob(f"{module.stem}.*")
    return {file: file_digest(file) for file in beside if file.suffix in TEMPLATES}


@cache
def _tree(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's syntax tree without docstrings, and the svdflow names that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = tuple(sorted(set(_imports(tree))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest(), names


def _imports(tree: ast.Module) -> Iterator[str]:
    """Names of svdflow that running the module may import; those for type checkers are never run."""
    typing = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    unrun = {id(inner) for node in typing for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if id(node) in unrun:
            continue
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            yield node.module or ""
            yield from (f"{node.module}.{a.name}" for a in node.names)


def _resolve(names: Iterable[str], scripts: Path) -> Iterator[Path]:
    """Files of the modules named, and of the packages that importing them runs."""
    for name in names:
        yield from _files_below(name, scripts)


@cache
def _files_below(name: str, scripts: Path) -> list[Path]:
    """The file of a module, and those of the packages above it."""
    parts = name.split(".")
    stems = [scripts.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [path for s in stems for path in (s / "__init__.py", s.with_suffix(".py")) if path.is_file()]

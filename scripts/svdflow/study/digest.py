"""Digests: of code, so that a changed algorithm reruns what reaches it, and of files.

Snakemake does not notice an edited module. Each rule therefore carries a digest of the syntax trees of its
adapter and of every svdflow module that the adapter reaches; comments, docstrings and layout do not count.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from svdflow.registry import Audit

PACKAGE = "svdflow"
TEMPLATES = {".j2", ".css", ".json"}


def code_digest(rule: str, scripts: Path) -> str:
    """Digest of the adapter ``scripts/{rule}.py``, of all svdflow modules that it reaches, with their templates."""
    return _files_digest([scripts / f"{rule}.py"], scripts)


def _files_digest(starts: Iterable[Path], scripts: Path) -> str:
    reached = closure(starts, scripts)
    beside = (file for module in reached for file in sorted(module.parent.glob(f"{module.stem}.*")))
    templates = [file for file in beside if file.suffix in TEMPLATES]
    digests = {path: _tree(path)[0] for path in reached} | {path: file_digest(path) for path in templates}
    return digest({str(path.relative_to(scripts)): value for path, value in digests.items()})


def closure(starts: Iterable[Path], scripts: Path) -> list[Path]:
    """The files `starts` and every svdflow module that they import, directly or not, sorted."""
    seen: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(_resolve(_tree(path)[1], scripts))
    return sorted(seen)


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits for any JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file's content, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _resolve(names: tuple[str, ...], scripts: Path) -> Iterator[Path]:
    """Files of the modules named, and of the packages that importing them runs."""
    for name in names:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            stem = scripts.joinpath(*parts[:depth])
            for path in (stem / "__init__.py", stem.with_suffix(".py")):
                if path.is_file():
                    yield path


def modules_digest(modules: Iterable[str], scripts: Path) -> str:
    """Digest of modules and all that they reach; of another distribution's, of the files of its top package."""
    own = {name for name in modules if name.partition(".")[0] == PACKAGE}
    tops = sorted({name.partition(".")[0] for name in modules} - {PACKAGE})
    starts = list(_resolve(tuple(sorted(own)), scripts))
    return digest([_files_digest(starts, scripts), {top: _package_digest(top) for top in tops}])


@cache
def _package_digest(top: str) -> str:
    """Digest of the Python files of a package, or of the one file of a module; empty where it is not installed."""
    found = find_spec(top)
    places = [Path(place) for place in (found.submodule_search_locations if found else None) or ()]
    files = {f"{i}/{p.relative_to(at)}": p for i, at in enumerate(places) for p in sorted(at.rglob("*.py"))}
    if found and found.origin and not files:
        files = {top: Path(found.origin)}
    return digest({name: file_digest(path) for name, path in files.items()})


def audits_digest(audits: Iterable[Audit], scripts: Path) -> str:
    """Digest of what audits do: their code, keywords and limits; not of what is said about them."""
    audits = list(audits)
    facts = [
        [a.name, a.family, a.load, a.curves, dict(a.keywords), sorted(a.poor)]
        + [[row, t.warn, t.fail, t.resolution, t.excuse] for row, t in a.limits.items()]
        for a in audits
    ]
    return digest([facts, modules_digest({m for a in audits for m in a.modules}, scripts)])

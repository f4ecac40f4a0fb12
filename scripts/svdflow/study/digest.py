"""Digests: of code, so that a changed algorithm reruns what reaches it, and of files.

Snakemake does not notice an edited module. Each rule therefore carries a digest of the syntax trees of its
adapter and of every svdflow module that the adapter reaches; comments, docstrings and layout do not count.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "svdflow"
TEMPLATES = {".j2", ".css", ".json"}


def code_digest(rule: str, scripts: Path) -> str:
    """Digest of the adapter ``scripts/{rule}.py``, of all svdflow modules that it reaches, with their templates."""
    reached = closure(scripts / f"{rule}.py", scripts)
    beside = (file for module in reached for file in sorted(module.parent.glob(f"{module.stem}.*")))
    templates = [file for file in beside if file.suffix in TEMPLATES]
    digests = {path: _tree(path)[0] for path in reached} | {path: file_digest(path) for path in templates}
    return digest({str(path.relative_to(scripts)): value for path, value in digests.items()})


def closure(start: Path, scripts: Path) -> list[Path]:
    """The file `start` and every svdflow module that it imports, directly or not, sorted."""
    seen: set[Path] = set()
    waiting = [start]
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

"""What is read off the syntax trees of modules: a digest of each, and the names of svdflow that it imports.

Parsing all of svdflow takes a second or two, before the first job of every `snakemake`. What was read is kept in the
user's folder for caches, under a digest of the module's text, so that it cannot be out of date.
"""

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from svdflow.store.user_cache import cache_folder

PACKAGE = "svdflow"
FILE = "syntax.json"  # below `cache_folder`
# Modules that are kept, about 2 MB; where there are more, only those of this process. Chosen: ten versions of svdflow.
MOST = 5000
NAME = re.compile(r"[A-Za-z_]\w*([.]\w+)*")


class Module(NamedTuple):
    """What is read off a module: the digest of its syntax tree without docstrings, and the svdflow names it imports.

    One that is `lazy` imports names when they are asked for (``__getattr__``); `bound` are those that it has of its
    own, `places` the modules that its text names.
    """

    digest: str
    imports: tuple[str, ...]
    lazy: bool
    bound: tuple[str, ...]
    places: tuple[str, ...]


class Kept:
    """What earlier processes left in a file; one that is damaged or cannot be read holds nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._changed = path, False
        self._used: dict[str, Module] = {}
        self._known: dict[str, Module] = {}
        try:
            checksum, _, body = path.read_text(encoding="utf-8").partition("\n") if path else ("", "", "")
            if checksum == _hash(body.encode()):
                self._known = {key: _module(*fields) for key, fields in json.loads(body).items()}
        except (OSError, ValueError):
            pass

    def module(self, text: bytes, package: str) -> Module:
        """That of a module's text; `package` is the dotted name of its folder."""
        key = _hash(package.encode(), text)
        if key not in self._known:
            self._known[key], self._changed = _parsed(text, package), True
        self._used[key] = self._known[key]
        return self._used[key]

    def write(self) -> None:
        """Leave it to later processes, where there is something new; who cannot write reads it off again."""
        if self._path is None or not self._changed:
            return
        body = json.dumps(self._known if len(self._known) <= MOST else self._used)
        temporary = self._path.with_name(f".{self._path.name}.tmp-{os.getpid()}")
        self._changed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(f"{_hash(body.encode())}\n{body}", encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError:
            pass


def syntax(path: Path) -> Module:
    """What is read off the module in a file."""
    status = path.stat()
    return _of(path, status.st_mtime_ns, status.st_size)


@cache
def _of(path: Path, *_: int) -> Module:
    *above, _file = path.parts
    within = above[len(above) - 1 - above[::-1].index(PACKAGE) :] if PACKAGE in above else []
    return kept().module(path.read_bytes(), ".".join(within))


@cache
def kept() -> Kept:
    """What is kept for this user, if the user has a place for it."""
    try:
        return Kept(cache_folder() / FILE)
    except RuntimeError:
        return Kept(None)


def _hash(*parts: bytes) -> str:
    """Trees of one text differ between versions of Python, so these count."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=16, key=sys.version.encode()[:64]).hexdigest()


def _module(digest: str, imports: list[str], lazy: bool, bound: list[str], places: list[str]) -> Module:
    return Module(digest, tuple(imports), lazy, tuple(bound), tuple(places))


def _parsed(text: bytes, package: str) -> Module:
    tree = ast.parse(text)
    imports = tuple(sorted(set(_imports(tree))))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    bound = tuple(sorted({name for node in tree.body for name in _bound(node)}))
    lazy = "__getattr__" in bound
    named = {t if t.startswith(f"{PACKAGE}.") else f"{package}.{t}" for t in texts if NAME.fullmatch(t)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    seen = hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest()
    return Module(seen, imports, lazy, bound, tuple(sorted(named)) if lazy and package else ())


def _bound(node: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((a.asname or a.name).partition(".")[0] for a in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


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

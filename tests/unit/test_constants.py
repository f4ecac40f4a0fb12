"""A constant of the library says what it is: a comment on its line, above it or above the block that it stands in."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "scripts" / "svdflow"
ROOMS = sorted({path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in LIBRARY.rglob("*.py")})
RIDDLE = re.compile(r"# (of|whose|which) ")  # goes on from the name and says nothing without it
NAME = re.compile(r"_*[A-Z][A-Z0-9_]*")


def silent(text: str) -> list[str]:
    """Names of numeric constants, of a module or a class, that no comment explains."""
    lines = text.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    words = [token for token in tokens if token.type == tokenize.COMMENT]
    comments = {t.start[0] for t in words if t.line.lstrip().startswith("#") or not RIDDLE.match(t.string)}
    explained_to = -1  # last line of a block that a comment stands above
    found = []
    for name, node in assignments(ast.parse(text)):
        first, last = node.lineno, node.end_lineno or node.lineno
        above = first - 1 in comments and lines[first - 2].lstrip().startswith("#")
        if above or explained_to == first - 1:
            explained_to = last
        if numeric(node.value) and explained_to != last and not comments & set(range(first, last + 1)):
            found.append(name)
    return found


def assignments(tree: ast.Module) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    for node in [*tree.body, *(inner for c in tree.body if isinstance(c, ast.ClassDef) for inner in c.body)]:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names = [inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name)]
            if names and all(NAME.fullmatch(name) for name in names):
                yield ", ".join(names), node


def numeric(value: ast.expr | None) -> bool:
    """Whether an expression is made of numbers and of other constants, at least one number among them."""
    if value is None:
        return False
    parts = [node for node in ast.walk(value) if isinstance(node, ast.Constant)]
    names = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
    numbers = [p for p in parts if isinstance(p.value, int | float) and not isinstance(p.value, bool)]
    keys = {id(key) for node in ast.walk(value) if isinstance(node, ast.Dict) for key in node.keys}
    calls = any(isinstance(node, ast.Call | ast.Lambda | ast.Subscript) for node in ast.walk(value))
    others = [p for p in parts if p not in numbers and id(p) not in keys]
    return bool(numbers) and not others and not calls and all(NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize("room", ROOMS)
def test_every_constant_of_the_room_says_what_it_is(room):
    files = sorted((LIBRARY / room).rglob("*.py")) or [LIBRARY / f"{room}.py"]
    found = {str(p.relative_to(LIBRARY)): silent(p.read_text(encoding="utf-8")) for p in files}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A = 3\n", ["A"]),
        ("A = 3  # a triangle's corners\n", []),
        ("A = 3  # of a triangle\n", ["A"]),
        ("# a triangle's corners\nA = 3\nB = 4.0 * A\n", []),
        ("# a triangle's corners\nA = 3\n\nB = 4\n", ["B"]),
        ("A: dict[str, int] = {'x': 1}\n_B, C = 1, 2\n", ["A", "_B, C"]),
        ("class Shape:\n    CORNERS = 3\n", ["CORNERS"]),
        ("A = 'text'\nB = f(3)\nC = ('a', 3)\nlower = 3\n", []),
    ],
)
def test_a_constant_without_a_word_is_found(text, names):
    assert silent(text) == names

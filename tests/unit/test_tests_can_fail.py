"""Every test states what can be false: none is without an assertion, and none has its assertions in an `if` alone."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ASSERTING = (
    "raises",
    "warns",
    "deprecated_call",
    "fail",
    "check_estimator",
)  # of pytest, and of scikit-learn


def called(node: ast.AST) -> str:
    """The last name of what is called; empty for what is no call."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what stands in it, but for functions that it only defines."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield from inside(child)


def asserts(statements: Iterable[ast.stmt], helpers: set[str]) -> bool:
    """Whether running these statements runs an assertion, whatever the conditions in them are; loops run once."""
    return any(_asserts(statement, helpers) for statement in statements)


def _asserts(statement: ast.stmt, helpers: set[str]) -> bool:
    parts: list[ast.AST] = [statement]
    match statement:
        case ast.Assert():
            return True
        case ast.FunctionDef() | ast.ClassDef():
            return False
        case ast.If(body=body, orelse=orelse):
            return asserts(body, helpers) and asserts(orelse, helpers)
        case ast.Match(cases=cases):
            return all(asserts(case.body, helpers) for case in cases)
        case ast.For(body=body) | ast.While(body=body):
            return asserts(body, helpers)
        case ast.Try(body=body, orelse=orelse, finalbody=final):
            return asserts([*body, *orelse, *final], helpers)
        case ast.With(items=items, body=body):
            if asserts(body, helpers):
                return True
            parts = [item.context_expr for item in items]
    names = {called(node) for part in parts for node in inside(part)}
    return any(name in ASSERTING or name in helpers or name.startswith("assert_") for name in names)


def imported(nodes: list[ast.AST]) -> set[tuple[str, str]]:
    """Names that a module imports, each with the last part of the name of the module that it comes from."""
    found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {
        (alias.asname or alias.name, (node.module or "").rpartition(".")[2])
        for node in found
        for alias in node.names
    }


def cannot_fail(trees: dict[str, ast.Module]) -> list[str]:
    """Tests of these modules (name -> tree) that run no assertion of their own or of a function of these modules."""
    nodes = {module: list(ast.walk(tree)) for module, tree in trees.items()}
    imports = {module: imported(found) for module, found in nodes.items()}
    functions = {m: [n for n in found if isinstance(n, ast.FunctionDef)] for m, found in nodes.items()}
    others = {m: [f for f in found if not f.name.startswith("test_")] for m, found in functions.items()}
    helpers: dict[str, set[str]] = {module: set() for module in trees}

    def known(module: str) -> set[str]:
        places = {other.rpartition("/")[2]: names for other, names in helpers.items()}
        given = {name for other, names in helpers.items() if other.endswith("conftest") for name in names}
        taken = {name for name, place in imports[module] if name in places.get(place, ())}
        return helpers[module] | given | taken

    count = -1
    while count < (count := sum(map(len, helpers.values()))):  # helpers call helpers
        for module in trees:
            names = known(module)
            helpers[module] |= {f.name for f in others[module] if f.name in names or asserts(f.body, names)}
    return [
        f"{module}: {function.name}"
        for module in trees
        for function in functions[module]
        if function.name.startswith("test_") and not asserts(function.body, known(module))
    ]


def test_no_test_passes_whatever_holds():
    files = sorted(TESTS.rglob("*.py"))
    trees = {
        file.relative_to(TESTS).with_suffix("").as_posix(): ast.parse(file.read_text(encoding="utf-8"))
        for file in files
    }
    assert len(trees) > 100
    assert cannot_fail(trees) == []


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "f(1)",
        "if a: assert b",
        "if a: assert b\n else: pass",
        "for x in y:\n  if x: assert x",
        "with open(a) as file:\n  if file: assert file",
        "try: f()\n except ValueError: assert a",
        "def g(): assert a",
        "f(lambda: assert_equal(a, b))",
        "if a: h(b)",
        "looks(a)",
        "match a:\n  case 1: assert b\n  case _: pass",
    ],
)
def test_one_that_cannot_fail_is_named(body):
    helpers = "def h(x): assert x\ndef looks(x):\n if x: assert x\n"
    module = ast.parse(f"{helpers}def test_it(a, b, f, y):\n {body}\n")
    assert cannot_fail({"test_module": module}) == ["test_module: test_it"]


@pytest.mark.parametrize(
    "body",
    [
        "assert a",
        "if a: assert b\n else: assert not b",
        "for x in y: assert x",
        "with pytest.raises(ValueError): f()",
        "np.testing.assert_array_equal(a, b)",
        "found = h(b)",
        "g(b)",
        "try: assert a\n finally: f()",
        "def inner(x): assert x\n inner(a)",
    ],
)
def test_one_that_can_fail_is_not(body):
    """By its own assertion, or by that of a function of its module (h) or of another one (g)."""
    other = ast.parse("def g(x):\n k(x)\ndef k(x):\n assert x\n")
    module = ast.parse(f"from other import g\ndef h(x):\n assert x\ndef test_it(a, b, f, y):\n {body}\n")
    assert cannot_fail({"test_module": module, "other": other}) == []

"""How the house is built: imports run one way and never in a circle, late ones too; files stay short."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Rooms from the ground up, as docs/architecture.md promises them: a row of its table is a level. A room imports what
# lies below it, and neighbours on one level do not know each other, but for those on the ground.
PAGE = (SCRIPTS.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("\n## Rooms\n")[2].partition("\n## ")[0]
LEVELS = [set(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| (`.+?) \|", TABLE, re.MULTILINE)]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

LONGEST = 400  # lines of a file, from where on it is a sign that a noun is missing


def modules(scripts: Path) -> dict[str, Path]:
    """Every module of the library by its dotted name."""
    paths = (scripts / "svdflow").rglob("*.py")
    return {
        ".".join(p.relative_to(scripts).with_suffix("").parts).removesuffix(".__init__"): p for p in paths
    }


def imported(tree: ast.Module) -> Iterator[str]:
    """Names that a module imports anywhere, functions included; what stands under TYPE_CHECKING is no import."""
    typing = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test).endswith("TYPE_CHECKING")
        for statement in test.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(scripts: Path) -> dict[str, set[str]]:
    """Module -> the modules of the library that it imports; packages above an imported module are not counted."""
    known = modules(scripts)
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        graph[module] = set()
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            while name and name not in known:
                name = name.rpartition(".")[0]
            graph[module] |= {name} - {"", module}
    return graph


def room(module: str) -> str:
    return (module.split(".") + ["svdflow"])[1]


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports of a room on the same level or above."""
    return [
        f"{module} -> {other}"
        for module, others in sorted(graph.items())
        for other in sorted(others)
        if room(module) != room(other) and "svdflow" not in (room(module), room(other))
        if LEVEL[room(other)] >= LEVEL[room(module)] > 0 or LEVEL[room(other)] > LEVEL[room(module)]
    ]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, in order, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def too_long(scripts: Path) -> set[str]:
    paths = scripts.rglob("*.py")
    return {str(p.relative_to(scripts)) for p in paths if len(p.read_text().splitlines()) > LONGEST}


def test_every_room_has_its_level():
    assert len(LEVELS) > 8 and {"svdflow", *LEVEL} == {room(module) for module in modules(SCRIPTS)}


def test_imports_run_one_way():
    assert upward(imports(SCRIPTS)) == []


def test_imports_make_no_circle():
    assert circle(imports(SCRIPTS)) == []


def test_no_file_is_long():
    assert too_long(SCRIPTS) == set()


@pytest.fixture
def house(tmp_path):
    """A small library that keeps the rules; tests plant a fault in it."""
    files = {
        "__init__": "",
        "errors": "import os\n",
        "checks": "from svdflow.errors import SvdflowError\n",
        "store/__init__": "from svdflow import errors\n",
        "svd/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from svdflow.tasks import a\n",
        "svd/methods": "from svdflow.svd.reads import read\n",
        "svd/reads": "import svdflow.store\n",
        "tasks": "from svdflow.svd import methods\n",
    }
    for name, text in files.items():
        path = tmp_path / "svdflow" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def plant(house: Path, module: str, text: str) -> dict[str, set[str]]:
    with (house / "svdflow" / module).open("a") as file:
        file.write(text)
    return imports(house)


def test_a_house_in_order_passes(house):
    graph = imports(house)
    assert graph["svdflow.svd.methods"] == {"svdflow.svd.reads"}
    assert (upward(graph), circle(graph), too_long(house)) == ([], [], set())


@pytest.mark.parametrize(
    "text",
    ["from svdflow.tasks import compress", "def f():\n    import svdflow.tasks"],
    ids=["early", "late"],
)
def test_a_planted_import_of_a_room_above_is_found(house, text):
    assert upward(plant(house, "svd/reads.py", text)) == ["svdflow.svd.reads -> svdflow.tasks"]


def test_neighbours_on_one_level_do_not_know_each_other(house):
    (house / "svdflow" / "report.py").write_text("from svdflow.tasks import compress\n")
    assert upward(imports(house)) == ["svdflow.report -> svdflow.tasks"]


def test_a_planted_late_circle_is_found(house):
    graph = plant(house, "svd/reads.py", "def f():\n    from svdflow.svd.methods import late\n")
    assert upward(graph) == []
    assert set(circle(graph)) == {"svdflow.svd.methods", "svdflow.svd.reads"}


def test_a_long_file_is_found(house):
    plant(house, "errors.py", "\n" * LONGEST)
    assert too_long(house) == {"svdflow/errors.py"}

"""What docs/contributing.md says to write is written, by a distribution that is not svdflow, and used.

Each recipe has two blocks that are files, named in their first line, and one that uses them. The files become
modules of a package `lab`, installed beside svdflow with its entry points: a declaration in
``svdflow/registry/<kind>`` is one of the group ``svdflow.<kind>``.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^```python\n(# (scripts/svdflow/[a-z0-9_/]+\.py|in use)\n.*?)^```$", re.MULTILINE | re.DOTALL
)
# Runs each use, with nothing of the others but the installed package, and writes what went wrong.
RUN = """
import json, os, sys, traceback
said = {}
for title, code in json.load(sys.stdin).items():
    os.makedirs(title); os.chdir(title)
    try:
        exec(compile(code, title, "exec"), {"__name__": "use"})
        said[title] = ""
    except BaseException:
        said[title] = traceback.format_exc()
    os.chdir("..")
json.dump(said, open("said.json", "w"))
"""


def recipes(page: str) -> dict[str, dict[str, str]]:
    """Title of a recipe -> its blocks by the name in their first line."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    blocks = {
        title: {name: code for code, name in BLOCK.findall(body)}
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: found for title, found in blocks.items() if found}


RECIPES = recipes((ROOT / "docs" / "contributing.md").read_text(encoding="utf-8"))


def renamed(files: list[str]) -> dict[str, str]:
    """Module of svdflow, as a recipe names it -> module of the package `lab`."""
    modules = [file.removeprefix("scripts/").removesuffix(".py").replace("/", ".") for file in files]
    return {module: "lab." + module.removeprefix("svdflow.").replace(".", "_") for module in modules}


def install(folder: Path, files: dict[str, str]) -> None:
    """Put the package `lab`, made of these files, into a folder as pip would."""
    names = renamed(list(files))
    (folder / "lab").mkdir(parents=True)
    (folder / "lab" / "__init__.py").touch()
    points: dict[str, list[str]] = {}
    for (file, text), (module, new) in zip(files.items(), names.items(), strict=True):
        for one, other in names.items():
            text = re.sub(rf"\b{re.escape(one)}\b", other, text)
        (folder / f"{new.replace('.', '/')}.py").write_text(text, encoding="utf-8")
        if "/registry/" in file:
            kind, name = module.split(".")[-2:]
            points.setdefault(f"svdflow.{kind}", []).append(f"{name} = {new}:DECLARED")
    info = folder / "lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    sections = [f"[{group}]\n" + "\n".join(lines) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What went wrong in the use of each recipe, nothing where all is well."""
    folder = tmp_path_factory.mktemp("lab")
    files = {name: code for blocks in RECIPES.values() for name, code in blocks.items() if name != "in use"}
    install(folder / "site", files)
    uses = {title.replace(" ", "_"): blocks["in use"] for title, blocks in RECIPES.items()}
    path = os.pathsep.join([str(folder / "site"), str(ROOT / "scripts")])
    child = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(uses), cwd=folder, env={**os.environ, "PYTHONPATH": path}, text=True,
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return json.loads((folder / "said.json").read_text())


@pytest.mark.parametrize("title", RECIPES)
def test_what_a_recipe_adds_can_be_used(title, said):
    assert said[title.replace(" ", "_")] == ""


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_is_a_declaration_and_its_code(title):
    files = [name for name in RECIPES[title] if name != "in use"]
    assert len(files) == 2 and "in use" in RECIPES[title]
    assert sum("/registry/" in name for name in files) == 1


def test_every_kind_of_declaration_has_a_recipe():
    kinds = {p.name for p in (ROOT / "scripts/svdflow/registry").iterdir() if (p / "__init__.py").is_file()}
    declared = {name.split("/")[3] for blocks in RECIPES.values() for name in blocks if "/registry/" in name}
    # A form of archive has no recipe: readers of archives have to know all of them (docs/archives.md).
    assert declared == kinds - {"archive_forms"}

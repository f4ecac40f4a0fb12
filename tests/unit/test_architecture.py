"""docs/architecture.md is true: its rooms are the rooms, and the files that it sends a reader to are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:svdflow|scripts|tests|docs|rules|config)/[A-Za-z0-9_./-]*)`")


def missing(text: str) -> list[str]:
    """Paths in a text that lead nowhere."""
    named = (path.rstrip("/") for path in PATH.findall(text))
    return [path for path in named if not any((base / path).exists() for base in (ROOT, ROOT / "scripts"))]


def test_the_paths_on_the_page_are_there():
    assert len(PATH.findall(PAGE)) > 25
    assert missing(PAGE) == []


@pytest.mark.parametrize("text", ["`svdflow/svd/plans.py`", "`tests/unit/test_nothing.py`"])
def test_a_path_that_leads_nowhere_is_found(text):
    assert missing(text) == [text.strip("`")]


def test_every_folder_of_the_repository_is_named_on_the_page():
    ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").open(encoding="utf-8")}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")} - ignored
    assert {name for name in folders if f"{name}/" not in PAGE} <= {"data", "results"}

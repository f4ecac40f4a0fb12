"""What SECURITY.md says of the code holds."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from svdflow import open_matrix
from svdflow.images.io import read_image
from svdflow.plan.config import load_schema
from svdflow.store import ItemError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "scripts").rglob("*.py"))


def dotted(node):
    """``a.b.c`` of a call's function, or ""."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def dangerous(source):
    """Calls that run text, a shell or a pickle, as ``line: call``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, words = dotted(node.func), {k.arg: k.value for k in node.keywords}
            true = [k for k in ("shell", "allow_pickle") if getattr(words.get(k), "value", False) is True]
            names = {
                "eval",
                "exec",
                "os.system",
                "os.popen",
                "pickle.load",
                "pickle.loads",
                "yaml.load",
                "joblib.load",
            }
            if name in names or true or name.startswith("runpy."):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [
                f"{node.lineno}: import {m}"
                for m in modules
                if m.split(".")[0] in ("socket", "http", "urllib", "requests", "marshal", "shelve", "ftplib")
            ]
    return found


def test_no_code_is_run_that_a_file_brings():
    found = {p.relative_to(ROOT).as_posix(): dangerous(p.read_text(encoding="utf-8")) for p in MODULES}
    named = {file: [call.split(": ")[1] for call in calls] for file, calls in found.items() if calls}
    assert named == {
        "scripts/svdflow/audit/own.py": ["runpy.run_path"]
    }  # audit.functions_file, as SECURITY.md says


@pytest.mark.parametrize(
    "planted",
    [
        "eval(x)", "import os\nos.system(x)", "import subprocess\nsubprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=True)", "import pickle\npickle.loads(x)", "import yaml\nyaml.load(x)", "import socket",
        "from urllib.request import urlopen",
    ],
)  # fmt: skip
def test_the_check_finds_what_is_planted(planted):
    assert dangerous(planted)


def test_arrays_of_objects_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", A=np.array([[{}]], dtype=object))
    with pytest.raises(ItemError):
        read_image(tmp_path / "o.npy")
    for name in ("o.npy", "o.npz"):
        with pytest.raises(ValueError, match=r"[Oo]bject"):
            open_matrix(tmp_path / name)


def test_keys_and_files_that_it_names_are_there():
    schema = load_schema(ROOT, "config")["properties"]
    for section, key in re.findall(r"`(ingest|audit|runtime)\.(\w+)`", TEXT):
        assert key in schema[section]["properties"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", TEXT):
        assert f"\n{target}:" in makefile
    for path in ("Snakefile", "rules/", "profiles/", "config/config.yaml", "requirements/"):
        assert f"`{path}`" in TEXT and (ROOT / path).exists()
    pattern = load_schema(ROOT, "datasets")["properties"]["name"]["pattern"]
    assert f"`{pattern.strip('^$')}`" in TEXT


def test_the_sheet_runs_no_code_and_results_are_no_pickles():
    sheet = (ROOT / "scripts" / "svdflow" / "plan" / "datasets.py").read_text(encoding="utf-8")
    assert not dangerous(sheet) and "import_module" not in sheet

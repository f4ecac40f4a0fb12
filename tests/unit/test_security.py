"""What SECURITY.md says of the code holds."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from svdflow import open_matrix
from svdflow.__main__ import main
from svdflow.errors import ItemError
from svdflow.images.io import read_image
from svdflow.study.options_page import schema_of
from svdflow.study.sections import sections
from svdflow.study.sections.row import row_model

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
    for section, key in re.findall(r"`(ingest|audit|runtime)\.(\w+)`", TEXT):
        assert key in sections()[section].model_fields
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", TEXT):
        assert f"\n{target}:" in makefile
    for path in ("Snakefile", "rules/", "profiles/", "config/config.yaml", "requirements/"):
        assert f"`{path}`" in TEXT and (ROOT / path).exists()
    pattern = schema_of(row_model())["properties"]["name"]["pattern"]
    assert f"`{pattern.strip('^$')}`" in TEXT


SECRET = "root-secret-7f3a:hunter2"
STARTS = {  # what a file says it is before the secret: a parser gets that far
    "png": [b"", b"\x89PNG\r\n\x1a\n"],
    "jpg": [b"", b"\xff\xd8\xff"],
    "tif": [b"", b"II*\0", b"II*\0\x08\0\0\0"],
    "webp": [b"", b"RIFF\x40\0\0\0WEBP"],
    "bmp": [b"", b"BM"],
    "gif": [b"", b"GIF89a"],
    "npy": [b"", b"\x93NUMPY\x01\0\x76\0", b"\x93NUMPY\x01\0\x76\0{'descr': '"],
    "h5": [b"", b"\x89HDF\r\n\x1a\n"],
}
MATRIX_STARTS = {
    "npy": STARTS["npy"],
    "npz": [b"", b"PK\x03\x04"],
    "h5": STARTS["h5"],
    "mtx": [b"", b"%%MatrixMarket matrix ", b"%%MatrixMarket matrix array real general\n2 1\n1\n"],
    "nc": [b"", b"CDF\x01"],
}
NAMES = [(suffix, i) for suffix in STARTS for i in range(len(STARTS[suffix]))]
MATRIX_NAMES = [(suffix, i) for suffix in MATRIX_STARTS for i in range(len(MATRIX_STARTS[suffix]))]


def linked(folder, suffix, start):
    """A link, as a user may place it, to a file that is none of what its name says."""
    (folder / "passwords").write_bytes(start + (SECRET + "\n").encode() * 40)
    (folder / f"x.{suffix}").symlink_to(folder / "passwords")
    return folder / f"x.{suffix}"


@pytest.mark.parametrize(("suffix", "start"), NAMES)
def test_no_message_shows_what_stands_in_a_file_that_is_no_image(tmp_path, suffix, start):
    with pytest.raises(ItemError) as caught:
        read_image(linked(tmp_path, suffix, STARTS[suffix][start]))
    assert "secret" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "start"), MATRIX_NAMES)
def test_no_message_shows_what_stands_in_a_file_that_is_no_matrix(tmp_path, suffix, start):
    with pytest.raises(ValueError, match=rf"x\.{suffix}") as caught:
        open_matrix(linked(tmp_path, suffix, MATRIX_STARTS[suffix][start]))
    assert "secret" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "command", ["encode {0} o.h5 --psnr 30", "decode {0} o.npy", "compress {0} o", "denoise {0} o"]
)
@pytest.mark.parametrize("suffix", ["png", "tif", "npy", "h5"])
def test_no_command_shows_it_either(tmp_path, monkeypatch, capsys, suffix, command):
    monkeypatch.chdir(tmp_path)
    for start in STARTS[suffix]:
        path = linked(tmp_path, suffix, start)
        assert main(command.format(path.name).split()) == 1
        said = capsys.readouterr()
        assert (
            "secret" not in said.err + said.out
            and "hunter2" not in said.err + said.out
            and path.name in said.err
        )
        path.unlink()


def test_the_sheet_runs_no_code_and_results_are_no_pickles():
    sheet = (ROOT / "scripts" / "svdflow" / "study" / "sheet.py").read_text(encoding="utf-8")
    assert not dangerous(sheet) and "import_module" not in sheet

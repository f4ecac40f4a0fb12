"""What is installed, pinned and promised: facts about the files of the set-up."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = ["requirements/run.txt", "requirements/test.txt"]
NAME = re.compile(r"[A-Za-z0-9._-]+")


def pins(text: str) -> dict[str, str]:
    """Requirement -> its block of the file, version and hashes."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    return {normal(NAME.match(block).group()): block for block in blocks}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def version(block: str) -> str:
    return re.search(r"==(\S+)", block).group(1)


def unhashed(text: str) -> list[str]:
    """Requirements that are not pinned to one version with at least one SHA-256."""
    pinned = re.compile(r"[A-Za-z0-9._\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}\b", re.DOTALL)
    return [name for name, block in pins(text).items() if not pinned.match(block)]


def places(text: str) -> list[str]:
    """Addresses, index options and absolute paths in a requirements file."""
    return re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*|(?<!\S)/\S+", text)


@pytest.mark.parametrize("path", PINNED)
def test_every_requirement_is_pinned_with_hashes_and_names_no_place(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(pins(text)) > 50
    assert unhashed(text) == []
    assert places(text) == []


@pytest.mark.parametrize(
    ("fault", "finder"),
    [
        ("numpy>=2 \\\n    --hash=sha256:" + 64 * "0" + "\n", unhashed),
        ("numpy==2.0\n", unhashed),
        ("--index-url https://example.org/simple\n", places),
        ("numpy @ file:///home/a/numpy.whl\n", places),
        ("    # via -r /home/a/requirements.in\n", places),
    ],
)
def test_a_planted_fault_in_the_requirements_is_found(fault, finder):
    assert finder((ROOT / PINNED[0]).read_text(encoding="utf-8") + fault) != []


def test_test_requirements_hold_the_run_requirements_at_the_same_versions():
    run, test = (pins((ROOT / path).read_text(encoding="utf-8")) for path in PINNED)
    assert {name: version(block) for name, block in run.items()}.items() <= {
        name: version(block) for name, block in test.items()
    }.items()


@pytest.mark.parametrize(
    ("path", "extras"), [(PINNED[0], ["parquet"]), (PINNED[1], ["parquet", "test", "dev"])]
)
def test_requirements_are_compiled_from_the_project(path, extras):
    optional = PROJECT["project"]["optional-dependencies"]
    declared = PROJECT["project"]["dependencies"] + [d for extra in extras for d in optional[extra]]
    declared += PROJECT["dependency-groups"]["build"]
    locked = pins((ROOT / path).read_text(encoding="utf-8"))
    assert [d for d in declared if normal(NAME.match(d).group()) not in locked] == [], "run 'make lock'"


def test_every_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    assert [line for line in block.splitlines() if line.startswith('    "') and " # " not in line] == []


def test_versions_agree():
    stated = PROJECT["project"]["version"]
    assert import_module("svdflow").__version__ == stated
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == stated
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.group(1) == stated


def test_importing_svdflow_costs_under_a_tenth_of_a_second_and_pulls_in_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time(); import svdflow, svdflow.compat; "
        "print(time.process_time() - start, *{'numpy', 'pandas', 'h5py', 'dask', 'sklearn'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    seconds, *heavy = subprocess.check_output(
        [sys.executable, "-c", code], env=environment, text=True
    ).split()
    assert float(seconds) < 0.1
    assert heavy == []


def test_every_room_is_a_package():
    library = ROOT / "scripts" / "svdflow"
    folders = {path.parent for path in library.rglob("*.py")}
    assert [str(f.relative_to(library)) for f in folders if not (f / "__init__.py").is_file()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77", reason="the pinned build backend is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scripts", source / "scripts", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-qq",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ".",
    ]
    subprocess.run(pip, cwd=source, check=True)
    (wheel,) = folder.glob("svdflow-*.whl")
    return wheel


def test_a_wheel_holds_the_library_and_nothing_beside_it(wheel):
    held = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    assert {p.parts[0] for p in held} == {"svdflow", f"svdflow-{PROJECT['project']['version']}.dist-info"}
    source = wheel.parent / "source" / "scripts"
    library = {p.relative_to(source) for p in (source / "svdflow").rglob("*") if p.is_file()}
    assert len(library) > 100
    assert library - held == set(), "name the suffix under tool.setuptools.package-data"


INSTALLED = """\
import svdflow, sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
assert Path(svdflow.__file__).is_relative_to(sys.prefix), svdflow.__file__
assert version("svdflow") == svdflow.__version__
kinds = {Path(p).suffix for p in Path(svdflow.__file__).parent.rglob("*") if p.is_file()}
print(*sorted(kinds - {".py", ".pyc"}))
U, s, Vt = svdflow.truncated_svd([[3.0, 0.0], [0.0, 2.0]], rank=1)
print(round(float(s[0]), 9))
"""


def test_a_wheel_is_installed_into_an_empty_environment_and_works(wheel, tmp_path):
    """Nothing of this checkout is in its path; what svdflow depends on is borrowed from the present environment."""
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    run = partial(
        subprocess.run, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )  # fmt: skip
    missing = run([python, "-c", "import svdflow"])
    assert "No module named 'svdflow'" in missing.stderr  # negative control
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-qq",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    installed = run(pip)
    assert installed.returncode == 0, installed.stderr
    (site,) = (tmp_path / "empty").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    imported = run([python, "-c", INSTALLED])
    assert imported.returncode == 0, imported.stderr
    suffixes, value = imported.stdout.splitlines()
    source = wheel.parent / "source" / "scripts" / "svdflow"
    assert suffixes.split() == sorted({p.suffix for p in source.rglob("*") if p.is_file()} - {".py"})
    assert value == "3.0"
    np.save(tmp_path / "a.npy", np.outer(np.arange(20.0), np.ones(30)))
    command = run([tmp_path / "empty" / "bin" / "svdflow", "encode", "a.npy", "a.h5", "--rel-error", "1e-3"])
    assert command.returncode == 0, command.stderr
    assert (tmp_path / "a.h5").stat().st_size > 0


# -- make ---------------------------------------------------------------------------------------------------


def make_setup(folder: Path, python: str) -> subprocess.CompletedProcess:
    """``make setup`` with a stand-in for the interpreter named python3."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", *PINNED):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "python3").write_text(python, encoding="utf-8")
    (folder / "python3").chmod(0o755)
    make = ["make", "setup", f"PYTHON={folder / 'python3'}"]
    return subprocess.run(make, cwd=folder, capture_output=True, text=True, check=False)


def test_an_interpreter_without_venv_is_told_the_package_to_install(tmp_path):
    stand_in = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
    result = make_setup(tmp_path, stand_in)
    assert result.returncode != 0
    assert "apt install python3-venv" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_old_interpreter_is_told_the_version_to_have(tmp_path):
    result = make_setup(tmp_path, "#!/bin/sh\nexit 1\n")
    assert result.returncode != 0
    assert "Python 3.11 or newer" in result.stderr


def test_every_target_is_explained_by_make_help_and_in_the_readme():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE).group(1).split())
    explained = subprocess.check_output(["make", "help"], cwd=ROOT, text=True)
    assert set(re.findall(r"^  make (\S+) +\S", explained, re.MULTILINE)) == phony
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", readme, re.MULTILINE)) == phony - {"help"}


def test_links_between_the_pages_lead_somewhere():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "data/README.md",
        ROOT / "results/README.md",
    ]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 10
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


# -- profiles -----------------------------------------------------------------------------------------------


def unknown_keys(profile: dict, options: str) -> set[str]:
    """Keys of a profile that are no option of ``snakemake --help``."""
    return set(profile) - set(re.findall(r"--([a-z][a-z-]+)", options))


@pytest.fixture(scope="module")
def snakemake_options():
    return subprocess.check_output([sys.executable, "-m", "snakemake", "--help"], text=True)


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_a_profile_sets_options_that_snakemake_has(name, snakemake_options):
    if name == "slurm":
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="the Slurm executor is not installed")
    profile = yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text(encoding="utf-8"))
    assert unknown_keys(profile, snakemake_options) == set()
    assert unknown_keys({**profile, "latency-weight": 5}, snakemake_options) == {"latency-weight"}
    # DESIGN's rerun contract: script dates are left out, for the code digests stand in for them.
    assert profile["rerun-triggers"] == ["input", "mtime", "params", "software-env"]
    assert profile["max-checksum-file-size"] == "100MB"

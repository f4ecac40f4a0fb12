"""What would wait for ever on a cluster is named before the first submission; programs of Slurm are played here."""

import stat
from pathlib import Path

import pytest

from svdflow.errors import ConfigError
from svdflow.study import preflight as module
from svdflow.study.preflight import filesystem, preflight, told

ROOT = Path(__file__).parents[2]
SLURM = ["--workflow-profile", "profiles/slurm"]
CONFIG = {"runtime": {"backend": "auto"}}
ACCOUNTING = "AccountingStorageType   = accounting_storage/{}\nMinJobAge               = {} sec\n"


@pytest.fixture
def login(tmp_path, monkeypatch):
    """A login node whose programs say what a test has them say; returns the function that makes one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(module, "find_spec", lambda name: name)

    def program(name, says="", status=0):
        path = programs / name
        path.write_text(
            f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{says}\nEND\nexit {status}\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    program("sbatch")
    program("scontrol", ACCOUNTING.format("slurmdbd", 300))
    program("sinfo", "")
    return program


def test_a_run_on_this_machine_is_not_looked_at(login, tmp_path):
    login("scontrol", status=1)
    assert preflight(["--cores", "2"], CONFIG, tmp_path) == []
    with pytest.raises(ConfigError):  # control
        preflight(SLURM, CONFIG, tmp_path)


def test_a_cluster_in_order(login, tmp_path):
    assert preflight(SLURM, CONFIG, tmp_path) == []


@pytest.mark.parametrize("words", [["--executor", "slurm"], ["--executor=slurm"], ["-e", "slurm"], SLURM])
def test_every_way_to_ask_for_slurm(login, words):
    assert told(words)["executor"] == "slurm"


def test_words_win_over_the_profile(login):
    assert told(SLURM)["slurm-status-command"] == "squeue"
    assert told([*SLURM, "--slurm-status-command", "sacct"])["slurm-status-command"] == "sacct"
    assert told([])["cores"] == "all"  # the profile that is found by itself


@pytest.mark.parametrize("words", [["--executor", "slurm"], [*SLURM, "--slurm-status-command", "sacct"]])
def test_sacct_without_accounting_would_wait_for_ever(login, tmp_path, words):
    login("sacct")
    login("scontrol", ACCOUNTING.format("none", 300))
    with pytest.raises(ConfigError, match="would wait for ever; set 'slurm-status-command: squeue'"):
        preflight(words, CONFIG, tmp_path)
    assert preflight(SLURM, CONFIG, tmp_path) == []  # control: the profile asks squeue
    login("scontrol", ACCOUNTING.format("slurmdbd", 300))
    assert preflight(words, CONFIG, tmp_path) == []


def test_a_cluster_that_forgets_is_noted(login, tmp_path):
    login("scontrol", ACCOUNTING.format("none", 30))
    (note,) = preflight(SLURM, CONFIG, tmp_path)
    assert "forgets jobs 30 s after their end" in note


def test_what_is_missing_is_named(login, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "cupy" else name)
    assert preflight(SLURM, CONFIG, tmp_path) == []
    with pytest.raises(ConfigError, match="every job would find CuPy missing"):
        preflight(SLURM, {"runtime": {"backend": "cupy"}}, tmp_path)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="make setup EXTRAS=cluster"):
        preflight(SLURM, CONFIG, tmp_path)


def test_no_slurm_here(login, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no sbatch here; run this on the login node"):
        preflight(SLURM, CONFIG, tmp_path)


def test_a_controller_that_does_not_answer(login, tmp_path):
    login("scontrol", "slurm_load_ctl_conf error", status=1)
    with pytest.raises(ConfigError, match="controller does not answer"):
        preflight(SLURM, CONFIG, tmp_path)


def test_a_disk_of_this_machine_is_noted_where_there_are_other_nodes(login, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "filesystem", lambda path: "ext4" if path == tmp_path else "nfs4")
    login("sinfo", "node1\nnode2")
    (note,) = preflight(SLURM, CONFIG, tmp_path)
    assert f"{tmp_path} is on ext4" in note
    login("sinfo", module.platform.node().partition(".")[0])
    assert preflight(SLURM, CONFIG, tmp_path) == []


def test_file_systems_by_the_kernel(tmp_path):
    assert filesystem(Path("/proc/self")) == "proc"
    assert filesystem(tmp_path / "not" / "there") == filesystem(tmp_path) != ""

"""The fuzzer finds what was planted, reports what it found, and leaves a sound parser alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUZZ = ROOT / "tests" / "fuzz" / "run.py"
QUICK = ["--minutes", "0.001", "--limit", "1", "--jobs", "2"]


def fuzz(tmp_path, *targets):
    """Status and words of a run that keeps what it found below `tmp_path`."""
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "scripts")}
    run = subprocess.run(
        [sys.executable, str(FUZZ), *QUICK, *targets],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
    )
    return run.returncode, run.stdout + run.stderr


def test_a_sound_parser_passes_and_nothing_is_kept(tmp_path):
    status, said = fuzz(tmp_path, "planted-sound", "planted-refused")
    assert status == 0 and "0 faults of ours, 0 processes died" in said
    assert not list(tmp_path.iterdir())


def test_planted_faults_are_found_and_kept(tmp_path):
    names = ["bare", "wrong", "silent", "hungry", "endless"]
    status, said = fuzz(tmp_path, *(f"planted-{name}" for name in names))
    assert status == 1
    for words in (
        "FAULT planted-bare: KeyError at planted.py",
        "FAULT planted-wrong: Unsound at planted.py",
        "FAULT planted-silent: refused without a word",
        "FAULT planted-hungry: MemoryError",
        "FAULT planted-endless: took more than 1 s",
    ):
        assert words in said
    assert len(list(tmp_path.glob("svdflow-fuzz-*/*/faults/*/example.txt"))) == len(names)


def test_a_parser_that_dies_or_hangs_ends_its_process_and_no_other(tmp_path):
    status, said = fuzz(tmp_path, "planted-dying", "planted-stuck", "planted-sound")
    assert "DIED  planted-dying: ended by SIGABRT: the end of the process" in said
    assert "DIED  planted-stuck: no signal ended it in time: a loop that no signal ends" in said
    assert "planted-sound" in said and status == 0
    assert list(tmp_path.glob("svdflow-fuzz-*/*/deaths/000/example.txt"))


def test_parsers_of_text_and_a_picture_stand_some_examples(tmp_path):
    status, said = fuzz(tmp_path, "sheet", "config", "image-png-grey")
    assert status == 0, said


def test_a_target_that_there_is_not_is_named(tmp_path):
    status, said = fuzz(tmp_path, "imgae")
    assert status == 2 and "no target begins with imgae" in said

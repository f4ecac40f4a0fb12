"""A test file that takes more processor time than its budget fails the run, and is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
QUICK = "def test_quick():\n    pass\n"
SLOW = """\
import time
def test_slow():
    start = time.process_time()
    while time.process_time() < start + 0.4:
        pass
"""
CHILD = f"""\
import subprocess, sys
def test_child():
    subprocess.run([sys.executable, "-c", {SLOW + "test_slow()"!r}], check=True)
"""
MARKED = "import pytest\npytestmark = pytest.mark.budget(60)\n" + SLOW


OVER = ["test_child.py", "test_slow.py"]


@pytest.mark.parametrize(
    ("workers", "seconds", "over"),
    [([], "0.25", OVER), (["-p", "xdist", "-n", "1"], "0.25", OVER), ([], "30", [])],
    ids=["alone", "worker", "enough"],
)
def test_only_files_over_their_budget_fail_the_run(tmp_path, workers, seconds, over):
    """Negative control, with and without workers: of four files whose tests all pass, two take too long."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in {"quick": QUICK, "slow": SLOW, "child": CHILD, "marked": MARKED}.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, "--budget", seconds]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    run = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "4 passed" in run.stdout, run.stdout + run.stderr
    said = [line.split()[2] for line in run.stdout.splitlines() if line.startswith("OVER BUDGET")]
    assert (run.returncode, said) == (bool(over), over)

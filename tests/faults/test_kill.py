"""Kill a run at any moment: nothing half-written is believed, and the resumed run gives the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from small_study import small_workflow
from svdflow.store import verify

KILLS = 20
KEPT = (".h5", ".html", ".csv", ".md", ".png")


def contents(folder):
    results = folder / "results"
    return {p.relative_to(results): p.read_bytes() for p in results.rglob("*") if p.suffix in KEPT}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    workflow = small_workflow(tmp_path_factory.mktemp("kill") / "reference")
    start = time.monotonic()
    done = workflow.run()
    assert done.returncode == 0, done.stderr
    return contents(workflow.folder), time.monotonic() - start


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_resumes_to_the_same_bits(reference, tmp_path, seed):
    expected, seconds = reference
    workflow = small_workflow(tmp_path / "killed")
    workflow.command("plan", "--write", "--config", "study.yaml", module="svdflow")
    environment = {**os.environ, "PYTHONPATH": str(workflow.folder / "scripts")}
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--configfile", "study.yaml"],
        cwd=workflow.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(0.05, 0.95) * seconds)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    for path in (workflow.folder / "results").rglob("*.h5"):
        if not path.name.startswith("."):
            verify(path)
    done = workflow.command("resume", "--config", "study.yaml", module="svdflow")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(workflow.folder) == expected
    assert not list((workflow.folder / "results").rglob(".*tmp-*"))

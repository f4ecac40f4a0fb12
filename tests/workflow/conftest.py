"""The small study, run once for all tests that only look at it, in whichever worker they run."""

import fcntl
import shutil

import pytest

from small_study import Workflow, small_workflow


@pytest.fixture(scope="session")
def finished(shared) -> Workflow:
    """The small study after a clean run; tests must not change it (`copy` it to do so)."""
    folder, done = shared / "finished", shared / "finished.done"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for the one that runs it
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            ran = small_workflow(folder).run()
            assert ran.returncode == 0, ran.stdout + ran.stderr
            done.touch()
    return Workflow(folder)


@pytest.fixture
def fresh(finished, tmp_path) -> Workflow:
    """A copy of the finished study, free to be changed."""
    return finished.copy(tmp_path / "study")

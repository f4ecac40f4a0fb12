"""The small study, run once for all tests that only look at it."""

import pytest

from small_study import Workflow, small_workflow


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The small study after a clean run; tests must not change it (`copy` it to do so)."""
    workflow = small_workflow(tmp_path_factory.mktemp("workflow") / "finished")
    done = workflow.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return workflow


@pytest.fixture
def fresh(finished, tmp_path) -> Workflow:
    """A copy of the finished study, free to be changed."""
    return finished.copy(tmp_path / "study")

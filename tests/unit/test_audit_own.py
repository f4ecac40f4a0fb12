"""Functions and matrices of a user's own file: what they may return, and what is said of what they may not."""

import numpy as np
import pytest

from svdflow.audit.own import audit_functions, audit_own
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.by_name import audit_by_name
from svdflow.store import read_table

FILE = """
import numpy as np

def right(rng):
    return lambda x: np.sin(x).sum(), np.cos, rng.standard_normal(5)

def wrong():
    return {"f": lambda x: np.sin(x).sum(), "grad": lambda x: np.cos(x) * (1 + 1e-8), "x": np.ones(3), "rtol": 1e-10}

def matrix():
    return np.diag([4.0, 2.0])

def singular():
    return np.ones((3, 3))

def text():
    return "no"

def broken():
    raise RuntimeError("not today")

def misspelt():
    return {"f": abs, "gradient": abs, "x": 1.0}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def verdicts(records):
    return {(r.subject, r.audit): r.verdict for r in records}


def test_gradients_and_matrices(file):
    found = verdicts(audit_functions(file, ["right", "wrong", "matrix", "singular"], seed=3))
    assert found["right", "gradient"] is Verdict.PASS
    assert found["wrong", "gradient"] is Verdict.FAIL
    assert found["matrix", "condition_number"] is Verdict.PASS
    assert found["singular", "condition_number"] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text", "returned str"),
        ("broken", "not today"),
        ("misspelt", "'gradient', 'grad'"),
        ("rigth", "nearest: 'right'"),
    ],
)
def test_what_cannot_be_audited_is_one_error_and_the_rest_runs(file, name, said):
    error, *rest = audit_functions(file, [name, "right"])
    assert error.verdict is Verdict.ERROR
    assert said in error.reason
    assert [r.verdict for r in rest] == [Verdict.PASS]


def test_a_file_that_does_not_run_is_an_error_for_each_name(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("def (")
    records = audit_functions(path, ["a", "b"])
    assert [r.verdict for r in records] == [Verdict.ERROR] * 2
    assert "SyntaxError" in records[0].reason


def test_every_row_is_repeated_by_its_command(file):
    for record in audit_functions(file, ["right", "matrix"], seed=7):
        spec = record.reproduce.removeprefix("python -m svdflow audit ").removesuffix(" --seed 7").strip("'")
        again = [r for r in audit_by_name([spec], seed=7) if r.audit == record.audit]
        np.testing.assert_equal(again[0].value, record.value)


def test_thresholds_reach_own_functions(file):
    strict = audit_functions(file, ["right"], thresholds={"gradient.resolution": 1e-16})
    assert [r.verdict for r in strict] == [Verdict.INCONCLUSIVE]


def test_the_stage_publishes_a_table(file, tmp_path):
    audit_own(file, tmp_path / "own.h5", functions=["right"], seed=1, thresholds={})
    table = read_table(tmp_path / "own.h5", "audit")
    assert table["family"].tolist() == ["own"]
    assert table["verdict"].tolist() == ["PASS"]

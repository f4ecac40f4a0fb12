"""The verdict rule: what may certify, what may only excuse, and what must be said."""

import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path

import pytest

import svdflow
from svdflow.audit.records import Record, attempt
from svdflow.audit.verdicts import Verdict, judge
from svdflow.registry import Threshold
from svdflow.registry.limits import declared_limits, resolve
from svdflow.store.schema import columns

LIMIT = Threshold(warn=10, fail=50, resolution=1)


@pytest.mark.parametrize(
    ("value", "resolution", "verdict"),
    [
        (0.0, 0.5, Verdict.PASS),
        (10.0, 0.5, Verdict.PASS),
        (10.1, 0.5, Verdict.WARN),
        (50.0, 0.5, Verdict.FAIL),
        (inf, 0.5, Verdict.FAIL),
        (0.0, 2.0, Verdict.INCONCLUSIVE),  # too coarse to certify
        (60.0, 2.0, Verdict.FAIL),  # a coarse audit may still see a fault
        (60.0, 70.0, Verdict.INCONCLUSIVE),  # unless it is coarser than the fault
        (nan, 0.5, Verdict.ERROR),
    ],
)
def test_rule(value, resolution, verdict):
    assert judge(value, LIMIT, resolution)[0] is verdict


def test_an_absolute_tolerance_excuses_but_never_certifies():
    lenient = Threshold(warn=10, fail=50, resolution=1, excuse=1e-6)
    verdict, reason = judge(60, lenient, 0.5, absolute=1e-9)
    assert verdict is Verdict.INCONCLUSIVE
    assert "excused" in reason
    assert judge(60, lenient, 0.5, absolute=1e-3)[0] is Verdict.FAIL


def test_thresholds_name_the_nearest_audit():
    with pytest.raises(ValueError, match="nearest: 'svd_residual'"):
        resolve({"svd_residul.fail": 3})
    with pytest.raises(ValueError, match=r"svd_residual\.fail"):
        resolve({"svd_residual": 3})
    changed = resolve({"svd_residual.fail": 3})
    assert changed["svd_residual"].fail == 3
    assert declared_limits()["svd_residual"].fail == 50


def test_every_default_has_its_source():
    assert all(threshold.source for threshold in declared_limits().values())


def test_a_record_is_a_row_of_the_table():
    row = Record("conditioning", "svd_residual", "x", 5.0, 10, 50, 1.0).row()
    assert set(row) == {column.name for column in columns("audit")}
    assert row["margin"] == 0.1
    assert row["verdict"] == "PASS"


def test_an_audit_that_raises_is_one_error():
    [record] = attempt("gradients", "g", "s", lambda: [1 / 0])
    assert record.verdict is Verdict.ERROR
    assert "ZeroDivisionError" in record.reason


def test_import_is_light():
    code = "import sys, svdflow.audit; print('numpy' in sys.modules, 'scipy' in sys.modules)"
    root = Path(svdflow.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]

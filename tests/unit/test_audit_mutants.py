"""The planted faults are all caught, and the audit of them can tell when one is not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from svdflow.audit.records import Judge
from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import run
from svdflow.selfcheck.kill_rate import audit_kill_rate
from svdflow.selfcheck.mutants import (
    FAMILY,
    GROUPS,
    Mutant,
    audit_mutants,
    decompositions,
    derivatives,
    gradient_checks,
)

SEED = 42  # what a study has unless it says otherwise
LIMITS = resolve({})
MUTANTS = [mutant for group in GROUPS.values() for mutant in group]
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def audit_shift(seed, limits, subject):
    """Passes a shift of zero; a larger one fails with its reason."""
    judge = Judge("stability", "sum", seed, limits)
    yield judge("sum", "shift", subject, 0.0, f"shifted by {subject:g}")
    yield judge("sum", "nothing", 0.0, 0.0, "no fault here")


SHIFT = Mutant("shift", "sum", Verdict.FAIL, "shifted by 3", audit_shift, fault=3.0, right=0.0, figure=3)


def told(*mutants, limits=LIMITS):
    rows = list(audit_mutants(0, limits, mutants))
    [rate] = audit_kill_rate(0, limits, rows=rows)
    assert [row.subject for row in rows] == [mutant.name for mutant in mutants]
    assert {row.audit for row in rows} == {"mutant"}
    assert rate.audit == "kill_rate"
    return rows, rate


def test_every_fault_is_caught_as_expected():
    """With the seed of the small study, whose selfcheck finds the same within one run of the tests: once is enough."""
    rows = run(["mutants"], seed=SEED)
    assert not [str(row) for row in rows if row.verdict is not Verdict.PASS]
    assert len(rows) == len(MUTANTS) + 1
    assert rows[-1].reason == f"{len(MUTANTS)} of {len(MUTANTS)} killed"
    assert all(row.family == FAMILY and row.reproduce.endswith(f"mutants --seed {SEED}") for row in rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_does_not_matter(seed):
    quick = [*gradient_checks.MUTANTS, *decompositions.MUTANTS, *derivatives.MUTANTS]
    [rate] = audit_kill_rate(seed, LIMITS, rows=audit_mutants(seed, LIMITS, quick))
    assert rate.reason == f"{len(quick)} of {len(quick)} killed"


def test_names_are_unique_and_every_family_is_there():
    assert len(MUTANTS) >= 20
    assert not [name for name, count in Counter(m.name for m in MUTANTS).items() if count > 1]


def test_a_caught_fault_names_the_audit_that_caught_it():
    [row], rate = told(SHIFT)
    assert row.verdict is Verdict.PASS
    assert row.reason == "killed by sum of shift: FAIL, 3 against 1; shifted by 3"
    assert (rate.value, rate.reason) == (0.0, "1 of 1 killed")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fault": 0.0}, "survived: expected sum FAIL"),
        ({"fault": 1e-3}, "survived: expected sum FAIL"),
        ({"caught_by": "variance"}, "no kill: without the fault variance gives no PASS"),
        ({"verdict": Verdict.INCONCLUSIVE}, "caught, but not as expected: expected sum INCONCLUSIVE"),
        ({"phrase": "another reason"}, "caught, but not as expected"),
        ({"figure": 5.0}, "caught, but not as expected"),
        ({"right": 3.0}, "no kill: without the fault sum gives sum of shift: FAIL"),
        ({"right": "not a number"}, "no kill: without the fault sum gives sum of shift: ERROR"),
        ({"fault": "not a number"}, "caught, but not as expected"),
    ],
)
def test_what_is_no_kill(change, words):
    [sound, row], rate = told(replace(SHIFT, name="sound"), replace(SHIFT, **change))
    assert sound.verdict is Verdict.PASS
    assert row.verdict is Verdict.FAIL
    assert row.reason.startswith(words), row.reason
    assert rate.verdict is Verdict.FAIL
    assert (rate.value, rate.reason) == (0.5, "1 of 2 killed")


def test_a_fault_that_raises_is_caught_as_an_error():
    raises = replace(SHIFT, fault=None, verdict=Verdict.ERROR, phrase="TypeError", figure=np.nan)
    [row], _ = told(raises)
    assert row.verdict is Verdict.PASS, row.reason


def test_a_row_that_says_the_same_without_the_fault_kills_nothing():
    def audit(seed, limits, subject):
        judge = Judge("stability", "sum", seed, limits)
        yield judge.said("sum", "shift", Verdict.INCONCLUSIVE, "by itself", subject)
        yield judge("sum", "nothing", 0.0, 0.0)

    doubtful = Mutant("doubt", "sum", Verdict.INCONCLUSIVE, "by itself", audit, fault=2.0, right=1.0)
    [row], _ = told(doubtful)
    assert row.verdict is Verdict.FAIL
    assert row.reason.startswith("no kill: without the fault it is INCONCLUSIVE too")


def test_wide_thresholds_let_faults_live():
    limits = resolve({"svd_residual.fail": 1e20, "svd_residual.warn": 1e20})
    rows, rate = told(BY_NAME["columns of U swapped"], BY_NAME["sign"], limits=limits)
    assert [row.verdict for row in rows] == [Verdict.FAIL, Verdict.PASS]
    assert rate.verdict is Verdict.FAIL


def test_same_seed_same_rows():
    chosen = [BY_NAME["one entry 10 %"], BY_NAME["sum in float16"]]
    first, second = ([str(r) for r in audit_mutants(5, LIMITS, chosen)] for _ in range(2))
    assert first == second

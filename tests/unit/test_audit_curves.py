"""The curves of the report against theory: what a condition number costs, and the V of differences."""

import numpy as np
import pandas as pd
import pytest

from svdflow.selfcheck.curves import KAPPAS, differences, digits_lost


@pytest.fixture(scope="module")
def lost():
    return pd.DataFrame(digits_lost(3)).pivot(index="x", columns="series", values="y")


def test_stable_solvers_lose_the_digits_of_kappa(lost):
    middle = lost[(lost.index > 1e2) & (lost.index < 1e13)]
    # Forward error at most about n kappa u (Higham 2002, theorem 9.5), and on random data not far below kappa u.
    for method in ("solve", "QR"):
        excess = middle[method] - np.log10(middle.index)
        assert excess.between(-2, np.log10(20) + 1).all()


def test_normal_equations_lose_twice_as_many(lost):
    slope = np.polyfit(np.log10(KAPPAS[1:7]), lost["normal equations"].iloc[1:7], 1)[0]
    assert slope == pytest.approx(2, abs=0.3)
    assert (lost["normal equations"].iloc[9:] > 15).all()


def test_no_method_loses_more_than_there_are(lost):
    assert lost.to_numpy().max() <= 53 * np.log10(2) + 1e-9
    assert lost.to_numpy().min() >= 0


def test_differences_have_their_best_step_where_theory_has_it():
    table = pd.DataFrame(differences(0)).pivot(index="x", columns="series", values="y")
    best = {name: table[name].idxmin() for name in table}
    # Truncation against rounding: eps^(1/2) and eps^(1/3), a few decades around, where chance may give fewer errors.
    assert 1e-10 < best["forward"] < 1e-6
    assert 1e-7 < best["central"] < 1e-3
    assert table["forward"].min() > table["central"].min()
    assert table["Richardson"].min() < 1e-11
    assert table["complex step"][table.index < 1e-8].max() < 1e-14

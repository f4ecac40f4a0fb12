"""Perturbation laws and clusters: right subjects pass, planted faults do not."""

from functools import cache, partial
from itertools import pairwise
from math import pi, sin, sqrt

import mpmath
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import declared_limits
from svdflow.selfcheck import perturbation
from svdflow.selfcheck.perturbation import (
    Planted,
    audit_cluster_subspaces,
    audit_perturbation_laws,
    by_lapack,
    cluster,
    promised_sine,
    rotation,
    sine_between,
)
from svdflow.svd import truncated_svd
from unit.declared_audits import audits_of

LAWS = audits_of(perturbation)
EPS = np.finfo(float).eps
ALARMS = {Verdict.FAIL, Verdict.WARN, Verdict.ERROR}


def rows(audit, seed=0, **subjects):
    return list(audit(seed, declared_limits(), **subjects))


def alarms(records):
    return {(r.audit, r.subject) for r in records if r.verdict in ALARMS}


# Clusters


def test_values_closer_than_the_tolerance_are_one_cluster():
    s = np.array([3, 2, 2 - 1e-14, 2 - 2e-14, 1, 0, 0])
    assert cluster(s, 1e-13) == [slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 7)]
    assert cluster(s, 0) == [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 5), slice(5, 7)]
    assert cluster(s, 5) == [slice(0, 7)]
    assert cluster(np.array([]), 1) == []


@given(st.lists(st.floats(0, 1e3), max_size=20), st.floats(0, 10))
def test_clusters_cover_all_values_and_are_apart(values, tolerance):
    s = np.sort(values)[::-1]
    groups = cluster(s, tolerance)
    assert [i for g in groups for i in range(g.start, g.stop)] == list(range(len(s)))
    for a, b in pairwise(groups):
        assert s[a.stop - 1] - s[b.start] > tolerance
    for g in groups:
        assert np.all(-np.diff(s[g]) <= tolerance)


@pytest.mark.parametrize(
    ("s", "tolerance", "word"), [([1, 2], 0, "descending"), ([np.nan], 0, "finite"), ([1], -1, "at least 0")]
)
def test_cluster_names_what_is_wrong(s, tolerance, word):
    with pytest.raises(ValueError, match=word):
        cluster(np.array(s, float), tolerance)


# What the audits of perturbation are built from


def test_rotation_turns_by_the_closed_form():
    # diag(2, 1) + [0 1/2; 1/2 0]: eigenvalues (3 +- sqrt 2) / 2, turned by pi / 8.
    eye = np.eye(2)
    turned = rotation(Planted(eye, np.array([2.0, 1.0]), eye), 0, 1, 0.5)
    assert turned.spectrum == pytest.approx([(3 + sqrt(2)) / 2, (3 - sqrt(2)) / 2], rel=4 * EPS)
    assert turned.sine == pytest.approx(sin(pi / 8), rel=4 * EPS)


@pytest.mark.parametrize("index", range(6))
def test_spectra_after_perturbation_agree_with_forty_digits(index):
    rng = np.random.default_rng(4)
    planted = Planted.draw(rng, (9, 8, False), np.linspace(1, 0.125, 8))
    given = list(perturbation.perturbations(rng, planted, 0.01))[index]
    if given.spectrum is None:
        return
    with mpmath.workdps(40):
        exact = mpmath.svd_r(mpmath.matrix((planted.A + given.E).tolist()), compute_uv=False)
    assert np.abs(given.spectrum - [float(x) for x in exact]).max() <= planted.unit


def test_sine_is_that_of_the_largest_principal_angle():
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((20, 4)))[0]
    for size in (1.0, 1e-3, 1e-9):
        Y = np.linalg.qr(X + size * rng.standard_normal((20, 4)))[0]
        angle = scipy.linalg.subspace_angles(X, Y).max()
        assert sine_between(X, Y) == pytest.approx(np.sin(angle), rel=1e-6, abs=20 * EPS)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([1e-1, 1e-3, 1e-6]))
def test_promised_sine_bounds_what_the_values_allow(seed, size):
    rng = np.random.default_rng(seed)
    s = np.geomspace(1, 1e-2, 8)
    V = np.linalg.qr(np.eye(8, 3) + size * rng.standard_normal((8, 3)))[0]
    ritz = np.linalg.svd(s[:, None] * V, compute_uv=False)
    tol = float(np.max(s[:3] ** 2 - ritz**2) / s[3] ** 2)
    assert sine_between(np.eye(8, 3), V) <= promised_sine(s, 3, tol) * (1 + 1e-6) + 1e-12


# Perturbation laws


@pytest.fixture
def one_shape(monkeypatch):
    monkeypatch.setattr(perturbation, "SHAPES", ((90, 60, False),))


@cache
def right(name, seed):
    return rows(LAWS[name], seed)


def scaled_values(A, k):
    U, s, Vt = by_lapack(A, k)
    return U, s * (1 + 1e-7), Vt


def in_float32(A, k):
    return by_lapack(A.astype(np.complex64 if np.iscomplexobj(A) else np.float32), k)


def without_vectors(A, k):
    U, s, Vt = by_lapack(A, k)
    return U * 0, s, Vt


def repeated(A, k):
    """A basis that lies in the right space and does not span it."""
    U, s, Vt = by_lapack(A, k)
    U = U.copy()
    U[:, 1] = U[:, 0]
    return U, s, Vt


def by_gram_matrix(A, k):
    w, V = np.linalg.eigh(A.conj().T @ A)
    s, V = np.sqrt(np.maximum(w[::-1], 0)), V[:, ::-1]
    return (A @ V / np.where(s > 0, s, 1))[:, :k], s[:k], V[:, :k].conj().T


def tilted(A, k, angle=1e-6):
    """Exact values; the last left vector of the leading space leans towards the next."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    U = U.copy()
    i = perturbation.LEADING - 1
    U[:, [i, i + 1]] = U[:, [i, i + 1]] @ np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    return U[:, :k], s[:k], Vt[:k]


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        (scaled_values, {"weyl", "mirsky", "perturbed_exactly"}),
        (in_float32, {"weyl", "mirsky", "wedin", "perturbed_exactly"}),
        (by_gram_matrix, {"weyl", "perturbed_exactly"}),
        (without_vectors, {"wedin", "perturbed_exactly"}),
        (repeated, {"wedin", "perturbed_exactly"}),
        (tilted, {"wedin", "perturbed_exactly"}),
    ],
)
def test_perturbation_laws_catch(fault, caught, one_shape):
    found = {r.audit for r in rows(audit_perturbation_laws, subject=fault) if r.verdict is Verdict.FAIL}
    assert found >= caught


def test_values_that_are_missing_are_an_error(one_shape):
    with pytest.raises(ValueError, match="3 singular values of the 60"):
        rows(audit_perturbation_laws, subject=lambda A, k: by_lapack(A, 3))


def test_a_truncated_svd_that_stops_early_is_caught(one_shape):
    def loose(A, k):
        U, s, Vt = truncated_svd(A, rank=k, method="rsvd", max_reads=2, engine=1)
        return U, s, Vt

    failed = {r.audit for r in rows(audit_perturbation_laws, truncated=loose) if r.verdict is Verdict.FAIL}
    assert failed >= {"wedin", "perturbed_exactly"}


def test_nan_is_an_error_and_never_passes(one_shape):
    def broken(A, k):
        U, s, Vt = by_lapack(A, k)
        return U, s * np.nan, Vt

    records = {r.audit: r for r in rows(audit_perturbation_laws, subject=broken) if r.subject == "full SVD"}
    assert records["weyl"].verdict is records["perturbed_exactly"].verdict is Verdict.ERROR


def test_adversarial_perturbations_attain_the_laws():
    laws = [record for record in right("perturbation_laws", 1) if record.audit in ("weyl", "mirsky", "wedin")]
    assert {record.audit for record in laws} == {"weyl", "mirsky", "wedin"}
    for record in laws:
        assert 0.98 < record.value < 1  # so a fault of some percent of |E| can be seen: the resolution
        assert record.resolution < 0.03


# Clusters as subspaces


def mixed_inside(A, k):
    """Any basis of a cluster is as good as any other: this one is turned at random inside clusters."""
    U, s, Vt = by_lapack(A, k)
    U, Vt, rng = U.copy(), Vt.copy(), np.random.default_rng(0)
    for g in cluster(s, 1e-8):
        Q = np.linalg.qr(rng.standard_normal((g.stop - g.start,) * 2))[0]
        U[:, g], Vt[g] = U[:, g] @ Q, Q.T @ Vt[g]
    return U, s, Vt


def swapped_across(A, k):
    """The last vector of the first cluster and the simple one after it have changed places."""
    U, s, Vt = by_lapack(A, k)
    U, Vt = U.copy(), Vt.copy()
    U[:, [2, 3]], Vt[[2, 3]] = U[:, [3, 2]], Vt[[3, 2]]
    return U, s, Vt


def test_a_basis_turned_inside_its_cluster_passes(one_shape):
    records = rows(audit_cluster_subspaces, subject=mixed_inside)
    assert not alarms(records)


@pytest.mark.parametrize(
    "fault", [without_vectors, repeated, swapped_across, in_float32, partial(tilted, angle=1e-9)]
)
def test_cluster_subspaces_catch(fault, one_shape):
    failed = {r.audit for r in rows(audit_cluster_subspaces, subject=fault) if r.verdict is Verdict.FAIL}
    assert "cluster_subspaces" in failed


def test_vectors_of_a_cluster_are_never_judged_alone():
    [record] = [
        r for r in right("cluster_subspaces", 1) if r.audit == "clustered_vectors" and r.subject == "full SVD"
    ]
    assert record.verdict is Verdict.INCONCLUSIVE
    assert record.value > 0.5  # radians or so: entirely other vectors, while the projector stays
    assert "gap below" in record.reason


# False alarms


@pytest.mark.parametrize("seed", range(3))
def test_laws_do_not_alarm(seed):
    for name in LAWS:
        assert not alarms(right(name, seed)), seed


@pytest.mark.parametrize("audit", LAWS.values())
def test_a_seed_gives_the_same_rows(audit, one_shape):
    first = rows(audit, 1)
    assert [str(r) for r in first] == [str(r) for r in rows(audit, 1)]
    for record in first:
        assert record.reason and record.reproduce and record.seed == 1
        assert not np.isnan(record.resolution)

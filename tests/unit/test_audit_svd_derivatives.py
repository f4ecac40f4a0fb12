"""Derivatives of the SVD against autograd, differences and exact facts; audits that see each planted fault."""

from dataclasses import replace

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse as sp
from autograd import grad

from svdflow.analysis.svd_derivatives import (
    EPS,
    expected_error,
    naive_truncated_backward,
    singular_value_gradient,
    svd_backward,
    svd_derivative,
    truncated_svd_backward,
)
from svdflow.audit.verdicts import Verdict
from svdflow.errors import ClusterError
from svdflow.matrix.generators.randomness import normal
from svdflow.registry.limits import resolve
from svdflow.selfcheck import planted_derivatives
from svdflow.selfcheck.planted_derivatives import OWN, SCALES, Planted, cotangents_of, pairing
from svdflow.svd import truncated_svd
from unit.declared_audits import audits_of

AUDITS = audits_of(planted_derivatives)
LIMITS = resolve()


def rows(name, subject=OWN, seed=0):
    return {record.subject: record for record in AUDITS[name](seed, LIMITS, subject)}


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(5))
def test_no_false_alarm(name, seed):
    for record in AUDITS[name](seed, LIMITS):
        allowed = {"svd_naive": Verdict.WARN}.get(record.audit, Verdict.PASS)
        if record.audit == "svd_clusters" and "0.1" not in record.subject:
            allowed = Verdict.INCONCLUSIVE
        assert record.verdict is allowed, str(record)
        assert record.reproduce == f"python -m svdflow audit {name} --seed {seed}"
        assert record.reason


@pytest.mark.parametrize("name", AUDITS)
def test_the_same_seed_gives_the_same_rows(name):
    assert list(map(str, AUDITS[name](7, LIMITS))) == list(map(str, AUDITS[name](7, LIMITS)))


# -- the formulas


def test_gradient_of_a_singular_value_of_a_diagonal_matrix():
    A = np.zeros((3, 2))
    A[0, 0], A[1, 1] = 3, 2
    G = singular_value_gradient(np.linalg.svd(A, full_matrices=False), 1)
    assert np.array_equal(np.abs(G), np.eye(3, 2) * [0, 1])
    assert G[1, 1] == 1  # s_2 grows as a_22 does, whatever the signs of the vectors


def test_a_rotation_is_recovered():
    """A(t) = R(t) diag(2, 1) turns U at unit speed and leaves s and V: dU = R' exactly."""
    J = np.array([[0.0, -1.0], [1.0, 0.0]])
    S = np.diag([2.0, 1.0])
    dU, ds, dVh = svd_derivative((np.eye(2), np.array([2.0, 1.0]), np.eye(2)), J @ S)
    assert np.allclose(dU, J, atol=4 * EPS) and np.allclose(ds, 0, atol=4 * EPS)
    assert np.allclose(dVh, 0, atol=4 * EPS)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (5, 5), (7, 3)])
def test_backward_agrees_with_autograd(shape):
    rng = np.random.default_rng(3)
    A, C = rng.standard_normal(shape), rng.standard_normal(shape)

    def loss(A):
        U, s, Vh = anp.linalg.svd(A, full_matrices=False)
        return anp.sum(C * (anp.dot(U * anp.tanh(s), Vh)) ** 2) + anp.sum(s**3)

    factors = U, s, Vh = np.linalg.svd(A, full_matrices=False)
    T = 2 * C * ((U * np.tanh(s)) @ Vh)
    inner = np.einsum("ji,jk,ik->i", U, T, Vh)
    cotangents = T @ Vh.T * np.tanh(s), inner / np.cosh(s) ** 2 + 3 * s**2, np.tanh(s)[:, None] * (U.T @ T)
    expected = grad(loss)(A)
    # Both round like the vectors they divide by gaps of.
    close = 100 * expected_error(s, shape) * np.linalg.norm(expected)
    assert np.linalg.norm(svd_backward(factors, cotangents) - expected) < close


def planted_product(complex_):
    """A matrix (6, 5), what is summed of its first two triplets, and a direction."""
    rng = np.random.default_rng(5)
    return [normal(rng, (6, 5), complex_) for _ in range(3)]


def slope_by(function, A, C, D):
    """The derivative along D by a function that gives gradients through kept triplets."""
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    kept = U[:, :2], s[:2], Vh[:2]
    gA = function(A, kept, (C @ Vh[:2].conj().T, 0 * s[:2], U[:, :2].conj().T @ C))
    return pairing([gA], [D])


@pytest.mark.parametrize("complex_", [False, True])
def test_truncated_gradient_agrees_with_differences(complex_):
    """A 6 x 5 matrix, two triplets; the naive formula does not agree."""
    A, C, D = planted_product(complex_)

    def loss(A):
        U, _, Vh = np.linalg.svd(A, full_matrices=False)
        return pairing([C], [U[:, :2] @ Vh[:2]])

    h = 1e-3
    coarse, fine = ((loss(A + t * D) - loss(A - t * D)) / (2 * t) for t in (h, h / 2))
    difference = fine + (fine - coarse) / 3  # its error is h^4 times a fifth derivative and eps / h
    assert slope_by(truncated_svd_backward, A, C, D) == pytest.approx(difference, rel=1e-7)
    assert abs(slope_by(naive_truncated_backward, A, C, D) / difference - 1) > 0.01


def test_truncated_gradient_agrees_with_autograd_through_the_full_svd():
    A, C, D = planted_product(False)

    def through_full(A):
        U, _, Vh = anp.linalg.svd(A, full_matrices=False)
        return anp.sum(C * anp.dot(U[:, :2], Vh[:2]))

    expected = np.sum(grad(through_full)(A) * D)
    assert slope_by(truncated_svd_backward, A, C, D) == pytest.approx(expected, rel=1e-11)


def test_truncated_backward_of_svdflows_own_factors():
    rng = np.random.default_rng(1)
    U, V = (np.linalg.qr(rng.standard_normal((side, 30)))[0] for side in (80, 50))
    A = (U * 0.8 ** np.arange(30)) @ V.T
    D, C = rng.standard_normal(A.shape), rng.standard_normal(A.shape)
    found = truncated_svd(A, 4, method="full")
    full = np.linalg.svd(A, full_matrices=False)
    gradients = []
    for U, s, Vh in (tuple(found), full):
        g = C @ Vh[:4].T, np.zeros(4), U[:, :4].T @ C
        pads = [np.zeros_like(f) for f in (U, s, Vh)]
        if len(s) > 4:
            pads[0][:, :4], pads[2][:4] = g[0], g[2]
            U, s, Vh = full[0][:, :30], full[1][:30], full[2][:30]
            # Rank 30 is numerical: the 20 values of rounding form one cluster, on which the loss does not depend.
            gradients.append(svd_backward((U, s, Vh), (pads[0][:, :30], pads[1][:30], pads[2][:30]), A))
        else:
            gradients.append(truncated_svd_backward(A, (U, s, Vh), g))
    assert pairing([gradients[0]], [D]) == pytest.approx(pairing([gradients[1]], [D]), rel=1e-9)


@pytest.mark.parametrize("values", [6, 3])
def test_values_alone_move_as_their_gradients_say(values):
    """Differences of LAPACK's values without vectors, which takes another path than that with vectors."""
    rng = np.random.default_rng(8)
    A, D = normal(rng, (6, 7), True), normal(rng, (6, 7), True)
    factors = np.linalg.svd(A, full_matrices=False)
    h = 1e-3
    up, down, more, less = (np.linalg.svd(A + t * D, compute_uv=False) for t in (h, -h, h / 2, -h / 2))
    coarse, fine = (up - down) / (2 * h), (more - less) / h
    slopes = fine + (fine - coarse) / 3
    for i in range(values):
        assert pairing([singular_value_gradient(factors, i)], [D]) == pytest.approx(slopes[i], rel=1e-7)


@pytest.mark.parametrize("gap", [1e-5, 1e-9, 1e-13])
def test_without_a_cluster_the_error_is_what_is_expected(gap):
    """The gradient of ||U S V||^2 is 2 A; a small gap costs digits, at most as many as are foretold."""
    for seed in range(20):
        case = planted_derivatives.tied(np.random.default_rng(seed), gap, False)
        U, s, Vh = factors = np.linalg.svd(case.A, full_matrices=False)
        gA = svd_backward(factors, (2 * U * s**2, 2 * s, 2 * (s**2)[:, None] * Vh))
        error = np.linalg.norm(gA - 2 * case.A) / np.linalg.norm(2 * case.A)
        assert error < 4 * expected_error(s, case.A.shape)


def test_sparse_matrices_and_their_transposes():
    rng = np.random.default_rng(0)
    A = sp.random_array((40, 30), density=0.2, rng=rng, data_sampler=rng.standard_normal).tocsr()
    U, s, Vh = np.linalg.svd(A.toarray(), full_matrices=False)
    kept = U[:, :3], s[:3], Vh[:3]
    g = cotangents_of(rng, kept)
    dense = svd_backward(kept, g, A.toarray())
    assert np.allclose(svd_backward(kept, g, A), dense, rtol=0, atol=1e-11 * np.abs(dense).max())
    swapped = Vh[:3].T, s[:3], U[:, :3].T
    turned = svd_backward(swapped, (g[2].T, g[1], g[0].T), A.T)
    assert np.allclose(turned.T, dense, rtol=0, atol=1e-11 * np.abs(dense).max())


def test_one_triplet_is_power_iteration():
    """k = 1: s_1 is simple wherever s_2 < s_1, and du_1 stays orthogonal to u_1."""
    case = Planted.draw(np.random.default_rng(1), (5, 4), np.array([1.0, 0.9, 0.2, 0.1]), True)
    kept, changes = case.computed(1)
    for found, expected in zip(svd_derivative(kept, case.dA, case.A), changes, strict=True):
        assert np.allclose(found, expected, rtol=0, atol=1e-12 * np.linalg.norm(case.dA) / 0.1)


def test_ties_raise_and_never_give_nan():
    A = np.diag([1.0, 1.0, 2.0, 3.0])
    U, s, Vh = factors = np.linalg.svd(A)
    with pytest.raises(ClusterError, match="have no derivative"):
        svd_derivative(factors, np.ones((4, 4)))
    with pytest.raises(ClusterError, match="no gradient"):
        singular_value_gradient(factors, 2)
    cotangents = 2 * U * s**2, 2 * s, 2 * (s**2)[:, None] * Vh
    assert np.allclose(svd_backward(factors, cotangents, cluster=1e-12), 2 * A, rtol=0, atol=30 * EPS)

    def loss(A):
        U, s, Vh = anp.linalg.svd(A, full_matrices=False)
        return anp.sum(anp.dot(U * s, Vh) ** 2)

    with np.errstate(all="ignore"):
        assert np.isnan(grad(loss)(A)).any()  # what the rule of autograd makes of it


def test_no_gap_at_the_cut_is_refused():
    rng = np.random.default_rng(0)
    case = Planted.draw(rng, (6, 4), np.array([1.0, 0.5, 0.5, 0.1]), False)
    kept = tuple(case.factors[i][..., :2] if i < 2 else case.factors[i][:2] for i in range(3))
    with pytest.raises(ClusterError, match="s_2"):
        truncated_svd_backward(case.A, kept, cotangents_of(rng, kept))


@pytest.mark.parametrize(
    ("s", "error", "words"), [([0.0, 0.0], ClusterError, "zero"), ([1.0, 0.0], ClusterError, "zero")]
)
def test_zero_singular_values_are_refused(s, error, words):
    factors = np.eye(3, 2), np.array(s), np.eye(2)
    with pytest.raises(error, match=words):
        svd_derivative(factors, np.ones((3, 2)))


def test_kept_triplets_alone_are_refused():
    factors = np.eye(3)[:, :1], np.array([1.0]), np.eye(3)[:1]
    with pytest.raises(ValueError, match="give A too"):
        svd_derivative(factors, np.ones((3, 3)))


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_do_not_depend_on_scale(scale):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((5, 4))
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    g = normal(rng, U.shape, False), 0 * s, normal(rng, Vh.shape, False)
    plain, scaled = (svd_backward((U, s * c, Vh), g) * c for c in (1.0, scale))
    assert np.allclose(plain, scaled, rtol=1e-12, atol=0)


def test_planted_changes_are_derivatives():
    """The oracle itself: the factors' changes, taken as a small step, change A by dA up to the square of the step."""
    case = Planted.draw(np.random.default_rng(0), (6, 4), np.array([1.0, 0.8, 0.5, 0.2]), True)
    (U, s, Vh), (dU, ds, dVh) = case.factors, case.changes
    t = 1e-6
    stepped = ((U + t * dU) * (s + t * ds)) @ (Vh + t * dVh)
    assert np.linalg.norm(stepped - case.A - t * case.dA) < 1e3 * t**2
    for B, dB in ((U, dU), (Vh.conj().T, dVh.conj().T)):
        turn = B.conj().T @ dB
        assert np.allclose(turn, -turn.conj().T, atol=1e-12)  # columns stay orthonormal


# -- planted faults


def textbook_backward(factors, cotangents, A=None, *, cluster=None):
    """1 / (s_j^2 - s_i^2) as libraries have it, without scale or clusters."""
    U, s, Vh = factors
    gU, gs, gVh = cotangents
    with np.errstate(all="ignore"):
        F = 1 / (s**2 - (s**2)[:, None])
        np.fill_diagonal(F, 0)
        left, right = U.conj().T @ gU, Vh @ gVh.conj().T
        left, right = F * (left - left.conj().T), F * (right - right.conj().T)
        gP = left * s + s[:, None] * right + np.diag(gs)
        outside = (gU - U @ (U.conj().T @ gU)) / s @ Vh
        return U @ gP @ Vh + outside + U @ ((gVh - gVh @ Vh.conj().T @ Vh) / s[:, None])


FAULTS = {
    "naive truncated gradient": ("truncated", naive_truncated_backward, "svd_truncated", "with correction"),
    "order of values off by one": (
        "value",
        lambda factors, i: singular_value_gradient(factors, (i + 1) % len(tuple(factors)[1])),
        "svd_derivative",
        "singular values",
    ),
    "transposed dA": (
        "forward",
        lambda factors, dA, A=None: svd_derivative(factors, dA[::-1], A),
        "svd_derivative",
        "vectors",
    ),
    "conjugate forgotten": (
        "backward",
        lambda factors, g, A=None, cluster=None: svd_backward(factors, g, A, cluster=cluster).conj(),
        "svd_derivative",
        "backward",
    ),
    "no scale, no phase": ("backward", textbook_backward, "svd_derivative", "backward"),
    "division by zero at ties": ("backward", textbook_backward, "svd_gauge", "||U S V^H||^2 at ties"),
    "a number at ties": (
        "forward",
        lambda factors, dA, A=None: svd_derivative(factors, dA, A, cluster=1e-12),
        "svd_clusters",
        "vectors, gap 0 s_1",
    ),
}


REASONS = {
    "svd_truncated": "worst of 6 cases, s_3/s_2",
    "svd_derivative": "worst of 40 cases",
    "svd_gauge": "NaN or infinity in a derivative",
    "svd_clusters": "a finite number for what does not exist",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_planted_faults_fail(fault, seed):
    part, wrong, name, where = FAULTS[fault]
    record = rows(name, replace(OWN, **{part: wrong}), seed)[where]
    assert record.verdict is Verdict.FAIL, str(record)
    assert REASONS[name] in record.reason


def test_reasons_say_what_happened():
    ties = rows("svd_gauge", replace(OWN, backward=textbook_backward))["||U S V^H||^2 at ties"]
    assert "NaN or infinity" in ties.reason
    silent = replace(OWN, forward=lambda factors, dA: svd_derivative(factors, dA, cluster=1e-12))
    assert (
        "a finite number for what does not exist" in rows("svd_clusters", silent)["vectors, gap 0 s_1"].reason
    )
    with np.errstate(all="ignore"):
        nothing = replace(OWN, forward=lambda factors, dA: tuple(f * np.nan for f in factors))
        assert "NaN" in rows("svd_clusters", nothing)["vectors, gap 0 s_1"].reason
        assert rows("svd_clusters", nothing)["vectors, gap 0.1 s_1"].verdict is Verdict.FAIL


def test_the_expected_error_of_close_vectors_is_told():
    record = rows("svd_clusters")["vectors, gap 1e-13 s_1"]
    assert "gap 1e-13 s_1, expected error u s_1 / gap = 1.1e-03" in record.reason
    assert record.resolution > LIMITS["svd_clusters"].resolution


def test_a_wrong_derivative_at_a_wide_gap_is_no_excuse_for_raising():
    def shy(factors, dA, A=None):
        raise ClusterError("no")

    assert rows("svd_clusters", replace(OWN, forward=shy))["vectors, gap 0.1 s_1"].verdict is Verdict.FAIL


def test_a_function_that_sees_the_basis_is_found_by_rotation():
    """The contract of `cluster`: what it makes of Re tr(B^H A), smooth as that is, turns with the basis."""
    rng = np.random.default_rng(4)
    case = planted_derivatives.tied(rng, 0.0, False)
    B = rng.standard_normal(case.A.shape)
    found = []
    for _ in range(2):
        U, s, Vh = factors = planted_derivatives.rotated(rng, case.factors, 2)
        g = B @ Vh.T * s, np.einsum("ji,jk,ik->i", U, B, Vh), s[:, None] * (U.T @ B)
        found.append(svd_backward(factors, g, cluster=1e-12))
    assert np.linalg.norm(found[0] - found[1]) > 1e-3

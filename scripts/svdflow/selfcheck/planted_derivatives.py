"""Derivatives of the SVD against planted truth: changes of known factors, and what a loss may not see."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.analysis.svd_derivatives import (
    EPS,
    Array,
    Triplets,
    expected_error,
    naive_truncated_backward,
    off,
    singular_value_gradient,
    svd_backward,
    svd_derivative,
    truncated_svd_backward,
)
from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.errors import ClusterError
from svdflow.matrix.generators.randomness import normal
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import orthonormal

FAMILY = "gradients"


@dataclass(frozen=True)
class Derivatives:
    """What the audits below judge: the functions of this module, or others of the same signatures."""

    value: Callable[..., Array] = singular_value_gradient
    forward: Callable[..., Triplets] = svd_derivative
    backward: Callable[..., Array] = svd_backward
    truncated: Callable[..., Array] = truncated_svd_backward


OWN = Derivatives()


@dataclass(frozen=True)
class Planted:
    """A matrix, a change of it, and the change of its factors, known without any decomposition.

    Any skew Hermitian ``U^H dU`` and ``V^H dV``, real ds and parts outside of U and V make a ``dA = dU S V^H +
    U dS V^H + U S dV^H``, of which they are the derivative.
    """

    A: Array
    dA: Array
    factors: Triplets
    changes: Triplets

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int], s: Array, complex_: bool) -> "Planted":
        k = len(s)
        U, V = (orthonormal(rng, side, k, complex_) for side in shape)
        turns = [normal(rng, (k, k), complex_) for _ in range(2)]
        left, right = (turn - turn.conj().T for turn in turns)
        phase = np.diag(left.diagonal())
        right = right - np.diag(right.diagonal()) - phase
        dU, dV = (B @ turn + off(B, normal(rng, B.shape, complex_)) for B, turn in ((U, left), (V, right)))
        ds = s[0] * rng.standard_normal(k)
        dA = (dU * s) @ V.conj().T + (U * ds) @ V.conj().T + (U * s) @ dV.conj().T
        return cls((U * s) @ V.conj().T, dA, (U, s, V.conj().T), (dU, ds, dV.conj().T))

    def computed(self, k: int | None = None) -> tuple[Triplets, Triplets]:
        """Factors by LAPACK, and the planted changes in their phases."""
        U, s, Vh = np.linalg.svd(self.A, full_matrices=False)
        phases = np.einsum("ij,ij->j", self.factors[0].conj(), U)
        phases = phases / np.abs(phases)
        dU, ds, dVh = self.changes
        changes = (dU * phases)[:, :k], ds[:k], (phases.conj()[:, None] * dVh)[:k]
        return (U[:, :k], s[:k], Vh[:k]), changes


def pairing(X: Iterable[Array], Y: Iterable[Array]) -> float:
    """``Re tr(X^H Y)``, summed over factors."""
    return float(sum(np.vdot(x, y).real for x, y in zip(X, Y, strict=True)))


SHAPES = ((6, 5), (5, 8), (5, 5), (7, 2))  # tall, wide, square, and with more dimensions outside than inside
SCALES = (1e-20, 1e-10, 1.0, 1e10, 1e20)  # s_1; a rule that adds a constant to gaps shows at the ends
GAPS = (1e-1, 1e-13, 0.0)  # between neighbours, over s_1: digits are left, next to none, no derivative
TAILS = (0.7, 0.3, 0.1)  # s_3 / s_2


def audit_svd_derivative(
    seed: int, limits: Mapping[str, Threshold], subject: Derivatives = OWN
) -> Iterator[Record]:
    """Simple singular values: forward, backward and the gradient of s_i against planted changes at five scales.

    Errors are shares of ``max(m, n) eps (s_1 / gap)`` times the largest derivative, ``||dA|| / gap``.
    """
    judge = Judge(FAMILY, "svd_derivative", seed, limits)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"singular values": [], "vectors": [], "backward": []}
    gap = 0.8 / (max(map(min, SHAPES)) - 1)
    for shape in SHAPES:
        for scale in SCALES:
            for complex_ in (False, True):
                s = scale * np.linspace(1, 0.2, min(shape))
                case = Planted.draw(rng, shape, s, complex_)
                for name, error in _errors(case, subject, rng).items():
                    found[name].append(error)
    for name, errors in found.items():
        reason = f"worst of {len(errors)} cases, s_1 from {SCALES[0]:g} to {SCALES[-1]:g}; {at_gap(gap)}"
        value = largest(errors)
        yield judge("svd_derivative", name, value, 1.0, finite(value, reason))


def _errors(case: Planted, subject: Derivatives, rng: np.random.Generator) -> dict[str, float]:
    factors, (dU, ds, dVh) = case.computed()
    s, size = factors[1], float(np.linalg.norm(case.dA))
    gap = float(np.min(-np.diff(s)))
    unit = expected_error(s, case.A.shape)
    slopes = [pairing([subject.value(factors, i)], [case.dA]) for i in range(len(s))]
    forward = subject.forward(factors, case.dA)
    turned = np.linalg.norm(forward[0] - dU) + np.linalg.norm(forward[2] - dVh)
    cotangents = cotangents_of(rng, factors)
    gA = subject.backward(factors, cotangents)
    length = sum(
        float(np.linalg.norm(g)) * unit_of for g, unit_of in zip(cotangents, (1, s[0], 1), strict=True)
    )
    missed = abs(pairing([gA], [case.dA]) - pairing(cotangents, (dU, ds, dVh)))
    return {
        "singular values": float(max(np.abs(slopes - ds).max(), np.abs(forward[1] - ds).max()) / size / unit),
        "vectors": float(turned / (size / gap) / unit),
        "backward": missed / (length * size / gap) / unit,
    }


def cotangents_of(rng: np.random.Generator, factors: Triplets) -> Triplets:
    """A random gradient in U, s and Vh; that in s is as large as those in vectors for the scale of A."""
    gU, gs, gVh = (normal(rng, f.shape, f.dtype.kind == "c") for f in factors)
    return gU, gs / factors[1][0], gVh


def largest(errors: Iterable[Any]) -> float:
    """The largest; NaN counts as infinite, so that it fails."""
    return max(np.inf if np.isnan(error) else float(error) for error in errors)


def at_gap(gap: float) -> str:
    """A gap relative to s_1, and what it makes of one rounding."""
    return f"smallest gap {gap:g} s_1, expected error u s_1 / gap = {EPS / 2 / gap if gap else np.inf:.1e}"


def finite(value: float, reason: str) -> str:
    """The reason, with what an infinite value stands for."""
    return reason if np.isfinite(value) else f"NaN or infinity in a derivative; {reason}"


def audit_svd_gauge(
    seed: int, limits: Mapping[str, Threshold], subject: Derivatives = OWN
) -> Iterator[Record]:
    """Functions that do not see which basis of a cluster was chosen: neither may their gradients.

    ``||U S V^H||_F^2`` and ``Re tr(W U_c U_c^H)`` at an exact tie and at a gap of 1e-13, under random rotations in the
    cluster; ``Re tr(C^H U_k V_k^H)`` under random phases or signs. The gradient of the first is 2 A.
    """
    judge = Judge(FAMILY, "svd_gauge", seed, limits)
    rng = np.random.default_rng(seed)
    for name, invariant in INVARIANT.items():
        errors = [
            invariant(rng, gap, complex_, subject) for gap in (0.0, 1e-13) for complex_ in (False, True)
        ]
        reason = f"worst of {len(errors)} cases, ties and gaps 1e-13, each under 4 rotations of the cluster"
        value = largest(errors)
        yield judge("svd_gauge", name, value, 1.0, finite(value, reason))


def tied(rng: np.random.Generator, gap: float, complex_: bool) -> Planted:
    """A matrix with singular values 1, 1 - gap, 0.5, 0.25."""
    return Planted.draw(rng, (6, 4), np.array([1.0, 1.0 - gap, 0.5, 0.25]), complex_)


def rotated(rng: np.random.Generator, factors: Triplets, width: int) -> Triplets:
    """The first `width` triplets in another basis, orthogonal or unitary."""
    U, s, Vh = factors
    Q = np.eye(len(s), dtype=U.dtype)
    Q[:width, :width] = orthonormal(rng, width, width, U.dtype.kind == "c")
    return U @ Q, s, Q.conj().T @ Vh


def _norm_at_ties(rng: np.random.Generator, gap: float, complex_: bool, subject: Derivatives) -> float:
    case, errors = tied(rng, gap, complex_), []
    for _ in range(4):
        U, s, Vh = factors = rotated(rng, case.factors, 2)
        gA = subject.backward(factors, (2 * U * s**2, 2 * s, 2 * (s**2)[:, None] * Vh), cluster=1e-12)
        errors.append(np.linalg.norm(gA - 2 * case.A) / np.linalg.norm(case.A))
    return largest(errors) / (max(case.A.shape) * EPS + gap)


def _projector_at_ties(rng: np.random.Generator, gap: float, complex_: bool, subject: Derivatives) -> float:
    case, errors = tied(rng, gap, complex_), []
    W = normal(rng, (6, 6), complex_)
    W = W + W.conj().T
    U_c, dU_c = case.factors[0][:, :2], case.changes[0][:, :2]
    slope = 2 * np.vdot(W @ U_c, dU_c).real
    for _ in range(4):
        U, s, Vh = factors = rotated(rng, case.factors, 2)
        gU = np.hstack([2 * W @ U[:, :2], np.zeros_like(U[:, 2:])])
        gA = subject.backward(factors, (gU, 0 * s, 0 * Vh), cluster=1e-12)
        errors.append(abs(pairing([gA], [case.dA]) - slope))
    size = float(np.linalg.norm(W) * np.linalg.norm(case.dA)) / 0.5
    return largest(errors) / size / (max(case.A.shape) * EPS / 0.5 + gap)


def _phases(rng: np.random.Generator, gap: float, complex_: bool, subject: Derivatives) -> float:
    case = Planted.draw(rng, (6, 4), np.array([1.0, 0.8, 0.5, 0.25]), complex_)
    C, k, errors = normal(rng, (6, 4), complex_), 2, []
    U, s, Vh = case.factors
    dU, _, dVh = case.changes
    slope = pairing([C], [dU[:, :k] @ Vh[:k] + U[:, :k] @ dVh[:k]])
    for _ in range(4):
        phases = normal(rng, (k,), complex_)
        phases = phases / np.abs(phases)
        kept = U[:, :k] * phases, s[:k], phases.conj()[:, None] * Vh[:k]
        gA = subject.truncated(case.A, kept, (C @ kept[2].conj().T, 0 * s[:k], kept[0].conj().T @ C))
        errors.append(abs(pairing([gA], [case.dA]) - slope))
    size = float(np.linalg.norm(C) * np.linalg.norm(case.dA)) / 0.2
    return largest(errors) / size / (6 * EPS / 0.2)


INVARIANT: dict[str, Callable[[np.random.Generator, float, bool, Derivatives], float]] = {
    "||U S V^H||^2 at ties": _norm_at_ties,
    "projector at ties": _projector_at_ties,
    "phases and signs": _phases,
}


def audit_svd_clusters(
    seed: int, limits: Mapping[str, Threshold], subject: Derivatives = OWN
) -> Iterator[Record]:
    """Derivatives of single vectors as their gap closes: a number, a number with few digits, and no number.

    Relative to ``||dA|| / gap``; the resolution is what rounding of A alone makes of them.
    """
    judge = Judge(FAMILY, "svd_clusters", seed, limits)
    rng = np.random.default_rng(seed)
    for gap in GAPS:
        case, name = tied(rng, gap, False), f"vectors, gap {gap:g} s_1"
        factors, changes = case.computed() if gap else (case.factors, case.changes)
        expected = expected_error(factors[1], case.A.shape)
        blind = 10 * expected > limits["svd_clusters"].resolution
        told = f"cluster: {at_gap(gap)}" if blind else at_gap(gap)
        try:
            dU = subject.forward(factors, case.dA)[0]
        except ClusterError as trouble:
            verdict = Verdict.INCONCLUSIVE if blind else Verdict.FAIL
            yield judge.said("svd_clusters", name, verdict, f"{told}; {trouble}", resolution=expected)
            continue
        if gap == 0:
            kind = "NaN or infinity" if not np.isfinite(dU).all() else "a finite number"
            reason = f"{told}; {kind} for what does not exist"
            yield judge("svd_clusters", name, np.inf, 0.0, reason)
            continue
        error = float(np.linalg.norm(dU - changes[0])) / (float(np.linalg.norm(case.dA)) / gap)
        value = largest([error])
        yield judge("svd_clusters", name, value, 10 * expected, finite(value, told))


def audit_svd_truncated(
    seed: int, limits: Mapping[str, Threshold], subject: Derivatives = OWN
) -> Iterator[Record]:
    """Gradients through two triplets of a 6 x 5 matrix, whose other three begin at 0.7, 0.3 and 0.1 of s_2.

    Beside them what the usual formula, which knows of the kept triplets only, makes of the same, as a share of the
    gradient: a known fault, so it warns and never fails.
    """
    judge = Judge(FAMILY, "svd_truncated", seed, limits)
    rng = np.random.default_rng(seed)
    right, shares, figures = [], [], []
    for tail in TAILS:
        for complex_ in (False, True):
            s = np.array([1.0, 0.8, 0.8 * tail, 0.4 * tail, 0.2 * tail])
            case = Planted.draw(rng, (6, 5), s, complex_)
            kept, changes = case.computed(2)
            cotangents = cotangents_of(rng, kept)
            gA = subject.truncated(case.A, kept, cotangents)
            truth = pairing(cotangents, changes)
            sizes = [np.linalg.norm(g) * np.linalg.norm(d) for g, d in zip(cotangents, changes, strict=True)]
            right.append(abs(pairing([gA], [case.dA]) - truth) / float(sum(sizes)))
        naive = naive_truncated_backward(case.A, kept, cotangents)
        shares.append(float(np.linalg.norm(naive - gA) / np.linalg.norm(gA)))
        slope = pairing([naive], [case.dA])
        figures.append(f"{shares[-1]:.0%} at s_3/s_2 = {tail:g} (slope {slope:.4f} for {truth:.4f})")
    resolution = 6 * EPS / 0.2**2
    tails = ", ".join(f"{tail:g}" for tail in TAILS)
    reason = f"worst of {len(right)} cases, s_3/s_2 = {tails}; {at_gap(0.2)}"
    yield judge("svd_truncated", "with correction", largest(right), resolution, reason)
    reason = f"known fault: wrong by {', '.join(figures)}"
    yield judge("svd_naive", "kept triplets only", largest(shares), resolution, reason)

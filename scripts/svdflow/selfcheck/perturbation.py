"""Perturbation laws of singular values and subspaces, and clusters of values judged as subspaces.

The matrices are built from a known decomposition, and most perturbations from its vectors, so that the exact
spectrum and the exact angle after the perturbation are known too: the laws are then met with equality, and a
decomposition that is off by more than rounding breaks them or falls short of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import atan, hypot, inf, sin, sqrt

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.matrix.generators.randomness import normal
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import orthonormal
from svdflow.svd import truncated_svd

Decomposition = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
Limits = Mapping[str, Threshold]

EPS = float(np.finfo(np.float64).eps)
FAMILY = "conditioning"
SLACK = 10  # times max(m, n) eps s_1: what rounding may add; NumPy's SVD needs 0.2 over 12 seeds (tests/unit)
LEADING = 6  # triplets of a truncated decomposition, whose subspace Wedin's law is put to
TOL = 1e-13  # that the truncated decomposition is asked for: near rounding, so that the laws see the perturbation
SIZES = (1e-2, 1e-5, 1e-8)  # |E| / s_1: a large, a middling and a small perturbation
SHAPES = ((90, 60, False), (60, 90, False), (64, 64, True))  # rows, columns, complex
CLUSTERS = ((1.0, 3), (0.8, 1), (0.65, 2), (0.5, 4), (0.35, 1))  # value, how often; a tail follows
TAIL = (0.2, 0.01)  # values after the clusters fall evenly between these
SPREAD = 1e-14  # relative distance inside every other planted cluster, far below 10 n eps


def by_lapack(A: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading k triplets of the full decomposition: U (m, k), s (k,), Vt (k, n)."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return U[:, :k], s[:k], Vt[:k]


def by_truncation(A: np.ndarray, k: int, method: str = "krylov") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading k triplets from `svdflow.truncated_svd`, tolerance `TOL`, on one thread."""
    U, s, Vt = truncated_svd(A, rank=k, method=method, tol=TOL, max_reads=60, engine=1)
    return U, s, Vt


# Krylov spaces fill these small matrices where values are close; thick restarts never do.
by_lanczos = partial(by_truncation, method="lanczos")


def cluster(s: np.ndarray, tolerance: float) -> list[slice]:
    """Group singular values whose neighbours lie closer than a tolerance.

    Parameters
    ----------
    s : array, shape (k,)
        Singular values in descending order.
    tolerance : float
        Absolute, in the unit of `s`. Two neighbours belong together where they differ by at most this;
        ``10 * max(m, n) * eps * s[0]`` joins what float64 cannot tell apart.

    Returns
    -------
    groups : list of slice
        In order, covering all of `s`; a simple value is a group of one. The values of a group may span more
        than the tolerance, since neighbours alone are compared.

    Raises
    ------
    ValueError
        The values are not in descending order or not finite, or the tolerance is negative.

    Examples
    --------
    >>> cluster(np.array([2.0, 1.0, 1.0, 0.5]), 1e-12)
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    s = np.asarray(s, np.float64)
    if not tolerance >= 0:
        raise ValueError(f"the tolerance {tolerance} should be at least 0")
    gaps = -np.diff(s)
    if not np.all(np.isfinite(s)) or np.any(gaps < 0):
        raise ValueError("the singular values should be finite and in descending order")
    edges = [0, *(int(i) + 1 for i in np.flatnonzero(gaps > tolerance)), len(s)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


@dataclass(frozen=True)
class Planted:
    """A = U diag(s) V^H with known factors: U (m, p), s (p,) descending, V (n, p), p = min(m, n)."""

    U: np.ndarray
    s: np.ndarray
    V: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int, bool], s: np.ndarray) -> "Planted":
        """Vectors of Haar measure: the QR factors of normal matrices (Stewart 1980)."""
        rows, columns, complex_ = shape
        U, V = (orthonormal(rng, side, len(s), complex_) for side in (rows, columns))
        return cls(U, s, V)

    @property
    def A(self) -> np.ndarray:
        return (self.U * self.s) @ self.V.conj().T

    @property
    def unit(self) -> float:
        """10 max(m, n) eps s_1: what a backward stable decomposition may be off by."""
        return SLACK * max(len(self.U), len(self.V)) * EPS * float(self.s[0])

    def gap_below(self, k: int) -> float:
        return float(self.s[k - 1] - self.s[k])


@dataclass(frozen=True)
class Perturbation:
    """A matrix E of spectral norm `size`, and what is known of A + E.

    `spectrum` has its singular values, `sine` that of the angle by which the leading space turns.
    """

    kind: str
    size: float
    E: np.ndarray
    spectrum: np.ndarray | None = None
    sine: float | None = None


@dataclass
class Worst:
    """The largest share of a bound over many cases, and what rounding was of the bound there."""

    share: float = 0.0
    noise: float = 0.0
    cases: int = 0
    seen: dict[str, float] = field(default_factory=dict)  # largest share by kind

    def add(self, kind: str, value: float, bound: float, unit: float) -> None:
        """A value that a law bounds by `bound`, where rounding may add `unit`."""
        share = value / (bound + unit)
        self.cases += 1
        self.noise = max(self.noise, unit / bound if bound else 0.0)
        self.seen[kind] = max(self.seen.get(kind, 0.0), share)
        self.share = max(self.share, share) if share == share else share

    @property
    def resolution(self) -> float:
        """An error adds to the largest share: what was short of the law there could hide it, and rounding."""
        return max(0.0, 1 - self.share) + self.noise

    @property
    def reason(self) -> str:
        shares = ", ".join(f"{kind} {share:.3g}" for kind, share in self.seen.items())
        return f"{self.cases} cases; attained share of the bound: {shares}"


def perturbations(rng: np.random.Generator, planted: Planted, size: float) -> Iterator[Perturbation]:
    """Perturbations of spectral norm `size`: one at random, the others made of the matrix's own vectors.

    Notes
    -----
    ``u_i v_i^H`` moves one value by all of its norm (Weyl with equality), ``U diag(+-size) V^H`` every value
    (Mirsky with equality, where the order stays), and ``u_k v_{k+1}^H + u_{k+1} v_k^H`` turns the leading
    space by half the arctangent of 2 size / (s_k - s_{k+1}) (Wedin with equality, to first order).
    """
    U, s, V = planted.U, planted.s, planted.V
    yield _random(rng, planted, size)
    for i in (0, LEADING - 1, len(s) - 1):
        shift = np.zeros(len(s))
        shift[i] = size * rng.choice((-1, 1))
        yield Perturbation("u_i v_i^H", size, (U * shift) @ V.conj().T, _ordered(s + shift))
    shift = size * rng.choice((-1, 1), len(s))
    yield Perturbation("U diag V^H", size, (U * shift) @ V.conj().T, _ordered(s + shift))
    yield rotation(planted, LEADING - 1, LEADING, size)


def _random(rng: np.random.Generator, planted: Planted, size: float) -> Perturbation:
    G = normal(rng, (len(planted.U), len(planted.V)), np.iscomplexobj(planted.U))
    return Perturbation("random", size, size * G / np.linalg.norm(G, 2))


def rotation(planted: Planted, i: int, j: int, size: float) -> Perturbation:
    """E = size (u_i v_j^H + u_j v_i^H), i < j: the plane of i and j turns, everything else stays."""
    U, s, V = planted.U, planted.s, planted.V
    E = size * (np.outer(U[:, i], V[:, j].conj()) + np.outer(U[:, j], V[:, i].conj()))
    middle, half = (s[i] + s[j]) / 2, (s[i] - s[j]) / 2
    moved = s.copy()
    moved[i], moved[j] = middle + hypot(half, size), middle - hypot(half, size)
    return Perturbation("rotation", size, E, _ordered(moved), sin(atan(size / half) / 2))


def audit_perturbation_laws(
    seed: int, limits: Limits, subject: Decomposition = by_lapack, truncated: Decomposition = by_truncation
) -> Iterator[Record]:
    """Weyl's, Mirsky's and Wedin's laws on random and on adversarial perturbations.

    Parameters
    ----------
    subject, truncated : callable
        ``(A, k) -> U, s, Vt``, the leading k triplets of A (m, n), float64 or complex128. The first is asked
        for all triplets, the second for `LEADING` of them to the tolerance `TOL`.

    Notes
    -----
    Values are the largest share of the bound, rounding of 10 max(m, n) eps s_1 added to it; a law is broken
    from 1 on. Weyl (1912): ``max |s_i' - s_i| <= |E|_2``. Mirsky (1960): the same in the Frobenius norm. Wedin
    (1972): ``sin <= |E|_2 / gap`` for the leading left and right spaces, gap between s_k of one matrix and
    s_{k+1} of the other. ``perturbed_exactly`` asks for more, where E is made of the vectors of A: values and
    angle are those of theory, in units of the rounding allowed.
    """
    judge = Judge(FAMILY, "perturbation_laws", seed, limits)
    for name, svd, whole in (("full SVD", subject, True), ("truncated SVD", truncated, False)):
        rng = np.random.default_rng(seed)
        laws = {law: Worst() for law in ("weyl", "mirsky", "wedin", "perturbed_exactly")}
        for shape in SHAPES:
            side = min(shape[:2])
            for spectrum in (np.linspace(1, 1 / side, side), np.geomspace(1, 1e-8, side)):
                planted = Planted.draw(rng, shape, spectrum)
                for size in SIZES if whole else SIZES[:2]:
                    for perturbation in perturbations(rng, planted, size):
                        _put_to_laws(laws, svd, planted, perturbation, whole)
        for law in ("weyl", "mirsky", "wedin"):
            worst = laws[law]
            yield judge(law, name, worst.share, worst.resolution, worst.reason)
        exact = laws["perturbed_exactly"]
        reason = f"{exact.cases} values and angles against theory, in units of {SLACK} n eps s_1"
        yield judge("perturbed_exactly", name, exact.share, 1 / SLACK, reason)


def _put_to_laws(
    laws: Mapping[str, Worst], svd: Decomposition, planted: Planted, given: Perturbation, whole: bool
) -> None:
    """One perturbed matrix, decomposed once, put to all laws."""
    s, unit, size, k = planted.s, planted.unit, given.size, LEADING
    perturbed = planted.A + given.E
    asked = len(s) if whole else k
    U, values, Vt = svd(perturbed, asked)
    if len(values) != asked:
        raise ValueError(f"{len(values)} singular values of the {asked} that were asked for")
    moved = values - s[:asked]
    laws["weyl"].add(given.kind, float(np.abs(moved).max()), size, unit)
    frobenius = float(np.linalg.norm(given.E))
    laws["mirsky"].add(given.kind, float(np.linalg.norm(moved)), frobenius, unit * float(np.linalg.norm(s)))
    known = given.spectrum if given.spectrum is not None else np.linalg.svd(perturbed, compute_uv=False)
    gap, open_gap = float(s[k - 1] - known[k]), float(known[k - 1] - known[k]) > 2 * unit
    loose = promised_sine(known, k) if open_gap and not whole else 0.0
    sine = max(sine_between(planted.U[:, :k], U[:, :k]), sine_between(planted.V[:, :k], Vt[:k].conj().T))
    if open_gap and gap > 2 * unit:
        laws["wedin"].add(given.kind, sine * gap, size, unit + loose * gap)
    if given.spectrum is not None:
        off = float(np.abs(values - given.spectrum[:asked]).max())
        laws["perturbed_exactly"].add("values", off, 0.0, unit)
    if given.sine is not None:
        gap = planted.gap_below(k)
        laws["perturbed_exactly"].add("angle", abs(sine - given.sine) * gap, 0.0, unit + loose * gap)


def promised_sine(s: np.ndarray, k: int, tol: float = TOL) -> float:
    """Sine within which the leading k right vectors lie where every s_i^2 is met to tol s_{k+1}^2.

    The trace of V'^H A^H A V' falls short of its maximum by at least (s_k^2 - s_{k+1}^2) |sin|_F^2 (Fan 1949).
    """
    return float(s[k] * sqrt(k * tol / (s[k - 1] ** 2 - s[k] ** 2)))


def sine_between(X: np.ndarray, Y: np.ndarray) -> float:
    """Largest sine of the angles between two spaces of one dimension k, and more where a basis is none.

    X, Y : arrays, shape (n, k), orthonormal. |(I - X X^H) Y|_2 is the norm of the difference of the projectors and
    keeps small angles; the same with X and Y exchanged is equal, unless vectors are missing or not orthonormal.
    """
    inner = X.conj().T @ Y
    return float(max(np.linalg.norm(Y - X @ inner, 2), np.linalg.norm(X - Y @ inner.conj().T, 2)))


def audit_cluster_subspaces(
    seed: int, limits: Limits, subject: Decomposition = by_lapack, truncated: Decomposition = by_lanczos
) -> Iterator[Record]:
    """Clusters of singular values: their projectors are compared, and vectors of simple values alone.

    Parameters
    ----------
    subject, truncated : callable
        As for `audit_perturbation_laws`; here both are asked for all planted clusters.

    Notes
    -----
    Law: ``|P - P'|_2 <= 2 |E|_2 / gap`` for the left and the right projector. With the residuals of
    both sides added and subtracted, the Davis-Kahan theorem (1970) for [0 A; A^H 0] gives
    ``|E| (1 / d + 1 / (s_c + s_o))``, d the distance of the cluster in A + E to the other values of A. It is
    below ``2 |E| / gap`` where |E| <= gap / 4 and the cluster lies above 2 gap, as here. Vectors are compared
    after their phases are made one, where the value is simple: ``|u - u'| <= sqrt(2) |P - P'|``. A gap below
    10 max(m, n) eps s_1 leaves the vectors of a cluster undefined: INCONCLUSIVE, with how far they turned.
    """
    judge = Judge(FAMILY, "cluster_subspaces", seed, limits)
    for name, svd, loose in (("full SVD", subject, False), ("truncated SVD", truncated, True)):
        rng = np.random.default_rng(seed)
        spaces, vectors, turned = Worst(), Worst(), Worst()
        for shape in SHAPES:
            planted = Planted.draw(rng, shape, clustered_spectrum(min(shape[:2])))
            for given in _cluster_perturbations(rng, planted, loose):
                _put_to_clusters((spaces, vectors, turned), svd, planted, given, loose)
        yield judge("cluster_subspaces", name, spaces.share, spaces.resolution, spaces.reason)
        yield judge("simple_vectors", name, vectors.share, vectors.resolution, vectors.reason)
        reason = (
            f"gap below 10 n eps s_1: {turned.cases} vectors in clusters are undefined, they turned by up to "
            f"{turned.share:.2g}; their projectors are judged instead"
        )
        said = Verdict.INCONCLUSIVE
        yield judge.said("clustered_vectors", name, said, reason, turned.share, inf)


def clustered_spectrum(side: int) -> np.ndarray:
    """`side` values: the planted clusters, every other one exactly equal, and an even tail below them."""
    values = [
        value * (1 - SPREAD * i * (c % 2)) for c, (value, count) in enumerate(CLUSTERS) for i in range(count)
    ]
    return np.concatenate([values, np.linspace(*TAIL, side - len(values))])


def _cluster_perturbations(rng: np.random.Generator, planted: Planted, loose: bool) -> Iterator[Perturbation]:
    """None but rounding, then random ones and rotations out of a cluster, from a quarter of the gap down."""
    smallest = min(a - b for (a, _), (b, _) in zip(CLUSTERS, [*CLUSTERS[1:], (TAIL[0], 1)]))
    yield Perturbation("rounding alone", 0.0, np.zeros((len(planted.U), len(planted.V))))
    for size in (smallest / 4, smallest * 1e-3, smallest * (1e-4 if loose else 1e-8)):
        yield _random(rng, planted, size)
        first = CLUSTERS[0][1]
        yield rotation(planted, first - 1, first, size)


def _put_to_clusters(
    worst: tuple[Worst, Worst, Worst], svd: Decomposition, planted: Planted, given: Perturbation, loose: bool
) -> None:
    """One perturbed matrix: every cluster that was planted against the space it was planted with."""
    spaces, vectors, turned = worst
    s, unit, size = planted.s, planted.unit, given.size
    count = sum(times for _, times in CLUSTERS)
    U, _, Vt = svd(planted.A + given.E, count)
    for group in cluster(s[: count + 1], unit)[:-1]:
        gap = _gap(s, group)
        # Both ends of a cluster bound spaces that a truncated decomposition knows to its tolerance alone.
        ends = [end for end in (group.start, group.stop) if end]
        angle = sum(promised_sine(s[: count + 1], count) for _ in ends) if loose else 0.0
        for X, Y in ((planted.U, U), (planted.V, Vt.conj().T)):
            sine = sine_between(X[:, group], Y[:, group])
            spaces.add(given.kind, sine * gap, 2 * size, unit + angle * gap)
            apart = np.linalg.norm(_in_phase(X[:, group], Y[:, group]) - X[:, group], axis=0)
            if len(apart) == 1:
                bound, rounding = sqrt(8) * size, sqrt(2) * (unit + angle * gap)
                vectors.add(given.kind, float(apart[0]) * gap, bound, rounding)
                continue
            for distance in apart:
                turned.add(given.kind, float(distance), 1.0, 0.0)


def _gap(s: np.ndarray, group: slice) -> float:
    """Distance of a cluster to its neighbours, and half of that to zero."""
    above = inf if group.start == 0 else float(s[group.start - 1] - s[group.start])
    return min(above, float(s[group.stop - 1] - s[group.stop]), float(s[group.stop - 1]) / 2)


def _in_phase(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Columns of Y times the phases that bring them nearest to the columns of X."""
    inner = np.sum(Y.conj() * X, axis=0)
    size = np.abs(inner)
    return Y * np.divide(inner, size, out=np.ones_like(inner), where=size > 0)


def _ordered(values: np.ndarray) -> np.ndarray:
    return np.sort(np.abs(values))[::-1]

"""Random matrices against their theory: entropy and spectrum of random states, and multivariate normal samples.

These audits are statistical. Each says in its reason how often it alarms though all is well, and which fault
it could have seen.
"""

from collections.abc import Callable, Iterator, Mapping
from math import inf, isnan, log, log10, nan, pi, sqrt

import numpy as np
from scipy.special import digamma, polygamma
from scipy.stats import chi2, kstest, norm

from svdflow.audit.records import Judge, Record
from svdflow.matrix.generators import generate
from svdflow.matrix.generators.gaussian_state import marchenko_pastur_truth
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import orthonormal
from svdflow.svd import truncated_svd

Values = Callable[[np.ndarray], np.ndarray]
State = Callable[[int, int, int], np.ndarray]
Sampler = Callable[[np.random.Generator, np.ndarray, np.ndarray, int], np.ndarray]
Limits = Mapping[str, Threshold]

EPS = float(np.finfo(np.float64).eps)
FAMILY = "conditioning"
MOST_STATES = (
    200  # states of one size, at most; the mean entropy is then known to a fourteenth of its deviation
)
# Rows, columns and number of states: many small ones tell a real from a complex state, one large one cannot.
ENTROPY_STATES = ((4, 4, MOST_STATES), (16, 64, 8), (64, 64, 8), (256, 256, 4))
DRAWS = 8  # states for the Marchenko-Pastur law
# Standard deviation of the interpolated 99 % rank of one state, over 2000 seeds: tests/unit/test_audit_ensembles.py.
RANK_DEVIATION = {(128, 128): 0.313, (64, 256): 0.0635}
ENERGY = 0.99  # share that the rank of the law is asked for
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SAMPLES = 20_000  # draws of a normal law: a probability off by 0.02 fails, and each row says so
COVARIANCES = ((2, 1e1), (6, 1e3), (12, 1e6))  # dimension, condition number
DOUBTS = 4  # rows with p-values in the audit of samplers: Bonferroni counts them too


def singular_values(A: np.ndarray) -> np.ndarray:
    """All singular values of A (m, n) in descending order, by LAPACK."""
    return np.linalg.svd(A, compute_uv=False)


def random_state(rows: int, columns: int, seed: int) -> np.ndarray:
    """Coefficients (rows, columns) of a random pure state: `svdflow`'s family ``gaussian_state``, complex128."""
    parameters = {"rows": rows, "columns": columns, "dtype": "complex128"}
    return generate("gaussian_state", parameters, seed).read(0, rows)


def energy_rank(A: np.ndarray, energy: float) -> int:
    """Rank that `svdflow.truncated_svd` chooses to keep a share of the squared Frobenius norm."""
    return len(truncated_svd(A, energy=energy, engine=1)[1])


def entanglement_entropy(s: np.ndarray) -> float:
    """Von Neumann entropy in nats of the reduced state, from the singular values of the coefficients.

    ``-sum p ln p`` with ``p = s^2 / sum s^2``; zero values add nothing.
    """
    p = np.square(s / np.linalg.norm(s))
    p = p[p > 0]
    return float(-np.sum(p * np.log(p)))


def page_entropy(m: int, n: int) -> tuple[float, float]:
    """Mean and standard deviation, in nats, of the entropy of a random pure state of dimension m n.

    Notes
    -----
    With m <= n: ``sum_{k=n+1}^{mn} 1/k - (m - 1) / (2 n)`` (Page, PRL 71, 1993; proved by Foong and Kanno, PRL
    72, 1994), and the variance of Vivo, Pato and Oshanin (PRE 93, 2016), proved by Wei (PRE 96, 2017), psi_1
    the trigamma function: ``(m + n) / (mn + 1) psi_1(n) - psi_1(mn + 1) - (m + 1)(m + 2n + 1) / (4 n^2 (mn + 1))``.
    """
    m, n = sorted((m, n))
    mean = float(digamma(m * n + 1) - digamma(n + 1)) - (m - 1) / (2 * n)
    variance = (m + n) / (m * n + 1) * float(polygamma(1, n)) - float(polygamma(1, m * n + 1))
    variance -= (m + 1) * (m + 2 * n + 1) / (4 * n**2 * (m * n + 1))
    return mean, sqrt(variance)


def audit_random_spectra(
    seed: int,
    limits: Limits,
    subject: Values = singular_values,
    state: State = random_state,
    rank: Callable[[np.ndarray, float], int] = energy_rank,
) -> Iterator[Record]:
    """Random complex states: entropy against Page's, singular values against the Marchenko-Pastur law.

    Parameters
    ----------
    subject : callable
        Singular values, all and in descending order, of a complex128 matrix (m, n).
    state : callable
        ``(rows, columns, seed) -> (rows, columns)``, complex128, the states that are judged with it.
    rank : callable
        ``(A, energy) -> int``: the smallest rank that keeps this share of the squared Frobenius norm.

    Notes
    -----
    The first rows are distances to theory in standard deviations of the mean of several states. If all is well one is
    above 4 in 1.6e4 runs, and above 8 never. Counts of eigenvalues below a quantile scatter by
    ``sqrt(ln n / (2 pi^2))`` whatever the quantile (Su 2006, after Gustavsson 2005).
    """
    judge = Judge(FAMILY, "random_spectra", seed, limits)
    seeds = [int(x) for x in np.random.SeedSequence(seed).generate_state(MOST_STATES)]
    for m, n, count in ENTROPY_STATES:
        mean, deviation = page_entropy(m, n)
        found = float(np.mean([entanglement_entropy(subject(state(m, n, s))) for s in seeds[:count]]))
        error = deviation / sqrt(count)
        reason = (
            f"{count} states: {found:.6f} nats, Page {mean:.6f}; an entropy off by {8 * error:.1e} would fail; "
            "false alarm 6e-5"
        )
        yield judge("page_entropy", f"state {m} x {n}", abs(found - mean) / error, 4, reason)
    missed, borderline = 0, 0
    for (m, n), deviation in RANK_DEVIATION.items():
        states = [state(m, n, s) for s in seeds[:DRAWS]]
        spectra = [subject(A) for A in states]
        yield from _against_marchenko_pastur(judge, (m, n), spectra, deviation / sqrt(DRAWS))
        for A, s in zip(states, spectra):
            exact = interpolated_rank(s, ENERGY)
            if abs(exact - round(exact)) < 1e-9 * len(s):
                borderline += 1  # rounding decides which rank keeps exactly the share
            else:
                missed = max(missed, abs(rank(A, ENERGY) - int(np.ceil(exact))))
    reason = f"{2 * DRAWS} states, {borderline} undecided by rounding: largest difference in rank"
    yield judge("energy_rank", "truncated_svd", missed, 0, reason)


def _against_marchenko_pastur(
    judge: Judge, shape: tuple[int, int], spectra: list[np.ndarray], error: float
) -> Iterator[Record]:
    """Rank that keeps 99 %, and counts of eigenvalues below the quantiles of the law."""
    name, side = f"state {shape[0]} x {shape[1]}", min(shape)
    law = marchenko_pastur_truth(shape).values
    expected = interpolated_rank(law, ENERGY)
    found = float(np.mean([interpolated_rank(s, ENERGY) for s in spectra]))
    reason = f"{DRAWS} states: rank for 99 % {found:.3f}, law {expected:.3f}, sd of the mean {error:.2g}"
    reason += "; false alarm 6e-5"
    yield judge("marchenko_pastur_rank", name, abs(found - expected) / error, 4, reason)
    ascending, places = law[::-1], np.arange(side) + 0.5
    chosen = [int(q * side) for q in QUANTILES]
    counts = [np.interp(s[::-1][chosen] / np.linalg.norm(s), ascending, places) for s in spectra]
    off = np.mean(counts, axis=0) - places[chosen]
    scatter = sqrt(log(side) / (2 * pi**2) / len(spectra))
    worst = int(np.argmax(np.abs(off)))
    reason = (
        f"worst of {len(QUANTILES)} at {QUANTILES[worst]:g}: {off[worst]:+.3f} eigenvalues of {side}, sd of the "
        f"mean {scatter:.2g}; false alarm 3e-4"
    )
    yield judge("marchenko_pastur_quantiles", name, float(np.abs(off).max()) / scatter, 4, reason)


def interpolated_rank(s: np.ndarray, energy: float) -> float:
    """Rank that keeps a share of sum s^2, linear between whole ranks; its ceiling is the smallest that does."""
    kept = np.concatenate([[0.0], np.cumsum(np.square(s))])
    return float(np.interp(energy * kept[-1], kept, np.arange(len(kept))))


def cholesky_sample(
    rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, count: int
) -> np.ndarray:
    """Samples of a multivariate normal law by the Cholesky factor of its covariance.

    Parameters
    ----------
    rng : Generator
    mean : array, shape (d,)
    covariance : array, shape (d, d), float64
        Symmetric positive definite.
    count : int

    Returns
    -------
    samples : array, shape (count, d)

    Raises
    ------
    ValueError
        Shapes that do not fit, values that are not finite, or a covariance that is not symmetric.
    numpy.linalg.LinAlgError
        A covariance that is not positive definite; the message has its smallest eigenvalue.
    """
    covariance = _checked_covariance(mean, covariance)
    try:
        L = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(covariance)[0])
        message = f"the covariance is not positive definite: its smallest eigenvalue is {smallest:.3g}"
        raise np.linalg.LinAlgError(message) from None
    return mean + rng.standard_normal((count, len(mean))) @ L.T


def eigenvalue_sample(
    rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, count: int
) -> np.ndarray:
    """As `cholesky_sample`, by eigenvalues: also for semidefinite covariances, whose samples stay in its range.

    LinAlgError where an eigenvalue is negative by more than rounding, 10 d eps of the largest.
    """
    covariance = _checked_covariance(mean, covariance)
    w, Q = np.linalg.eigh(covariance)
    rounding = 10 * len(w) * EPS * float(np.abs(w).max(initial=0.0))
    if len(w) and w[0] < -rounding:
        raise np.linalg.LinAlgError(f"the covariance has the negative eigenvalue {w[0]:.3g}")
    root = np.sqrt(np.where(w > rounding, w, 0.0))
    return mean + (rng.standard_normal((count, len(w))) * root) @ Q.T


def _checked_covariance(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    covariance = np.asarray(covariance, np.float64)
    if covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"a covariance of shape {covariance.shape} does not fit a mean of {len(mean)}")
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        raise ValueError("mean and covariance should be finite")
    apart = float(np.abs(covariance - covariance.T).max(initial=0.0))
    if apart > len(mean) * EPS * float(np.abs(covariance).max(initial=0.0)):
        raise ValueError(f"the covariance is not symmetric: entries differ by {apart:.3g}")
    return covariance


def audit_cholesky_sampling(
    seed: int,
    limits: Limits,
    subject: Sampler = cholesky_sample,
    factor: Callable[[np.ndarray], np.ndarray] = np.linalg.cholesky,
    semidefinite: Sampler = eigenvalue_sample,
) -> Iterator[Record]:
    """Samples of a multivariate normal law, and the Cholesky factor behind them.

    Parameters
    ----------
    subject, semidefinite : callable
        ``(rng, mean, covariance, count) -> (count, d)``. Both must refuse what is no covariance; the second
        should also sample semidefinite ones.
    factor : callable
        ``A -> L`` lower triangular with L L^H = A, real or complex.

    Notes
    -----
    Samples are made white with the exact factors from which the covariance was built. Then the squared length
    is chi2 of d degrees (Mahalanobis; Kolmogorov-Smirnov), every mean normal, every sum of squares chi2 of the
    number of samples, and the product of two columns over the length of one exactly normal. Values are
    -log10 of the smallest p times the number of all p-values, so that a right sampler is at 3 in one of
    1000 runs of the audit and at 6 in one of 10^6.
    """
    judge = Judge(FAMILY, "cholesky_sampling", seed, limits)
    rng = np.random.default_rng(seed)
    yield _factors(judge, factor, rng)
    for name, sampler in (("Cholesky", subject), ("eigenvalues", semidefinite)):
        lengths, moments = [], []
        for d, kappa in COVARIANCES:
            w, Q, covariance = planted_covariance(rng, d, kappa)
            mean = 10 * rng.standard_normal(d)
            white = (sampler(rng, mean, covariance, SAMPLES) - mean) @ Q / np.sqrt(w)
            lengths.append(float(kstest(np.sum(white**2, axis=1), chi2(d).cdf).pvalue))
            moments += moment_p_values(white)
        yield judge("mahalanobis", name, _alarm(lengths), 3, _lengths_reason(lengths))
        yield judge("sample_covariance", name, _alarm(moments), 3, _moments_reason(moments))
    for name, sampler in (("Cholesky", subject), ("eigenvalues", semidefinite)):
        yield _refusals(judge, name, sampler, rng)


def _factors(judge: Judge, factor: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> Record:
    """The worst ratio over positive definite matrices; one that is refused counts as infinite."""
    ratios, refused = {}, []
    for name, A in definite_matrices(rng):
        try:
            ratios[name] = dpot01(factor(A), A)
        except np.linalg.LinAlgError:
            ratios[name] = inf
            refused.append(name)
    worst = max(ratios, key=lambda name: inf if isnan(ratios[name]) else ratios[name])
    reason = f"DPOT01, worst of {len(ratios)} matrices: {worst}" + (
        f"; refused: {refused}" if refused else ""
    )
    return judge("cholesky_factor", "Cholesky", ratios[worst], 1, reason)


def dpot01(L: np.ndarray, A: np.ndarray) -> float:
    """LAPACK's ratio |L L^H - A| / (n |A| eps) in the 1-norm, eps = 2^-53 (TESTING/LIN/dpot01.f)."""
    L = np.tril(L)
    size = float(np.linalg.norm(A, 1))
    residual = float(np.linalg.norm(L @ L.conj().T - A, 1))
    return residual / (len(A) * size * EPS / 2) if size else (0.0 if residual == 0 else 2 / EPS)


def definite_matrices(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Positive definite matrices with a name: orders 1 to 60, condition 1 to 1e12, real and complex, scaled."""
    for n, kappa, complex_ in ((1, 1.0, False), (2, 10.0, True), (10, 1e6, False), (60, 1e12, True)):
        Q = orthonormal(rng, n, n, complex_)
        A = (Q * np.geomspace(1, 1 / kappa, n)) @ Q.conj().T
        A = (A + A.conj().T) / 2
        for scale in (1.0, 2.0**-960, 2.0**960):
            yield f"order {n}, condition {kappa:.0e}, scale {scale:.0e}", A * scale
    i = np.arange(8)
    yield "hilbert(8)", 1.0 / (i[:, None] + i + 1)


def planted_covariance(
    rng: np.random.Generator, d: int, kappa: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (d,) from 1 to 1 / kappa, eigenvectors (d, d) and the covariance (d, d) made of them."""
    w, Q = np.geomspace(1, 1 / kappa, d), orthonormal(rng, d, d)
    covariance = (Q * w) @ Q.T
    return w, Q, (covariance + covariance.T) / 2


def moment_p_values(white: np.ndarray) -> list[float]:
    """Two-sided p-values of means, sums of squares and products of columns (N, d) that should be N(0, 1)."""
    count, d = white.shape
    squares = np.sum(white**2, axis=0)
    means = 2 * norm.sf(np.abs(white.sum(axis=0)) / sqrt(count))
    variances = 2 * np.minimum(chi2.sf(squares, count), chi2.cdf(squares, count))
    products = (white.T @ white)[np.triu_indices(d, 1)] / np.sqrt(squares[np.triu_indices(d, 1)[0]])
    return [float(p) for p in np.concatenate([means, variances, 2 * norm.sf(np.abs(products))])]


def _alarm(p_values: list[float]) -> float:
    """-log10 of the smallest p-value, times the number of p-values in the whole audit (Bonferroni)."""
    if not np.all(np.isfinite(p_values)):
        return nan
    return max(0.0, -log10(max(min(p_values) * len(p_values) * DOUBTS, 1e-300)))


def _lengths_reason(p_values: list[float]) -> str:
    # Massart (1990): P(D > d) <= 2 exp(-2 N d^2).
    seen = sqrt(log(2e6 * len(p_values) * DOUBTS) / (2 * SAMPLES))
    smallest = min(p_values)
    return (
        f"smallest of {len(p_values)} p-values {smallest:.2g}, {SAMPLES} samples each; a probability off by "
        f"{seen:.1%} would fail; false alarm 1e-3"
    )


def _moments_reason(p_values: list[float]) -> str:
    z = float(norm.isf(0.5e-6 / (len(p_values) * DOUBTS)))
    smallest = min(p_values)
    return (
        f"smallest of {len(p_values)} p-values {smallest:.2g}; a variance off by {z * sqrt(2 / SAMPLES):.1%} or a "
        f"correlation of {z / sqrt(SAMPLES):.3f} would fail; false alarm 1e-3"
    )


def _refusals(judge: Judge, name: str, sampler: Sampler, rng: np.random.Generator) -> Record:
    """What is not positive definite: an explicit error, or samples of exactly that covariance."""
    refused, sampled, wrong = 0, 0, []
    for case, covariance, semidefinite in improper_covariances(rng):
        mean = np.zeros(len(covariance))
        try:
            samples = sampler(rng, mean, covariance, SAMPLES)
        except (ValueError, np.linalg.LinAlgError):
            refused += 1
            continue
        if semidefinite and _in_range(samples, covariance):
            sampled += 1
        else:
            wrong.append(case)
    reason = f"{refused} refused, {sampled} sampled rightly" + (f", silently wrong: {wrong}" if wrong else "")
    return judge("not_positive_definite", name, len(wrong), 0, reason)


def improper_covariances(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Name, matrix, and whether it is a semidefinite covariance: then it may be sampled, else it must not."""
    B = rng.integers(-3, 4, (6, 4)).astype(float)
    yield "semidefinite of rank 4", B @ B.T, True  # integers: exactly singular
    yield "ones", np.ones((4, 4)), True
    yield "zero", np.zeros((3, 3)), True
    _, Q, _ = planted_covariance(rng, 5, 10)
    indefinite = (Q * np.array([1, 0.5, 0.3, 0.2, -1e-3])) @ Q.T
    yield "indefinite", (indefinite + indefinite.T) / 2, False
    yield "not symmetric", np.array([[1.0, 0.0], [0.5, 1.0]]), False
    yield "not finite", np.array([[1.0, np.nan], [np.nan, 1.0]]), False


def _in_range(samples: np.ndarray, covariance: np.ndarray) -> bool:
    """Whether samples lie in the range of a semidefinite covariance and have its moments there."""
    w, Q = np.linalg.eigh(covariance)
    rounding = 10 * len(w) * EPS * float(w[-1])
    inside = w > rounding
    # A factor that went through by rounding has variance up to `rounding` outside; 8 sd never happen.
    if not np.all(np.abs(samples @ Q[:, ~inside]) <= 8 * sqrt(rounding)):
        return False
    if not np.any(inside):
        return True
    p_values = moment_p_values(samples @ Q[:, inside] / np.sqrt(w[inside]))
    return min(p_values) * len(p_values) > 1e-6

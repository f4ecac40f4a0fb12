"""Least squares solvers held against LAPACK's test ratios and against their backward error.

The backward error scales the columns first: without that the largest columns hide what was lost on the small
ones, and NIST's Filip passes with no correct digit.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.audit.records import Judge, Record
from svdflow.least_squares.dense import lstsq_qr, lstsq_svd
from svdflow.registry import Threshold
from svdflow.selfcheck.linear_solvers import EPS, residual
from svdflow.selfcheck.sample_matrices import orthonormal, randsvd

FAMILY = "conditioning"
SHAPE = (60, 8)  # tall, as regressions are
KAPPAS = 10.0 ** np.arange(1, 12)  # normal equations lose all digits from 1e8 on
SIZES = {
    "normal": 1.0,
    "large": 1e150,
    "small": 1e-150,
}  # LAPACK tests the same three: squares near the limits

Method = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, int]]


def by_qr(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`svdflow.svd.lstsq_qr`, as (x, rank)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.RankWarning)
        found = lstsq_qr(A, b)
    return found.x, found.rank


def by_svd(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`svdflow.svd.lstsq_svd`, as (x, rank)."""
    found = lstsq_svd(A, b)
    return found.x, found.rank


def by_numpy(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`numpy.linalg.lstsq` as it comes: gelsd, cut-off ``max(m, n) eps``."""
    x, _, rank, _ = np.linalg.lstsq(A, b, rcond=None)
    return x, int(rank)


def by_gelsd(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`scipy.linalg.lstsq` as it comes: gelsd, cut-off eps."""
    x, _, rank, _ = scipy.linalg.lstsq(A, b)
    return x, int(rank)


def by_gelsy(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`scipy.linalg.lstsq` by complete orthogonal factorization."""
    x, _, rank, _ = scipy.linalg.lstsq(A, b, lapack_driver="gelsy")
    return x, int(rank)


def by_numpy_pinv(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`numpy.linalg.pinv` times b; it tells no rank, so its trace ``rank = tr(A^+ A)`` does."""
    X = np.linalg.pinv(A)
    return X @ b, round(float(np.sum(X.T * A)))


def by_scipy_pinv(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """`scipy.linalg.pinv` times b."""
    X, rank = scipy.linalg.pinv(A, return_rank=True)
    return X @ b, int(rank)


def by_normal_equations(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """``A^T A x = A^T b`` by LU; loses twice the digits."""
    return np.linalg.solve(A.T @ A, A.T @ b), A.shape[1]


def by_cholesky(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """The same by Cholesky; raises LinAlgError where ``A^T A`` is not positive definite to rounding."""
    return scipy.linalg.cho_solve(scipy.linalg.cho_factor(A.T @ A), A.T @ b), A.shape[1]


METHODS: dict[str, Method] = {
    "lstsq_qr": by_qr,
    "lstsq_svd": by_svd,
    "numpy lstsq": by_numpy,
    "scipy gelsd": by_gelsd,
    "scipy gelsy": by_gelsy,
    "numpy pinv": by_numpy_pinv,
    "scipy pinv": by_scipy_pinv,
    "normal equations": by_normal_equations,
    "Cholesky": by_cholesky,
}
OWN = ("lstsq_qr", "lstsq_svd")
ORTHOGONAL = (*OWN, "numpy lstsq", "scipy gelsd", "scipy gelsy")


def scaled_columns(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A with columns of length in [1, 2) and the powers of two that made it so; zero columns stay."""
    length = np.linalg.norm(A, axis=0)
    scale = np.ldexp(1.0, 1 - np.frexp(np.where(length > 0, length, 1.0))[1])
    return A * scale, scale


def backward_error(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Columnwise backward error of a least squares solution, and the smallest that could be seen.

    Parameters
    ----------
    A : shape (m, n), float64
    x : shape (n,)
    b : shape (m,)

    Returns
    -------
    value, resolution : float
        Within a factor of sqrt(2) to 2 of the least ``||E||_F / ||A D||_F`` for which x solves the problem of
        ``A + E D^-1``, D the column scaling. x needs no reference solution.

    Notes
    -----
    Karlson and Walden (1997), BIT 37:862; Grcar, Saunders and Su (2007), equation (1.6). The residual is
    rounded once; what stays unseen is the rounding of the decomposition of ``A D`` and of ``U^T r``.
    """
    scaled, scale = scaled_columns(A)
    y = x / scale
    r = residual(A, x, b)
    size, norm, rest = (float(np.linalg.norm(v)) for v in (scaled, y, r))
    if not np.isfinite(norm):
        return np.inf, 0.0
    if norm == 0 or rest == 0:
        return float(np.linalg.norm(scaled.T @ r)) / (size * rest) if rest else 0.0, EPS
    U, s, _ = np.linalg.svd(scaled, full_matrices=False)
    weight = s / np.hypot(s, rest / norm)
    value = float(np.linalg.norm(weight * (U.T @ r))) / (norm * size)
    return value, EPS * (1 + len(r) * rest / (norm * size))


def ratios(A: np.ndarray, x: np.ndarray, b: np.ndarray, row_space: np.ndarray) -> dict[str, float]:
    """LAPACK's test ratios of a least squares solution, each of order 1 for a stable method.

    Parameters
    ----------
    A : shape (m, n)
    x : shape (n,)
    b : shape (m,)
    row_space : shape (n, r)
        Orthonormal basis of the row space of A, known from its construction.

    Returns
    -------
    ratios : dict
        DQRT14 (x in the row space), DQRT16 (residual of a consistent system) and DQRT17 (residual orthogonal
        to the columns); the last divides by ||b||, as LAPACK does for consistent systems. Infinite where x
        is zero or not finite.

    Notes
    -----
    LAPACK TESTING/LIN/dqrt14.f, dqrt16.f and dqrt17.f, in the 1-norm and in units of max(m, n) eps.
    """
    unit = max(A.shape) * EPS
    # scaled to about 1, as the routines do, so that products stay within range
    a, c = float(np.abs(A).max()), float(np.abs(b).max())
    A, b, x = A / a, b / c, x / c * a
    length = float(np.linalg.norm(x))
    if not 0 < length < np.inf:
        return dict.fromkeys(("DQRT14", "DQRT16", "DQRT17"), np.inf)
    r = residual(A, x, b)
    norm = float(np.abs(A).sum(0).max())
    off = x - row_space @ (row_space.T @ x)
    return {
        "DQRT14": float(np.linalg.norm(off)) / length / unit,
        "DQRT16": float(np.abs(r).sum() / (norm * np.abs(x).sum())) / unit,
        "DQRT17": float(np.abs(A.T @ r).sum() / (norm * np.abs(b).sum())) / unit,
    }


def audit_least_squares(
    seed: int, limits: Mapping[str, Threshold], subject: Method = by_qr
) -> Iterator[Record]:
    """LAPACK's ratios on full and deficient problems, and the backward error for kappa from 10 to 1e11.

    Parameters
    ----------
    seed : int
    limits : mapping of audit name to Threshold
    subject : callable
        ``x, rank = subject(A, b)``; takes the place of `svdflow.svd.lstsq_qr`.
    """
    judge = Judge(FAMILY, "least_squares", seed, limits)
    methods = {**METHODS, "lstsq_qr": subject}
    problems = list(_families(np.random.default_rng([seed, 8])))
    for name in ORTHOGONAL:
        audit = "ls_ratios" if name in OWN else "peer_backward_error"
        yield _ratio_record(judge, audit, name, methods[name], problems)
    yield _sigma_record(judge, problems)
    sweeps = {
        "like columns": np.ones(SHAPE[1]),
        "graded columns": 10.0 ** -np.arange(0, 2 * SHAPE[1], 2),
    }
    for columns, grade in sweeps.items():
        cases = list(_sweep(np.random.default_rng([seed, 9]), grade))
        for name, method in methods.items():
            # where columns are graded only the scaled method promises anything
            sound = name == "lstsq_qr" or (name in OWN and columns == "like columns")
            audit = "ls_backward" if sound else "peer_backward_error"
            yield sweep_record(judge, audit, f"{name}, {columns}", method, cases)


def _families(
    rng: np.random.Generator,
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """LAPACK's DQRT13 and DQRT15: {full, deficient} x {normal, large, small}, tall and wide, and consistent."""
    for m, n in (SHAPE, SHAPE[::-1], (30, 30)):
        for kind, rank in (("full", min(m, n)), ("deficient", 3 * min(m, n) // 4)):
            for size, factor in SIZES.items():
                V = orthonormal(rng, n, rank)
                U = orthonormal(rng, m, rank)
                s = np.linspace(1, 0.5, rank)
                A = (U * (factor * s)) @ V.T
                for consistent in (True, False):
                    b = A @ rng.standard_normal(n) if consistent else factor * rng.standard_normal(m)
                    words = f"{kind} {m} x {n} {size}{' consistent' if consistent else ''}"
                    yield words, A, b, V, factor * s


def _ratio_record(
    judge: Judge, audit: str, name: str, method: Method, problems: list[tuple[Any, ...]]
) -> Record:
    worst, count = (0.0, "", ""), 0
    for words, A, b, V, s in problems:
        if name == "lstsq_qr" and len(s) < A.shape[1]:
            continue  # gives one minimizer of many, and warns
        count += 1
        found = ratios(A, method(A, b)[0], b, V)
        if "consistent" not in words:
            del found["DQRT16"]
        worst = max([worst, *((value, ratio, words) for ratio, value in found.items())])
    value, ratio, words = worst
    advice = "; use lstsq_svd instead" if audit != "ls_ratios" and value > judge.limits[audit].warn else ""
    reason = f"{ratio}, {words}, worst of {count} problems{advice}"
    # A^T r and the known row space are rounded themselves
    return judge(audit, f"{name}, LAPACK ratios", value, 0.5, reason)


def _sigma_record(judge: Judge, problems: list[tuple[Any, ...]]) -> Record:
    worst = (0.0, "")
    for words, A, b, _, s in problems:
        found = lstsq_svd(A, b).s[: len(s)]
        error = float(np.linalg.norm((found - s) / s[0]) / np.linalg.norm(s / s[0]))
        worst = max(worst, (error / (EPS * max(A.shape)), words))
    return judge("ls_ratios", "singular values", worst[0], 0.5, f"DQRT12, {worst[1]}")


def _sweep(rng: np.random.Generator, grade: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    m, n = SHAPE
    for kappa in KAPPAS:
        A = randsvd(rng, m, n, np.geomspace(1, 1 / kappa, n)) * grade
        y = rng.standard_normal(n)
        yield f"kappa {kappa:.0e}", A, A @ (y / grade) + 1e-3 * rng.standard_normal(m)


def sweep_record(
    judge: Judge, audit: str, subject: str, method: Method, cases: list[tuple[str, np.ndarray, np.ndarray]]
) -> Record:
    """Worst columnwise backward error of a method over problems (words, A, b), in max(m, n) eps."""
    worst, unseen, lost = (-1.0, ""), 0.0, ""
    for words, A, b in cases:
        unit = max(A.shape) * EPS
        try:
            x, rank = method(A, b)
        except np.linalg.LinAlgError as error:
            return judge(audit, subject, np.inf, EPS, f"raises from {words} on: {error}")
        value, resolution = backward_error(A, x, b)
        worst, unseen = max(worst, (value / unit, words)), max(unseen, resolution / unit)
        if rank < A.shape[1] and not lost:
            lost = f", rank {rank} of {A.shape[1]} from {words} on"
    value, words = worst
    bad = audit == "peer_backward_error" and value > judge.limits[audit].warn
    advice = "; use lstsq_qr instead" if bad else ""
    return judge(audit, subject, value, unseen, f"worst at {words}{lost}{advice}")

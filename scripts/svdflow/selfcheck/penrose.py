"""Pseudo-inverses held against the equations that define them, and against their Tikhonov limit."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.linalg

from svdflow.audit.records import Judge, Record
from svdflow.least_squares.dense import pinv, tikhonov
from svdflow.registry import Threshold
from svdflow.selfcheck.linear_solvers import EPS
from svdflow.selfcheck.sample_matrices import orthonormal, randsvd
from svdflow.svd.orthonormal import adjoint

FAMILY = "conditioning"
NAMES = ("AXA = A", "XAX = X", "AX Hermitian", "XA Hermitian")
DAMPINGS = np.geomspace(1e-9, 1e2, 45)  # from below every singular value to above; four a decade
SLACK = 30  # units of max(m, n) eps that LAPACK's tests allow a least squares solver

Inverse = Callable[..., np.ndarray]
Damped = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def by_svd(A: np.ndarray, rcond: float | None = None) -> np.ndarray:
    """The matrix of `svdflow.svd.pinv`."""
    return pinv(A, rcond).matrix


def penrose_ratios(A: np.ndarray, X: np.ndarray) -> tuple[float, float, float, float]:
    """Residuals of the four Moore-Penrose equations in units of max(m, n) eps.

    Parameters
    ----------
    A : shape (m, n), real or complex
    X : shape (n, m)

    Returns
    -------
    ratios : four floats
        ``AXA - A`` over ``|A|^2 |X|``, ``XAX - X`` over ``|A| |X|^2``, and what ``AX`` and ``XA`` differ from
        their adjoints over ``|A| |X|``, in spectral norms (Penrose 1955; scaled as LAPACK's DGET03).
    """
    unit = max(A.shape) * EPS
    AX, XA = A @ X, X @ A
    a, x = np.linalg.norm(A, 2), np.linalg.norm(X, 2)
    if a == 0 or x == 0:
        return (0.0 if a == x else 1 / EPS,) * 4
    found = (
        np.linalg.norm(AX @ A - A, 2) / (a * a * x),
        np.linalg.norm(XA @ X - X, 2) / (a * x * x),
        np.linalg.norm(AX - adjoint(AX), 2) / (a * x),
        np.linalg.norm(XA - adjoint(XA), 2) / (a * x),
    )
    return tuple(float(v) / unit for v in found)


def matrices(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(words, A, its non-zero singular values): full and deficient, tall, wide and square, real and complex."""
    for m, n in ((40, 12), (12, 40), (25, 25)):
        for kind, rank in (("full", min(m, n)), ("deficient", min(m, n) // 2)):
            for field in ("real", "complex"):
                for kappa in (1e1, 1e8):
                    s = np.geomspace(1, 1 / kappa, rank)
                    U, V = (orthonormal(rng, size, rank, field == "complex") for size in (m, n))
                    yield f"{kind} {field} {m} x {n}, kappa {kappa:.0e}", (U * s) @ adjoint(V), s


def audit_penrose(seed: int, limits: Mapping[str, Threshold], subject: Inverse = by_svd) -> Iterator[Record]:
    """The four equations, the norm of the inverse, and a sweep of the cut-off.

    Parameters
    ----------
    seed : int
    limits : mapping of audit name to Threshold
    subject : callable
        ``X = subject(A)`` and ``X = subject(A, rcond)``, X of shape (n, m) for A of shape (m, n).

    Notes
    -----
    Scaled by ``|X|``, the equations cannot see an inverse that took rounding for a singular value, for then
    ``|X|`` is about 1/eps, nor one that lost the smallest. The norm can: ``|X| s_r = 1``, known from the
    construction of A.
    """
    judge = Judge(FAMILY, "penrose", seed, limits)
    cases = list(matrices(np.random.default_rng([seed, 10])))
    found = [penrose_ratios(A, subject(A)) for _, A, _ in cases]
    for k, name in enumerate(NAMES):
        value, words = max((ratio[k], words) for ratio, (words, *_) in zip(found, cases, strict=True))
        # three products round by as much as the inverse may
        yield judge("penrose", f"pinv, {name}", value, 3.0, f"{words}, worst of {len(cases)}")
    cases.append(_large_deficient(np.random.default_rng([seed, 13])))
    for audit, name, inverse in (
        ("pinv_norm", "pinv", subject),
        ("peer_pinv_norm", "numpy pinv", np.linalg.pinv),
        ("peer_pinv_norm", "scipy pinv", scipy.linalg.pinv),
    ):
        yield _norm_record(judge, audit, name, inverse, cases)
    yield _sweep_record(judge, subject)


def _large_deficient(rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
    """Rank 200 of 400, where rounding makes singular values above 1e-15 s_1 out of none."""
    s = np.linspace(1, 0.5, 200)
    U, V = (orthonormal(rng, 400, 200) for _ in "UV")
    return "deficient real 400 x 400", (U * s) @ V.T, s


def _norm_record(
    judge: Judge, audit: str, name: str, inverse: Inverse, cases: list[tuple[Any, ...]]
) -> Record:
    worst, wrong = (-1.0, ""), 0
    for words, A, s in cases:
        off = abs(float(np.linalg.norm(inverse(A), 2)) * s[-1] - 1)
        wrong += off > 0.5
        worst = max(worst, (off * s[-1] / s[0] / (max(A.shape) * EPS), words))
    value, words = worst
    advice = "; use svdflow.svd.pinv instead" if value > judge.limits[audit].warn else ""
    reason = f"|X| against 1/s_r, {words}; {wrong} of {len(cases)} took rounding for a singular value{advice}"
    return judge(audit, f"{name}, norm", value, 1.0, reason)


def _sweep_record(judge: Judge, subject: Inverse) -> Record:
    """``|AXA - A| = s_(k+1)`` and the other three equations, for cut-offs between singular values 1 to 1e-12."""
    rng = np.random.default_rng([judge.seed, 11])
    m, n = 30, 13
    s = 10.0 ** -np.arange(n)
    A = randsvd(rng, m, n, s)
    unit, worst = m * EPS, (-1.0, "")
    for kept in range(1, n):
        X = subject(A, float(10.0 ** (0.5 - kept)))
        off = abs(np.linalg.norm(A @ X @ A - A, 2) - s[kept]) / np.linalg.norm(X, 2) / unit
        for value, name in zip((off, *penrose_ratios(A, X)[1:]), NAMES, strict=True):
            worst = max(worst, (float(value), f"{name} at rank {kept}"))
    value, words = worst
    reason = f"{words}, worst of cut-offs 3e-1 to 3e-12, where |AXA - A| is the next singular value"
    return judge("penrose", "pinv, rcond sweep", value, 3.0, reason)


def by_filter(A: np.ndarray, b: np.ndarray, damping: float) -> np.ndarray:
    """The solution of `svdflow.least_squares.dense.tikhonov`."""
    return tikhonov(A, b, damping).x


def audit_tikhonov(
    seed: int, limits: Mapping[str, Threshold], subject: Damped = by_filter
) -> Iterator[Record]:
    """Normal equations, filter factors, the limit without damping, and monotony along the damping.

    Parameters
    ----------
    seed : int
    limits : mapping of audit name to Threshold
    subject : callable
        ``x = subject(A, b, damping)`` minimizes ``||A x - b||^2 + damping^2 ||x||^2``.
    """
    judge = Judge(FAMILY, "tikhonov", seed, limits)
    rng = np.random.default_rng([seed, 12])
    worst = dict.fromkeys(("equations", "filters", "limit", "|x| falls", "|r| grows"), (-1.0, ""))
    for words, A, s in matrices(rng):
        U, _, Vh = np.linalg.svd(A, full_matrices=False)
        U, V = U[:, : len(s)], adjoint(Vh[: len(s)])
        b = A @ orthonormal(rng, A.shape[1], 1)[:, 0] + 1e-3 * rng.standard_normal(len(A))
        path = [(t, subject(A, b, t)) for t in DAMPINGS]
        for name, value in _path_ratios(A, b, U, s, V, path).items():
            worst[name] = max(worst[name], (value, words))
    for name, audit, resolution in (
        ("equations", "tikhonov", 3.0),
        ("filters", "tikhonov", 3.0),
        ("limit", "tikhonov_limit", 1 / SLACK),
        ("|x| falls", "tikhonov_monotone", 1 / SLACK),
        ("|r| grows", "tikhonov_monotone", 1 / SLACK),
    ):
        value, words = worst[name]
        reason = f"{words}, dampings {DAMPINGS[0]:.0e} to {DAMPINGS[-1]:.0e}"
        yield judge(audit, name, value, resolution, reason)


def _path_ratios(
    A: np.ndarray, b: np.ndarray, U: np.ndarray, s: np.ndarray, V: np.ndarray, path: list[tuple[Any, ...]]
) -> dict[str, float]:
    """Worst ratios along the dampings.

    What rounding may change is measured by `change`, the first-order change of x by unit relative changes of A
    and b: ``(A^H A + t^2)^-1 A^H`` has norm 1/(2 t) at most and 1/s_r on the range of A, and its square weighs
    the residual (Hansen 1998, section 4.1).
    """
    unit = max(A.shape) * EPS
    along, size = adjoint(U) @ b, float(np.linalg.norm(b))
    undamped = V @ (along / s)
    rest = np.linalg.norm(b - U @ along)
    found = dict.fromkeys(("equations", "filters", "limit"), 0.0)
    norms, residuals, slack = [], [], []
    for t, x in path:
        if not np.isfinite(x).all():
            return dict.fromkeys((*found, "|x| falls", "|r| grows"), np.inf)
        r = b - A @ x
        norm = float(np.linalg.norm(x))
        gradient = adjoint(A) @ r - t * t * x
        scale = s[0] * (size + s[0] * norm) + t * t * norm
        found["equations"] = max(found["equations"], float(np.linalg.norm(gradient)) / scale / unit)
        gain = min(1 / s[-1], 0.5 / t)
        curve = 1 / (s[-1] ** 2 + t * t)
        change = gain * (size + s[0] * norm) + curve * s[0] * float(np.linalg.norm(r))
        if len(s) < min(A.shape):
            change += rest * s[0] / (t * t)  # rounding makes singular values up to unit s_1 out of none
        expected = V @ (s / (s * s + t * t) * along)
        found["filters"] = max(found["filters"], float(np.linalg.norm(x - expected)) / change / unit)
        law = (t / s[-1]) ** 2 * float(np.linalg.norm(undamped))
        distance = float(np.linalg.norm(x - undamped))
        found["limit"] = max(found["limit"], distance / (law + SLACK * unit * change))
        norms.append(norm)
        residuals.append(float(np.linalg.norm(r)))
        slack.append((SLACK * unit * change, SLACK * unit * (s[0] * change + size)))
    found["|x| falls"] = _steps(norms, [a for a, _ in slack])
    found["|r| grows"] = _steps(residuals[::-1], [a for _, a in slack[::-1]])
    return found


def _steps(values: list[float], slack: list[float]) -> float:
    """Largest rise of values that should fall, over what rounding explains."""
    rises = np.diff(values)
    return float((rises / (np.array(slack[:-1]) + np.array(slack[1:]))).max())

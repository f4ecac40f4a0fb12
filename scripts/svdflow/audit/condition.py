"""Panels of one matrix: condition in several norms, rank under the rules of the libraries, what enclosures prove.

Beyond ``1 / (n eps)`` a condition number is rounding, and the row says so instead of giving a number.
"""

from collections.abc import Iterator, Mapping
from math import expm1, inf, log, log1p, nan

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from svdflow.audit.enclosures import Certificate
from svdflow.audit.integer_rank import exact_rank as stacked_rank
from svdflow.audit.records import Record, judged
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold

Array = np.ndarray
Limits = Mapping[str, Threshold]

EPS = float(np.finfo(np.float64).eps)
FAMILY = "conditioning"
# mpmath, 80 digits: svd_r of 1 / (i + j + 1), i and j below 14. Rounding its entries alone makes that 2.898e17.
HILBERT_14 = 1.8533817023471499e19
PANEL_SIDE = (
    1024  # sides up to which a plane is certified: there LU, inverse and enclosures cost what its SVD does
)
# Smaller side and entries up to which the rank of integers is found exactly, in milliseconds; larger are not judged.
EXACT_SIDE, EXACT_SIZE = 8, 1024
MODERATE = (
    1e10  # kappa from which a wide enclosure is no warning: eps kappa is 2e-6 there, above the limit of 1e-8
)


def enclosure_records(
    certificate: Certificate, s: Array, grain: float, limits: Limits, subject: str
) -> Iterator[Record]:
    """What is proved of kappa and rank, and whether the computed values, a `grain` of s_1 apart, agree with it."""
    least, most = certificate.kappa
    width = 0.0 if certificate.upper[0] == 0 else 1.0 if most == inf else (most - least) / most
    limit = limits["enclosure_kappa"]
    said = f"kappa in [{least:.10g}, {most:.10g}]"
    undecided = "the matrix is zero" if certificate.upper[0] == 0 else ""
    if width > limit.warn and least >= MODERATE:
        undecided = f"float limit: {said}"
    row = judged(FAMILY, "enclosure_kappa", subject, width, limit, 0.0, reason=said).at(resolution=width)
    yield row.at(verdict=Verdict.INCONCLUSIVE, reason=undecided) if undecided else row
    yield _certified_rank(certificate, limits["certified_rank"], subject)
    unit = len(certificate.lower) * EPS * (float(certificate.upper[0]) or 1.0)
    apart = float(certificate.outside(s).max()) / unit
    room = float((certificate.upper - certificate.lower).max()) / unit
    # What lies outside is proved to, however wide the enclosure is; what lies inside may err by its width.
    room = grain * float(certificate.upper[0]) / unit if apart else room
    reason = f"distance of {len(s)} computed values from their enclosures, in min(m, n) eps s_1"
    yield judged(FAMILY, "enclosed_values", subject, apart, limits["enclosed_values"], room, reason=reason)


def _certified_rank(certificate: Certificate, limit: Threshold, subject: str) -> Record:
    rank, count = certificate.rank, len(certificate.lower)
    verdict, reason = Verdict.PASS, f"proved, of {count}"
    if rank < count and certificate.upper[rank] > 0:
        verdict = Verdict.INCONCLUSIVE
        reason = f"rank >= {rank} certified, rank {rank + 1} of {count} undecidable in float64"
    return Record(
        FAMILY, "certified_rank", subject, float(rank), limit.warn, limit.fail, 0.0, verdict, reason
    )


def norm_records(A: Array, s: Array, limits: Limits, subject: str) -> Iterator[Record]:
    """Condition of a square matrix: 1- and infinity-norm, Skeel's, and LAPACK's estimate against the truth.

    Notes
    -----
    ``cond(A) = || |A^-1| |A| ||_inf`` (Skeel 1979) is free of row scaling. Laws: it is at most kappa_inf; an estimate
    of ``||A^-1||_1`` is at most that norm (Higham and Tisseur 2000); ``kappa_2^2 <= kappa_1 kappa_inf`` and
    ``kappa_1 <= n kappa_2`` (Higham 2002, table 6.2). Rounding of the inverse is about ``n eps kappa``, and the excess
    is given in units of that.
    """
    n = len(A)
    bound = limits["condition_number"].fail / (n * EPS)
    names = ("condition_one", "condition_skeel", "condition_laws", "rcond_estimate")
    found = _norms(A, s) if s[0] > 0 else None
    if found is None or not max(found["kappa_1"], found["kappa_inf"], found["kappa_2"]) < bound:
        reason = "the matrix is zero" if s[0] == 0 else f"float limit: > 1/(n eps) = {bound:.3g}"
        value = nan if s[0] == 0 else bound
        for name in names[:2]:
            yield Record(FAMILY, name, subject, value, nan, bound, inf, Verdict.INCONCLUSIVE, reason)
        for name in names[2:]:
            limit = limits[name]
            yield Record(
                FAMILY, name, subject, nan, limit.warn, limit.fail, inf, Verdict.INCONCLUSIVE, reason
            )
        return
    one, inverse = found["kappa_1"], found["inverse_1"]
    unit = n * EPS * max(one, found["kappa_inf"])
    reason = f"kappa_inf {found['kappa_inf']:.6g}, rcond (gecon) {found['rcond']:.3g}"
    yield Record(FAMILY, names[0], subject, one, nan, bound, one * unit, reason=reason)
    skeel = found["skeel"]
    reason = f"at most kappa_inf {found['kappa_inf']:.6g}"
    yield Record(FAMILY, names[1], subject, skeel, nan, bound, skeel * unit, reason=reason)
    excess = {
        "gecon over the inverse's norm": found["gecon"] / inverse,
        "onenormest over the inverse's norm": found["onenormest"] / inverse,
        "Skeel over kappa_inf": skeel / found["kappa_inf"],
        "kappa_2 over sqrt(kappa_1 kappa_inf)": found["kappa_2"] / (one * found["kappa_inf"]) ** 0.5,
        "kappa_1 over n kappa_2": one / (n * found["kappa_2"]),
    }
    worst = max(excess, key=lambda law: excess[law])
    reason = f"nearest to its law: {worst}, {excess[worst]:.6g}; excess in n eps kappa"
    value = max(excess[worst] - 1, 0.0) / unit
    yield judged(FAMILY, names[2], subject, value, limits[names[2]], 1.0, reason=reason)
    short = inverse / min(found["gecon"], found["onenormest"])
    reason = (
        f"norm of the inverse {inverse:.6g}, gecon {found['gecon']:.6g}, onenormest {found['onenormest']:.6g}"
    )
    yield judged(FAMILY, names[3], subject, short, limits[names[3]], unit, reason=reason)


def _norms(A: Array, s: Array) -> dict[str, float] | None:
    """Norms of A and its inverse, and estimates from the same LU factors; None where a pivot is 0."""
    n = len(A)
    getrf, getri, gecon = scipy.linalg.get_lapack_funcs(("getrf", "getri", "gecon"), (A,))
    LU, pivots, singular = getrf(A)
    if singular:
        return None
    inverse, failed = getri(LU, pivots)
    one, most = np.linalg.norm(A, 1), np.linalg.norm(A, inf)
    rcond = float(gecon(LU, one, norm="1")[0])
    if failed or not np.isfinite(inverse).all() or not rcond:
        return None
    solver = scipy.sparse.linalg.LinearOperator(
        (n, n),
        dtype=A.dtype,
        matvec=lambda x: scipy.linalg.lu_solve((LU, pivots), x),
        matmat=lambda x: scipy.linalg.lu_solve((LU, pivots), x),
        rmatvec=lambda x: scipy.linalg.lu_solve((LU, pivots), x, trans=2),
        rmatmat=lambda x: scipy.linalg.lu_solve((LU, pivots), x, trans=2),
    )
    inverse_one = float(np.linalg.norm(inverse, 1))
    return {
        "kappa_1": float(one * inverse_one),
        "kappa_inf": float(most * np.linalg.norm(inverse, inf)),
        "kappa_2": float(s[0] / s[-1]) if s[-1] else inf,
        "skeel": float(np.linalg.norm(np.abs(inverse) @ np.abs(A), inf)),
        "rcond": rcond,
        "inverse_1": inverse_one,
        "gecon": float(1 / (rcond * one)),
        # One column draws nothing at random, so the row is the same every time.
        "onenormest": float(scipy.sparse.linalg.onenormest(solver, t=1)),
    }


def rank_rules(s: Array, shape: tuple[int, ...], unit: float = EPS) -> dict[str, int]:
    """Rank under the default cut-offs of the libraries.

    Parameters
    ----------
    s : ndarray
        All min(m, n) singular values, descending.
    shape : (m, n)
    unit : float
        eps of the matrix's type.

    Notes
    -----
    numpy.linalg.matrix_rank and lstsq, scipy.linalg.pinv: max(m, n) eps; numpy.linalg.pinv: 1e-15; scipy.linalg.lstsq:
    eps; each times the largest.
    """
    wide = max(shape) * unit
    cuts = {
        "matrix_rank": wide,
        "numpy pinv": 1e-15,
        "scipy pinv": wide,
        "numpy lstsq": wide,
        "scipy lstsq": unit,
    }
    return {rule: int(np.count_nonzero(s > cut * s[0])) for rule, cut in cuts.items()}


def rank_records(A: Array, s: Array, unit: float, limits: Limits, subject: str) -> Iterator[Record]:
    """Rank under five rules, and effective rank; of small integer matrices the exact one, too."""
    ranks = rank_rules(s, A.shape, unit)
    rank = ranks["matrix_rank"]
    said = ", ".join(
        f"{r} ({' '.join(name for name in ranks if ranks[name] == r)})" for r in sorted({*ranks.values()})
    )
    if 0 < rank < len(s):
        kept, dropped = s[rank - 1] / s[0], s[rank] / s[0]
        gap = kept / dropped if dropped else inf
        said += f"; gap {gap:.3g}: cut-offs from {dropped:.2g} to {kept:.2g} give {rank}"
    spread = float(max(ranks.values()) - min(ranks.values()))
    yield judged(FAMILY, "rank_rules", subject, spread, limits["rank_rules"], 0.0, reason=said)
    yield _effective_rank(s, max(A.shape) * EPS, limits["effective_rank"], subject)
    exact = exact_rank(A)
    if exact is not None:
        reason = f"exact rank {exact}, matrix_rank {rank}"
        yield judged(
            FAMILY, "rank_exact", subject, float(abs(exact - rank)), limits["rank_exact"], 0.0, reason=reason
        )


def _effective_rank(s: Array, unit: float, limit: Threshold, subject: str) -> Record:
    """exp of the entropy of ``s / sum(s)`` (Roy and Vetterli 2007); its resolution is Fannes' and Audenaert's."""
    if s[0] == 0:
        return Record(
            FAMILY, "effective_rank", subject, 0.0, limit.warn, limit.fail, 0.0, reason="the matrix is zero"
        )
    w = s / s[0]
    p = w[w > 0] / w.sum()
    effective, stable = float(np.exp(-np.sum(p * np.log(p)))), float(np.sum(w**2))
    moved = min(len(s) * unit / float(w.sum()), 0.5)
    entropy = moved * log(max(len(s) - 1, 1)) - moved * log(moved) - (1 - moved) * log1p(-moved)
    resolution = effective * expm1(entropy)
    return Record(
        FAMILY,
        "effective_rank",
        subject,
        effective,
        limit.warn,
        limit.fail,
        resolution,
        reason=f"stable rank {stable:.6g}, of {len(s)}",
    )


def exact_rank(A: Array) -> int | None:
    """Rank of a small matrix of integers; None for any other."""
    if min(A.shape) > EXACT_SIDE or A.size > EXACT_SIZE or A.dtype.kind == "c":
        return None
    if not (np.abs(A) <= 2.0**53).all() or (np.rint(A) != A).any():
        return None
    return int(stacked_rank(A.astype(np.int64)[None])[0])

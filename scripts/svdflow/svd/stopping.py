"""Why a factorization ended, judged once more by what the last read measured; and the warning where it fell short."""

import warnings
from typing import Any

import numpy as np

from svdflow.errors import ConvergenceWarning
from svdflow.svd.info import SVDInfo

# Rounding moves s_i^2 by up to ROUNDING eps s_1 s_i (of U and V) and hides squares below NOISE eps s_1^2 (of A^H A):
# small constants in the place of the bounds of Higham (2002, section 3.5), which grow with the sides, as rounding
# errors of both signs do not. Larger ones let triplets pass that are not resolved; smaller ones call exact results
# unresolved. tests/unit/test_svd_extremes.py holds both ends.
ROUNDING = NOISE = 16
# Share of s_i^2 up to which such a move counts as rounding: a value that is moved further is not resolved, whatever the
# reason. It is the usual tolerance.
SHARE = 1e-2


def measured(
    s: np.ndarray, before: np.ndarray, residuals: np.ndarray, *, polished: bool, eps: float
) -> float:
    """Error that the last read leaves possible, ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` beyond rounding.

    A search works with ``A^H A``, whose rounding hides values below about ``sqrt(eps) s_1``: residuals and gains of
    the search mean nothing there. The last read works with A. What it moved a squared value by is half a step of the
    power method; a value that is there moves by rounding only.

    Parameters
    ----------
    s, residuals : ndarray, shape (k,)
        Singular values that stand above rounding, and ``||A^H u_i - s_i v_i||`` before polishing.
    before : ndarray, shape (l,), l >= k
        Singular values of ``A V``.
    polished : bool
        Whether `s` are half a step past `before`.
    eps : float
        Of the stored factors.

    Returns
    -------
    float
        0 where nothing moved beyond rounding; infinite where something did and ``s_{k+1}`` is 0.
    """
    k = len(s)
    if not k:
        return 0.0
    # Of a pair with A v = s u, ||A^H u||^2 = s^2 + r^2.
    moved = np.abs(s**2 - before[:k] ** 2) if polished else residuals[:k] ** 2
    rounding = np.minimum(ROUNDING * eps * s[0] * s, SHARE * s**2)
    beyond = float(np.max(moved - rounding, initial=0.0))
    following = float(before[k]) ** 2 if k < len(before) else 0.0
    if beyond <= 0:
        return 0.0
    return beyond / following if following > 0 else np.inf


def judged(
    reason: str, estimate: float, found: Any, factors: Any, *, tol: float, work: Any, output: Any
) -> tuple[str, float]:
    """Reason and estimate of a search, where the last read bears them out, else what it shows.

    A search whose tolerance lies above the rounding of its squares is believed; one that judged what the last read
    measured, where it lies above the rounding of that.

    Parameters
    ----------
    found : Subspace
    factors : Factors
    work, output : dtype
        Of the products of the search, and of the stored factors.
    """
    k, rank = len(factors.s), factors.numerical_rank
    if rank < k:
        reason = "rank_deficient" if reason != "unresolved" else reason
    if found.exact or found.sharp or reason not in ("converged", "saturated", "rank_deficient"):
        return reason, estimate
    following = float(factors.before[k]) ** 2 if k < len(factors.before) else 0.0
    eps = float(np.finfo(factors.dtype if found.judged_last else work).eps)
    if (
        reason == "converged"
        and estimate <= tol
        and NOISE * eps * float(factors.s[0]) ** 2 <= tol * following
    ):
        return reason, estimate
    error = measured(
        factors.s[:rank],
        factors.before,
        factors.residuals,
        polished=factors.polished,
        eps=float(np.finfo(output).eps),
    )
    if error > tol:
        return ("max_reads" if found.reason == "max_reads" else "unresolved"), max(error, estimate)
    return reason, estimate if reason == "saturated" else error


def warn_if_short(
    info: SVDInfo, tol: float, *, error: float | None = None, energy: float | None = None
) -> None:
    """Warn where factors are less accurate than was asked for, or nothing shows that they are not.

    A method of a fixed number of reads (``rsvd``, ``single_pass``) has no tolerance to miss, but a target it has.
    """
    left = info.relative_error
    short = (error is not None and left > error) or (energy is not None and 1 - left**2 < energy)
    goal = (
        f"relative error {error:g}" if error is not None else f"share of energy {energy:g}" if energy else ""
    )
    m, n = info.shape
    what = f"rank {info.rank} of a {m} x {n} matrix by method {info.method!r}"
    if info.reason == "max_reads" and short and info.rank < min(m, n):
        words = f"{goal} is not reached after {info.reads} reads (relative error {left:.2g}); raise max_reads"
    elif info.reason == "max_reads" and not np.isnan(info.estimate):
        words = f"stopped after {info.reads} reads at an estimated accuracy of {info.estimate:.1e}, tol is {tol:.1e}; "
        words += "raise max_reads or tol"
    elif info.reason == "unresolved" and short:
        words = (
            f"{goal} lies below what rounding of factors and certificate shows (relative error {left:.1g}); "
        )
        words += "method 'full' on float64 shows most"
    elif info.reason == "unresolved":
        words = f"nothing shows that the triplets are within tol = {tol:.1e} of the leading ones, as the smallest lie "
        words += (
            "below what rounding leaves of squares, or probes found more left; 'full' and 'gram' resolve more"
        )
    else:
        return
    warnings.warn(f"{what}: {words}", ConvergenceWarning, stacklevel=3)

"""Checks of a full decomposition of a matrix, by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import frexp, inf, isfinite, nan
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from svdflow.audit.condition import PANEL_SIDE, enclosure_records, norm_records, rank_records
from svdflow.audit.enclosures import Certificate, certify_svd, lossy_integers
from svdflow.audit.records import Record, judged
from svdflow.audit.verdicts import Verdict
from svdflow.matrix.masks import materialized, unmasked
from svdflow.registry import Threshold

EPS = float(np.finfo(np.float64).eps)
FAMILY = "conditioning"
SAFE_EXPONENT = (
    400  # matrices with entries outside 2^-400 .. 2^400 are scaled: squares stay within float64 (2^1023)
)

Limits = Mapping[str, Threshold]


@dataclass(frozen=True)
class Full:
    """A matrix and its full (economy) decomposition in double precision; `unit` is eps of its own type."""

    A: np.ndarray
    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray
    unit: float

    @classmethod
    def of(cls, A: Any) -> "Full":
        """Decompose a matrix; ValueError names what is wrong with one that cannot be."""
        A = np.asarray(unmasked(materialized(A), "matrix"))
        wide = checked_matrix(A)
        U, s, Vt = scipy.linalg.svd(wide, full_matrices=False, lapack_driver="gesdd")
        return cls(wide, U, s, Vt, max(EPS, rounding_unit(A.dtype)))

    def scaled(self) -> tuple["Full", float]:
        """The same with A and s times a power of two, so that no norm overflows or vanishes; and the power."""
        power = norm_power(self.A)
        if power == 1:
            return self, power
        return replace(self, A=self.A * power, s=self.s * power), power

    @property
    def certifiable(self) -> bool:
        """Whether enclosures cost about as much as the decomposition, and not minutes."""
        return max(self.A.shape) * min(self.A.shape) ** 2 <= PANEL_SIDE**3

    @cached_property
    def certificate(self) -> Certificate:
        """Proved enclosures of its singular values, from these factors."""
        return certify_svd(self.A, self.U, self.s, self.Vt)


def full_records(
    full: Full, limits: Limits, subject: str, truth: np.ndarray | None = None
) -> Iterator[Record]:
    """What a full decomposition says: its own quality first, then what may be read off it and what is proved."""
    scaled, power = full.scaled()
    yield from _decomposition(scaled, _grain(scaled, power) / EPS, limits, subject)
    yield from _spectrum(full.s, full.A.shape, limits, subject)
    yield from _panels(full, limits, subject)
    if truth is not None:
        yield _against_truth(scaled, truth * power, limits, subject)


def _grain(scaled: Full, power: float) -> float:
    """Distance of the numbers near s_1 over s_1, where those are below the normal ones; else 0 in effect."""
    return 2.0**-1074 * power / float(scaled.s[0]) if scaled.s[0] > 0 else 0.0


def _panels(full: Full, limits: Limits, subject: str) -> Iterator[Record]:
    """Ranks by several rules, condition in several norms, and enclosures; large matrices are skipped by name."""
    scaled, power = full.scaled()
    shape = full.A.shape
    if not np.isfinite(scaled.s).all():
        reason = "a singular value lies beyond the largest float"
        yield Record(FAMILY, "enclosure_kappa", subject, verdict=Verdict.SKIP, reason=reason)
        return
    yield from rank_records(full.A, scaled.s, full.unit, limits, subject)
    if not full.certifiable:
        reason = f"{shape[0]} x {shape[1]}: more work than {PANEL_SIDE} x {PANEL_SIDE}, not certified"
        yield Record(FAMILY, "enclosure_kappa", subject, verdict=Verdict.SKIP, reason=reason)
        return
    yield from enclosure_records(scaled.certificate, scaled.s, _grain(scaled, power), limits, subject)
    if shape[0] == shape[1]:
        yield from norm_records(scaled.A, scaled.s, limits, subject)


def checked_matrix(A: Any) -> np.ndarray:
    """A matrix in float64 or complex128.

    Raises
    ------
    ValueError
        Not two-dimensional, empty, not numeric, masked, not finite, or an integer that float64 does not hold; the
        message names the first bad entry.
    """
    if scipy.sparse.issparse(A):
        raise ValueError("a sparse matrix; its full decomposition takes a dense one: A.toarray()")
    A = np.asarray(unmasked(materialized(A), "matrix"))
    if A.dtype.kind not in "fiubc":
        at = next(
            (i for i, x in np.ndenumerate(A) if not isinstance(x, int | float | complex | np.number)), None
        )
        first = f": {type(A[at]).__name__} at index {tuple(map(int, at))}" if at is not None else ""
        raise ValueError(f"dtype {A.dtype} is not numeric{first}")
    if A.ndim != 2:
        raise ValueError(f"shape {A.shape} is not that of a matrix")
    if A.size == 0:
        raise ValueError(f"shape {A.shape} is empty")
    bad = np.argwhere(~np.isfinite(A))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise ValueError(f"{A[row, column]} at row {row}, column {column}; {len(bad)} of {A.size} not finite")
    for row, column in lossy_integers(A):
        raise ValueError(
            f"{A[row, column]} at row {row}, column {column}: integer overflow, no float64 holds it"
        )
    return A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)


def _decomposition(full: Full, grain: float, limits: Limits, subject: str) -> Iterator[Record]:
    """The ratios of LAPACK's own acceptance tests (TESTING/EIG/ddrvbd.f, 1 to 4 and 7), in the 1-norm."""
    A, U, s, Vt = full.A, full.U, full.s, full.Vt
    m, n = A.shape
    ratios = {
        "svd_residual": _ratio(_norm(A - (U * s) @ Vt), _norm(A) * max(m, n)),
        "svd_orthogonality_u": _ratio(departure(gram(U)), m),
        "svd_orthogonality_v": _ratio(departure(gram(Vt.conj().T)), n),
        "svd_order": 0.0 if np.all(s >= 0) and np.all(np.diff(s) <= 0) else 1 / EPS,
        "svd_values_only": _ratio(float(np.abs(s - scipy.linalg.svdvals(A)).max()), min(m, n) * s[0]),
    }
    for audit, ratio in ratios.items():
        # Forming the residual rounds too, by about one unit of these ratios.
        yield judged(FAMILY, audit, subject, ratio, limits[audit], max(1.0, grain))


def _spectrum(s: np.ndarray, shape: tuple[int, ...], limits: Limits, subject: str) -> Iterator[Record]:
    """Extremes, rank and condition number from all min(m, n) singular values."""
    largest, smallest = float(s[0]), float(s[-1])
    unit = max(shape) * EPS
    known = unit * largest  # backward stability: every singular value is known to this (Weyl)
    yield _extreme("largest_singular_value", largest, known, limits, subject)
    yield _extreme("smallest_singular_value", smallest, known, limits, subject)
    yield _rank(s, known, limits, subject)
    yield condition_record(largest, smallest, unit, limits, subject)


def _extreme(audit: str, value: float, known: float, limits: Limits, subject: str) -> Record:
    """A singular value stands where it exceeds what is known of it."""
    if value > limits[audit].fail * known or known == 0:
        return Record(FAMILY, audit, subject, value, resolution=known)
    reason = f"float limit: below {known:.3g}, where rounding of the largest begins"
    return Record(
        FAMILY, audit, subject, value, resolution=known, verdict=Verdict.INCONCLUSIVE, reason=reason
    )


def _rank(s: np.ndarray, cut: float, limits: Limits, subject: str) -> Record:
    """Number of singular values above max(m, n) eps s_1, and whether another cut-off would say otherwise."""
    rank = int(np.count_nonzero(s > cut))
    kept, dropped = (float(s[rank - 1]) if rank else inf), (float(s[rank]) if rank < len(s) else 0.0)
    near = kept < 10 * cut or dropped > cut / 2
    interval = f"; cut-offs from {dropped:.2g} to {kept:.2g} give it" if rank < len(s) else ": full"
    verdict, reason = Verdict.PASS, f"of {len(s)}{interval}"
    if near and cut > 0:
        verdict, reason = Verdict.WARN, f"a singular value lies near the cut-off {cut:.2g}; {reason}"
    limit = limits["rank"]
    return Record(FAMILY, "rank", subject, float(rank), limit.warn, limit.fail, 0.0, verdict, reason)


def condition_record(largest: float, smallest: float, unit: float, limits: Limits, subject: str) -> Record:
    """kappa = s_1 / s_n; above 1 / (max(m, n) eps) it is no number, and the limit is its lower bound."""
    bound = limits["condition_number"].fail / unit
    if largest == 0:
        reason = "the matrix is zero"
        return Record(FAMILY, "condition_number", subject, nan, nan, bound, nan, Verdict.INCONCLUSIVE, reason)
    if smallest * bound <= largest:
        reason = f"float limit: > 1/(n eps) = {bound:.3g}"
        return Record(
            FAMILY, "condition_number", subject, bound, nan, bound, inf, Verdict.INCONCLUSIVE, reason
        )
    kappa = largest / smallest
    reason = f"known to {kappa * unit:.1e} relative"
    # s_n is known to n eps s_1, hence kappa to n eps kappa of itself.
    resolution = kappa * kappa * unit
    return Record(FAMILY, "condition_number", subject, kappa, nan, bound, resolution, Verdict.PASS, reason)


def _against_truth(full: Full, truth: np.ndarray, limits: Limits, subject: str) -> Record:
    """Full decomposition against the spectrum the matrix was built from, in units of rounding."""
    count = min(len(truth), len(full.s))
    apart = max(float(np.abs(full.s[:count] - truth[:count]).max()), float(full.s[count:].max(initial=0.0)))
    # A matrix stored in float32 was rounded to it after it was built.
    ratio = _ratio(apart, max(full.A.shape) * float(truth[0])) * EPS / full.unit
    return judged(
        FAMILY, "truth_full", subject, ratio, limits["truth_full"], 1.0, reason="against the exact spectrum"
    )


def norm_power(A: np.ndarray) -> float:
    """Power of two that keeps norms of A finite and exact; 1 where they are."""
    exponent = frexp(max(float(np.abs(A.real).max()), float(np.abs(A.imag).max())))[1]
    return 1.0 if abs(exponent) <= SAFE_EXPONENT else 2.0 ** min(-exponent, 1000)  # 2^1024 is no number


def gram(X: np.ndarray) -> np.ndarray:
    """X^H X."""
    return X.conj().T @ X


def departure(products: np.ndarray) -> float:
    """How far inner products are from those of orthonormal vectors, in the 1-norm."""
    return _norm(np.eye(len(products)) - products)


def _norm(A: np.ndarray) -> float:
    return float(np.linalg.norm(A, 1))


def _ratio(error: float, scale: float) -> float:
    """error / (scale eps); a zero matrix with an error has ratio 1 / eps (LAPACK DBDT01), overflow none."""
    if not (isfinite(error) and isfinite(scale)):
        return nan
    if scale == 0:
        return 0.0 if error == 0 else 1 / EPS
    return error / (scale * EPS)


def widened(A: np.ndarray) -> np.ndarray:
    """The same numbers in float64 or complex128."""
    return A.astype(np.complex128 if A.dtype.kind == "c" else np.float64, copy=False)


def rounding_unit(dtype: np.dtype) -> float:
    """Unit of a floating-point type; integers are exact, and computed on in float64."""
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else EPS

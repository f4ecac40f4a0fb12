"""Checks of stored factors: by themselves, and against the full decomposition of their matrix."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan, sqrt

import numpy as np

from svdflow.audit.decomposition import (
    EPS,
    FAMILY,
    Full,
    Limits,
    checked_matrix,
    condition_record,
    departure,
    gram,
    norm_power,
    rounding_unit,
    widened,
)
from svdflow.audit.enclosures import Interval, certify_error
from svdflow.audit.records import Record, judged
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.store import StoredArray, StoredGroup, read_array, read_rows

# Multiplications (about a second) and values (128 MB) above which the orthogonality of stored vectors is a row SKIP.
GRAM_WORK = 2e9
GRAM_VALUES = 2**24
BAND = 8 * 2**20  # bytes of stored vectors read at a time, of the size of the bands that they lie in


def stored_records(
    group: StoredGroup, limits: Limits, subject: str, truth: np.ndarray | None = None, *, alone: bool = True
) -> Iterator[Record]:
    """What stored factors prove by themselves; `alone` where there is no full decomposition beside them."""
    s = read_array(group["s"]).astype(np.float64)
    shape = (group["U"].shape[0], group["Vt"].shape[1])
    if len(s) == 0:
        yield Record(FAMILY, "stored_factors", subject, verdict=Verdict.SKIP, reason="the stored rank is 0")
        return
    yield _orthogonality("stored_orthogonality_u", group["U"], limits, subject)
    yield _orthogonality("stored_orthogonality_v", group["Vt"], limits, subject)
    if truth is not None:
        count = min(len(s), len(truth))
        apart = float(np.abs(s[:count] - truth[:count]).max() / truth[0]) if truth[0] else nan
        unit, reason = _rounding(shape, group["s"].dtype), "against the exact spectrum, relative to s_1"
        yield judged(FAMILY, "stored_truth", subject, apart, limits["stored_truth"], unit, reason=reason)
    if alone:
        unit = max(shape) * rounding_unit(group["s"].dtype)
        yield _condition_from_factors(s, shape, unit, limits, subject)


def _condition_from_factors(
    s: np.ndarray, shape: tuple[int, ...], unit: float, limits: Limits, subject: str
) -> Record:
    """s_1 / s_k bounds kappa from below; it is kappa only where all singular values are stored."""
    if len(s) == min(shape) or s[-1] * limits["condition_number"].fail <= unit * s[0]:
        return condition_record(float(s[0]), float(s[-1]), unit, limits, subject)
    bound = limits["condition_number"].fail / unit
    reason = f"truncated: at least s_1/s_{len(s)}"
    value = float(s[0] / s[-1])
    return Record(FAMILY, "condition_number", subject, value, nan, bound, inf, Verdict.INCONCLUSIVE, reason)


def _orthogonality(audit: str, vectors: StoredArray, limits: Limits, subject: str) -> Record:
    """|I - X^H X| / (length eps), 1-norm, eps of the type of the factors (LAPACK DORT01)."""
    length, count = vectors.shape if vectors.name.endswith("U") else vectors.shape[::-1]
    if length * count**2 > GRAM_WORK or length * count > GRAM_VALUES:
        reason = f"{length} x {count} vectors: too large to check here"
        return Record(FAMILY, audit, subject, verdict=Verdict.SKIP, reason=reason)
    unit = rounding_unit(vectors.dtype)
    ratio = departure(_stored_gram(vectors)) / (length * unit)
    return judged(FAMILY, audit, subject, ratio, limits[audit], EPS / unit)


def _stored_gram(vectors: StoredArray) -> np.ndarray:
    """X^H X of stored singular vectors in float64: columns of U, rows of Vt."""
    if not vectors.name.endswith("U"):
        return gram(widened(read_array(vectors)).conj().T)
    rows = max(1, BAND // (vectors.shape[1] * vectors.dtype.itemsize))
    total = np.zeros(2 * vectors.shape[1:])
    for start in range(0, vectors.shape[0], rows):
        total = total + gram(widened(read_rows(vectors, start, min(start + rows, vectors.shape[0]))))
    return total


def compared_records(full: Full, group: StoredGroup, limits: Limits, subject: str) -> Iterator[Record]:
    """Stored factors against the full decomposition: values, optimality and the recorded error."""
    U, s, Vt = (widened(read_array(group[name])) for name in ("U", "s", "Vt"))
    if not len(s) or not full.s[0]:
        return
    if group.attrs.get("center", False) or "mean" in group:
        reason = "the factors are of the centred matrix"
        yield Record(FAMILY, "stored_values", subject, verdict=Verdict.SKIP, reason=reason)
        return
    scaled, power = full.scaled()
    s = s * power
    unit = _rounding(full.A.shape, group["s"].dtype)
    apart = float(np.abs(s - scaled.s[: len(s)]).max() / scaled.s[0])
    reason = f"{len(s)} stored values, relative to s_1"
    yield judged(FAMILY, "stored_values", subject, apart, limits["stored_values"], unit, reason=reason)
    unit = _rounding(full.A.shape, group["U"].dtype)  # often coarser than that of the values
    norm = float(np.linalg.norm(scaled.A))
    proved = certify_error(scaled.A, U, s, Vt)
    optimum = float(np.linalg.norm(scaled.s[len(s) :])) / norm
    yield _eckart_young(sum(proved) / 2 / norm, optimum, unit, full.A.shape, limits, subject)
    if len(s) < len(full.s) and full.certifiable:
        yield _suboptimality(proved, scaled.certificate.tail(len(s)), unit * norm, len(s), limits, subject)
    yield from recorded_records(full.A, group, limits, subject, proved)


def recorded_records(
    A: np.ndarray, group: StoredGroup, limits: Limits, subject: str, proved: Interval | None = None
) -> Iterator[Record]:
    """The error that stored factors record against its enclosure, which takes one product of A's size.

    `proved` is that enclosure in the unit of ``Full.scaled``, where it is known.
    """
    if "frobenius_error" not in group.attrs or group.attrs.get("center", False) or "mean" in group:
        return
    A = checked_matrix(A)
    power = norm_power(A)
    A = A * power
    norm = float(np.linalg.norm(A))
    if proved is None:
        U, s, Vt = (widened(read_array(group[name])) for name in ("U", "s", "Vt"))
        proved = certify_error(A, U, s * power, Vt)
    if not norm or not len(group["s"]):
        return
    said = float(group.attrs["frobenius_error"]) * power / norm
    ends = proved[0] / norm, proved[1] / norm
    promised = float(group.attrs.get("frobenius_resolution", 0.0)) * power / norm
    # The error was recorded before the factors were rounded to the type that they are stored in.
    eps, limit = rounding_unit(group["U"].dtype), limits["recorded_error"]
    limit = replace(limit, warn=max(limit.warn, 4 * eps, promised), fail=max(limit.fail, 40 * eps, promised))
    yield _recorded(said, ends, group.attrs.get("frobenius_kind", "exact"), limit, subject)


def _eckart_young(
    error: float, optimum: float, unit: float, shape: tuple[int, ...], limits: Limits, subject: str
) -> Record:
    """No matrix of rank k is nearer than the tail of the spectrum; how much farther the stored one is."""
    limit = limits["eckart_young"]
    # Rounded factors still have rank k, so only the rounding of both norms, taken in float64, may show here.
    slack = 10 * max(shape) * EPS
    reason = f"relative error {error:.4g}, optimum {optimum:.4g}"
    if error < optimum - slack:
        reason = f"below the optimum, which is impossible; {reason}"
        figures = (optimum - error, nan, slack, slack)
        return Record(FAMILY, "eckart_young", subject, *figures, Verdict.FAIL, reason)
    return judged(FAMILY, "eckart_young", subject, max(error - optimum, 0.0), limit, unit, reason=reason)


def _suboptimality(
    error: Interval, optimum: Interval, rounding: float, k: int, limits: Limits, subject: str
) -> Record:
    """Error of the stored factors over the least of their rank, both proved (Eckart and Young).

    The mean error of a sketch of k + p columns is at most ``sqrt(1 + k / (p - 1))`` times the optimum (Halko,
    Martinsson and Tropp 2011, theorem 10.5); p = 2 is the least that the theorem allows.
    """
    limit = replace(limits["suboptimality"], fail=max(2.0, sqrt(1 + k)))
    reason = f"error in [{error[0]:.9g}, {error[1]:.9g}], optimum in [{optimum[0]:.9g}, {optimum[1]:.9g}]"
    if not optimum[0] > 0:
        figures = (nan, limit.warn, limit.fail, inf)
        reason = f"the optimum may be 0; {reason}"
        return Record(FAMILY, "suboptimality", subject, *figures, Verdict.INCONCLUSIVE, reason)
    least, most = error[0] / optimum[1], error[1] / optimum[0]
    # What rounding of the stored vectors alone adds is no fault of the method.
    resolution = most - least + rounding / optimum[0]
    return judged(FAMILY, "suboptimality", subject, (least + most) / 2, limit, resolution, reason=reason)


def _recorded(said: float, proved: Interval, kind: str, limit: Threshold, subject: str) -> Record:
    """How far the error that the factors claim lies outside what is proved; a floor claims an upper bound."""
    apart = max(proved[0] - said, 0.0 if kind == "floor" else said - proved[1], 0.0)
    reason = f"recorded {said:.9g} ({kind}), proved [{proved[0]:.9g}, {proved[1]:.9g}], of the norm"
    return judged(FAMILY, "recorded_error", subject, apart, limit, proved[1] - proved[0], reason=reason)


def _rounding(shape: tuple[int, ...], dtype: np.dtype) -> float:
    """What rounding does to a singular value, relative to s_1: sqrt(n) eps (Higham and Mary 2019)."""
    return sqrt(max(shape)) * rounding_unit(dtype)

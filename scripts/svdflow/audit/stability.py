"""Floating-point stability: log-sum-exp, softmax, sums, variances and the dtypes under them.

Every value is an error over its first-order a priori bound, so a value of 1 cannot be rounding: it is a
fault.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import fsum, inf, sqrt
from typing import Any

import numpy as np

from svdflow.audit.records import Record, attempt, judged, publish_records
from svdflow.audit.verdicts import Threshold, resolve

Array = np.ndarray
# Digits after the leading one, and the largest number: IEEE 754-2019, table 3.5.
IEEE = {
    "float16": (10, 65504.0),
    "float32": (23, float(2**128 - 2**104)),
    "float64": (52, float(2**1024 - 2**971)),
}
REFERENCE = np.longdouble
REFERENCE_UNIT = float(np.finfo(REFERENCE).eps) / 2


def log_sum_exp(x: Array) -> Any:
    """log(sum(exp(x))) of a vector in its own dtype, shifted by the maximum so that nothing overflows."""
    shift = _shift(x)
    with np.errstate(divide="ignore"):  # of nothing but -inf it is -inf
        return shift + np.log(np.sum(np.exp(x - shift), dtype=x.dtype))


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) of a vector in its own dtype, shifted by the maximum."""
    e = np.exp(x - _shift(x))
    return e / np.sum(e, dtype=x.dtype)


def _shift(x: Array) -> Any:
    largest = x.max()
    return largest if np.isfinite(largest) else x.dtype.type(0)


def two_pass_variance(x: Array) -> float:
    """Sample variance from deviations from the mean."""
    return float(np.sum((x - np.mean(x)) ** 2) / (x.size - 1))


def welford_variance(x: Array) -> float:
    """Sample variance in one pass (Welford 1962)."""
    mean = squares = 0.0
    for i, value in enumerate(x.tolist(), 1):
        deviation = value - mean
        mean += deviation / i
        squares += deviation * (value - mean)
    return squares / (x.size - 1)


def audit_softmax(
    seed: int, thresholds: Mapping[str, Threshold], subject: Callable[[Array], Array] = softmax
) -> Iterator[Record]:
    """Softmax per dtype against long double, its shift invariance and its behaviour at the borders.

    Bound of entry i, derived as in Blanchard, Higham and Higham (2021), section 4: with r the range of x,
    relative error (n + 5 + 2 r) u, and what underflow takes: twice the smallest subnormal number.
    """
    laws = Laws("softmax", seed, thresholds)
    for dtype, x in _vectors(seed):
        exact = _exact_softmax(x)
        relative = (x.size + 5 + 2 * np.ptp(x.astype(REFERENCE))) * _unit(dtype)
        bound = relative * exact + 2 * float(np.finfo(dtype).smallest_subnormal)
        yield laws.compare("softmax", dtype, dtype, subject(x), exact, bound)
        moved = subject(x + _exact_shift(x))
        yield laws.compare("shift_invariance", f"softmax {dtype}", dtype, moved, subject(x), bound)
        yield laws.at_the_border(dtype, subject, _exact_softmax)


def audit_log_sum_exp(
    seed: int, thresholds: Mapping[str, Threshold], subject: Callable[[Array], Any] = log_sum_exp
) -> Iterator[Record]:
    """Log-sum-exp per dtype against long double, its shift law and its behaviour at the borders.

    Absolute bound, with y the result, a the shift and r the range: (n + 2 + r + 2 |y - a| + |y|) u, from
    the rounding of x - a (r), exp (1), the sum (n), log (2 |y - a|) and the last addition (|y|).
    """
    laws = Laws("log_sum_exp", seed, thresholds)
    for dtype, x in _vectors(seed):
        exact = _exact_log_sum_exp(x)
        yield laws.compare("log_sum_exp", dtype, dtype, subject(x), exact, _lse_bound(x, exact))
        moved, shift = x + _exact_shift(x), REFERENCE(_exact_shift(x))
        back = REFERENCE(subject(moved)) - shift
        bound = _lse_bound(x, exact) + _lse_bound(moved, exact + shift)
        yield laws.compare("shift_invariance", f"log_sum_exp {dtype}", dtype, back, subject(x), bound)
        yield laws.at_the_border(dtype, subject, _exact_log_sum_exp)


def _lse_bound(x: Array, exact: Any) -> Any:
    wide = x.astype(REFERENCE)
    return (x.size + 2 + np.ptp(wide) + 2 * abs(exact - wide.max()) + abs(exact)) * _unit(x.dtype.name)


def audit_sum(
    seed: int, thresholds: Mapping[str, Threshold], subject: Callable[[Array], Any] = np.sum
) -> Iterator[Record]:
    """NumPy's sum against math.fsum; bound (n - 1) u sum |x_i| (Higham 2002, eq. 4.4)."""
    x = np.random.default_rng(seed).standard_normal(10_000) * 1e3 + 1.0
    bound = (x.size - 1) * _unit("float64") * fsum(np.abs(x))
    error = abs(float(subject(x)) - fsum(x))
    reason = f"error {error:.1e}, bound {bound:.1e}"
    yield Laws("sum", seed, thresholds).hold("sum", "numpy float64", error / bound, 1 / x.size, reason)


def audit_variance(
    seed: int,
    thresholds: Mapping[str, Threshold],
    subjects: Mapping[str, tuple[Callable[[Array], float], Callable[[int, float], float]]] | None = None,
) -> Iterator[Record]:
    """Variance algorithms against exact rational arithmetic, on a mean far from zero as in NIST NumAcc4.

    With n values and kappa = sqrt(1 + mean^2 / variance), relative bounds of Chan, Golub and LeVeque (1983),
    table 1: two-pass n u + (n u kappa)^2, Welford n u kappa.
    """
    subjects = subjects or {
        "two-pass": (two_pass_variance, _two_pass_bound),
        "Welford": (welford_variance, lambda n, kappa: n * _unit("float64") * kappa),
    }
    laws = Laws("variance", seed, thresholds)
    signs = np.random.default_rng(seed).permutation(np.tile([-0.1, 0.1], 500))
    for offset in (1.0, 1e4, 1e7):
        x = np.append(signs + offset + 0.2, offset + 0.2)
        exact = _exact_variance(x)
        kappa = sqrt(1 + float(np.mean(x)) ** 2 / float(exact))
        for name, (variance, bound) in subjects.items():
            error = float(abs(Fraction(float(variance(x))) - exact) / exact)
            limit = bound(x.size, kappa)
            reason = f"relative error {error:.1e}, bound {limit:.1e}, condition {kappa:.1e}"
            place = f"{name}, mean {offset:g}"
            yield laws.hold("variance", place, error / limit, _unit("float64") / limit, reason)


def _two_pass_bound(n: int, kappa: float) -> float:
    # The last 3 u: the square, the division and the deviation, which the paper's n u leaves out.
    u = _unit("float64")
    return (n + 3) * u + (n * u * kappa) ** 2


def _exact_variance(x: Array) -> Fraction:
    values = [Fraction(v) for v in x.tolist()]
    mean = sum(values, Fraction(0)) / len(values)
    return sum(((v - mean) ** 2 for v in values), Fraction(0)) / (len(values) - 1)


def audit_precision(seed: int, thresholds: Mapping[str, Threshold]) -> Iterator[Record]:
    """Unit roundoff and largest number of each dtype, found by probing, against IEEE 754."""
    laws = Laws("precision", seed, thresholds)
    for dtype, (digits, largest) in IEEE.items():
        unit = 2.0 ** -(digits + 1)
        probes = {
            "unit roundoff": (probe_unit(dtype), unit),
            "largest number": (probe_largest(dtype), largest),
        }
        for what, (found, expected) in probes.items():
            # Powers of two are found exactly, so anything but equality is a fault.
            value = 0.0 if found == expected else inf
            reason = f"found {found:.6g}, IEEE 754 has {expected:.6g}"
            yield laws.hold("precision", f"{what} {dtype}", value, 0.0, reason)


def probe_unit(dtype: str) -> float:
    """Half the distance from 1 to the next number, by halving."""
    one = np.ones((), dtype)
    step = np.ones((), dtype)
    while (one + step / 2).astype(dtype) > one:
        step = (step / 2).astype(dtype)
    return float(step) / 2


def probe_largest(dtype: str) -> float:
    """Largest finite number: all significant digits set, doubled until it overflows."""
    unit = np.asarray(probe_unit(dtype), dtype)
    number = (2 * (1 - unit)).astype(dtype) if (1 - unit) < 1 else np.ones((), dtype)
    with np.errstate(over="ignore"):
        while np.isfinite(number * np.asarray(2, dtype)):
            number = (number * np.asarray(2, dtype)).astype(dtype)
    return float(number)


def _vectors(seed: int) -> Iterator[tuple[str, Array]]:
    """A vector of each dtype on a grid of sixteenths, so that shifts by whole numbers are exact."""
    for dtype in IEEE:
        rng = np.random.default_rng(seed)
        yield dtype, (rng.integers(-64, 65, 64) / 16).astype(dtype)


def _exact_shift(x: Array) -> Any:
    return x.dtype.type(32)


def _exact_softmax(x: Array) -> Array:
    wide = x.astype(REFERENCE)
    e = np.exp(wide - wide.max())
    return e / e.sum()


def _exact_log_sum_exp(x: Array) -> Any:
    wide = x.astype(REFERENCE)
    return wide.max() + np.log(np.exp(wide - wide.max()).sum())


@dataclass(frozen=True)
class Laws:
    """Judges errors against their bounds for the audit `name`, which the reproduce command repeats."""

    name: str
    seed: int
    limits: Mapping[str, Threshold]

    def hold(self, audit: str, subject: str, value: float, resolution: float, reason: str) -> Record:
        """A record for an error of `value` bounds."""
        command = f"python -m svdflow audit {self.name} --seed {self.seed}"
        limit = self.limits[audit]
        columns: dict[str, Any] = {"reason": reason, "seed": self.seed, "reproduce": command}
        return judged("stability", audit, subject, value, limit, resolution, **columns)

    def compare(self, audit: str, subject: str, dtype: str, got: Any, expected: Any, bound: Any) -> Record:
        """The worst entry's error over its bound. The reference rounds too: that is the resolution."""
        error = np.atleast_1d(np.abs(np.asarray(got, REFERENCE) - np.asarray(expected, REFERENCE)))
        bound = np.broadcast_to(np.asarray(bound, np.float64), error.shape)
        ratio = np.where(np.isnan(error), inf, error / bound)
        worst = int(np.argmax(ratio))
        reason = f"entry {worst}: error {float(error[worst]):.1e} of bound {float(bound[worst]):.1e}"
        return self.hold(audit, subject, float(ratio[worst]), REFERENCE_UNIT / _unit(dtype), reason)

    def at_the_border(
        self, dtype: str, subject: Callable[[Array], Any], exact: Callable[[Array], Any]
    ) -> Record:
        """exp of these entries overflows and of their negatives underflows; the answers are plain numbers."""
        high = float(np.finfo(dtype).max) / 2
        cases = np.array([[high, high, 0.0], [-high, -high, -high], [0.0, -1.0, -np.inf]], dtype)
        with np.errstate(all="ignore"):
            got = np.concatenate([np.atleast_1d(subject(x)) for x in cases])
        expected = np.concatenate([np.atleast_1d(exact(x)) for x in cases])
        bound = 16 * _unit(dtype) * np.maximum(np.abs(expected), 1)
        return self.compare("overflow", f"{self.name} {dtype}", dtype, got, expected, bound)


def _unit(dtype: str) -> float:
    """Unit roundoff from the standard, not from the library that is audited."""
    return 2.0 ** -(IEEE[dtype][0] + 1)


AUDITS: dict[str, Callable[[int, Mapping[str, Threshold]], Iterator[Record]]] = {
    "softmax": audit_softmax,
    "log_sum_exp": audit_log_sum_exp,
    "sum": audit_sum,
    "variance": audit_variance,
    "precision": audit_precision,
}


def audit_stability(
    out: Any, *, seed: int, thresholds: Mapping[str, float], provenance: Mapping[str, Any] | None = None
) -> None:
    """Stage: run every stability audit and publish the table at `out`.

    Parameters
    ----------
    out : path
        File of kind ``audit``.
    seed : int
        Draws the vectors.
    thresholds : mapping
        Overrides of svdflow.audit.verdicts.DEFAULTS.
    """
    limits = resolve(thresholds)
    records = [
        record
        for name, audit in AUDITS.items()
        for record in attempt("stability", name, name, partial(audit, seed, limits))
    ]
    publish_records(out, records, [], provenance)

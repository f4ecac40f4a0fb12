"""Sums and variances against exact rational arithmetic, and on the NIST data that break the textbook formula."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import fsum, isqrt, log10, sqrt
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.precision import FORMATS, Array, Format, Share, gamma, likely_share, worst

UNIT = FORMATS["float64"].unit
MOST_DIGITS = 15.0  # NIST prints 15
# So many terms that gamma_n stays below 1/2 where it is the bound.
TERMS = {"float16": 256, "bfloat16": 64, "float32": 4096, "float64": 4096}


def sequential_sum(x: Array) -> Any:
    """Sum in order, each addition rounded to the dtype of x, shape (n,)."""
    return np.add.accumulate(x)[-1]


def compensated_sum(x: Array) -> Any:
    """Sum with the rounding errors summed beside it (Ogita, Rump and Oishi 2005, algorithm 4.4; Kahan's idea)."""
    total, lost = x[:1], x[:1] - x[:1]
    for i in range(1, x.size):
        term = x[i : i + 1]
        new = total + term
        back = new - total
        lost = lost + ((total - (new - back)) + (term - back))
        total = new
    return (total + lost)[0]


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


def textbook_variance(x: Array) -> float:
    """Sample variance as (sum x^2 - n mean^2) / (n - 1): cancels, and is here to be caught."""
    return float((np.sum(x * x) - x.size * np.mean(x) ** 2) / (x.size - 1))


Bounds = Callable[[int, Format], tuple[float, float]]


def _sequential_bound(n: int, form: Format) -> tuple[float, float]:
    return gamma(n - 1, form.unit), 0.0


def _pairwise_bound(n: int, form: Format) -> tuple[float, float]:
    # NumPy adds blocks of up to 128 with 8 running sums: at most 15 + 3 + 7 additions deep, then halves.
    depth = 25 + max(0, int(np.ceil(np.log2(n / 64))))
    return gamma(min(n - 1, depth), form.unit), 0.0


def _compensated_bound(n: int, form: Format) -> tuple[float, float]:
    return gamma(n - 1, form.unit) ** 2, form.unit


Sums = Mapping[str, tuple[Callable[[Array], Any], Bounds]]
SUMS: Sums = {
    "sequential": (sequential_sum, _sequential_bound),
    "numpy pairwise": (np.sum, _pairwise_bound),
    "compensated": (compensated_sum, _compensated_bound),
}


def audit_sum(seed: int, limits: Mapping[str, Threshold], subjects: Sums = SUMS) -> Iterator[Record]:
    """Sums in order, in pairs (NumPy), compensated and exact (fsum), per format, against rational arithmetic.

    Bounds a sum |x_i| + b |sum x_i|: a = gamma_(n-1) in any order and gamma of the depth in pairs (Higham
    2002, eqs. 4.4 and 4.6); a = gamma_(n-1)^2, b = u compensated (Ogita, Rump and Oishi 2005, prop. 4.5);
    math.fsum is rounded once, a = 0 and b = u (Shewchuk 1997).
    """
    judge = Judge("stability", "sum", seed, limits)
    series = list(_series(seed))
    for name, (subject, bounds) in subjects.items():
        shares = []
        for one in series:
            k, unit = one.x.size - 1, one.form.unit
            likely = likely_share(k, unit) if bounds is _sequential_bound else 1.0
            shares.append(one.share(subject(one.x), bounds(k + 1, one.form), likely))
        yield worst(shares).record(judge, "sum", name)
    shares = [one.share(fsum(one.x), (0.0, UNIT), 1.0) for one in series if one.form.name == "float64"]
    yield worst(shares).record(judge, "sum", "fsum")


@dataclass(frozen=True)
class Series:
    """Numbers of a format with their exact sum and the sum of their absolute values."""

    form: Format
    x: Array
    exact: Fraction
    magnitude: float

    @classmethod
    def of(cls, form: Format, x: Array) -> "Series":
        values = [Fraction(v) for v in np.asarray(x, np.float64).tolist()]
        return cls(form, x, sum(values, Fraction(0)), float(sum(map(abs, values), Fraction(0))))

    def share(self, got: Any, bounds: tuple[float, float], likely: float) -> Share:
        """Error of a sum over a sum |x_i| + b |sum x_i|."""
        bound = bounds[0] * self.magnitude + bounds[1] * abs(float(self.exact))
        # The error is exact; what rounds is its quotient by the bound.
        return Share.of(got, np.array(self.exact, object), bound, UNIT, self.form.name, likely)


def _series(seed: int) -> Iterator[Series]:
    """Per format a vector of both signs with a mean, and a positive one, whose rounding errors drift."""
    for name, form in FORMATS.items():
        rng = np.random.default_rng(seed)
        yield Series.of(form, form.array(rng.standard_normal(TERMS[name]) + 0.1))
        yield Series.of(form, form.array(rng.random(TERMS[name]) + 0.1))


Bound = Callable[[int, float], float]
Variances = Mapping[str, tuple[Callable[[Array], float], Bound]]


def _two_pass_bound(n: int, kappa: float) -> float:
    # The last 3 u: the square, the division and the deviation, which the paper's n u leaves out.
    return (n + 3) * UNIT + (n * UNIT * kappa) ** 2


def _welford_bound(n: int, kappa: float) -> float:
    return n * UNIT * kappa


VARIANCES: Variances = {
    "two-pass": (two_pass_variance, _two_pass_bound),
    "Welford": (welford_variance, _welford_bound),
}


def audit_variance(
    seed: int, limits: Mapping[str, Threshold], subjects: Variances = VARIANCES
) -> Iterator[Record]:
    """Variance algorithms against exact rational arithmetic, on a mean far from zero as in NIST NumAcc4.

    With n values and kappa = sqrt(1 + mean^2 / variance), relative bounds of Chan, Golub and LeVeque (1983),
    table 1: two-pass n u + (n u kappa)^2, Welford n u kappa.
    """
    judge = Judge("stability", "variance", seed, limits)
    signs = np.random.default_rng(seed).permutation(np.tile([-0.1, 0.1], 500))
    for name, (variance, bound) in subjects.items():
        shares = []
        for offset in (1.0, 1e4, 1e7):
            x = np.append(signs + offset + 0.2, offset + 0.2)
            exact = exact_variance(x)
            kappa = sqrt(1 + float(np.mean(x)) ** 2 / float(exact))
            limit = bound(x.size, kappa)
            place = f"mean {offset:g}, condition {kappa:.1e}, relative to the variance"
            error = np.array(Fraction(float(variance(x))) / exact - 1, object)
            shares.append(Share.of(0.0, error, limit, UNIT / limit, place))
        yield worst(shares).record(judge, "variance", name)


def exact_variance(x: Array) -> Fraction:
    """Sample variance of a vector of floats in rational arithmetic."""
    values = [Fraction(v) for v in x.tolist()]
    mean = sum(values, Fraction(0)) / len(values)
    return sum(((v - mean) ** 2 for v in values), Fraction(0)) / (len(values) - 1)


def numacc() -> dict[str, tuple[list[str], str, str]]:
    """NIST StRD univariate sets NumAcc1 to 4: the data, the certified mean and standard deviation, as decimals.

    https://www.itl.nist.gov/div898/strd/univ/numacc1.html to numacc4.html; 3 and three times 1001 numbers.
    """

    def alternating(whole: int) -> list[str]:
        return [f"{whole}.2"] + [f"{whole}.{digit}" for _ in range(500) for digit in "13"]

    sets = {"NumAcc1": (["10000001", "10000003", "10000002"], "10000002", "1")}
    for i, whole in enumerate((1, 1_000_000, 10_000_000), 2):
        sets[f"NumAcc{i}"] = (alternating(whole), f"{whole}.2", "0.1")
    return sets


def correct_digits(got: float, certified: Fraction) -> float:
    """Log relative error -log10 |got - certified| / |certified|, between 0 and 15, as NIST counts digits."""
    if not np.isfinite(got):
        return 0.0
    error = float(abs(Fraction(float(got)) - certified) / abs(certified))
    return MOST_DIGITS if error == 0 else min(max(0.0, -log10(error)), MOST_DIGITS)


def _standard_deviation(variance: Callable[[Array], float]) -> Callable[[Array], float]:
    return lambda x: sqrt(max(float(variance(x)), 0.0))


def _mean(x: Array) -> float:
    return float(np.mean(x))


Statistics = Mapping[str, Callable[[Array], float]]
STATISTICS: Statistics = {
    "mean": _mean,
    "two-pass": _standard_deviation(two_pass_variance),
    "Welford": _standard_deviation(welford_variance),
    "numpy std": lambda x: float(np.std(x, ddof=1)),
}


def audit_numacc(
    seed: int, limits: Mapping[str, Threshold], subjects: Statistics = STATISTICS
) -> Iterator[Record]:
    """Mean and standard deviation on NIST NumAcc1 to 4: digits below what the data allow, the worst of the sets.

    What the data allow, the ceiling, are the digits that the exact statistic of the data has once they are
    rounded to float64. A subject named "mean" is held against the mean, others against the standard
    deviation. The textbook formula is the control: it must lose its digits, or the audit sees nothing.
    """
    judge = Judge("stability", "numacc", seed, limits)
    for name, subject in subjects.items():
        lost, resolution, reason = _digits_lost(subject, name == "mean")
        yield judge("numacc", name, lost, resolution, reason)
    lost, resolution, reason = _digits_lost(_standard_deviation(textbook_variance), False)
    if lost > judge.limits["textbook_variance"].warn:
        yield judge("textbook_variance", "control", lost, resolution, f"control, {reason}")
    else:
        reason = f"the control kept its digits, so this audit sees nothing; {reason}"
        yield judge.said("textbook_variance", "control", Verdict.INCONCLUSIVE, reason, lost, resolution)


def _digits_lost(subject: Callable[[Array], float], of_mean: bool) -> tuple[float, float, str]:
    found = []
    for name, (decimals, mean, deviation) in numacc().items():
        x = np.array(decimals, np.float64)
        certified = Fraction(mean if of_mean else deviation)
        ceiling = correct_digits(_exact_statistic(x, of_mean), certified)
        digits = correct_digits(subject(x), certified)
        # One more rounding of a result that is off by 10^-ceiling moves its digits by this.
        resolution = log10(1 + UNIT * 10**ceiling)
        found.append(
            (max(ceiling - digits, 0.0), resolution, f"{name}: {digits:.2f} of {ceiling:.2f} digits")
        )
    lost, _, _ = top = max(found)
    return lost, max(r for _, r, _ in found), top[2]


def _exact_statistic(x: Array, of_mean: bool) -> float:
    """Mean or standard deviation of the floats, rounded once to float64."""
    if of_mean:
        return float(sum(map(Fraction, x.tolist()), Fraction(0)) / x.size)
    variance = exact_variance(x)
    scale = 1 << 200  # isqrt then has about 100 bits more than float64
    return float(Fraction(isqrt(int(variance * scale * scale)), scale))

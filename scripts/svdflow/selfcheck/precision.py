"""Floating-point formats: what is known of them, found by probing, and what low precision does to products.

Every value of the family "stability" is an error over an a priori bound, so a value of 1 cannot be rounding:
it is a fault. `Share` holds such a value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import expm1, floor, inf, isnan, log2, nan, sqrt
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold

Array = np.ndarray
REFERENCE = np.longdouble
REFERENCE_UNIT = float(np.finfo(REFERENCE).eps) / 2
# Higham and Mary (2019), theorem 2.4, holds with probability 1 - 2 k exp(-lambda^2 / 2): 7 leaves 5e-11 k.
LAMBDA = 7.0
LOG_2 = Fraction("0.6931471805599453094172321214581765680755")  # OEIS A002162


class BFloat16(np.ndarray):
    """A float32 array that is rounded to bfloat16, to nearest even, after every NumPy ufunc.

    NumPy has no bfloat16. With p = 8 digits, + - * / and sqrt in float32 (24 >= 2 p + 2 digits) and then
    rounded are what bfloat16 hardware gives (Figueroa 1995, "When is double rounding innocuous?"); exp and log
    differ from the correctly rounded ones by at most 2^-15 of a unit. Sums are taken in pairs, running sums
    in order, matrix products by a loop over k, each rounded at every addition. Functions that are no ufuncs
    (einsum, linalg) are not covered.
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [x.view(np.ndarray) if isinstance(x, BFloat16) else x for x in inputs]
        options.pop("out", None)
        if ufunc is np.add and method == "reduce":
            return _sum_in_pairs(plain[0], options.get("axis", 0), options.get("keepdims", False))
        if ufunc is np.add and method == "accumulate":
            return _running_sum(plain[0])
        if ufunc is np.matmul:
            return _product(*plain)
        result = getattr(ufunc, method)(*plain, **options)
        return bfloat16(result) if np.asarray(result).dtype.kind == "f" else result


def bfloat16(values: Any) -> BFloat16:
    """Numbers rounded to bfloat16, any shape; NaN and infinities stay."""
    wide = np.array(values, np.float32)
    bits = wide.view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(wide), wide, nearest.view(np.float32)).view(BFloat16)


def _sum_in_pairs(x: Array, axis: int | None, keepdims: bool) -> BFloat16:
    terms = x.reshape(-1) if axis is None else np.moveaxis(x, axis, 0)
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        sums = bfloat16(terms[: len(terms) - half] + terms[half:]).view(np.ndarray)
        terms = np.concatenate([sums, terms[len(terms) - half : half]])
    total = terms[0] if len(terms) else np.zeros(terms.shape[1:], np.float32)
    shape = np.sum(x, axis=axis, keepdims=keepdims).shape
    return bfloat16(total).reshape(shape)


def _running_sum(x: Array) -> BFloat16:
    sums = np.array(x, np.float32)
    for i in range(1, len(sums)):
        sums[i] = bfloat16(sums[i - 1] + sums[i])
    return bfloat16(sums)


def _product(A: Array, B: Array) -> BFloat16:
    total: Any = bfloat16(np.zeros((A.shape[0], B.shape[1])))
    for k in range(A.shape[1]):
        total = total + bfloat16(A[:, k, None] * B[k])
    return total


@dataclass(frozen=True)
class Format:
    """A binary format with `digits` significant digits, the hidden one included, and largest exponent `emax`.

    IEEE 754-2019, table 3.5; for bfloat16, which the standard lacks, Intel's BFLOAT16 - Hardware Numerics
    Definition (2018).
    """

    name: str
    digits: int
    emax: int

    @property
    def unit(self) -> float:
        """Unit roundoff."""
        return 2.0**-self.digits

    @property
    def largest(self) -> float:
        return (2 - 2 * self.unit) * 2.0**self.emax

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.emax)

    @property
    def smallest(self) -> float:
        """Smallest positive number, which is subnormal."""
        return 2.0 ** (2 - self.emax - self.digits)

    @property
    def exp_border(self) -> float:
        """Largest number of the format whose exp rounds to a finite number."""
        # From the middle between the largest number and 2^(emax + 1) on, results round to infinity.
        unit = Fraction(self.unit)
        border = (self.emax + 1) * LOG_2 - unit / 2 - unit**2 / 8  # log(1 - u / 2), u^3 is far below a digit
        step = 2.0 ** (floor(log2(border)) + 1 - self.digits)
        return floor(border / Fraction(step)) * step

    def array(self, values: Any) -> Array:
        """Values rounded to the format; bfloat16 through float32."""
        return bfloat16(values) if self.name == "bfloat16" else np.asarray(values, self.name)


FORMATS = {
    f.name: f
    for f in (
        Format("float16", 11, 15),
        Format("bfloat16", 8, 127),
        Format("float32", 24, 127),
        Format("float64", 53, 1023),
    )
}


def format_of(x: Array) -> Format:
    """The format of an array's numbers."""
    return FORMATS["bfloat16" if isinstance(x, BFloat16) else x.dtype.name]


def gamma(k: float, unit: float) -> float:
    """k u / (1 - k u), what k roundings may do (Higham 2002, lemma 3.1); infinite from k u = 1 on."""
    return k * unit / (1 - k * unit) if k * unit < 1 else inf


def likely_share(k: float, unit: float) -> float:
    """What k independent roundings of mean zero are likely to do, as a share of `gamma`, at most 1.

    expm1(lambda sqrt(k) u + k u^2 / (1 - u)), Higham and Mary (2019), theorem 2.4.
    """
    likely = expm1(LAMBDA * sqrt(k) * unit + k * unit**2 / (1 - unit))
    return min(1.0, likely / gamma(k, unit))


@dataclass(frozen=True)
class Share:
    """The largest share of its bound that an error takes, and what was judged.

    Attributes
    ----------
    value : float
        Error over bound at the worst entry; from 1 on it is no rounding.
    resolution : float
        Smallest value that could have been told from none.
    reason : str
        The place and the two numbers.
    likely : float
        Share that independent roundings would not take: above it, WARN. NaN where no such law is known.
    """

    value: float
    resolution: float
    reason: str
    likely: float = nan

    @classmethod
    def of(
        cls, got: Any, expected: Any, bound: Any, resolution: float, place: str = "", likely: float = nan
    ) -> "Share":
        """Compare entry by entry; `expected` holds long doubles, or Fractions in an object array."""
        expected, place = np.asarray(expected), f"{place}: " if place else ""
        if np.shape(got) != expected.shape:
            reason = f"{place}shape {np.shape(got)} instead of {expected.shape}"
            return cls(inf, resolution, reason, likely)
        error = np.atleast_1d(_errors(got, expected)).ravel()
        bound = np.broadcast_to(np.asarray(bound, np.float64), expected.shape).ravel()
        if not np.isfinite(bound).all():
            resolution = inf  # such a bound holds for anything, so nothing was seen
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(error == 0, 0.0, np.where(np.isnan(error), inf, error / bound))
        worst = int(np.argmax(ratio))
        reason = f"{place}entry {worst}: error {float(error[worst]):.1e} of bound {float(bound[worst]):.1e}"
        return cls(float(ratio[worst]), resolution, reason, likely)

    def record(self, judge: Judge, audit: str, subject: str) -> Record:
        """The row; where `audit` has no warn of its own, it is `likely` times that of "likely_rounding"."""
        limit = judge.limits[audit]
        if isnan(limit.warn):
            limit = replace(limit, warn=judge.limits["likely_rounding"].warn * self.likely)
        return judge(audit, subject, self.value, self.resolution, self.reason, limit=limit)


def _errors(got: Any, expected: Array) -> Array:
    if expected.dtype != object:
        return np.asarray(np.abs(np.asarray(got, REFERENCE) - expected))
    numbers = np.ravel(np.asarray(got, np.float64)).tolist()
    pairs = zip(numbers, np.ravel(expected), strict=True)
    return np.array([float(abs(Fraction(g) - e)) if np.isfinite(g) else inf for g, e in pairs])


def worst(shares: Iterable[Share]) -> Share:
    """The share that is nearest to a fault, with the coarsest resolution of all."""
    shares = list(shares)
    top = max(shares, key=lambda s: (s.value >= 1, s.value if isnan(s.likely) else s.value / s.likely))
    return replace(
        top,
        resolution=max(s.resolution for s in shares),
        reason=f"worst of {len(shares)}, {top.reason}",
    )


Cast = Callable[[str, Any], Array]


def cast(name: str, values: Any) -> Array:
    """Values as an array of the format `name`."""
    return FORMATS[name].array(values)


def audit_precision(seed: int, limits: Mapping[str, Threshold], subject: Cast = cast) -> Iterator[Record]:
    """What each format holds, found by probing its arithmetic, against the standards: equality, else units u.

    `subject(name, values)` gives the numbers in the format: the arithmetic that is probed.
    """
    judge = Judge("stability", "precision", seed, limits)
    for name, form in FORMATS.items():
        arithmetic = _bound_to(subject, name)
        found = {
            "unit": (probe_unit(arithmetic), form.unit),
            "largest": (probe_largest(arithmetic), form.largest),
            "normal": (probe_smallest_normal(arithmetic), form.smallest_normal),
            "subnormal": (probe_smallest(arithmetic), form.smallest),
            "exp border": (probe_exp_border(arithmetic), form.exp_border),
        }
        off = [abs(g / e - 1) / form.unit for g, e in found.values() if g != e]
        value = max(1.0, *off) if off else 0.0
        wrong = [f"{what} {g:.8g} instead of {e:.8g}" for what, (g, e) in found.items() if g != e]
        reason = "; ".join(wrong) or ", ".join(f"{what} {g:.4g}" for what, (g, _) in found.items())
        # Probing gives numbers of the format, so the smallest error that there can be is seen.
        yield judge("precision", name, value, 0.0, reason)


def _bound_to(subject: Cast, name: str) -> Callable[[Any], Array]:
    return lambda values: subject(name, values)


def probe_unit(cast: Callable[[Any], Array]) -> float:
    """Half the distance from 1 to the next number, by halving."""
    one, step = cast(1.0), cast(1.0)
    while one + step / cast(2.0) > one:
        step = step / cast(2.0)
    return float(step) / 2


def probe_largest(cast: Callable[[Any], Array]) -> float:
    """Largest finite number: all significant digits set, doubled until it overflows."""
    number = cast(2.0) - cast(2 * probe_unit(cast))
    with np.errstate(over="ignore"):
        while np.isfinite(number * cast(2.0)):
            number = number * cast(2.0)
    return float(number)


def probe_smallest_normal(cast: Callable[[Any], Array]) -> float:
    """Smallest power of two that keeps all digits, by halving until the last one is lost."""
    number, next_to_one = cast(1.0), cast(1.0 + 2 * probe_unit(cast))
    with np.errstate(under="ignore"):
        while (number / cast(2.0)) * next_to_one > number / cast(2.0):
            number = number / cast(2.0)
    return float(number)


def probe_smallest(cast: Callable[[Any], Array]) -> float:
    """Smallest positive number, by halving until nothing is left."""
    number = cast(1.0)
    with np.errstate(under="ignore"):
        while number / cast(2.0) > 0:
            number = number / cast(2.0)
    return float(number)


def probe_exp_border(cast: Callable[[Any], Array]) -> float:
    """Largest number whose exp is finite, by setting one binary digit after the other."""
    number, step = cast(0.0), cast(1024.0)
    with np.errstate(over="ignore"):
        while number + step > number or not float(number):
            if np.isfinite(np.exp(number + step)):
                number = number + step
            step = step / cast(2.0)
    return float(number)


MATMUL_TERMS = {"float16": 256, "bfloat16": 64}  # length of the sums; gamma_n, the bound, stays below 1/2


def audit_low_precision_matmul(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[[Array, Array], Array] = np.matmul
) -> Iterator[Record]:
    """Products of float16 and bfloat16 matrices, shapes (6, n) and (n, 5), against float64.

    Bound gamma_n |A| |B| entry by entry (Higham 2002, eq. 3.13). Products of two such numbers are exact in
    float64, so the reference errs by n 2^-53 only. Both signs and positive entries, which drift.
    """
    judge = Judge("stability", "low_precision_matmul", seed, limits)
    rng = np.random.default_rng(seed)
    for name, n in MATMUL_TERMS.items():
        form = FORMATS[name]
        shares = []
        for what, draw in (("normal", rng.standard_normal), ("positive", rng.random)):
            A, B = form.array(draw((6, n))), form.array(draw((n, 5)))
            wide = np.asarray(A, np.float64), np.asarray(B, np.float64)
            bound = gamma(n, form.unit) * (np.abs(wide[0]) @ np.abs(wide[1]))
            resolution, likely = FORMATS["float64"].unit / form.unit, likely_share(n, form.unit)
            exact = (wide[0] @ wide[1]).astype(REFERENCE)
            shares.append(Share.of(subject(A, B), exact, bound, resolution, what, likely))
        yield worst(shares).record(judge, "low_precision_matmul", f"{name}, n = {n}")


Values = Callable[[Array], Array]


def singular_values(A: Array) -> Array:
    """Singular values in descending order, in the dtype of A, shape (m, n)."""
    return np.linalg.svd(A, compute_uv=False)


def audit_singular_value_floor(
    seed: int, limits: Mapping[str, Threshold], subject: Values = singular_values
) -> Iterator[Record]:
    """Down to where singular values are known: value in max(m, n) eps s_1.

    float32 against float64 of the same random matrices; float64 on the second differences of n points, whose
    singular values are 4 sin^2(k pi / (2 n + 2)).
    """
    judge = Judge("stability", "singular_value_floor", seed, limits)
    rng = np.random.default_rng(seed)
    eps32, eps64 = 2 * FORMATS["float32"].unit, 2 * FORMATS["float64"].unit
    shares = []
    for m, n in ((40, 40), (60, 20), (20, 60)):
        single = (rng.standard_normal((m, n)) * np.logspace(0, -9, n)).astype(np.float32)
        exact = np.linalg.svd(single.astype(np.float64), compute_uv=False)
        bound = max(m, n) * eps32 * exact[0]
        shares.append(Share.of(subject(single), exact, bound, eps64 / eps32, f"{m} x {n}"))
    yield worst(shares).record(judge, "singular_value_floor", "float32 against float64")
    shares = []
    for n in (10, 50, 120):
        double = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
        k = np.arange(n, 0, -1).astype(REFERENCE)
        exact = 4 * np.sin(k * (np.arccos(REFERENCE(-1)) / (2 * n + 2))) ** 2
        resolution = max(REFERENCE_UNIT * 8 / (n * eps64), 1 / (2 * n))  # a result is rounded once at least
        bound = n * eps64 * float(exact[0])
        shares.append(Share.of(subject(double), exact, bound, resolution, f"n = {n}"))
    yield worst(shares).record(judge, "singular_value_floor", "float64, second differences")

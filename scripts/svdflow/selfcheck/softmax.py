"""Log-sum-exp and softmax in every format: error, shift invariance, sum 1 and the borders of overflow."""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold
from svdflow.selfcheck.precision import (
    FORMATS,
    LAMBDA,
    REFERENCE,
    REFERENCE_UNIT,
    Array,
    Format,
    Share,
    worst,
)

# So many terms that n u stays below 1/2, where the bounds still say something.
TERMS = {"float16": 256, "bfloat16": 96, "float32": 1024, "float64": 1024}  # entries; n u stays below 1/2
SHIFT = 32  # added to every entry: exact in all formats for entries of at most 4 on their grid


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


def division_free_softmax(x: Array) -> Array:
    """exp(x - log_sum_exp(x)) of a vector in its own dtype; less accurate (Blanchard, Higham and Higham 2021)."""
    return np.exp(x - log_sum_exp(x))


def unshifted_softmax(x: Array) -> Array:
    """The formula as it stands: overflows as soon as an entry exceeds the border of exp."""
    e = np.exp(x)
    return e / np.sum(e, dtype=x.dtype)


def unshifted_log_sum_exp(x: Array) -> Any:
    """The formula as it stands: overflows as soon as an entry exceeds the border of exp."""
    return np.log(np.sum(np.exp(x), dtype=x.dtype))


def exact_softmax(x: Array) -> Array:
    """Softmax of a vector in long double."""
    wide = np.asarray(x, REFERENCE)
    e = np.exp(wide - wide.max())
    return e / e.sum()


def exact_log_sum_exp(x: Array) -> Any:
    """Log-sum-exp of a vector in long double."""
    wide = np.asarray(x, REFERENCE)
    return wide.max() + np.log(np.exp(wide - wide.max()).sum())


def audit_softmax(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[[Array], Array] = softmax
) -> Iterator[Record]:
    """Softmax per format against long double, its sum, its shift invariance and the borders.

    With r the range of the n entries, x - max errs by r u, exp by 2 u, the sum by n - 1 factors 1 + u and the
    division by one: entry i is within expm1((n + 5 + 2 r) u) of itself, as in Blanchard, Higham and Higham
    (2021), section 4, and within 2 smallest numbers where it underflows. exp and its error drop out of the
    sum of the results: it is within expm1((n + 1) u) of 1.
    """
    judge = Judge("stability", "softmax", seed, limits)
    moves, sums = [], []
    for name, x in vectors(seed):
        form, exact, got = FORMATS[name], exact_softmax(x), subject(x)
        terms = x.size + 5 + 2 * np.ptp(np.asarray(x, REFERENCE))
        bound = _grown(terms, form) * exact + 2 * form.smallest
        resolution = REFERENCE_UNIT / form.unit
        likely = _likely(terms, x.size, form)
        yield Share.of(got, exact, bound, resolution, "", likely).record(judge, "softmax", name)
        moved = subject(x + form.array(SHIFT))
        moves.append(Share.of(moved, np.asarray(got, REFERENCE), 2 * bound, resolution, name, likely))
        total = np.asarray(got, REFERENCE).sum()
        bound = _grown(x.size + 1, form) + x.size * form.smallest
        likely = _likely(x.size + 1, x.size, form)
        sums.append(Share.of(total, REFERENCE(1), bound, resolution, name, likely))
    free = worst(_division_free(*case) for case in vectors(seed))
    yield free.record(judge, "softmax", "division-free")
    yield worst(moves).record(judge, "shift_invariance", "softmax")
    yield worst(sums).record(judge, "sum_to_one", "softmax")
    yield worst(at_the_border(subject, exact_softmax)).record(judge, "overflow", "softmax")
    yield _control(judge, unshifted_softmax, exact_softmax)


def _division_free(name: str, x: Array) -> Share:
    """Its bound: log-sum-exp y errs by its own bound, x - y by |x - y| u and exp by 2 u."""
    form, exact, y = FORMATS[name], exact_softmax(x), exact_log_sum_exp(x)
    terms = _lse_terms(x, y) + np.abs(np.asarray(x, REFERENCE) - y) + 2
    bound = _grown(terms, form) * exact + 2 * form.smallest
    likely = _likely(float(terms.max()), x.size, form)
    return Share.of(division_free_softmax(x), exact, bound, REFERENCE_UNIT / form.unit, name, likely)


def audit_log_sum_exp(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[[Array], Any] = log_sum_exp
) -> Iterator[Record]:
    """Log-sum-exp per format against long double, its shift law and the borders.

    Absolute bound, with y the result, a the shift and r the range: (n + 2 + r + 2 |y - a| + |y|) u, from
    the rounding of x - a (r), exp (2), the sum (n), log (2 |y - a|) and the last addition (|y|). The n
    factors 1 + u of the sum turn into n log(1 + u), so second order is a matter of u, not of n u.
    """
    judge = Judge("stability", "log_sum_exp", seed, limits)
    moves = []
    for name, x in vectors(seed):
        form, exact, got = FORMATS[name], exact_log_sum_exp(x), subject(x)
        terms = _lse_terms(x, exact)
        resolution, likely = REFERENCE_UNIT / form.unit, _likely(terms, x.size, form)
        bound = _second_order(terms, form)
        yield Share.of(got, exact, bound, resolution, "", likely).record(judge, "log_sum_exp", name)
        moved = x + form.array(SHIFT)
        back = np.asarray(subject(moved), REFERENCE) - SHIFT
        bound += _second_order(_lse_terms(moved, exact + SHIFT), form)
        moves.append(Share.of(back, np.asarray(got, REFERENCE), bound, resolution, name, likely))
    yield worst(moves).record(judge, "shift_invariance", "log_sum_exp")
    yield worst(at_the_border(subject, exact_log_sum_exp)).record(judge, "overflow", "log_sum_exp")
    yield _control(judge, unshifted_log_sum_exp, exact_log_sum_exp)


def vectors(seed: int) -> Iterator[tuple[str, Array]]:
    """A vector of each format within [-4, 4], on a grid so coarse that its entries plus `SHIFT` are exact."""
    for name, form in FORMATS.items():
        rng = np.random.default_rng(seed)
        steps = 2 ** (form.digits - 6)
        yield name, form.array(rng.integers(-4 * steps, 4 * steps + 1, TERMS[name]) / steps)


def _lse_terms(x: Array, exact: Any) -> float:
    wide = np.asarray(x, REFERENCE)
    return float(x.size + 2 + np.ptp(wide) + 2 * abs(exact - wide.max()) + abs(exact))


def _second_order(terms: Any, form: Format) -> Any:
    return np.float64(terms) * form.unit * (1 + 8 * form.unit)


def _grown(terms: Any, form: Format) -> Any:
    return np.expm1(_second_order(terms, form))


def _likely(terms: Any, n: int, form: Format) -> float:
    """Share of a bound of `terms` roundings when the n of the sum go as lambda sqrt(n)."""
    return min(1.0, float(_grown(terms - n + LAMBDA * sqrt(n), form) / _grown(terms, form)))


def at_the_border(subject: Callable[[Array], Any], exact: Callable[[Array], Any]) -> Iterator[Share]:
    """Per format: exp of these entries overflows or underflows, yet the answers are plain numbers.

    Bound 16 u max(|y|, 1): three entries, each with the five roundings of the algorithm.
    """
    for name, form in FORMATS.items():
        high, border = form.largest / 2, form.exp_border * (1 + 4 * form.unit)
        cases = (
            [high, high, 0.0],
            [-high, -high, -high],
            [0.0, -1.0, -np.inf],
            [border, border, 0.0],
            [-border, -border, -2 * border],
        )
        with np.errstate(all="ignore"):
            got = [np.atleast_1d(np.asarray(subject(form.array(x)), REFERENCE)) for x in cases]
        expected = np.concatenate([np.atleast_1d(exact(form.array(x))) for x in cases])
        bound = 16 * form.unit * np.maximum(np.abs(expected), 1)
        yield Share.of(np.concatenate(got), expected, bound, REFERENCE_UNIT / form.unit, name)


def _control(judge: Judge, bad: Callable[[Array], Any], exact: Callable[[Array], Any]) -> Record:
    shares = list(at_the_border(bad, exact))
    if any(share.value < 1 for share in shares):
        reason = "the control gave right answers beyond the border of exp: this audit sees nothing"
        return judge.said("unshifted", judge.name, Verdict.INCONCLUSIVE, reason)
    lost = worst(shares)
    return judge("unshifted", judge.name, lost.value, lost.resolution, f"control overflows, {lost.reason}")

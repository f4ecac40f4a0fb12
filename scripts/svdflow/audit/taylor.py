"""Orders of Taylor remainders, and errors of difference formulas against their step.

Along a direction v the remainders of a smooth f fall like powers of the step h:

    R0 = |f(x + hv) - f(x)|                           h    the gradient matters
    R1 = |f(x + hv) - f(x) - h g.v|                   h^2  where the gradient g is right
    R2 = |f(x + hv) - f(x) - h g.v - h^2 v.Hv / 2|    h^3  where the Hessian H is right too

A gradient with relative error d adds d h |g.v| to R1, which bends the slope only for h below
d |g.v| / curvature. Tests that use fixed steps of 1e-2 to 1e-3 therefore pass an error of 0.1 %; the steps here go
down to 2^-40 and the order is read off the finest window that stands out of the measured noise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import numpy as np

from svdflow.audit import slopes
from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict, judge
from svdflow.errors import AuditInputError
from svdflow.registry import Threshold
from svdflow.registry.limits import declared_limits

Array = np.ndarray
FAMILY = "gradients"
STEPS = 2.0 ** -np.arange(1, 41)  # in units of the scale of x; down to 1e-12, where an error of 0.1 % shows
WINDOW, FEWEST = 6, 4  # points that a slope is fitted to, and the fewest that may do; fewer follow chance
ABOVE_NOISE = (
    100  # multiples of its noise from which a remainder counts: the slope is then known to about 1 %
)
DIRECTIONS = 3  # random ones; along a single one a derivative may vanish
NAMES = {1: "gradient", 2: "Hessian"}


@dataclass(frozen=True)
class Order:
    """What one direction says of one remainder.

    Attributes
    ----------
    power : int
        1 for R1, 2 for R2; the expected slope is power + 1.
    slope : float
        Fitted slope; infinite where the remainder is nothing but noise.
    value, warn, fail : float
        Relative error of gradient or Hessian along the direction that explains the slope; the limits in that
        unit, so `fail` is the smallest such error that would have bent the slope to its limit.
    trouble : str
        Why the slope says nothing, "" where it does.
    settled : bool
        False where the slope still changes as a higher term makes it change: the derivative that leads the remainder
        almost vanishes along this direction, and another direction must decide.
    """

    power: int
    slope: float
    value: float = nan
    warn: float = nan
    fail: float = nan
    trouble: str = ""
    settled: bool = True


@dataclass(frozen=True)
class TaylorReport:
    """Outcome of `taylor_order`; true only where the verdict is PASS.

    Attributes
    ----------
    verdict : Verdict
    reason : str
    value, warn, fail : float
        Error of g.v (or v.Hv) along the worst direction that explains the slope there, relative to the largest
        of the directions, and the limits on the slope turned into the same unit.
    resolution : float
        Smallest such error that would have bent the slope to its limit in every direction. Below it, which is
        about curvature times the finest usable step, the test is blind.
    slopes : tuple of float
        Of R0, R1 and R2 in the worst direction; infinite where a remainder vanishes, NaN where there is none.
    steps : array, shape (k,)
    remainders : array, shape (3, k)
        R0, R1 and R2 over the steps in the worst direction, in units of f; for plots.
    seed : int
    """

    verdict: Verdict
    reason: str
    value: float = nan
    warn: float = nan
    fail: float = nan
    resolution: float = inf
    slopes: tuple[float, float, float] = (nan, nan, nan)
    steps: Array | None = None
    remainders: Array | None = None
    seed: int = 0

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __str__(self) -> str:
        slopes = ", ".join(f"R{k} {s:.2f}" for k, s in enumerate(self.slopes) if not np.isnan(s))
        return f"{self.verdict}: {self.reason}\nslopes {slopes}, resolution {self.resolution:.2e}"

    def record(self, audit: str, subject: str, reproduce: str = "") -> Record:
        """The report as a row of the table ``audit``."""
        figures = (self.value, self.warn, self.fail, self.resolution)
        return Record(FAMILY, audit, subject, *figures, self.verdict, self.reason, self.seed, reproduce)


def taylor_order(
    f: Callable[[Array], Any],
    grad: Callable[[Array], Any],
    x: Any,
    hessian_product: Callable[[Array, Array], Any] | None = None,
    *,
    seed: int = 0,
    radius: float = inf,
    threshold: Threshold | None = None,
) -> TaylorReport:
    """Check a gradient, or a Hessian, by the order at which Taylor remainders fall.

    Parameters
    ----------
    f : callable
        Real function of one array of the shape of `x`; returns a scalar.
    grad : callable
        Its gradient: an array of the shape of `x`.
    x : array_like of real numbers, any shape
    hessian_product : callable, optional
        (x, v) -> H v, an array of the shape of `x`. Where given, it is what is judged (by R2); otherwise
        the gradient is (by R1).
    seed : int
        Draws three directions.
    radius : float
        Largest step, as in `check_gradient`.
    threshold : Threshold, optional
        `warn` and `fail` as distance of the slope from its order (defaults 0.05 and 0.1 for a gradient, 0.1 and
        0.2 for a Hessian); `resolution` as relative error.

    Returns
    -------
    report : TaylorReport
        Linear (for a Hessian quadratic) functions are recognized: their remainder is noise at every step, and
        they pass. Fewer than four usable steps, or a kink, give INCONCLUSIVE; bad input gives ERROR. Nothing is
        raised.

    Examples
    --------
    >>> import numpy as np
    >>> report = taylor_order(lambda x: np.exp(x).sum(), np.exp, [0.0, 1.0])
    >>> print(report.verdict, round(report.slopes[1], 1), report.resolution < 1e-6)
    PASS 2.0 True
    """
    power = 1 if hessian_product is None else 2
    threshold = threshold or declared_limits()["taylor_order" if power == 1 else "taylor_order_hessian"]
    try:
        slopes.check_settings(radius, seed, threshold)
        x = slopes.checked_point(x)
        g, _ = slopes.checked_gradient(grad, x)
        slopes.scalar(f(x.copy()))
        rng = np.random.default_rng(seed)
        steps = slopes.Steps(f, x, radius, rng)
        found = []
        for i in range(DIRECTIONS):
            v = steps.walk * (rng.choice([-1.0, 1.0], x.shape) if i else rng.standard_normal(x.shape))
            Hv = _checked_product(hessian_product, x, v) if hessian_product else None
            found.append(_Line.along(steps, v, g, Hv, min(1.0, 2 * radius / steps.typical)))
    except Exception as error:
        reason = str(error) if isinstance(error, AuditInputError) else f"{type(error).__name__}: {error}"
        return TaylorReport(Verdict.ERROR, reason, seed=seed)
    largest = max(abs(line.terms[power - 1]) for line in found)
    judged = [(line, line.order(power, threshold, largest)) for line in found]
    return _report(judged, power, threshold, seed)


def _checked_product(product: Callable[[Array, Array], Any], x: Array, v: Array) -> Array:
    Hv = np.asarray(product(x.copy(), v.copy()))
    if Hv.shape != x.shape:
        raise AuditInputError(f"the Hessian product has shape {Hv.shape}, x has {x.shape}")
    if Hv.dtype.kind not in "fiu":
        raise AuditInputError(f"the Hessian product has dtype {Hv.dtype}; give real numbers")
    slopes.refuse_non_finite("the Hessian product", Hv)
    return Hv.astype(np.float64)


@dataclass(frozen=True)
class _Line:
    """Remainders along a direction: `remainders` and `noise` have shape (3, k), steps fall."""

    h: Array
    remainders: Array
    noise: Array
    terms: tuple[float, float]  # g.v and v.Hv
    kink: str

    @classmethod
    def along(cls, steps: slopes.Steps, v: Array, g: Array, Hv: Array | None, first: float) -> "_Line":
        h = STEPS * first
        ahead = np.array([steps.value(steps.x + t * v) for t in h])
        behind = np.array([steps.value(steps.x - t * v) for t in h])
        finite = np.isfinite(ahead) & np.isfinite(behind)
        h, ahead, behind = h[finite], ahead[finite], behind[finite]
        slope, bend = float(np.sum(g * v)), float(np.sum(v * Hv)) if Hv is not None else nan
        rise = ahead - steps.here
        tails = rise - h * slope, rise - h * slope - h**2 * bend / 2
        # What f loses at the two points, and what the sums g.v and v.Hv round.
        noise = 2 * steps.noise(v, np.abs(ahead))
        first = noise + 2 * slopes.EPS * h * float(np.sum(np.abs(g * v)))
        second = first + (slopes.EPS * h**2 * float(np.sum(np.abs(v * Hv))) if Hv is not None else nan)
        kink = slopes.kink_between(rise - (steps.here - behind), h, noise) if len(h) > FEWEST else ""
        return cls(h, np.abs([rise, *tails]), np.array([noise, first, second]), (slope, bend), kink)

    def window(self, k: int) -> slice:
        """The finest usable steps of remainder k, unbroken; empty where there are too few."""
        # Unbroken, for a remainder that changes its sign dips below the noise between.
        seen = self.remainders[k] > ABOVE_NOISE * self.noise[k]
        stop = int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else 0
        start = stop
        while start > 0 and seen[start - 1] and stop - start < WINDOW:
            start -= 1
        return slice(start, stop) if stop - start >= FEWEST else slice(0, 0)

    def slope(self, k: int) -> float:
        """Slope of remainder k over its window; infinite if it is noise at every step, NaN if few stand out."""
        if len(self.h) and not (self.remainders[k] > ABOVE_NOISE * self.noise[k]).any():
            return inf
        return self._fit(k, self.window(k))

    def _fit(self, k: int, window: slice) -> float:
        if window.stop == window.start:
            return nan
        return float(np.polyfit(np.log2(self.h[window]), np.log2(self.remainders[k][window]), 1)[0])

    def order(self, power: int, threshold: Threshold, largest: float) -> Order:
        """Judge R1 or R2: the error of its last term that explains how far the slope is off, over `largest`."""
        slope, window = self.slope(power), self.window(power)
        if np.isnan(slope):
            return Order(power, nan, trouble=self.kink or f"R{power} has fewer than {FEWEST} usable steps")
        rest, h = self.remainders[power][window.start], self.h[window.start]
        # Where the term vanishes, the remainder before it still has its size.
        term = max(largest * h**power / power, self.remainders[power - 1][window.start])
        if term == 0:
            return Order(power, slope, trouble="f stands still along the direction, so there is no scale")
        if slope == inf:
            floor = 2.0 ** (FEWEST - 1) * ABOVE_NOISE * self.noise[power][0] / term
            return Order(power, slope, float(rest / term), floor / 2, floor)
        # A derivative that vanishes along v gives the next whole order, which no wrong term can give.
        whole, unit = max(power + 1, round(slope)), float(rest / term)
        off = abs(slope - whole)
        settled = off <= threshold.warn or self._strays(power, window)
        return Order(
            power, slope, off * unit, threshold.warn * unit, threshold.fail * unit, self.kink, settled
        )

    def _strays(self, power: int, window: slice) -> bool:
        """Whether the slope leaves its order as h falls, as a wrong term makes it do, or has reached the one before.

        What a higher term adds fades with h instead, or starts from a higher order.
        """
        middle = (window.start + window.stop) // 2
        coarse = self._fit(power, slice(window.start, middle + 1)) - power - 1
        fine = self._fit(power, slice(middle, window.stop)) - power - 1
        return coarse < 0.5 and abs(fine) >= min(1.2 * abs(coarse), 0.8)


def _report(found: list[tuple[_Line, Order]], power: int, threshold: Threshold, seed: int) -> TaylorReport:
    """Judge the largest error by the limit of the direction that sees least.

    Where the derivative that leads a remainder almost vanishes along one direction, its slope is off by the term
    after that; the error that explains it is then small beside what the other directions can see.
    """
    line, worst = max(found, key=lambda pair: (not pair[1].trouble, pair[1].value))
    slopes = (line.slope(0), line.slope(1), line.slope(2) if power == 2 else nan)
    common: dict[str, Any] = {"slopes": slopes, "steps": line.h, "remainders": line.remainders, "seed": seed}
    if worst.trouble:
        return TaylorReport(Verdict.INCONCLUSIVE, worst.trouble, **common)
    sound = [order for _, order in found if not order.trouble]
    blind, warn = max(order.fail for order in sound), max(order.warn for order in sound)
    failed = worst.value >= blind
    verdict, why = judge(worst.value, replace(threshold, warn=warn, fail=blind), 0.0 if failed else blind)
    troubled = [order.trouble for _, order in found if order.trouble]
    if troubled and not failed:
        verdict, why = Verdict.INCONCLUSIVE, troubled[0]
    # Steps so large that nothing fine can be seen are not asymptotic either; a full order off is a fault there too.
    coarse = blind > threshold.resolution and worst.slope > power + 0.2
    if verdict in (Verdict.WARN, Verdict.FAIL) and (coarse or not worst.settled):
        verdict, why = Verdict.INCONCLUSIVE, "the order still changes with the step"
    if worst.slope == inf:
        kind = ("linear", "quadratic")[power - 1]
        told = f"R{power} is noise at every step: f is {kind} along the directions"
    elif round(worst.slope) > power + 1:
        told = f"R{power} falls like h^{worst.slope:.3f}: a derivative vanishes along the direction"
    else:
        told = f"R{power} falls like h^{worst.slope:.3f}, expected {power + 1} +- {threshold.fail:g}"
    told += f"; blind to relative errors of the {NAMES[power]} below {blind:.1e}"
    reason = f"{why}; {told}" if why else told
    return TaylorReport(verdict, reason, worst.value, warn, blind, blind, **common)

"""Check a gradient against finite differences that know their own error.

The derivative along one direction is extrapolated (Richardson, by Neville's scheme) from central
differences whose steps fall by 4 from a quarter of the scale of x to 1e-12 of it. Its error is estimated from
the columns of the scheme (Ridders 1982) and from the noise of f, which is measured (More and Wild 2011). A
discrepancy counts where it exceeds eight times that error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, nan
from typing import Any

import numpy as np

from svdflow.audit.records import Record
from svdflow.audit.verdicts import DEFAULTS, Threshold, Verdict, judge

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).smallest_subnormal)
STEP_RATIO = 4
STEPS = 20
COLUMNS = 6
LARGEST = 8  # entries of greatest magnitude that are always checked
DIAGONAL = 32  # diagonal entries that are always checked
SURROUNDINGS = 16  # points around x that tell the size of f
DIRECTIONS = 2  # random sign vectors: one sees a single wrong sign in 10,000 entries 98.8 times in 100


LISTED = 5  # entries that a row of the table names; the report of `check_gradient` holds ten


@dataclass(frozen=True)
class Slope:
    """Derivative along a direction, its estimated error, and why not to trust it ("" where one can)."""

    value: float
    error: float
    trouble: str = ""


@dataclass(frozen=True)
class Entry:
    """One compared derivative; `index` is that of the entry, or ``("direction", i)``."""

    index: tuple[Any, ...]
    analytic: float
    numeric: float
    error: float
    trouble: str = ""

    @property
    def difference(self) -> float:
        return abs(self.analytic - self.numeric)

    @property
    def is_direction(self) -> bool:
        return self.index[0] == "direction" if self.index else False

    @property
    def place(self) -> str:
        return f"direction {self.index[1]}" if self.is_direction else f"entry {self.index}"


@dataclass(frozen=True)
class GradientReport:
    """Outcome of `check_gradient`; true only where the verdict is PASS.

    Attributes
    ----------
    verdict : Verdict
    value, warn, fail : float
        Discrepancy of the worst entry and its limits, relative to the largest entry of the gradient.
    resolution : float
        Relative error that every checked entry would have shown.
    worst : tuple of Entry
        Up to ten, the worst first.
    checked, size : int
        Entries checked, entries there are. One wrong entry placed at random is hit with probability
        checked / size by the entries alone.
    """

    verdict: Verdict
    reason: str
    value: float = nan
    warn: float = nan
    fail: float = nan
    resolution: float = nan
    worst: tuple[Entry, ...] = ()
    checked: int = 0
    size: int = 0
    seed: int = 0

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __str__(self) -> str:
        lines = [
            f"{self.verdict}: {self.reason}",
            f"value {self.value:.2e}, resolution {self.resolution:.2e}",
        ]
        for e in self.worst:
            lines.append(
                f"{e.place:>20} {e.analytic:>22.15e} {e.numeric:>22.15e} {e.difference:>10.2e} {e.trouble}"
            )
        return "\n".join(lines)

    def record(self, audit: str, subject: str, reproduce: str = "") -> Record:
        """The report as a row of the table ``audit``."""
        figures = (self.value, self.warn, self.fail, self.resolution)
        following = (f"{e.place} {e.difference:.1e}" for e in self.worst[1:LISTED])
        reason = f"{self.reason}; next {', '.join(following)}" if len(self.worst) > 1 else self.reason
        return Record("gradients", audit, subject, *figures, self.verdict, reason, self.seed, reproduce)


def check_gradient(
    f: Callable[[np.ndarray], Any],
    grad: Callable[[np.ndarray], Any],
    x: Any,
    *,
    seed: int = 0,
    entries: int = 20,
    radius: float = inf,
    rtol: float = 1e-10,
    threshold: Threshold | None = None,
) -> GradientReport:
    """Compare a gradient with central differences of known resolution.

    Parameters
    ----------
    f : callable
        Real function of one array of the shape of `x`; returns a scalar.
    grad : callable
        Its gradient: an array of the shape of `x`.
    x : array_like of real numbers, any shape
        Where to check.
    seed : int
        Chooses sampled entries and directions.
    entries : int
        Entries sampled at random, beside the 8 of largest magnitude and the diagonal of a matrix (up to 32).
    radius : float
        Largest step, where f changes its nature on a smaller scale than x. For ln det X take a tenth of the
        smallest singular value.
    rtol : float
        Rounding that the gradient itself may carry, relative to its largest entry.
    threshold : Threshold, optional
        `warn` and `fail` in multiples of the estimated error of the difference, `resolution` relative to the
        largest entry, `excuse` absolute.

    Returns
    -------
    report : GradientReport
        PASS needs every checked entry within its error and the resolution as fine as required. A kink,
        noise or a point without a scale gives INCONCLUSIVE; bad input gives ERROR with its reason. Nothing
        is raised.

    Examples
    --------
    >>> import numpy as np
    >>> report = check_gradient(lambda x: np.sin(x).sum(), np.cos, np.linspace(0, 1, 5))
    >>> bool(report), report.resolution < 1e-9
    (True, True)
    """
    threshold = threshold or DEFAULTS["gradient"]
    try:
        x = _checked_point(x)
        slopes, rounding = _checked_gradient(grad, x)
        _scalar(f(x.copy()))
    except Exception as error:
        reason = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        return GradientReport(Verdict.ERROR, reason, seed=seed)
    rtol = max(rtol, rounding)
    rng = np.random.default_rng(seed)
    steps = _Steps(f, x, radius, rng)
    chosen = _chosen_entries(slopes, entries, rng)
    compared = [*_compare_entries(steps, slopes, chosen), *_compare_directions(steps, slopes, rng)]
    return _report(compared, len(chosen), x.size, rtol, threshold, seed)


class BadInput(ValueError):
    """What was given cannot be audited."""


def _checked_point(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise BadInput(f"x has dtype {x.dtype}; give real numbers")
    if x.size == 0:
        raise BadInput("x is empty")
    x = x.astype(np.float64)
    _refuse_non_finite("x", x)
    return x


def _checked_gradient(grad: Callable[[np.ndarray], Any], x: np.ndarray) -> tuple[np.ndarray, float]:
    """The gradient in float64, and the rounding of the type that it came in."""
    g = np.asarray(grad(x.copy()))
    if g.shape != x.shape:
        raise BadInput(f"the gradient has shape {g.shape}, x has {x.shape}")
    if g.dtype.kind not in "fiu":
        raise BadInput(f"the gradient has dtype {g.dtype}; give real numbers")
    _refuse_non_finite("the gradient", g)
    # A float32 gradient cannot agree to 1e-10, whatever it is the gradient of.
    rounding = 8 * float(np.finfo(g.dtype).eps) if g.dtype.kind == "f" and g.dtype.itemsize < 8 else 0.0
    return g.astype(np.float64), rounding


def _refuse_non_finite(what: str, a: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(a))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise BadInput(f"{what} holds {a[place]} at {place}, {len(bad)} of {a.size} not finite")


def _scalar(value: Any) -> float:
    value = np.asarray(value)
    if value.size != 1:
        raise BadInput(f"f returns shape {value.shape}; a gradient needs a scalar")
    if value.dtype.kind not in "fiu":
        raise BadInput(f"f returns dtype {value.dtype}; a gradient needs a real number")
    value = float(value.reshape(()))
    if not np.isfinite(value):
        raise BadInput(f"f(x) is {value}")
    return value


class _Steps:
    """f around x: values along a direction, the scale of x, and the measured noise of f."""

    def __init__(
        self, f: Callable[[np.ndarray], Any], x: np.ndarray, radius: float, rng: np.random.Generator
    ) -> None:
        self._f, self.x = f, x
        self.typical = _typical(x)
        self.scale = np.maximum(np.abs(x), self.typical)
        self.first = min(0.25 * self.typical, radius) / self.typical
        self.here = self.value(x)
        self._rng = rng.spawn(1)[0]
        signs = rng.choice([-1.0, 1.0], x.shape)
        # Each of the terms that f sums may lose one smallest number to underflow.
        floor = max(0.5 * EPS * abs(self.here), TINY * x.size)
        self._noise = max(self._measured_noise(signs * self.typical), floor)

    def value(self, point: np.ndarray) -> float:
        """f, or NaN where it cannot be evaluated: a step may leave the domain."""
        try:
            with np.errstate(all="ignore"):
                return _scalar(self._f(point.copy()))
        except Exception:
            return nan

    def ladder(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps h and the values f(x + h v), f(x - h v), largest step first; only where both exist."""
        h = self.first * float(STEP_RATIO) ** -np.arange(STEPS)
        ahead = np.array([self.value(self.x + t * v) for t in h])
        behind = np.array([self.value(self.x - t * v) for t in h])
        # Neville's scheme needs an unbroken ladder, so it starts below the last hole.
        holes = np.flatnonzero(~(np.isfinite(ahead) & np.isfinite(behind)))
        start = holes[-1] + 1 if len(holes) else 0
        return h[start:], ahead[start:], behind[start:]

    def noise(self, v: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Noise of f at points along v, where it has these values: what was measured, or their rounding."""
        return np.maximum(max(self._noise, self._measured_noise(v)), 0.5 * EPS * np.abs(values))

    @cached_property
    def _size(self) -> float:
        """Largest |f| around x, as far off as x is large: terms that cancel at x stand apart there."""
        signs = self._rng.choice([-1.0, 1.0], (SURROUNDINGS, *self.x.shape))
        found = np.abs([self.here, *(self.value(self.x + self.typical * sign) for sign in signs)])
        return float(found[np.isfinite(found)].max())

    def _measured_noise(self, v: np.ndarray) -> float:
        """Standard deviation of the noise of f from sixth differences (More and Wild 2011, section 3)."""
        # Values that are mostly equal were taken closer than f resolves (float32 inside): widen.
        for exponent in range(-32, -7, 6):
            spacing = 2.0**exponent * min(1.0, 4 * self.first)
            values = np.array([self.value(self.x + j * spacing * v) for j in range(13)])
            if not np.isfinite(values).all():
                return 0.0
            if np.count_nonzero(np.diff(values)) >= 6:
                return _deviation(values)
        # f stands still: what it does along v is lost in the rounding of its terms.
        return max(_deviation(values), 0.5 * EPS * self._size)


def _typical(x: np.ndarray) -> float:
    """Root mean square of x, 1 where x is 0; no square may overflow or vanish."""
    largest = float(np.abs(x).max())
    return largest * float(np.sqrt(np.mean((x / largest) ** 2))) if largest else 1.0


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of the noise in equidistant values of a smooth function."""
    differences = np.diff(values, 6)
    largest = float(np.abs(differences).max()) or 1.0
    return largest * float(np.sqrt(np.mean((differences / largest) ** 2) / 924))  # 924 = 12! / (6!)^2


def _slope(steps: _Steps, v: np.ndarray) -> Slope:
    """Derivative of f along v."""
    h, ahead, behind = steps.ladder(v)
    if len(h) < 4:
        return Slope(nan, inf, "f is not finite around x")
    width = _width(steps.x, h, v)
    usable = width > 0
    if np.count_nonzero(usable) < 4:
        return Slope(nan, inf, "steps vanish in rounding")
    h, ahead, behind, width = h[usable], ahead[usable], behind[usable], width[usable]
    central = (ahead - behind) / width
    noise = steps.noise(v, np.maximum(np.abs(ahead), np.abs(behind)))
    table, error = _neville(central, noise / h)
    level, column = np.unravel_index(np.argmin(error), error.shape)
    best = Slope(float(table[level, column]), float(error[level, column]))
    kink = _kink((ahead - steps.here) - (steps.here - behind), h, noise)
    return Slope(best.value, best.error, kink or _second_plateau(table, error, int(level), best))


def _width(x: np.ndarray, h: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance that was really walked, in units of v: x + h v is rounded."""
    if np.count_nonzero(v) != 1:
        return 2 * h
    place = np.flatnonzero(v)[0]
    point, along = x.flat[place], v.flat[place]
    return ((point + h * along) - (point - h * along)) / along


def _neville(central: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Extrapolations to step 0 and their estimated errors, by step (rows) and order (columns)."""
    levels, columns = len(central), min(COLUMNS, len(central))
    table = np.full((levels, columns), nan)
    error = np.full((levels, columns), inf)
    table[:, 0] = central
    error[1:, 0] = np.abs(np.diff(central))
    for c in range(1, columns):
        upper, lower = table[c - 1 : -1, c - 1], table[c:, c - 1]
        table[c:, c] = lower + (lower - upper) / (STEP_RATIO ** (2 * c) - 1)
        error[c:, c] = np.maximum(np.abs(table[c:, c] - lower), np.abs(table[c:, c] - upper))
    return table, error + 1.5 * noise[:, None] + EPS * np.abs(central)[:, None]


def _kink(jump: np.ndarray, h: np.ndarray, noise: np.ndarray) -> str:
    """Forward minus backward difference falls like h^2 where f is smooth; like h at a corner."""
    seen = np.flatnonzero(np.abs(jump) > 32 * noise)
    if len(seen) < 3:
        return ""
    last = seen[-1]
    run = [k for k in range(last - 2, last + 1) if k in seen]
    if len(run) < 3:
        return ""
    order = np.log(abs(jump[run[0]] / jump[last])) / np.log(h[run[0]] / h[last])
    return f"kink: one-sided slopes differ (order {order:.2f}, smooth is 2)" if order < 1.75 else ""


def _second_plateau(table: np.ndarray, error: np.ndarray, level: int, best: Slope) -> str:
    """Finer steps that agree on another slope: the best extrapolation missed a smaller scale of f."""
    finer = slice(level + 1, None)
    apart = np.abs(table[finer, 0] - best.value) > 8 * (error[finer, 0] + best.error)
    return "finer steps give another slope; pass radius" if np.count_nonzero(apart) >= 2 else ""


def _chosen_entries(g: np.ndarray, entries: int, rng: np.random.Generator) -> list[int]:
    """Flat indices: the largest, the diagonal, and a sample."""
    largest = np.argsort(-np.abs(g), axis=None, kind="stable")[:LARGEST]
    diagonal = (
        np.arange(min(g.shape[0], g.shape[1], DIAGONAL)) * (g.shape[1] + 1)
        if g.ndim == 2
        else np.array([], int)
    )
    sample = rng.choice(g.size, min(entries, g.size), replace=False)
    return sorted({int(i) for i in (*largest, *diagonal, *sample)})


def _compare_entries(steps: _Steps, g: np.ndarray, chosen: list[int]) -> Iterator[Entry]:
    for flat in chosen:
        unit = np.zeros(g.shape)
        unit.flat[flat] = scale = float(steps.scale.flat[flat])
        slope = _slope(steps, unit)
        index = tuple(int(i) for i in np.unravel_index(flat, g.shape))
        yield Entry(index, float(g.flat[flat]), slope.value / scale, slope.error / scale, slope.trouble)


def _compare_directions(steps: _Steps, g: np.ndarray, rng: np.random.Generator) -> Iterator[Entry]:
    """Random sign vectors, which see what sampled entries miss; steps in units of the typical entry of x."""
    unit = steps.typical
    for i in range(DIRECTIONS if g.size > 1 else 0):
        signs = rng.choice([-1.0, 1.0], g.shape)
        slope = _slope(steps, unit * signs)
        rounding = EPS * float(np.abs(g).sum())
        numeric, error = slope.value / unit, slope.error / unit + rounding
        yield Entry(("direction", i), float((g * signs).sum()), numeric, error, slope.trouble)


def _report(
    compared: list[Entry], checked: int, size: int, rtol: float, threshold: Threshold, seed: int
) -> GradientReport:
    """Judge every entry by its own error, and the whole by the worst of them."""
    entries = [e for e in compared if not e.is_direction]
    scale = float(np.nanmax([[abs(e.analytic), abs(e.numeric)] for e in entries]))

    def limit(e: Entry) -> float:
        # A direction sums `size` entries, whose rounding adds up like a random walk.
        return max(threshold.fail * e.error, rtol * scale * (size**0.5 if e.is_direction else 1.0))

    ranked = sorted(compared, key=lambda e: (bool(e.trouble), -e.difference / limit(e) if limit(e) else 0.0))
    head = ranked[0]
    troubled = [e for e in compared if e.trouble]
    common: dict[str, Any] = {
        "worst": (*ranked[:9], *troubled[:1])[:10],
        "checked": checked,
        "size": size,
        "seed": seed,
    }
    trouble = f"{troubled[0].place}: {troubled[0].trouble}" if troubled else ""
    if head.trouble:
        return GradientReport(Verdict.INCONCLUSIVE, trouble, resolution=inf, **common)
    if scale == 0 or (not troubled and all(scale <= threshold.fail * e.error for e in entries)):
        reason = "the gradient is not to be told from zero, so there is no scale to judge by"
        return GradientReport(Verdict.INCONCLUSIVE, reason, resolution=inf, **common)
    value, fail = head.difference / scale, limit(head) / scale
    local = replace(threshold, warn=fail * threshold.warn / threshold.fail, fail=fail)
    resolution = max((limit(e) / scale for e in entries if not e.trouble), default=inf)
    # A failing value was weighed against its own entry's error; the coarsest entry bears on PASS alone.
    verdict, why = judge(value, local, 0.0 if value >= fail else resolution, head.difference)
    if troubled and verdict is not Verdict.FAIL:
        verdict, why = Verdict.INCONCLUSIVE, trouble
    told = (
        f"worst {head.place}: analytic {head.analytic:.9g}, numeric {head.numeric:.9g}; "
        f"{checked} of {size} entries and {len(compared) - checked} directions checked"
    )
    reason = f"{why}; {told}" if why else told
    return GradientReport(verdict, reason, value, local.warn, fail, resolution, **common)

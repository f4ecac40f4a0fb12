"""The derivative of a function along a direction, with its error: differences that are extrapolated.

The derivative is extrapolated (Richardson, by Neville's scheme) from central differences whose steps fall by 4 from a
quarter of the scale of x to 1e-12 of it. Its error is estimated from the columns of the scheme (Ridders 1982) and from
the noise of f, which is measured (More and Wild 2011). A scale of f below 1e-12 of x is not seen: there f looks smooth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan
from typing import Any

import numpy as np

from svdflow.audit.verdicts import check_limits
from svdflow.checks import check_count, check_number
from svdflow.errors import AuditInputError
from svdflow.matrix.masks import unmasked
from svdflow.registry import Threshold

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).smallest_subnormal)
# Steps fall by 4, so 20 of them go from a quarter of the scale of x to 1e-12 of it. Fewer, or larger ratios, leave gaps
# between where truncation ends and where rounding begins.
STEP_RATIO, STEPS = 4, 20
COLUMNS = (
    6  # of Neville's scheme: the last removes the error of order h^12; beyond, columns amplify rounding alone
)
UNLIKE = 1e3  # root mean square of x over its geometric mean (1.9 for normal numbers) from which entries get own scales
SURROUNDINGS = 16  # points around x at which the size of f is looked at; chosen


@dataclass(frozen=True)
class Slope:
    """Derivative along a direction, its estimated error, and why not to trust it ("" where one can)."""

    value: float
    error: float
    trouble: str = ""


def check_settings(radius: Any, seed: Any, threshold: Threshold) -> None:
    """Raise for a radius, a seed or limits that mean nothing: with them a check could only pass."""
    if radius != inf:
        check_number("radius", radius, "a number above 0", least=0, open_=True)
    check_count("seed", seed, 0)
    check_limits(threshold)


def checked_point(x: Any) -> np.ndarray:
    x = np.asarray(unmasked(x, "x"))
    if x.dtype.kind not in "fiu":
        raise AuditInputError(f"x has dtype {x.dtype}; give real numbers")
    if x.size == 0:
        raise AuditInputError("x is empty")
    x = x.astype(np.float64)
    refuse_non_finite("x", x)
    return x


def checked_gradient(grad: Callable[[np.ndarray], Any], x: np.ndarray) -> tuple[np.ndarray, float]:
    """The gradient in float64, and the rounding of the type that it came in."""
    g = np.asarray(unmasked(grad(x.copy()), "the gradient"))
    if g.shape != x.shape:
        raise AuditInputError(f"the gradient has shape {g.shape}, x has {x.shape}")
    if g.dtype.kind not in "fiu":
        raise AuditInputError(f"the gradient has dtype {g.dtype}; give real numbers")
    refuse_non_finite("the gradient", g)
    # A float32 gradient cannot agree to 1e-10, whatever it is the gradient of.
    rounding = 8 * float(np.finfo(g.dtype).eps) if g.dtype.kind == "f" and g.dtype.itemsize < 8 else 0.0
    return g.astype(np.float64), rounding


def refuse_non_finite(what: str, a: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(a))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise AuditInputError(f"{what} holds {a[place]} at {place}, {len(bad)} of {a.size} not finite")


def scalar(value: Any) -> float:
    value = np.asarray(value)
    if value.size != 1:
        raise AuditInputError(f"f returns shape {value.shape}; a gradient needs a scalar")
    if value.dtype.kind not in "fiu":
        raise AuditInputError(f"f returns dtype {value.dtype}; a gradient needs a real number")
    value = float(value.reshape(()))
    if not np.isfinite(value):
        raise AuditInputError(f"f(x) is {value}")
    return value


class Steps:
    """f around x: values along a direction, the scale of x, and the measured noise of f."""

    def __init__(
        self, f: Callable[[np.ndarray], Any], x: np.ndarray, radius: float, rng: np.random.Generator
    ) -> None:
        self._f, self.x = f, x
        self.typical = _typical(x)
        self.scale = _scale(x, self.typical)
        self.walk = self.scale if _units_differ(x, self.typical) else np.full(x.shape, self.typical)
        self.first = min(0.25 * self.typical, radius) / self.typical
        self.here = self.value(x)
        self._rng = rng.spawn(1)[0]
        signs = rng.choice([-1.0, 1.0], x.shape)
        self._unit = 0.5 * EPS
        # Each of the terms that f sums may lose one smallest number to underflow.
        floor = max(0.5 * EPS * abs(self.here), TINY * x.size)
        # Along signs alone f may stand still, and a float32 inside would look exact.
        lines = signs, self._rng.standard_normal(x.shape)
        self._noise = max(*(self._measured_noise(v * self.walk) for v in lines), floor)

    def value(self, point: np.ndarray) -> float:
        """f, or NaN where it cannot be evaluated: a step may leave the domain."""
        try:
            with np.errstate(all="ignore"):
                return scalar(self._f(point.copy()))
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
        return np.maximum(max(self._noise, self._measured_noise(v)), self._unit * np.abs(values))

    @cached_property
    def _size(self) -> float:
        """Largest |f| around x, as far off as x is large: terms that cancel at x stand apart there."""
        signs = self._rng.choice([-1.0, 1.0], (SURROUNDINGS, *self.x.shape))
        found = np.abs([self.here, *(self.value(self.x + self.walk * sign) for sign in signs)])
        return float(found[np.isfinite(found)].max())

    def _measured_noise(self, v: np.ndarray) -> float:
        """Standard deviation of the noise of f from sixth differences (More and Wild 2011, section 3)."""
        # Values that are mostly equal were taken closer than f resolves (float32 inside): widen.
        for exponent in (-44, -38, -32, -26, -20, -14, -8):
            spacing = 2.0**exponent * min(1.0, 4 * self.first)
            values = np.array([self.value(self.x + j * spacing * v) for j in range(13)])
            if not np.isfinite(values).all():
                return 0.0
            if np.count_nonzero(np.diff(values)) >= 6:
                with np.errstate(over="ignore"):
                    single = (values == values.astype(np.float32)).all()
                # Stairs of equal height have no sixth difference, but they are no finer than float32.
                self._unit = 0.5 * float(np.finfo(np.float32 if single else np.float64).eps)
                return _deviation(values)
        # f stands still: what it does along v is lost in the rounding of its terms.
        return max(_deviation(values), 0.5 * EPS * self._size)


def _typical(x: np.ndarray) -> float:
    """Root mean square of x, 1 where x is 0; no square may overflow or vanish."""
    largest = float(np.abs(x).max())
    return largest * float(np.sqrt(np.mean((x / largest) ** 2))) if largest else 1.0


def _units_differ(x: np.ndarray, typical: float) -> bool:
    """Whether entries are of such unlike size (geometric mean) that one step for all would leave some far behind."""
    sizes = np.abs(x[x != 0])
    return bool(sizes.size) and typical > UNLIKE * float(np.exp(np.mean(np.log(sizes))))


def _scale(x: np.ndarray, typical: float) -> np.ndarray:
    """Size of each entry for its own steps: at least the typical one, unless their units differ."""
    if _units_differ(x, typical):
        return np.where(x != 0, np.abs(x), typical)
    return np.maximum(np.abs(x), typical)


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of the noise in equidistant values of a smooth function."""
    differences = np.diff(values, 6)
    largest = float(np.abs(differences).max()) or 1.0
    return largest * float(np.sqrt(np.mean((differences / largest) ** 2) / 924))  # 924 = 12! / (6!)^2


def slope_along(steps: Steps, v: np.ndarray) -> Slope:
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
    kink = kink_between((ahead - steps.here) - (steps.here - behind), h, noise)
    return Slope(best.value, best.error, kink or _finer_scale(central, noise / h, int(level), best))


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


def kink_between(jump: np.ndarray, h: np.ndarray, noise: np.ndarray) -> str:
    """Forward minus backward difference falls like h^2 where f is smooth; like h at a corner."""
    seen = np.flatnonzero(np.abs(jump) > 32 * noise)
    if len(seen) < 3 or seen[-1] - seen[-3] != 2:
        return ""
    finest = slice(seen[-3], seen[-1] + 1)
    orders = np.diff(np.log(np.abs(jump[finest]))) / np.diff(np.log(h[finest]))
    # A smooth jump that changes its sign nearby dips, which spoils one of the two orders only.
    if orders.max() >= 1.75:
        return ""
    last = seen[-1]
    if last + 1 < len(h) and abs(jump[last]) * (h[last + 1] / h[last]) ** 1.75 > 64 * noise[last + 1]:
        return ""  # a corner at x would show at the next step too: this one is some way off
    return f"kink: one-sided slopes differ (order {orders.mean():.2f}, smooth is 2)"


def _finer_scale(central: np.ndarray, noise: np.ndarray, level: int, best: Slope) -> str:
    """Finer steps that noise does not explain: the best extrapolation missed a smaller scale of f.

    Where f is smooth a finer central difference errs by less than that at the best level, noise apart.
    """
    allowed = 8 * (1.5 * noise[level + 1 :] + best.error) + abs(central[level] - best.value)
    apart = np.abs(central[level + 1 :] - best.value) > allowed
    return "finer steps give another slope; pass radius" if np.count_nonzero(apart) >= 2 else ""

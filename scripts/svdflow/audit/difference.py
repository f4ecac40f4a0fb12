"""Check a gradient against finite differences that know their own error.

Entries and random directions are compared with `svdflow.audit.slopes`; a discrepancy counts where it exceeds eight
times the estimated error of the difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from math import inf, nan
from typing import Any

import numpy as np

from svdflow.audit.records import Record
from svdflow.audit.slopes import (
    EPS,
    Steps,
    check_settings,
    checked_gradient,
    checked_point,
    scalar,
    slope_along,
)
from svdflow.audit.verdicts import Verdict, judge
from svdflow.checks import check_count, check_number
from svdflow.errors import AuditInputError
from svdflow.registry import Threshold
from svdflow.registry.limits import declared_limits

# Entries that are always checked: of greatest magnitude, on the diagonal, at the ends of the axes. More find a fault in
# one entry more often and cost EVALUATIONS each; chosen.
LARGEST, DIAGONAL, BORDER = 8, 32, 16
# Random directions. A pair of signs shows one wrong sign among 10,000 entries in 98.8 % of trials, sampled entries in
# none (measured, 100 x 100 positive gradients); normal ones see what cancels along every sign.
SIGNS, GAUSSIANS = 8, 4
EVALUATIONS = 53  # of f a derivative: two at each of 20 steps, and 13 to measure its noise
BUDGET = (
    5 * 10**7
)  # numbers that f reads for all entries, a few seconds; a large x leaves more to the directions
FEWEST = 12  # entries that are checked however large x is; as many as directions
LISTED = 5  # entries that a row of the table names; the report of `check_gradient` holds ten


@dataclass(frozen=True)
class GradientEntry:
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
    worst : tuple of GradientEntry
        Up to ten, the worst first.
    checked, size : int
        Entries checked, entries there are.
    detectable : float
        Smallest error of one entry that was not checked, relative to the largest entry, that a direction of
        signs shows for certain, if all others are right: every sign vector carries it in full.
    """

    verdict: Verdict
    reason: str
    value: float = nan
    warn: float = nan
    fail: float = nan
    resolution: float = nan
    worst: tuple[GradientEntry, ...] = ()
    checked: int = 0
    size: int = 0
    detectable: float = inf
    seed: int = 0

    @property
    def detection(self) -> float:
        """Probability that the checked entries hold one wrong entry placed at random."""
        return self.checked / self.size if self.size else nan

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
        following = ", ".join(f"{e.place} {e.difference:.1e}" for e in self.worst[1:LISTED])
        reason = f"{self.reason}; next {following}" if following else self.reason
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
        Entries sampled at random, beside the 8 of largest magnitude, the diagonal (up to 32) and the border
        (up to 16). Fewer where x has more than some 12,000 entries; the directions are 12 at any size.
    radius : float
        Largest step, where f changes its nature on a smaller scale than x. For ln det X and other functions
        of the inverse take `singular_radius(X)`.
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
    threshold = threshold or declared_limits()["gradient"]
    try:
        check_number("rtol", rtol, "a finite number of at least 0", least=0)
        check_count("entries", entries, 0)
        check_settings(radius, seed, threshold)
        x = checked_point(x)
        slopes, rounding = checked_gradient(grad, x)
        scalar(f(x.copy()))
    except Exception as error:
        reason = str(error) if isinstance(error, AuditInputError) else f"{type(error).__name__}: {error}"
        return GradientReport(Verdict.ERROR, reason, seed=seed)
    rtol = max(rtol, rounding)
    rng = np.random.default_rng(seed)
    steps = Steps(f, x, radius, rng)
    chosen = _chosen_entries(slopes, entries, rng)
    compared = [*_compare_entries(steps, slopes, chosen), *_compare_directions(steps, slopes, rng)]
    return _report(compared, len(chosen), x.size, rtol, threshold, seed)


def singular_radius(X: Any, share: float = 0.1) -> float:
    """Largest step for functions of the inverse of X: a share of its smallest singular value.

    For steps h with h ||X^-1||_2 > 1 the differences of ln det X converge to a wrong slope; a share of 0.1
    keeps the first neglected term of a central difference, (h ||X^-1||_2)^2 / 3, below 0.4 %.

    Parameters
    ----------
    X : array_like, shape (..., m, n)
        A stack is given the smallest singular value of all.
    """
    check_number("share", share, "a finite number above 0", least=0, open_=True)
    return share * float(np.linalg.svd(np.asarray(X), compute_uv=False).min())


def _chosen_entries(g: np.ndarray, entries: int, rng: np.random.Generator) -> list[int]:
    """Flat indices: the largest, a sample, the border and the diagonal, as far as the budget goes."""
    largest = np.argsort(-np.abs(g), axis=None, kind="stable")[:LARGEST]
    sample = rng.choice(g.size, min(entries, g.size), replace=False)
    structured = zip_longest(sample, _border(g.shape, rng), _diagonal(g.shape))
    wanted = dict.fromkeys(int(i) for i in (*largest, *chain(*structured)) if i is not None)
    return sorted(list(wanted)[: max(FEWEST, BUDGET // (EVALUATIONS * g.size))])


def _diagonal(shape: tuple[int, ...]) -> np.ndarray:
    """Flat indices of the diagonal of the last two axes, of the first matrix in a stack."""
    return np.arange(min(*shape[-2:], DIAGONAL)) * (shape[-1] + 1) if len(shape) > 1 else np.array([], int)


def _border(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Flat indices at the ends of the axes: the first and last entry, and a sample with one index at an end."""
    places = [rng.integers(n, size=BORDER) for n in shape]
    for k in range(BORDER if shape else 0):
        axis = k % len(shape)
        places[axis][k] = rng.choice([0, shape[axis] - 1])
    for axis, n in enumerate(shape):
        places[axis][:2] = 0, n - 1
    return np.ravel_multi_index(places, shape) if shape else np.array([0])


def _compare_entries(steps: Steps, g: np.ndarray, chosen: list[int]) -> Iterator[GradientEntry]:
    for flat in chosen:
        unit = np.zeros(g.shape)
        unit.flat[flat] = scale = float(steps.scale.flat[flat])
        slope = slope_along(steps, unit)
        index = tuple(int(i) for i in np.unravel_index(flat, g.shape))
        yield GradientEntry(
            index, float(g.flat[flat]), slope.value / scale, slope.error / scale, slope.trouble
        )


def _compare_directions(steps: Steps, g: np.ndarray, rng: np.random.Generator) -> Iterator[GradientEntry]:
    """Random directions, which see what sampled entries miss; steps in units of the typical entry of x."""
    unit = steps.typical
    share = steps.walk / unit
    for i in range(SIGNS + GAUSSIANS if g.size > 1 else 0):
        v = rng.choice([-1.0, 1.0], g.shape) if i < SIGNS else rng.standard_normal(g.shape)
        v = share * v
        slope = slope_along(steps, unit * v)
        rounding = EPS * float(np.abs(g * v).sum())
        numeric, error = slope.value / unit, slope.error / unit + rounding
        yield GradientEntry(("direction", i), float((g * v).sum()), numeric, error, slope.trouble)


def _report(
    compared: list[GradientEntry], checked: int, size: int, rtol: float, threshold: Threshold, seed: int
) -> GradientReport:
    """Judge every entry by its own error, and the whole by the worst of them."""
    entries = [e for e in compared if not e.is_direction]
    scale = float(np.nanmax([[abs(e.analytic), abs(e.numeric)] for e in entries]))

    def limit(e: GradientEntry) -> float:
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
    signs = (e for e in compared if e.is_direction and e.index[1] < SIGNS and not e.trouble)
    detectable = min((limit(e) / scale for e in signs), default=inf if checked < size else resolution)
    # A failing value was weighed against its own entry's error; the coarsest entry bears on PASS alone.
    verdict, why = judge(value, local, 0.0 if value >= fail else resolution, head.difference)
    if troubled and verdict is not Verdict.FAIL:
        verdict, why = Verdict.INCONCLUSIVE, trouble
    told = (
        f"worst {head.place}: analytic {head.analytic:.9g}, numeric {head.numeric:.9g}; "
        f"{checked} of {size} entries and {len(compared) - checked} directions checked"
    )
    if checked < size:
        told += (
            f"; one bad entry is among them with P {checked / size:.2g}, else seen from {detectable:.1e} on"
        )
    reason = f"{why}; {told}" if why else told
    return GradientReport(
        verdict, reason, value, local.warn, fail, resolution, detectable=detectable, **common
    )

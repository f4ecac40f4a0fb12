"""What decoding costs in error, and the search for the step that costs just what is allowed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any

import numpy as np

from svdflow.codec.quantize import chunks_of
from svdflow.errors import StepTooFineError, UnreachableTargetError
from svdflow.metrics.errors import difference, double, largest, psnr_of_error, ratio, squared_norm

# Values judged at once, in a few arrays of 32 MB; sums of larger arrays are rounded otherwise (chosen).
AT_ONCE = 2**22

# When an error is worth a warning, and how long the search for a step goes on: closer costs trials, each a
# quantization of the whole array, looser gives larger archives. Chosen; `python benchmarks/images.py --case archive`
# tells how far results lie below their targets.
POOR = 0.5  # share of the standard deviation above which an error is worth a warning: a quarter of the variance is gone
CLOSE = 0.005  # share of the goal within which a search is content
TRIALS = 40  # steps that are tried at most; bisection alone narrows an octave to 1e-12 of itself in them
LOOSE = 0.018  # share of the goal by which a result may lie below it before steps nearby are tried
NEARBY, REACH = 64, 0.2  # how many steps nearby, and how far: logarithm of the ratio to the one found
GOLDEN = (5**0.5 - 1) / 2  # the golden section, whose multiples fill an interval evenly
STALLED = 0.02  # relative gain of a step four times finer below which there is nothing to gain


@dataclass(frozen=True)
class Quality:
    """Errors of a decoded array; `rmse` in its unit."""

    rel_error: float
    rmse: float
    max_abs: float
    psnr: float


def quality(
    A: np.ndarray,
    decoded: np.ndarray,
    data_range: float,
    mask: np.ndarray | None = None,
    places: Sequence[Any] | None = None,
) -> Quality:
    """Errors in float64, over the values that `mask` (True where one is valid) leaves; over all without one.

    `places` are indices of the parts that are summed, one after the other; by default `parts_of` the array.
    """
    squared, norm, farthest, count = 0.0, 0.0, 0.0, 0
    for place in places or parts_of(A):
        values, found = A[place], decoded[place]
        if mask is not None:
            values, found = values[mask[place]], found[mask[place]]
        error = difference(values, found)
        squared += squared_norm(error)
        norm += squared_norm(double(values))
        farthest = float(np.maximum(farthest, largest(error)))
        count += values.size
    return Quality(
        rel_error=ratio(squared, norm) ** 0.5,
        rmse=(squared / count) ** 0.5,
        max_abs=farthest,
        psnr=psnr_of_error(squared, count, data_range),
    )


def parts_of(A: np.ndarray) -> list[slice]:
    """Bands of rows of an array, one where all of it is judged at once; at least one."""
    return [slice(*band) for band in chunks_of(max(1, len(A)), max(1, AT_ONCE * len(A) // max(1, A.size)))]


def shortfall(A: np.ndarray, rank: int, rel_error: float, mask: np.ndarray | None = None) -> str:
    """Why an archive is hardly one, in words; empty where it is sound.

    Parameters
    ----------
    A : array
        What was encoded.
    rank : int
        Components of the archive.
    rel_error : float
        Relative Frobenius error of what decodes.
    mask : bool array of the shape of A, optional
        True where a value is valid.

    Returns
    -------
    words : str
        An array of more than one value was archived as a constant, or with an error (root mean square) above half of
        its standard deviation, so that a quarter of its variance is gone.
    """
    parts = [(part, ...) if mask is None else (part, mask[part]) for part in parts_of(A)]
    count = A.size if mask is None else int(np.count_nonzero(mask))

    def mean_of(figure: Callable[[np.ndarray], float]) -> float:
        return sum(float(figure(double(A[part][valid]))) for part, valid in parts) / count

    middle = mean_of(np.sum)
    spread = mean_of(lambda values: squared_norm(values - middle)) ** 0.5
    error = rel_error * mean_of(squared_norm) ** 0.5
    if spread <= abs(middle) * np.finfo(np.float64).eps:
        return ""
    if rank == 0:
        return "rank 0: all its values decode to one constant; ask for less error"
    if error > POOR * spread:
        return f"its error is {error / spread:.0%} of the spread of the values; ask for less error"
    return ""


def closest(cost: Callable[[float], float], goal: float, start: float) -> float:
    """A step whose cost is at most the goal, and little below it where steps of such a cost are found.

    As `coarsest`; where the cost jumps from step to step, as a largest error does, it goes on among steps nearby
    (in a golden-section sequence) until one lies within two per cent of the goal.

    Raises
    ------
    UnreachableTargetError
        Steps four times finer gain nothing any more.
    """
    known: dict[float, float] = {}

    def recorded(step: float) -> float:
        known[step] = cost(step)
        return known[step]

    best = coarsest(recorded, goal, start)
    if 0 < known[best] < goal * (1 - LOOSE):
        for number in range(NEARBY):
            step = best * exp(REACH * (2 * (number * GOLDEN % 1) - 1))
            if goal * (1 - LOOSE) <= recorded(step) <= goal:
                return step
    return max((step for step in known if known[step] <= goal), key=lambda step: (known[step], step))


def coarsest(cost: Callable[[float], float], goal: float, start: float) -> float:
    """The coarsest step found whose cost is at most the goal; cost grows with the step, but for jitter.

    Parameters
    ----------
    cost : callable
        Of a step; may raise `StepTooFineError`.
    goal : float
        Above 0.
    start : float
        A first guess.

    Raises
    ------
    UnreachableTargetError
        Steps four times finer gain nothing any more.

    Notes
    -----
    The secant rule on logarithms, kept inside the bracket (regula falsi with bisection when it does not halve).
    """
    low: tuple[float, float] | None = None
    high: tuple[float, float] | None = None
    x, least, aim = log(start), inf, log(goal * (1 - CLOSE / 2))
    for trial in range(TRIALS):
        try:
            value = cost(exp(x))
        except StepTooFineError:
            if low is None:
                raise UnreachableTargetError(least) from None
            value = inf
        y = log(value) if value > 0 else -inf
        if value <= goal:
            low = (x, y) if low is None or x > low[0] else low
            if value >= goal * (1 - CLOSE):
                break
        else:
            if low is None and value > least * (1 - STALLED):
                raise UnreachableTargetError(min(least, value))
            high = (x, y) if high is None or x < high[0] else high
        least = min(least, value)
        x = _next(low, high, aim, trial)
        if low is not None and high is not None and high[0] - low[0] < 1e-4:
            break
        if low is not None and low[0] > log(start) + 40:  # any step does
            break
    if low is None:
        raise UnreachableTargetError(least)
    return exp(low[0])


def _next(low: tuple[float, float] | None, high: tuple[float, float] | None, aim: float, trial: int) -> float:
    """Where to look: by a slope of one on one side, by the secant or the middle between two."""
    if high is None:
        assert low is not None
        return low[0] + min(max(aim - low[1], 0.05), log(64))
    if low is None:
        return high[0] - max(high[1] - aim, log(4))
    middle = (low[0] + high[0]) / 2
    if trial % 3 == 2 or not -inf < low[1] < high[1] < inf:
        return middle
    width = high[0] - low[0]
    guess = low[0] + width * (aim - low[1]) / (high[1] - low[1])
    return float(np.clip(guess, low[0] + 0.02 * width, high[0] - 0.02 * width))

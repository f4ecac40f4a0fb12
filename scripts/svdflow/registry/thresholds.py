"""The limits that audits judge by, and the sources that many of them share."""

from dataclasses import dataclass
from math import inf

LAPACK_RATIO = (
    "LAPACK TESTING/svd.in fails at 50; NumPy's worst over 35 matrix types is 2, so 10 is a warning"
)
KNOWN_BAD = "a method known to lose digits, shown beside the sound one: it warns and never fails a run"
OWN_BOUND = (
    "share of the first-order rounding bound, whose constants are those of Higham (2002), chapters 3 and 4"
)


@dataclass(frozen=True)
class Threshold:
    """From which value on an audit warns and fails, and how fine it must see to pass.

    Attributes
    ----------
    warn, fail : float
        A value above `warn` is WARN, one at or above `fail` is FAIL; NaN means that there is none.
    resolution : float
        The audit passes only if the smallest error that it could have seen is at most this.
    excuse : float
        Absolute tolerance: a FAIL whose absolute error is below it becomes INCONCLUSIVE, never PASS.
    source : str
        Where the figures come from.
    """

    warn: float
    fail: float
    resolution: float = inf
    excuse: float = 0.0
    source: str = ""

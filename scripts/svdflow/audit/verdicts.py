"""The rule that turns a figure, its thresholds and its resolution into a verdict."""

from enum import StrEnum
from math import inf, isnan

from svdflow.checks import check_number
from svdflow.registry import Threshold


class Verdict(StrEnum):
    """What an audit may say."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIP = "SKIP"
    ERROR = "ERROR"


def check_limits(threshold: Threshold) -> None:
    """Raise for limits with which an audit could only pass, or only fail.

    Raises
    ------
    ValueError
        `warn` and `fail` are both NaN, one of the limits is negative or infinite, or `resolution` or `excuse` is NaN.
    """
    for name in ("warn", "fail"):
        value = getattr(threshold, name)
        if not isnan(value):
            check_number(
                f"{name} of the threshold", value, "a finite number of at least 0, or NaN for none", least=0
            )
    if isnan(threshold.warn) and isnan(threshold.fail):
        raise ValueError(
            "a threshold needs a number for warn or for fail: with NaN for both everything would pass"
        )
    for name in ("resolution", "excuse"):
        value = getattr(threshold, name)
        if isinstance(value, bool) or not value >= 0:
            raise ValueError(f"{name} of the threshold must be at least 0, not {value!r}")


def judge(
    value: float, threshold: Threshold, resolution: float, absolute: float = inf
) -> tuple[Verdict, str]:
    """Verdict on a value and the reason for it, "" where the numbers say it.

    Parameters
    ----------
    value : float
        The audited figure, larger is worse.
    threshold : Threshold
        Its limits.
    resolution : float
        Smallest value that the audit could have told from none, in the unit of the value.
    absolute : float
        The same error in absolute terms, which `threshold.excuse` may excuse.

    Notes
    -----
    A fault can be seen by a coarse audit, but only a fine one may certify; so a value that fails and stands
    out of the resolution is FAIL whatever the resolution is. An absolute tolerance may excuse, never
    certify.
    """
    if isnan(value):
        return Verdict.ERROR, "the value is not a number"
    if isnan(resolution):
        return Verdict.ERROR, "the resolution is not a number"
    if value >= threshold.fail:
        if value <= resolution:
            return Verdict.INCONCLUSIVE, "not to be told from rounding"
        if absolute < threshold.excuse:
            return (
                Verdict.INCONCLUSIVE,
                f"absolute error {absolute:.1e} below the excused {threshold.excuse:.1e}",
            )
        return Verdict.FAIL, ""
    if resolution > threshold.resolution:
        return (
            Verdict.INCONCLUSIVE,
            f"resolution {resolution:.1e} worse than required {threshold.resolution:.1e}",
        )
    return (Verdict.WARN if value > threshold.warn else Verdict.PASS), ""

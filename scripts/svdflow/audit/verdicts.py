"""The rule that turns a figure, its thresholds and its resolution into a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from math import inf, isnan, nan
from typing import Any


class Verdict(StrEnum):
    """What an audit may say."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIP = "SKIP"
    ERROR = "ERROR"


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


KEYS = ("warn", "fail", "resolution", "excuse")
LAPACK_RATIO = (
    "LAPACK TESTING/svd.in fails at 50; NumPy's worst over 35 matrix types is 2, so 10 is a warning"
)
OWN_BOUND = (
    "share of the first-order rounding bound, whose constants are those of Higham (2002), chapters 3 and 4"
)

DEFAULTS: dict[str, Threshold] = {
    "svd_residual": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_order": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_values_only": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "truth_full": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_values": Threshold(1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2, in units of s_1"),
    "stored_truth": Threshold(1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2, in units of s_1"),
    "eckart_young": Threshold(
        1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2; below the optimum is a fault"
    ),
    "recorded_error": Threshold(
        1e-7, 1e-6, 1e-6, source="Pythagoras loses what is below sqrt(eps) of the norm"
    ),
    "rank": Threshold(nan, nan, source="NumPy matrix_rank: max(m, n) eps s_1"),
    "condition_number": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
    "largest_singular_value": Threshold(nan, 1, source="backward stability: known to max(m, n) eps s_1"),
    "smallest_singular_value": Threshold(nan, 1, source="backward stability: known to max(m, n) eps s_1"),
    "gradient": Threshold(
        4, 8, 1e-6, source="multiples of the estimated difference error; resolution relative"
    ),
    "softmax": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "log_sum_exp": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "shift_invariance": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "overflow": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "variance": Threshold(nan, 1, 0.1, source="Chan, Golub and LeVeque (1983), table 1: a priori bounds"),
    "sum": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "precision": Threshold(nan, 1, 1, source="IEEE 754-2019, table 3.5; law: equality"),
}


def resolve(overrides: Mapping[str, float] | None = None) -> dict[str, Threshold]:
    """Defaults with a user's thresholds over them.

    Parameters
    ----------
    overrides : mapping, optional
        ``{"svd_residual.fail": 30, "gradient.resolution": 1e-8}``: the audit, a dot, and one of warn, fail,
        resolution, excuse.

    Raises
    ------
    ValueError
        An unknown audit or key; the message names the nearest one.
    """
    table = dict(DEFAULTS)
    for name, value in (overrides or {}).items():
        audit, _, key = name.partition(".")
        if audit not in table:
            raise ValueError(f"audit.thresholds: no audit {audit!r}{nearest(audit, table)}")
        if key not in KEYS:
            raise ValueError(
                f"audit.thresholds: {name!r} should end in one of {', '.join(KEYS)}: '{audit}.fail'"
            )
        table[audit] = replace(table[audit], **{key: float(value), "source": "config"})  # type: ignore[arg-type]
    return table


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


def nearest(word: str, known: Any) -> str:
    """`` (nearest: X)`` or the list of what there is, for an error message."""
    close = get_close_matches(word, list(known), 1)
    return f" (nearest: {close[0]!r})" if close else f" (known: {', '.join(sorted(known))})"


def markdown() -> str:
    """The page docs/audits.md."""
    lines = [
        "# Audits and their thresholds",
        "",
        "Generated from `scripts/svdflow/audit/verdicts.py` by `make docs`.",
    ]
    lines += [
        "",
        "A value above *warn* is WARN, one at or above *fail* is FAIL. An audit passes only if the smallest",
        "error that it could have seen is at most *resolution*; otherwise it is INCONCLUSIVE. Any of them can",
        "be set in the config: `audit: {thresholds: {svd_residual: {fail: 30}}}`.",
        "",
        "| audit | warn | fail | resolution | source |",
        "|---|---|---|---|---|",
    ]
    for name, limit in DEFAULTS.items():
        figures = (
            "" if isnan(v) or v == inf else f"{v:g}" for v in (limit.warn, limit.fail, limit.resolution)
        )
        lines.append(f"| {name} | {' | '.join(figures)} | {limit.source} |")
    return "\n".join(lines) + "\n"

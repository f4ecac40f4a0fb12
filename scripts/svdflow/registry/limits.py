"""The limits of all rows of audits, as declared, and with what a configuration says instead."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from math import inf
from numbers import Real

from svdflow.errors import RegistryError
from svdflow.registry import AUDITS, Threshold

KEYS = ("warn", "fail", "resolution", "excuse")


@cache
def declared_limits() -> Mapping[str, Threshold]:
    """Limits of every row that an audit may give, by its name in the column `audit`.

    Raises
    ------
    RegistryError
        Two audits declare a row of the same name.
    """
    found: dict[str, Threshold] = {}
    for audit in AUDITS.values():
        for row, limit in audit.limits.items():
            if row in found:
                raise RegistryError(
                    f"audit {audit.name!r}: its row {row!r} is another audit's; name it otherwise"
                )
            found[row] = limit
    return found


@cache
def poor_rows() -> frozenset[str]:
    """Rows of methods known to be poor, beside the sound ones: a family of their own."""
    return frozenset(row for audit in AUDITS.values() for row in audit.poor)


def resolve(overrides: Mapping[str, float] | None = None) -> dict[str, Threshold]:
    """Declared limits with a user's over them.

    Parameters
    ----------
    overrides : mapping, optional
        ``{"svd_residual.fail": 30, "gradient.resolution": 1e-8}``: the audit, a dot, and one of warn, fail,
        resolution, excuse.

    Raises
    ------
    ValueError
        An unknown audit or key (the message names the nearest one), a limit that is no finite number of at least 0,
        or a warn above its fail.
    """
    table = dict(declared_limits())
    for name, value in (overrides or {}).items():
        audit, _, key = name.partition(".")
        if audit not in table:
            raise ValueError(f"audit.thresholds: no audit {audit!r}{nearest(audit, table)}")
        if key not in KEYS:
            raise ValueError(
                f"audit.thresholds: {name!r} should end in one of {', '.join(KEYS)}: '{audit}.fail'"
            )
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < inf:
            raise ValueError(
                f"audit.thresholds: {name!r} is {value!r}; a limit is a finite number of at least 0: with "
                "anything else an audit would always pass, or always fail"
            )
        table[audit] = replace(table[audit], **{key: float(value), "source": "config"})
    for audit in sorted({name.partition(".")[0] for name in overrides or {}}):
        limit = table[audit]
        if limit.warn > limit.fail and f"{audit}.warn" in (overrides or {}):
            raise ValueError(
                f"audit.thresholds: '{audit}.warn' is {limit.warn:g} and '{audit}.fail' {limit.fail:g}: what fails "
                "would never have warned; give warn at most what fail is"
            )
        if limit.warn > limit.fail:  # a stricter fail takes the default of warn with it
            table[audit] = replace(limit, warn=limit.fail)
    return table


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (nearest: X)`` or the list of what there is, for an error message."""
    close = get_close_matches(word, known := list(known), 1)
    return f" (nearest: {close[0]!r})" if close else f" (known: {', '.join(sorted(known))})"

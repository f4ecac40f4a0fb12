"""The page docs/audits.md: what each audit checks, and the limits of its rows with their sources."""

from math import inf, isnan

from svdflow.registry import AUDITS
from svdflow.registry.limits import declared_limits


def markdown() -> str:
    """The text of the page."""
    lines = [
        "# The audits and their limits",
        "",
        "Generated from `scripts/svdflow/registry/audits/` by `make docs`; [auditing.md](auditing.md) says how to use",
        "them.",
        "",
        "## Of this installation",
        "",
        "They need no data. `svdflow selfcheck` runs them all, once in an environment; `svdflow audit NAME` repeats",
        "one, `svdflow audit FAMILY` all of a family.",
        "",
        "| family | name | what it checks |",
        "|---|---|---|",
    ]
    lines += [f"| {a.family} | {a.name} | {_cell(a.summary)} |" for a in AUDITS.values() if a.selfcheck]
    lines += [
        "",
        "## Of your matrices, factors and functions",
        "",
        "| family | name | what it checks |",
        "|---|---|---|",
    ]
    lines += [f"| {a.family} | {a.name} | {_cell(a.summary)} |" for a in AUDITS.values() if not a.selfcheck]
    lines += [
        "",
        "## Limits",
        "",
        "A value above *warn* is WARN, one at or above *fail* is FAIL. An audit passes only if the smallest",
        "error that it could have seen is at most *resolution*; otherwise it is INCONCLUSIVE. Any of them can",
        "be set in the config: `audit: {thresholds: {svd_residual: {fail: 30}}}`. Rows without a fail limit show",
        "what methods known to be poor do.",
        "",
        "| row | warn | fail | resolution | source |",
        "|---|---|---|---|---|",
    ]
    for name, limit in declared_limits().items():
        figures = (
            "" if isnan(v) or v == inf else f"{v:g}" for v in (limit.warn, limit.fail, limit.resolution)
        )
        lines.append(f"| {name} | {' | '.join(figures)} | {_cell(limit.source)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

"""Every audit by name, and audits of what a run has stored: what ``python -m svdflow audit`` calls."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, isnan
from pathlib import Path

from svdflow.audit import decomposition
from svdflow.audit.family import Audit, run_family
from svdflow.audit.limits import DEFAULTS, nearest, resolve
from svdflow.audit.own import audit_functions
from svdflow.audit.records import Record, attempt
from svdflow.audit.verdicts import Threshold
from svdflow.selfcheck import gradient_identities, gradients, matrices, mutants, stability
from svdflow.store import StoredArray, open_published, read_array

FAMILIES: dict[str, Mapping[str, Audit]] = {
    "conditioning": matrices.AUDITS,
    "gradients": gradients.AUDITS,
    "stability": stability.AUDITS,
    "mutants": mutants.AUDITS,
}


def run_catalogue(
    names: Sequence[str] | None = None, seed: int = 0, thresholds: Mapping[str, float] | None = None
) -> list[Record]:
    """Run audits by name.

    Parameters
    ----------
    names : sequence of str, optional
        Audits (``log_det``), families (``gradients``), functions of a file of your own (``FILE.py:name``), or stored
        arrays: ``FILE.h5:/path/to/plane`` for a matrix, ``FILE.h5:/path/to/factors`` for factors, and both joined by
        ``+`` to hold one against the other. All audits that need no data where none is given.
    seed : int
        The same seed gives the same records.
    thresholds : mapping, optional
        Overrides of svdflow.audit.limits.DEFAULTS, as ``{"svd_residual.fail": 30}``.

    Returns
    -------
    records : list of Record
        An audit that raises becomes one record ERROR; the others run.

    Raises
    ------
    ValueError
        An unknown name, with the nearest one, or names that choose nothing: nothing checked is no success.
    """
    limits = resolve(thresholds)
    jobs = [
        _job(name, seed, thresholds or {}, limits) for name in (list(FAMILIES) if names is None else names)
    ]
    if not jobs:
        raise ValueError("audit: no audit was named, so nothing would be checked")
    return [record for job in jobs for record in job()]


def _job(
    name: str, seed: int, overrides: Mapping[str, float], limits: Mapping[str, Threshold]
) -> Callable[[], list[Record]]:
    """What a name stands for, found before anything runs."""
    if ":/" in name:
        return lambda: attempt("conditioning", name, name, partial(audit_stored, name, limits), seed)
    file, colon, function = name.rpartition(":")
    if colon and file.endswith(".py"):
        return lambda: audit_functions(file, [function], seed=seed, thresholds=overrides)
    for family, audits in FAMILIES.items():
        if name == family:
            return partial(run_family, family, audits, seed, limits)
        if name in audits:
            return partial(run_family, family, {name: audits[name]}, seed, limits)
    known = [*FAMILIES, *(audit for audits in FAMILIES.values() for audit in audits)]
    raise ValueError(f"audit: no audit {name!r}{nearest(name, known)}")


def audit_stored(spec: str, limits: Mapping[str, Threshold]) -> list[Record]:
    """Audit a stored matrix, stored factors, or both; `run_catalogue` explains `spec`."""
    full: decomposition.Full | None = None
    found: list[Record] = []
    for part in spec.split("+"):
        path, _, node = part.rpartition(":/")
        with open_published(path) as file:
            if node not in file:
                raise ValueError(f"{path}: no /{node}; h5ls -r lists what there is")
            place = file[node]
            subject = f"{Path(path).name}:{place.name}"
            if isinstance(place, StoredArray):
                full = decomposition.Full.of(read_array(place))
                found += decomposition.full_records(full, limits, subject)
            elif full is None:
                found += decomposition.stored_records(place, limits, subject)
            else:
                found += decomposition.compared_records(full, place, limits, subject)
    return found


def markdown() -> str:
    """The page docs/audits.md: what each audit checks, and the limits of its rows with their sources."""
    lines = [
        "# The audits and their limits",
        "",
        "Generated from `scripts/svdflow/audit/limits.py` and the audits by `make docs`; [auditing.md](auditing.md)",
        "says how to use them.",
        "",
        "## Without data",
        "",
        "`svdflow audit NAME` repeats one, `svdflow audit FAMILY` all of a family.",
        "",
        "| family | name | what it checks |",
        "|---|---|---|",
    ]
    for family, audits in FAMILIES.items():
        lines += [f"| {family} | {name} | {_summary(name, audit)} |" for name, audit in audits.items()]
    lines += [
        "",
        "## Limits",
        "",
        "A value above *warn* is WARN, one at or above *fail* is FAIL. An audit passes only if the smallest",
        "error that it could have seen is at most *resolution*; otherwise it is INCONCLUSIVE. Any of them can",
        "be set in the config: `audit: {thresholds: {svd_residual: {fail: 30}}}`. Rows without a fail limit show",
        "what methods known to be poor do.",
        "",
        "| audit | warn | fail | resolution | source |",
        "|---|---|---|---|---|",
    ]
    for name, limit in DEFAULTS.items():
        figures = (
            "" if isnan(v) or v == inf else f"{v:g}" for v in (limit.warn, limit.fail, limit.resolution)
        )
        lines.append(f"| {name} | {' | '.join(figures)} | {_cell(limit.source)} |")
    return "\n".join(lines) + "\n"


def _summary(name: str, audit: Audit) -> str:
    """The first paragraph of a docstring; an identity is explained where its problem is posed."""
    text = str(gradient_identities.PROBLEMS.get(name, audit).__doc__).split("\n\n")[0]
    return _cell(" ".join(text.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

"""Repeats one audit by name, whatever it examines: what ``svdflow audit`` calls."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from svdflow.audit import decomposition
from svdflow.audit.conditioning import matrix_records
from svdflow.audit.own import audit_functions
from svdflow.audit.records import Record, attempt
from svdflow.audit.stored_factors import compared_records, stored_records
from svdflow.registry import Threshold
from svdflow.registry.limits import resolve
from svdflow.selfcheck.audits import families, named, run
from svdflow.store import StoredArray, open_published, read_array


def audit_by_name(
    names: Sequence[str] | None = None, seed: int = 0, thresholds: Mapping[str, float] | None = None
) -> list[Record]:
    """Run audits by name, whatever earlier runs have found.

    Parameters
    ----------
    names : sequence of str, optional
        Audits (``log_det``), families (``gradients``), functions of a file of your own (``FILE.py:name``), or stored
        arrays: ``FILE.h5:/path/to/plane`` for a matrix, ``FILE.h5:/path/to/factors`` for factors, and both joined by
        ``+`` to hold one against the other. All audits that need no data where none is given.
    seed : int
        The same seed gives the same records.
    thresholds : mapping, optional
        Overrides of the declared limits (docs/audits.md), as ``{"svd_residual.fail": 30}``.

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
    jobs = [_job(name, seed, thresholds, limits) for name in (families() if names is None else names)]
    if not jobs:
        raise ValueError("audit: no audit was named, so nothing would be checked")
    return [record for job in jobs for record in job()]


def _job(
    name: str, seed: int, thresholds: Mapping[str, float] | None, limits: Mapping[str, Threshold]
) -> Callable[[], list[Record]]:
    """What a name stands for, found before anything runs."""
    if ":/" in name:
        return lambda: attempt("conditioning", name, name, partial(audit_stored, name, limits), seed)
    file, colon, function = name.rpartition(":")
    if colon and file.endswith(".py"):
        return partial(audit_functions, file, [function], seed=seed, thresholds=thresholds)
    named([name])  # refuses what there is not
    return partial(run, [name], seed=seed, thresholds=thresholds, cache=False)


def audit_stored(spec: str, limits: Mapping[str, Threshold]) -> list[Record]:
    """Audit a stored matrix, stored factors, or both; `audit_by_name` explains `spec`."""
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
                found += matrix_records(full, limits, subject)
            elif full is None:
                found += stored_records(place, limits, subject)
            else:
                found += compared_records(full, place, limits, subject)
    return found

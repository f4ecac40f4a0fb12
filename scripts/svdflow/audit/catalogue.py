"""Every audit by name, and audits of what a run has stored: what ``python -m svdflow audit`` calls."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py

from svdflow.audit import decomposition, gradients, stability
from svdflow.audit.records import Record, attempt
from svdflow.audit.verdicts import Threshold, nearest, resolve
from svdflow.store import open_published, read_array

Audit = Callable[[int, Mapping[str, Threshold]], list[Record]]


def _gradient(name: str) -> Audit:
    return lambda seed, limits: gradients.audit_gradient(name, seed, limits)


def _stability(name: str) -> Audit:
    return lambda seed, limits: list(stability.AUDITS[name](seed, limits))


FAMILIES: dict[str, dict[str, Audit]] = {
    "gradients": {name: _gradient(name) for name in gradients.PROBLEMS},
    "stability": {name: _stability(name) for name in stability.AUDITS},
}


def run_catalogue(
    names: Sequence[str] | None = None, seed: int = 0, thresholds: Mapping[str, float] | None = None
) -> list[Record]:
    """Run audits by name.

    Parameters
    ----------
    names : sequence of str, optional
        Audits (``log_det``), families (``gradients``), or stored arrays: ``FILE.h5:/path/to/plane`` for a
        matrix, ``FILE.h5:/path/to/factors`` for factors, and both joined by ``+`` to hold one against the
        other. All audits that need no data where none is given.
    seed : int
        The same seed gives the same records.
    thresholds : mapping, optional
        Overrides of svdflow.audit.verdicts.DEFAULTS, as ``{"svd_residual.fail": 30}``.

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
    chosen = [pair for name in (list(FAMILIES) if names is None else names) for pair in _expand(name)]
    if not chosen:
        raise ValueError("audit: no audit was named, so nothing would be checked")
    return [
        record
        for family, name in chosen
        for record in attempt(family, name, name, _job(family, name, seed, limits))
    ]


def _expand(name: str) -> list[tuple[str, str]]:
    if ":/" in name:
        return [("conditioning", name)]
    if name in FAMILIES:
        return [(name, audit) for audit in FAMILIES[name]]
    for family, audits in FAMILIES.items():
        if name in audits:
            return [(family, name)]
    known = [*FAMILIES, *(audit for audits in FAMILIES.values() for audit in audits)]
    raise ValueError(f"audit: no audit {name!r}{nearest(name, known)}")


def _job(family: str, name: str, seed: int, limits: Mapping[str, Threshold]) -> Callable[[], list[Record]]:
    if family == "conditioning":
        return lambda: audit_stored(name, limits)
    return lambda: FAMILIES[family][name](seed, limits)


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
            if isinstance(place, h5py.Dataset):
                full = decomposition.Full.of(read_array(place))
                found += decomposition.full_records(full, limits, subject)
            elif full is None:
                found += decomposition.stored_records(place, limits, subject)
            else:
                found += decomposition.compared_records(full, place, limits, subject)
    return found

"""Audits of a user's own functions and matrices, which stand in a Python file that the config names."""

import inspect
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from svdflow.audit.conditioning import audit_matrix
from svdflow.audit.difference import check_gradient
from svdflow.audit.records import Record, attempt, publish_records
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.registry.limits import nearest, resolve

FAMILY = "own"
OPTIONS = ("f", "grad", "x", "radius", "rtol", "entries")


def audit_functions(
    file: str | Path, names: Sequence[str], *, seed: int = 0, thresholds: Mapping[str, float] | None = None
) -> list[Record]:
    """Audit what functions of a Python file return.

    Parameters
    ----------
    file : path
        It is run; its functions take nothing, or a numpy.random.Generator, and return

        * ``(f, grad, x)``, or a dict with these and options of `check_gradient`: the gradient is checked;
        * an array with two dimensions: the matrix is audited;
        * records: they are taken as they are.
    names : sequence of str
        The functions.
    seed : int
        Of the generator and of what the checks sample.
    thresholds : mapping, optional
        Overrides of the declared limits (docs/audits.md), as ``{"gradient.resolution": 1e-8}``.

    Returns
    -------
    records : list of Record
        Of family ``own``. A file that does not run, a name that it lacks and a function that raises are one row ERROR
        each; the others are audited.
    """
    path = Path(file)
    found: dict[str, Any] = {}
    broken: Exception | None = None
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError("not a regular file")
        found = runpy.run_path(str(path))
    except Exception as error:  # a syntax error too
        broken = RuntimeError(f"{path.name} does not run: {type(error).__name__}: {error}")
    records = []
    for name in names:
        command = f"python -m svdflow audit {quote(f'{path}:{name}')} --seed {seed}"
        run = partial(_audit, found, name, seed, thresholds or {}, broken)
        rows = attempt(FAMILY, "own_function", name, run, seed)
        records += [row.at(family=FAMILY, subject=_subject(name, row), reproduce=command) for row in rows]
    return records


def _audit(
    found: Mapping[str, Any],
    name: str,
    seed: int,
    thresholds: Mapping[str, float],
    broken: Exception | None,
) -> Iterator[Record]:
    if broken:
        raise broken
    function = found.get(name)
    if not callable(function):
        known = [key for key, value in found.items() if inspect.isfunction(value)]
        raise ValueError(f"no function {name!r} in the file{nearest(name, known)}")
    yield from _records(_called(function, seed), name, seed, thresholds)


def _called(function: Callable[..., Any], seed: int) -> Any:
    wanted = len(inspect.signature(function).parameters)
    return function(*[np.random.default_rng(seed)][:wanted])


def _records(value: Any, name: str, seed: int, thresholds: Mapping[str, float]) -> list[Record]:
    if isinstance(value, tuple) and len(value) == 3 and callable(value[0]):
        value = dict(zip(OPTIONS, value))
    if isinstance(value, Mapping):
        if wrong := [key for key in value if key not in OPTIONS] + [k for k in OPTIONS[:3] if k not in value]:
            raise ValueError(f"{', '.join(map(repr, wrong))}: a check of a gradient needs f, grad and x")
        limit = resolve(thresholds)["gradient"]
        return [check_gradient(**value, seed=seed, threshold=limit).record("gradient", name)]
    if isinstance(value, list) and value and all(isinstance(row, Record) for row in value):
        return value
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return audit_matrix(value, subject=name, thresholds=thresholds)
    raise TypeError(
        f"returned {type(value).__name__}; return (f, grad, x) to check a gradient, or a matrix as an array"
    )


def _subject(name: str, row: Record) -> str:
    return name if row.subject in ("", name) else f"{name}: {row.subject}"


def audit_own(
    file: Any,
    out: Any,
    *,
    functions: Sequence[str],
    seed: int,
    thresholds: Mapping[str, float],
    runtime: Runtime = ALONE,
) -> None:
    """Stage: audit functions of a user's file and publish the table at `out`."""
    records = audit_functions(file, functions, seed=seed, thresholds=thresholds)
    publish_records(out, records, provenance=runtime.provenance)

"""What a factorization is rarely asked for, in one argument."""

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict


@dataclass(frozen=True)
class SolverOptions:
    """Rare choices of `svdflow.truncated_svd`, which also takes each by its name.

    Attributes
    ----------
    block_size : int, optional
        Columns of a block; by default about ``k + max(10, k / 4)``, a multiple of 16, and for sparse matrices narrower
        blocks after the first.
    max_reads : int, optional
        At most so many passes over A, the last one for U included; 16 by default, and at least 2.
    checkpoint : path, optional
        Folder where the sums of every finished read are kept until the end. The same call with the same folder goes on
        after a kill, to the same bits.
    precision : {"full", "mixed"}, optional
        ``mixed`` lets ``krylov`` search a dense matrix in single precision by the device's fast products (TF32 on a
        GPU); the last read, the factors and all figures are in full precision, in which the search goes on, too, where
        that read shows that it fell short. Where no such products are at hand a note says so. ``full`` by default.
    """

    block_size: int | None = None
    max_reads: int | None = None
    checkpoint: str | Path | None = None
    precision: str | None = None


class RareOptions(TypedDict, total=False):
    """The same, one keyword each."""

    block_size: int | None
    max_reads: int | None
    checkpoint: str | Path | None
    precision: str | None


def solver_options(options: SolverOptions | None, rare: Any) -> SolverOptions:
    """Both forms in one.

    Raises
    ------
    TypeError
        A keyword that is none, or `options` that are no `SolverOptions`.
    ValueError
        A choice in both forms.
    """
    if options is None:
        options = SolverOptions()
    elif not isinstance(options, SolverOptions):
        raise TypeError(f"options must be a SolverOptions, not {options!r}")
    known = [entry.name for entry in fields(SolverOptions)]
    for name, value in rare.items():
        if name not in known:
            close = get_close_matches(name, known, n=1) or known
            raise TypeError(f"truncated_svd() has no argument {name!r} (nearest: {', '.join(close)})")
        if value is not None and getattr(options, name) is not None:
            raise ValueError(f"{name} is given twice, as a keyword and in options")
    return replace(options, **{name: value for name, value in rare.items() if value is not None})

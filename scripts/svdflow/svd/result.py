"""What a factorization gives back: the factors, and what is known of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from html import escape
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.store import open_published, publish, read_array, write_array
from svdflow.svd.info import SinglePassInfo, SVDInfo

KIND = "svd_result"  # what files of `SVDResult.save` call themselves
INFOS = {kind.__name__: kind for kind in (SVDInfo, SinglePassInfo)}


@dataclass(frozen=True, repr=False)
class SVDResult:
    """Factors of a matrix; unpacks as ``U, s, Vt``.

    Attributes
    ----------
    U : ndarray, shape (m, k), orthonormal columns, C order; None where it was written to a sink
    s : ndarray, shape (k,), float64, descending
    Vt : ndarray, shape (k, n), orthonormal rows, C order
    info : SVDInfo

    Notes
    -----
    ``U`` and ``Vt`` have the precision of the matrix: float32 for float32, float16 and integers up to 16 bits,
    else float64, or the complex type of that precision. ``s`` is always float64, because errors are differences of
    its squares.
    """

    U: Any
    s: np.ndarray
    Vt: np.ndarray
    info: SVDInfo

    def __post_init__(self) -> None:
        # Some formats of tensor files write the memory of an array as it lies, whatever its order.
        for name in ("U", "s", "Vt"):
            factor = getattr(self, name)
            if isinstance(factor, np.ndarray):
                object.__setattr__(self, name, np.ascontiguousarray(factor))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.U, self.s, self.Vt))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return (self.U, self.s, self.Vt)[index]

    @property
    def rank(self) -> int:
        """Number of triplets, k."""
        return len(self.s)

    @property
    def explained_variance_ratio(self) -> np.ndarray:
        """Share of each triplet in ``||A||_F^2``, shape (k,); of a centred matrix that is its share of the variance."""
        norm = self.info.frobenius_norm
        return np.asarray((self.s / norm) ** 2) if norm > 0 else np.zeros(self.rank)

    def reconstruct(self, rank: int | None = None, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """The matrix as the factors have it, ``mean + (U s Vt) * scale``.

        Parameters
        ----------
        rank : int, optional
            Use the first so many triplets; all by default.
        rows : slice or array of int
            Which rows, so that a large matrix need not be in memory.

        Returns
        -------
        ndarray, shape (rows, n)
            In the precision of the factors, or in double where that is too narrow for ``s``.

        Raises
        ------
        ValueError
            `rank` is outside 0 to k, or U went to a sink.
        """
        k = self._checked(rank, 0)
        if self.U is None:
            raise ValueError("U was written to a sink, and is not here; read it from there, or give no sink")
        top = float(self.s[0]) if self.rank else 0.0
        dtype = self.Vt.dtype if top < np.finfo(self.Vt.dtype).max else np.result_type(self.Vt, np.float64)
        product: np.ndarray = (self.U[rows, :k] * self.s[:k]).astype(dtype) @ self.Vt[:k].astype(
            dtype, copy=False
        )
        if self.info.scale is not None:
            product *= self.info.scale
        if self.info.mean is not None:
            product += self.info.mean
        return product

    def truncate(self, rank: int) -> "SVDResult":
        """The first `rank` triplets, and what is known of them: what is left out adds to the errors by Pythagoras.

        Raises
        ------
        ValueError
            `rank` is outside 1 to k.
        """
        k, info = self._checked(rank, 1), self.info
        if k == self.rank:
            return self
        lost, left = float(np.linalg.norm(self.s[k:])), info.frobenius_error
        error = hypot(left, lost)
        # Of a floor the truth lies between 0 and `left`, and so this one between `lost` and `error`.
        unsure = error - lost if info.frobenius_kind == "floor" else info.frobenius_resolution
        found: dict[str, Any] = {}
        if isinstance(info, SinglePassInfo) and info.leave_one_out:
            found["leave_one_out"] = hypot(info.leave_one_out, lost)
        known = replace(
            info,
            rank=k,
            numerical_rank=min(k, info.numerical_rank),
            reason="converged"
            if info.reason == "rank_deficient" and k <= info.numerical_rank
            else info.reason,
            frobenius_error=error,
            frobenius_kind="exact" if lost > left and info.frobenius_kind == "floor" else info.frobenius_kind,
            frobenius_resolution=unsure,
            relative_error=min(1.0, error / info.frobenius_norm)
            if info.frobenius_norm
            else info.relative_error,
            spectral_error=hypot(info.spectral_error, float(self.s[k])),
            residuals=None if info.residuals is None else info.residuals[:k],
            **found,
        )
        U = None if self.U is None else self.U[:, :k]
        return SVDResult(U, self.s[:k], self.Vt[:k], known)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write factors and all that is known of them to an HDF5 file, which `load` reads.

        The file is checked before it takes its name, so a kill leaves none that is half written; nothing is pickled.

        Parameters
        ----------
        path : path
        force : bool
            Replace also what svdflow did not write.

        Raises
        ------
        NotOursError
            A file that svdflow did not write stands there.
        WriteError
            The disk is full or read-only.
        """
        with publish(path, KIND, force=force) as file:
            for name, factor in zip(("U", "s", "Vt"), self, strict=True):
                if factor is not None:
                    write_array(file, name, np.asarray(factor))
            group = file.create_group("info")
            group.attrs["class"] = type(self.info).__name__
            for entry in fields(self.info):
                value = getattr(self.info, entry.name)
                if isinstance(value, np.ndarray):
                    write_array(group, entry.name, value)
                elif value is not None:
                    group.attrs[entry.name] = json.dumps(value) if isinstance(value, tuple) else value
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "SVDResult":
        """Read what `save` wrote, verified.

        Raises
        ------
        StoreError
            No such file, one that `save` did not write, or a damaged one.
        """
        with open_published(path, KIND) as file:
            U = read_array(file, "U") if "U" in file else None
            s, Vt = read_array(file, "s"), read_array(file, "Vt")
            group = file["info"]
            kind = INFOS[str(group.attrs["class"])]
            known: dict[str, Any] = {}
            for entry in fields(kind):
                if entry.name in group:
                    known[entry.name] = read_array(group, entry.name)
                elif entry.name in group.attrs:
                    value = group.attrs[entry.name]
                    value = value.item() if isinstance(value, np.generic) else value
                    known[entry.name] = (
                        tuple(json.loads(value)) if entry.name in ("shape", "notes") else value
                    )
        return cls(U, s, Vt, kind(**known))

    def __repr__(self) -> str:
        info = self.info
        m, n = info.shape
        return (
            f"SVDResult(rank {self.rank} of {m} x {n} {info.dtype}, {self._way()}, {info.reason}, "
            f"relative error {info.relative_error:.2g})"
        )

    def _repr_html_(self) -> str:
        info = self.info
        m, n = info.shape
        rows = {
            "matrix": f"{m:,} x {n:,} {info.dtype}",
            "rank": f"{self.rank:,}",
            "method": self._way(),
            "ended": info.reason,
            "relative error": f"{info.relative_error:.3g} ({info.frobenius_kind})",
            "singular values": f"{self.s[0]:.4g} to {self.s[-1]:.4g}" if self.rank else "none",
        }
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows.items()
        )
        return f"<table>{cells}</table>"

    def _way(self) -> str:
        return f"{self.info.method}, {self.info.reads} read{'s' * (self.info.reads != 1)}"

    def _checked(self, rank: int | None, least: int) -> int:
        if rank is None:
            return self.rank
        if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not least <= rank <= self.rank:
            raise ValueError(f"rank must be an integer from {least} to {self.rank}, not {rank!r}")
        return int(rank)

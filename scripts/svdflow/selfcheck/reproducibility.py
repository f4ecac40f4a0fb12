"""Whether a factorization comes out the same again: bits where they must be, rounding where they may differ."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np

import dask
from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.compute import BackendError, Device
from svdflow.compute.engine import Engine
from svdflow.matrix.opening import as_source
from svdflow.registry import Threshold
from svdflow.selfcheck.precision import gamma
from svdflow.svd.factorization import truncated_svd
from svdflow.svd.plan import Target, make_plan
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.sparse_reader import reader_for

Array = np.ndarray
UNIT = float(np.finfo(np.float64).eps) / 2
RANK = 5  # triplets that are compared
HEIGHTS = (300, 100, 37, 1)  # rows of panels: one for all, equal ones, a rest, single rows


@dataclass(frozen=True)
class Mismatch:
    """How two sets of arrays differ.

    Attributes
    ----------
    kind : str
        ``bits`` (none differs), ``shape``, ``signs`` (of vectors or zeros), ``rounding`` or ``values``.
    entries : int
        How many differ; where shapes do, at least 1.
    largest : float
        Largest difference, relative to the largest entry of its array; infinite where one is not finite.
    """

    kind: str
    entries: int
    largest: float

    def __str__(self) -> str:
        return (
            "bit-equal"
            if self.kind == "bits"
            else f"{self.kind}: {self.entries} differ, by {self.largest:.1e}"
        )


def mismatch(first: Any, second: Any, gamma: float) -> Mismatch:
    """Compare arrays pairwise, NaN with NaN bit by bit.

    Parameters
    ----------
    first, second : iterables of arrays
    gamma : float
        Relative difference up to which rounding explains it.
    """
    entries, largest, absolute = 0, 0.0, 0.0
    for a, b in zip(map(np.asarray, first), map(np.asarray, second), strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return Mismatch("shape", max(1, abs(a.size - b.size)), np.inf)
        differ = _bytes(a) != _bytes(b)
        if not differ.any():
            continue
        entries += int(differ.any(axis=-1).sum())
        peak = float(np.abs(a).max()) or 1.0
        largest = max(largest, _finite(np.abs(a - b).max() / peak))
        absolute = max(absolute, _finite(np.abs(np.abs(a) - np.abs(b)).max() / peak))
    if not entries:
        return Mismatch("bits", 0, 0.0)
    kind = "rounding" if 0 < largest <= gamma else "signs" if absolute <= gamma else "values"
    return Mismatch(kind, entries, largest)


def _bytes(a: Array) -> Array:
    return np.ascontiguousarray(a).view(np.uint8).reshape(*a.shape, a.dtype.itemsize)


def _finite(x: float) -> float:
    return float(x) if np.isfinite(x) else np.inf


def sample(rng: np.random.Generator, m: int, n: int) -> Array:
    """A matrix with quickly falling singular values and noise, so that all methods converge."""
    return rng.standard_normal((m, 8)) * 2.0 ** -np.arange(8) @ rng.standard_normal(
        (8, n)
    ) + 1e-3 * rng.standard_normal((m, n))


def audit_reproducibility(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[..., Any] = truncated_svd
) -> Iterator[Record]:
    """Same seed twice, other engines, other containers: same bits; other panels: within two rounding errors of sums.

    Parameters
    ----------
    subject : callable
        Called as `svdflow.svd.truncated_svd`.
    """
    judge = Judge("conditioning", "reproducibility", seed, limits)
    rng = np.random.default_rng(seed)
    A, tall = sample(rng, 300, 200), sample(rng, 24000, 48)  # the second has two panels

    def same(name: str, ways: list[dict[str, Any]], method: str) -> Record:
        results = [
            subject(**{"rank": RANK, "seed": seed, "method": method, "engine": 1} | way) for way in ways
        ]
        return judge("reproducible_bits", name, *_worst(results))

    for method in ("krylov", "gram"):
        yield same(f"{method} twice", [{"A": A}, {"A": A}], method)
        engines: list[Any] = [1, 2, Engine(2, get=dask.get)]
        yield same(
            f"{method}, 1 and 2 threads, dask", [{"A": tall, "engine": engine} for engine in engines], method
        )
    chunked = da.from_array(A, chunks=(100, 200))
    yield same("array and dask array", [{"A": A}, {"A": chunked}], "krylov")
    yield from _values(judge, subject, np.tile(A, (20, 1)), seed)
    yield _sums_of_panels(judge, A, rng)


def _worst(results: list[Any]) -> tuple[float, float, str]:
    """Entries that differ from the first result, nothing unseen, and the class of mismatch."""
    bound = 2 * gamma(len(results[0].U) + results[0].Vt.shape[1], UNIT)
    found = [mismatch(results[0], other, bound) for other in results[1:]]
    worst = max(found, key=lambda one: one.entries)
    return float(worst.entries), 0.0, str(worst)


def _values(judge: Judge, subject: Callable[..., Any], A: Array, seed: int) -> Iterator[Record]:
    """Singular values by other chunks, and on CuPy: ``|s^2 - t^2| <= 2 (gamma_{m+n} + n u) ||A||_F^2`` (Weyl)."""
    m, n = A.shape
    bound = 2 * (gamma(m + n, UNIT) + n * UNIT) * float(np.linalg.norm(A)) ** 2
    options: dict[str, Any] = {"rank": RANK, "seed": seed, "method": "gram", "engine": 1}
    plain = subject(A=A, **options).s
    resolution = 2 * UNIT * plain[0] ** 2 / bound

    def row(name: str, s: Array, reason: str) -> Record:
        apart = float(np.abs(s**2 - plain**2).max()) / bound
        kind = mismatch([plain], [s], 2 * gamma(m + n, UNIT))
        return judge("reproducible_sums", name, apart, resolution, f"{reason}; {kind}")

    for height in HEIGHTS[1:3]:
        s = subject(A=da.from_array(A, chunks=(height, n)), **options).s
        yield row(f"s, chunks of {height} rows", s, "against one array")
    try:
        s = subject(A=A, backend="cupy", **options).s
    except BackendError as error:
        yield judge.said("reproducible_sums", "s, CuPy", Verdict.SKIP, str(error))
    else:
        yield row("s, CuPy", s, "against NumPy")


def _sums_of_panels(judge: Judge, A: Array, rng: np.random.Generator) -> Record:
    """``A^H A X`` by panels of other heights, entry by entry: within ``2 gamma_{m+n} |A|^H |A| |X|``."""
    m, n = A.shape
    X = rng.standard_normal((n, RANK))
    plan = make_plan(
        as_source(A),
        Target(rank=RANK),
        method="krylov",
        tol=0.01,
        block_size=None,
        max_reads=None,
        center=False,
    )
    found = []
    for height in HEIGHTS:
        bounds = tuple((start, min(start + height, m)) for start in range(0, m, height))
        cut = replace(plan, bounds=bounds, groups=tuple((one,) for one in bounds))
        found.append(reader_for(cut, Panels.of(cut, Device()), Engine(1)).gram_times(X))
    bound = 2 * gamma(m + n, UNIT) * (np.abs(A).T @ (np.abs(A) @ np.abs(X)))
    apart = max(float((np.abs(Z - found[0]) / bound).max()) for Z in found[1:])
    kind = max(
        (mismatch([found[0]], [Z], 2 * gamma(m + n, UNIT)) for Z in found[1:]), key=lambda one: one.entries
    )
    return judge(
        "reproducible_sums", "A^H A X, other panels", apart, 1 / (m + n), f"panels of {HEIGHTS} rows; {kind}"
    )

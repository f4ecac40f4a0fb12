"""A batch: the items of a shard in parallel, results in the order of the manifest, bad items set apart."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from svdflow.store import Factors, Item, StoredFile, error_row, factors, read_array

Rows = list[dict[str, Any]]
PlaneFactors = dict[str, Factors]


def each_item(
    work: Callable[[Item], Rows], items: Iterable[Item], *, stage: str, dataset: str, threads: int | None
) -> tuple[Rows, Rows]:
    """Call `work` on every item; returns its rows and the rows of /errors, both in the order of the items.

    Items run side by side on `threads` threads (default: the cores this process may use), each with one BLAS
    thread, so that the bits do not depend on their number. An exception becomes a row of /errors; running out
    of memory does not.
    """

    def guarded(item: Item) -> tuple[Rows, Rows]:
        try:
            return work(item), []
        except MemoryError:
            raise
        except Exception as error:
            return [], [error_row(dataset, item.index, item.name, stage, error)]

    with threadpool_limits(1), ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(guarded, items))
    return [row for rows, _ in results for row in rows], [row for _, errors in results for row in errors]


def factors_by_observation(file: StoredFile) -> dict[tuple[int, int], PlaneFactors]:
    """The stored factors as (item, level) -> plane -> factors."""
    found: dict[tuple[int, int], PlaneFactors] = {}
    for entry in factors(file):
        found.setdefault((entry.index, entry.level), {})[entry.plane] = entry
    return found


def column_means(stored: Factors) -> np.ndarray:
    """What is added to every row of U s Vt: the column means of a centred factorization, else zeros; (n,)."""
    return read_array(stored.group, "mean") if "mean" in stored.group else np.zeros(stored.Vt.shape[1])


def known_spectrum(stored: Factors) -> np.ndarray:
    """All singular values where the factorization found them, else those of the stored factors."""
    return read_array(stored.group, "spectrum" if "spectrum" in stored.group else "s").astype(np.float64)

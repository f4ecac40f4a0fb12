"""A batch: the items of a shard in parallel, results in the order of the manifest, bad items set apart."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from svdflow.compute.engine import one_blas_thread
from svdflow.compute.runtime import Runtime
from svdflow.store import Factors, Item, StoredArray, StoredFile, factors, read_array
from svdflow.store.error_rows import error_row

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
PlaneFactors = dict[str, Factors]


def each_item(
    work: Callable[[Item], Rows],
    items: Iterable[Item],
    *,
    stage: str,
    dataset: str,
    runtime: Runtime,
    bytes_a_value: float = 0.0,
) -> tuple[Rows, Rows]:
    """Call `work` on every item; returns its rows and the rows of /errors, both in the order of the items.

    Items run side by side, each with one BLAS thread, so that the bits do not depend on their number: as many as the
    job has threads, or as its memory limit allows where `work` takes `bytes_a_value` of memory for each value of an
    item. An exception becomes a row of /errors; running out of memory does not.
    """
    items = list(items)
    workers = runtime.side_by_side(bytes_a_value * max(map(values_of, items), default=0))
    log.info("%d items, %d at a time", len(items), workers)

    def guarded(item: Item) -> tuple[Rows, Rows]:
        try:
            return work(item), []
        except MemoryError:
            raise
        except Exception as error:
            return [], [error_row(dataset, item.index, item.name, stage, error)]

    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(guarded, items))
    return [row for rows, _ in results for row in rows], [row for _, errors in results for row in errors]


def values_of(item: Item) -> int:
    """Values in the planes of an item that are stored whole."""
    planes = item.observations[0].planes.values()
    return sum(plane.size for plane in planes if isinstance(plane, StoredArray))


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

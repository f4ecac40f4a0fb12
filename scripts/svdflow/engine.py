"""Where panel work runs: dask's threaded scheduler with one BLAS thread a task, in a fixed order of sums.

The work is cut into groups whose number never depends on the workers, and the groups' results are combined
by one fixed binary tree, named key by key in the dask graph. So a result has the same bits for one thread or
many, under any dask scheduler, and after a worker was lost and its tasks ran again.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any, TypeVar

import dask
import dask.threaded
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 2  # ordered results in flight per worker: one being computed, one waiting for its turn


class Engine:
    """Run tasks in parallel and combine their results in a fixed order.

    Parameters
    ----------
    threads : int, optional
        Tasks at a time. By default the cores this process may use, or OMP_NUM_THREADS where that is
        less, because Snakemake states a job's share there.
    get : callable, optional
        A dask scheduler, ``get(graph, keys) -> results``: ``dask.get``, or the ``get`` of a
        distributed client. By default dask's threaded scheduler.
    shared_memory : bool
        Whether tasks see this process's memory; then they may fill its arrays in place.
    """

    def __init__(
        self, threads: int | None = None, *, get: Callable[..., Any] | None = None, shared_memory: bool = True
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.threads = threads or default_threads()
        self.shared_memory = shared_memory
        self._get = get

    def reduce(self, task: Callable[[T], R], items: Sequence[T], combine: Callable[[R, R], R]) -> R:
        """``task`` of each item, combined pairwise by a fixed binary tree over the item order.

        A partial result is released once it is combined, so about ``threads + log2(len(items))`` of them
        live at a time.
        """
        with one_blas_thread():
            if len(items) == 1:
                return task(items[0])
            graph: dict = {("task", 0, i): (_call, task, _Literal(item)) for i, item in enumerate(items)}
            level, keys = 0, list(graph)
            while len(keys) > 1:
                level += 1
                paired = [("sum", level, i) for i in range(len(keys) // 2)]
                graph.update({key: (combine, keys[2 * i], keys[2 * i + 1]) for i, key in enumerate(paired)})
                keys = paired + keys[2 * len(paired) :]
            return self._run(graph, keys[0])

    def stream(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """``task`` of each item, yielded in the order of the items, a bounded number in flight."""
        step = self.threads * WINDOW
        for start in range(0, len(items), step):
            wave = items[start : start + step]
            with one_blas_thread():
                if len(wave) == 1:
                    results = [task(wave[0])]
                else:
                    graph = {
                        ("task", 0, start + i): (_call, task, _Literal(item)) for i, item in enumerate(wave)
                    }
                    results = list(self._run(graph, list(graph)))
            results.reverse()
            while results:  # give each up as it is handed over
                yield results.pop()

    def with_threads(self, threads: int) -> "Engine":
        """The same engine with another number of threads."""
        return Engine(threads, get=self._get, shared_memory=self.shared_memory)

    def _run(self, graph: dict, keys: Any) -> Any:
        if self._get is not None:
            return self._get(graph, keys)
        if self.threads == 1:
            return dask.get(graph, keys)
        return dask.threaded.get(graph, keys, num_workers=self.threads)


class _Literal:
    """A task argument that dask must not look into for keys."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _call(task: Callable[[Any], R], argument: _Literal) -> R:
    return task(argument.value)


def as_engine(engine: Any = None) -> Engine:
    """An `Engine` from None, a number of threads, an `Engine`, or a dask.distributed client."""
    if isinstance(engine, Engine):
        return engine
    if engine is None or isinstance(engine, int):
        return Engine(engine)
    if callable(getattr(engine, "get", None)) and hasattr(engine, "scheduler_info"):
        workers = engine.scheduler_info().get("workers", {})
        threads = sum(worker["nthreads"] for worker in workers.values()) or 1
        # Groups of several reads carry equal keys; a serial number keeps the cluster from reusing old results.
        return Engine(threads, get=_fresh_keys(engine.get), shared_memory=False)
    raise TypeError(
        f"engine: expected None, a number of threads, an Engine or a dask client, not {type(engine)}"
    )


def default_threads() -> int:
    """Cores this process may use, or OMP_NUM_THREADS where that is set and smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


_SERIAL = count()


def _fresh_keys(get: Callable[..., Any]) -> Callable[..., Any]:
    def fresh(graph: dict, keys: Any) -> Any:
        run = next(_SERIAL)
        names = {key: ("svdflow", run, *key) for key in graph}
        renamed = {
            names[key]: (call[0], *(names[a] if isinstance(a, tuple) and a in names else a for a in call[1:]))
            for key, call in graph.items()
        }
        return get(renamed, [names[k] for k in keys] if isinstance(keys, list) else names[keys])

    return fresh


# BLAS thread limits are a property of the process, so overlapping users share one: the first sets it and
# the last restores it. Two independent limits that overlap would leave the wrong one behind.
_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS at one thread: parallel work runs over panels and items, and bits do not depend on cores."""
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = _blas_controller().limit(limits=1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _blas_limit.restore_original_limits()
                _blas_limit = None


@cache
def _blas_controller() -> ThreadpoolController:
    import numpy.linalg  # noqa: F401  the controller sees only libraries that are loaded
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()

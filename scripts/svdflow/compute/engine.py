"""Where panel work runs, in a fixed order of sums: threads of this process, or a dask scheduler.

The work is cut into groups whose number never depends on the workers, and the groups' results are combined by one
fixed binary tree over their numbers. So a result has the same bits for one thread or many, under any dask scheduler,
in any order of execution, and after a worker was lost and its tasks ran again.
"""

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

from svdflow.compute.cores import default_threads

T = TypeVar("T")
R = TypeVar("R")

# Ordered results in flight a worker: one being computed, one waiting for its turn; memory grows with it
WINDOW = 2


class Shared:
    """Base of what a cluster is sent once, and not again with every read: matrices. It never changes."""


class Engine:
    """Run tasks in parallel and combine their results in a fixed order.

    Parameters
    ----------
    threads : int, optional
        Tasks at a time. By default the cores this process may use, or OMP_NUM_THREADS where that is
        less, because Snakemake states a job's share there.
    get : callable, optional
        A dask scheduler, ``get(graph, keys) -> results``, for instance ``dask.get``. By default threads of this
        process.
    shared_memory : bool
        Whether tasks see this process's memory; then they may fill its arrays in place.
    """

    def __init__(
        self, threads: int | None = None, *, get: Callable[..., Any] | None = None, shared_memory: bool = True
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.threads = threads or default_threads()
        self.own_bytes = 0  # memory of processes that were started for it
        self.shared_memory = shared_memory
        self._get = get

    def reduce(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        combine: Callable[[R, R], R],
        *,
        backwards: bool = False,
    ) -> R:
        """``task`` of each item, combined pairwise by a fixed binary tree over the item order.

        A partial result is released once it is combined, so about ``threads + log2(len(items))`` of them
        live at a time.

        Parameters
        ----------
        backwards : bool
            Run from the last item to the first: what the read before touched last may still be in cache. The sum
            has the same bits. A scheduler given as `get` and a cluster run tasks in an order of their own.
        """
        with one_blas_thread():
            if self._get is None:
                return self._reduce_here(task, items, combine, backwards)
            graph, keys = self._leaves(task, items)
            level = 0
            while len(keys) > 1:
                level += 1
                paired = [(keys[0][0], level, i) for i in range(len(keys) // 2)]
                graph.update(
                    {key: (_combined, combine, *keys[2 * i : 2 * i + 2]) for i, key in enumerate(paired)}
                )
                keys = paired + keys[2 * len(paired) :]
            return self._get(graph, keys[0])

    def stream(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """``task`` of each item, yielded in the order of the items, a bounded number in flight."""
        if self._get is not None:
            return self._stream_waves(task, items)
        return self._stream_here(task, items) if self.threads > 1 else self._stream_alone(task, items)

    @property
    def in_process(self) -> bool:
        """Whether tasks are run here, once each: then their results may be added up in place."""
        return self._get is None

    def with_threads(self, threads: int) -> "Engine":
        """The same engine with another number of threads."""
        return Engine(threads, get=self._get, shared_memory=self.shared_memory)

    def release(self) -> None:
        """Let go of what was handed over for one factorization."""

    def _reduce_here(
        self, task: Callable[[T], R], items: Sequence[T], combine: Callable[[R, R], R], backwards: bool
    ) -> R:
        """Each thread takes the next item, and combines what that completes, until no item is left.

        No dask here: importing it takes longer than many a job computes.
        """
        todo = deque(range(len(items)))
        take = todo.pop if backwards else todo.popleft
        sums = FixedTree(len(items), combine)
        failures: list[BaseException] = []

        def take_turns() -> None:
            while True:
                try:
                    number = take()
                except IndexError:
                    return
                try:
                    sums.add(number, task(items[number]))
                except BaseException as error:  # raised below, when no thread is at work any more
                    failures.append(error)
                    todo.clear()

        turns = min(self.threads, len(items))
        try:
            if turns == 1:
                take_turns()
            else:
                wait([self._pool.submit(take_turns) for _ in range(turns)])
        finally:
            todo.clear()  # after an interrupt no thread goes on to another item
        if failures:
            raise failures[0]
        return sums.total

    def _stream_alone(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        for item in items:
            with one_blas_thread():
                result = [task(item)]
            yield result.pop()  # given up as it is handed over

    def _stream_here(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        running: deque[Any] = deque()
        try:
            with one_blas_thread():
                for item in items:
                    running.append(self._pool.submit(task, item))
                    if len(running) == WINDOW * self.threads:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            wait(running)

    def _stream_waves(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        assert self._get is not None
        wave = WINDOW * self.threads
        for start in range(0, len(items), wave):
            with one_blas_thread():
                results = list(self._get(*self._leaves(task, items[start : start + wave])))
            results.reverse()
            while results:
                yield results.pop()

    def _leaves(
        self, task: Callable[[T], R], items: Sequence[T]
    ) -> tuple[dict[Any, Any], list[tuple[Any, ...]]]:
        """A dask graph with one task an item, and its keys in the order of the items.

        A cluster keeps results by key, whoever asks, so the keys are those of no other read and of no other client.
        """
        run = f"svdflow-{uuid.uuid4().hex}"
        keys = [(run, 0, i) for i in range(len(items))]
        call = self._call(task)
        return {key: (*call, _Literal(item)) for key, item in zip(keys, items, strict=True)}, keys

    def _call(self, task: Callable[..., Any]) -> tuple[Any, ...]:
        """Start of a dask task: a function and its arguments before the item."""
        return _called, task

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="svdflow")


class FixedTree:
    """The fixed binary tree of sums: any thread adds results in any order, and the bits are the same."""

    def __init__(self, count: int, combine: Callable[[Any, Any], Any]) -> None:
        self.total: Any = None
        self._count, self._combine = count, combine
        self._waiting: dict[tuple[int, int], Any] = {}  # by level and place, for the neighbour to come
        self._lock = threading.Lock()

    def add(self, place: int, part: Any) -> None:
        """Put in the result of an item; whoever brings the second of two neighbours combines them."""
        level, width = 0, self._count
        while width > 1:
            if place ^ 1 < width:  # the odd one out goes up a level as it is
                with self._lock:
                    if (level, place ^ 1) not in self._waiting:
                        self._waiting[level, place] = part
                        return
                    other = self._waiting.pop((level, place ^ 1))
                part = self._combine(other, part) if place % 2 else self._combine(part, other)
                del other
            level, place, width = level + 1, place // 2, (width + 1) // 2
        self.total = part


class _Literal:
    """A task argument that dask must not look into for keys."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _called(task: Callable[[Any], R], item: _Literal) -> R:
    return task(item.value)


def _combined(combine: Callable[[R, R], R], left: R, right: R) -> R:
    with one_blas_thread():  # another process has its own
        return combine(left, right)


# BLAS thread limits are a property of the process, so overlapping users share one: the first sets it and
# the last restores it. Two independent limits that overlap would leave the wrong one behind.
_blas_lock = threading.Lock()
_blas_users: list[int] = []  # threads, each as often as it holds the limit
_blas_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS at one thread: parallel work runs over panels and items, and bits do not depend on cores."""
    global _blas_limit
    me = threading.get_ident()
    with _blas_lock:
        if not _blas_users:
            _take_control()
            _blas_limit = _blas_controller().limit(limits=1, user_api="blas")
        _blas_users.append(me)
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users.remove(me)
            if not _blas_users:
                _take_control()
                _blas_limit.restore_original_limits()
                _blas_limit = None
                _take_control()  # and leave it to whoever comes next


def _forget_users() -> None:
    """In a child of a fork only the thread that forked lives: nobody else will let go of the lock, or of the limit."""
    global _blas_lock, _blas_users, _blas_limit
    _blas_lock = threading.Lock()
    held, me = bool(_blas_users), threading.get_ident()
    _blas_users = [thread for thread in _blas_users if thread == me]
    if held and not _blas_users:
        _take_control()
        _blas_limit.restore_original_limits()
        _blas_limit = None
    _take_control()


# The lock is held over the fork, so that the child does not inherit a limit that is half set.
os.register_at_fork(
    before=lambda: _blas_lock.acquire(),
    after_in_parent=lambda: _blas_lock.release(),
    after_in_child=_forget_users,
)


def _take_control() -> None:
    """Let any thread set limits: threadpoolctl heeds the first one that did, and ignores others in silence."""
    OpenBLASController.clear_controlling_thread(force=True)


@cache
def _blas_controller() -> ThreadpoolController:
    import numpy.linalg  # noqa: F401  the controller sees only libraries that are loaded

    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # in a job SciPy's starts at one thread
        import scipy.linalg  # noqa: F401

    return ThreadpoolController()

"""Tasks on the workers of a dask cluster: the same bits whatever is lost, and no wait without an end.

Nothing that counts lives on the cluster. A task carries all that it needs, results come here one by one and are added
here, in the fixed tree of `svdflow.compute.engine`. So a worker that dies at any moment, between two reads too, costs
its tasks at most, which run again. Only matrices in memory (`Shared`) are kept by workers, each of which is sent one
when it says that it has none.
"""

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from svdflow.compute.engine import WINDOW, Engine, FixedTree, R, Shared, T, one_blas_thread
from svdflow.compute.travelling import Added, Call, Lost, Packed, Pending, Sent, forget, keep, pickled, run
from svdflow.errors import SchedulerLostError, WorkersLostError

# Tasks a thread that one read is cut into, where the matrix has as many groups: with more, blocks travel more often;
# with fewer, threads wait longer for the last one, and more is lost with a worker. Chosen; it changes no bits.
TASKS_A_THREAD = 4
# Bytes of a `Shared` object that travels inside of every task; a larger one is sent to each worker once. Chosen.
SMALL = 2**20
# Seconds. None of these changes a result; all are chosen. WATCH: between two looks at a cluster that is waited for.
# ANSWER: that a scheduler may take to say which workers it has. WORKERLESS: without any worker, after which the work
# is given up; a nanny takes about three to start a new one. RATE: bytes a second below which a matrix that is sent to
# a worker is taken for stuck.
WATCH, ANSWER, WORKERLESS, RATE = 2.0, 15.0, 30.0, 2e6
# Times that a task may be lost without any word of why, or find that its worker lacks the matrix. Chosen
ATTEMPTS = 5


class ClusterEngine(Engine):
    """Tasks on the workers of a dask.distributed client.

    Parameters
    ----------
    client : distributed.Client
        A synchronous one.
    threads : int, optional
        Tasks in flight that memory is reckoned for; all threads of the present workers by default.
    own_bytes : int
        Memory that processes started for this engine take of their own, on this machine.
    """

    def __init__(self, client: Any, threads: int | None = None, *, own_bytes: int = 0) -> None:
        if getattr(client, "asynchronous", False):
            raise TypeError("engine: this dask client is asynchronous; make one with asynchronous=False")
        there = sum(client.nthreads().values()) or 1
        super().__init__(threads or there, shared_memory=False)
        # With fewer than the cluster has, no task waits at it: it would be taken up at once, and memory with it.
        self._window = self.threads if self.threads < there else WINDOW * self.threads
        self.own_bytes = own_bytes
        self._client = client
        self._sent: dict[int, Sent] = {}
        self._looked = 0.0  # when the cluster was last seen at work
        self._workerless: float | None = None  # since when it has no worker

    @property
    def in_process(self) -> bool:
        return False

    def with_threads(self, threads: int) -> "ClusterEngine":
        other = ClusterEngine(self._client, threads, own_bytes=self.own_bytes)
        other._sent = self._sent
        return other

    def reduce(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        combine: Callable[[R, R], R],
        *,
        backwards: bool = False,
    ) -> R:
        size = _neighbours(len(items), self.threads)
        bundles = [items[start : start + size] for start in range(0, len(items), size)]
        sums = FixedTree(len(bundles), combine)
        order = range(len(bundles))
        with one_blas_thread():
            for place, part in self._results(
                Added(task, combine), bundles, order[::-1] if backwards else order
            ):
                sums.add(place, part)
        return sums.total

    def stream(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        waiting: dict[int, R] = {}
        due = 0
        for place, result in self._results(task, items, range(len(items)), ordered=True):
            waiting[place] = result
            while due in waiting:
                yield waiting.pop(due)
                due += 1

    def release(self) -> None:
        """Have workers forget the matrices that they were sent; a cluster that is gone has."""
        kept = [sent.token for sent in self._sent.values()]
        self._sent.clear()
        if kept and self._client.status == "running":
            try:
                self._bounded(self._client._run, forget, kept, on_error="ignore")
            except Exception:  # nothing depends on it
                pass

    # -- one call of tasks ----------------------------------------------------------------------------------

    def _results(
        self, task: Callable[[Any], Any], items: Sequence[Any], order: Iterable[int], *, ordered: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """Place and result of each item, as they come; what is lost runs again, a bounded number in flight."""
        packed = self._packed(task)
        todo, window = deque(order), self._window
        running: dict[Any, int] = {}
        lost: Counter[int] = Counter()
        came: set[int] = set()  # ordered results that wait for an earlier one count as in flight
        due = 0
        try:
            while todo or running:
                while todo and len(running) < window and (not ordered or todo[0] < due + window):
                    place = todo.popleft()
                    running[self._submit(packed, items[place])] = place
                for future in self._some_done(list(running)):
                    outcome = self._outcome(future)
                    if isinstance(outcome, Pending):
                        continue
                    place = running.pop(future)
                    if isinstance(outcome, Lost):
                        lost[place] += 1
                        self._send_again(outcome, lost[place])
                        todo.appendleft(place)
                        continue
                    came.add(place)
                    while due in came:
                        came.remove(due)
                        due += 1
                    yield place, outcome
                    del outcome
        finally:
            if running and self._client.status == "running":
                self._client.cancel(list(running), force=True)

    def _submit(self, packed: Packed, item: Any) -> Any:
        import dask

        # A cluster keeps results by key, whoever asks, so the key is that of no other task.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1PB"}):
            return self._client.submit(run, Call(packed, item), key=f"svdflow-{uuid.uuid4().hex}", pure=False)

    def _some_done(self, futures: list[Any]) -> list[Any]:
        """Those that ended, one at least; a cluster that is gone raises what became of it."""
        from distributed import wait

        while not (done := [future for future in futures if future.status != "pending"]):
            try:
                wait(futures, timeout=WATCH, return_when="FIRST_COMPLETED")
            except TimeoutError:
                self._look()
            except Exception:  # one was cancelled, which its status says
                self._look()
        return done

    def _outcome(self, future: Any) -> Any:
        """A result, or `Lost`, or `Pending` where it was lost on its way and is computed once more."""
        from distributed import KilledWorker

        try:
            result = future.result(timeout=ANSWER)
        except TimeoutError as error:
            if future.status == "error":  # one that a task raised
                raise
            self._look(now=True)
            return Pending(str(error))
        except KilledWorker as error:
            raise WorkersLostError(
                f"every worker that took on a task was lost with it, {error.last_worker} last; where memory ran "
                "out, ask for fewer workers or raise memory_limit"
            ) from error
        except Exception as error:
            if future.status == "error":
                raise
            self._look(now=True)
            return Lost(str(error))
        return result

    def _send_again(self, lost: Lost, times: int) -> None:
        """What a task needs to be taken on once more."""
        if times == ATTEMPTS:
            raise WorkersLostError(f"a task was lost {ATTEMPTS} times ({lost.why})")
        for sent in self._sent.values():
            if sent.token in lost.lacking:
                self._hold(sent, {lost.worker})

    # -- the cluster ----------------------------------------------------------------------------------------

    def _look(self, *, now: bool = False) -> None:
        """Raise what became of the cluster, where it is gone."""
        moment = time.monotonic()
        if not now and moment - self._looked < WATCH:
            return
        try:
            if self._client.status != "running":
                raise OSError(f"the connection is {self._client.status}")
            threads = self._bounded(self._client.scheduler.ncores)
        except Exception as error:
            raise SchedulerLostError(
                f"the dask scheduler does not answer ({type(error).__name__}: {error})"
            ) from error
        self._looked = time.monotonic()
        if threads:
            self._workerless = None
        elif self._workerless is None:
            self._workerless = moment
        elif moment - self._workerless > WORKERLESS:
            raise WorkersLostError(f"the dask cluster has had no worker for {WORKERLESS:.0f} seconds")

    def _bounded(
        self, call: Callable[..., Any], *arguments: Any, seconds: float = ANSWER, **named: Any
    ) -> Any:
        """A call of the client's own loop, for so many seconds at most."""
        return self._client.sync(call, *arguments, callback_timeout=seconds, **named)

    def _packed(self, task: Callable[..., Any]) -> Packed:
        """The task without the `Shared` objects in it, which workers keep; small ones go along."""
        shared: list[Shared] = []
        parcel = pickled(task, shared)
        kept = []
        for thing in shared:
            sent = self._sent.get(id(thing))
            if sent is None:
                sent = self._sent[id(thing)] = Sent(thing, uuid.uuid4().hex, pickled(thing))
            if sent.parcel.nbytes > SMALL:
                here = self._client.scheduler_info(n_workers=-1)["workers"]
                self._hold(sent, set(here) - sent.holders)
            kept.append((sent.token, sent.parcel if sent.parcel.nbytes <= SMALL else None))
        return Packed(parcel, tuple(kept))

    def _hold(self, sent: Sent, workers: set[str]) -> None:
        """Send an object to workers. One that is gone is no loss: another will say that it lacks the object."""
        if not workers:
            return
        sent.holders |= workers
        seconds = ANSWER + len(workers) * sent.parcel.nbytes / RATE
        try:
            self._bounded(
                self._client._run, keep, sent.token, sent.parcel,
                workers=list(workers), on_error="ignore", seconds=seconds,
            )  # fmt: skip
        except Exception:
            self._look(now=True)


def _neighbours(count: int, threads: int) -> int:
    """How many neighbouring items one task adds up: a power of two, so that their sum is one of the fixed tree."""
    size = 1
    while size * 2 * TASKS_A_THREAD * threads <= count:
        size *= 2
    return size


def as_engine(engine: Any = None) -> Engine:
    """An `Engine` from None, a number of threads, an `Engine`, or a dask.distributed client."""
    if isinstance(engine, Engine):
        return engine
    if engine is None or isinstance(engine, int):
        return Engine(engine)
    if callable(getattr(engine, "submit", None)) and hasattr(engine, "scheduler_info"):
        return ClusterEngine(engine)
    raise TypeError(f"engine: expected None, threads, an Engine or a dask client, not {type(engine)}")

"""Parallel work whose bits do not depend on the workers."""

import pickle
import threading
import time
from importlib import import_module
from types import SimpleNamespace

import dask.threaded
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import dask
from svdflow.compute.cluster_engine import _neighbours, as_engine
from svdflow.compute.cores import default_threads
from svdflow.compute.engine import Engine, FixedTree, one_blas_thread
from svdflow.compute.travelling import Added

VALUES = np.random.default_rng(0).standard_normal(1001).tolist()


def pickled_get(graph, keys):
    """A scheduler that hands its tasks over as a cluster does."""
    return dask.get(pickle.loads(pickle.dumps(graph)), keys)


def square(x):
    return x * x


def add(a, b):
    return a + b


def bracket(a, b):
    return f"({a}{b})"


ENGINES = [
    Engine(1),
    Engine(2),
    Engine(4),
    Engine(get=dask.get),
    Engine(get=pickled_get, shared_memory=False),
]


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_sum_has_the_same_bits_for_any_workers_and_scheduler(engine):
    assert engine.reduce(square, VALUES, add) == ENGINES[0].reduce(square, VALUES, add)


def test_the_order_of_sums_matters_here():
    """Negative control: the numbers above do round differently in another order."""
    assert sum(map(square, VALUES)) != sum(map(square, reversed(VALUES)))


def test_reduce_is_a_balanced_tree_in_item_order():
    assert Engine(2).reduce(str, list("abcde"), bracket) == "(((ab)(cd))e)"
    assert Engine(2).reduce(str, ["a"], add) == "a"


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13, 32])
def test_backwards_runs_the_last_item_first(count):
    ran = []
    for backwards in (False, True):
        Engine(1).reduce(ran.append, range(count), lambda a, b: None, backwards=backwards)
    assert ran == [*range(count), *reversed(range(count))]


@pytest.mark.parametrize("backwards", [False, True])
def test_threads_take_neighbouring_items(backwards):
    """Each item waits for the one beside it, so any other order would never end."""
    pairs = [threading.Barrier(2, timeout=10) for _ in range(8)]
    met = Engine(2).reduce(lambda i: [(pairs[i // 2].wait(), i)], range(16), add, backwards=backwards)
    assert sorted(i for _, i in met) == list(range(16))
    assert sorted(place for place, _ in met) == [0] * 8 + [1] * 8, "two came to each barrier"


@pytest.mark.parametrize("engine", ENGINES)
def test_backwards_has_the_same_bits(engine):
    assert engine.reduce(square, VALUES, add, backwards=True) == ENGINES[0].reduce(square, VALUES, add)
    for count in range(1, 34):
        letters = [chr(ord("A") + i) for i in range(count)]
        forwards, backwards = (engine.reduce(str, letters, bracket, backwards=way) for way in (False, True))
        assert forwards == backwards and forwards.translate(dict.fromkeys(b"()")) == "".join(letters)


def test_tuples_and_callables_pass_as_items():
    assert Engine(2).reduce(list, [(len, "ab"), ("task", 0, 0)], add) == [len, "ab", "task", 0, 0]


@pytest.mark.parametrize("threads", [1, 3])
def test_stream_keeps_the_order_and_bounds_what_is_in_flight(threads):
    alive, most, lock = 0, 0, threading.Lock()

    class Result:
        def __init__(self, value):
            nonlocal alive, most
            with lock:
                alive += 1
                most = max(most, alive)
            self.value = value

        def __del__(self):
            nonlocal alive
            alive -= 1

    seen = []
    for result in Engine(threads).stream(Result, list(range(50))):
        seen.append(result.value)
        del result
    assert seen == list(range(50))
    assert most <= 2 * threads + 1


def test_stream_has_no_barrier():
    """Two threads have four results in flight, and the fifth task starts when the second result is taken."""
    started = [threading.Event() for _ in range(8)]
    results = Engine(2).stream(lambda i: started[i].set(), list(range(8)))
    next(results)
    next(results)
    assert started[4].wait(timeout=10)
    results.close()


def test_a_stream_that_is_given_up_leaves_no_task_running():
    running, lock = 0, threading.Lock()

    def task(_):
        nonlocal running
        with lock:
            running += 1
        time.sleep(0.02)
        with lock:
            running -= 1

    results = Engine(2).stream(task, list(range(20)))
    next(results)
    results.close()
    assert running == 0


def test_reduce_holds_few_partial_sums():
    alive, most, lock = 0, 0, threading.Lock()

    class Part:
        def __init__(self, item):
            nonlocal alive, most
            with lock:
                alive += 1
                most = max(most, alive)

        def __del__(self):
            nonlocal alive
            with lock:
                alive -= 1

    Engine(2).reduce(Part, list(range(64)), lambda a, b: Part(0))
    assert (
        most <= 2 * 2 + 6 + 6
    )  # workers, and one partial sum a level of the tree (two while they are added)


@pytest.fixture
def two_blas_threads():
    """Whatever this process was started with, in the BLAS of NumPy and in that of SciPy."""
    import_module("scipy.linalg")
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def test_blas_is_held_at_one_thread_and_given_back(two_blas_threads):
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    assert set(before) == {2}
    with one_blas_thread():
        with one_blas_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before


def test_a_failing_task_raises_its_own_error():
    with pytest.raises(ZeroDivisionError):
        Engine(2).reduce(lambda x: 1 / x, [1, 0, 1], add)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_after_a_failure_no_task_is_running(threads):
    """So the caller may close what tasks write into."""
    ended, started, lock = [], [], threading.Lock()

    def task(i):
        with lock:
            started.append(i)
        if i == 3:
            raise ZeroDivisionError
        time.sleep(0.02)
        with lock:
            ended.append(i)

    with pytest.raises(ZeroDivisionError):
        Engine(threads).reduce(task, range(40), lambda a, b: None)
    assert sorted([*ended, 3]) == sorted(started) and len(started) < 20


def test_as_engine():
    assert as_engine(3).threads == 3
    assert as_engine().threads == default_threads()
    with pytest.raises(ValueError, match="at least 1"):
        as_engine(0)
    with pytest.raises(TypeError, match="dask client"):
        as_engine("local")


def test_default_threads_obeys_the_job(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 100])
@pytest.mark.parametrize("count", [1, 2, 5, 13, 31, 32, 100])
def test_tasks_of_neighbours_add_up_to_the_fixed_tree(count, threads):
    """What a cluster adds in its workers and here is written like the sum of one thread, bracket by bracket."""
    letters = [chr(ord("A") + i) for i in range(count)]
    size = _neighbours(count, threads)
    sums = FixedTree(-(-count // size), bracket)
    for place in reversed(range(-(-count // size))):
        sums.add(place, Added(str, bracket)(letters[place * size : (place + 1) * size]))
    assert sums.total == Engine(1).reduce(str, letters, bracket)


def test_an_asynchronous_client_is_refused():
    client = SimpleNamespace(asynchronous=True, submit=print, scheduler_info=print)
    with pytest.raises(TypeError, match="asynchronous"):
        as_engine(client)


def test_blas_is_held_at_one_thread_from_any_thread(two_blas_threads):
    np.linalg.inv(np.eye(2))
    threads = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}  # noqa: E731
    before, inside = threads(), []

    def held():
        with one_blas_thread():
            inside.append(threads())

    held()
    other = threading.Thread(target=held)
    other.start()
    other.join()
    held()
    assert inside == [{1}, {1}, {1}]
    assert threads() == before == {2}
    with threadpool_limits(1):  # a user's own limits still work afterwards
        assert threads() == {1}

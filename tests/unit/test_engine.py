"""Parallel work whose bits do not depend on the workers."""

import pickle
import threading

import dask
import dask.threaded
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from svdflow.engine import Engine, as_engine, default_threads, one_blas_thread

VALUES = np.random.default_rng(0).standard_normal(1001).tolist()


def pickled_get(graph, keys):
    """A scheduler that hands its tasks over as a cluster does."""
    return dask.get(pickle.loads(pickle.dumps(graph)), keys)


def square(x):
    return x * x


def add(a, b):
    return a + b


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
    assert Engine(2).reduce(str, list("abcde"), lambda a, b: f"({a}{b})") == "(((ab)(cd))e)"
    assert Engine(2).reduce(str, ["a"], add) == "a"


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


def test_blas_is_held_at_one_thread_and_given_back():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with one_blas_thread():
        with one_blas_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before


def test_a_failing_task_raises_its_own_error():
    with pytest.raises(ZeroDivisionError):
        Engine(2).reduce(lambda x: 1 / x, [1, 0, 1], add)


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


class FakeClient:
    """What `as_engine` uses of a distributed client; it refuses a key it has seen, as a cluster reuses its result."""

    def __init__(self):
        self.seen = set()

    def scheduler_info(self):
        return {"workers": {"a": {"nthreads": 2}, "b": {"nthreads": 2}}}

    def get(self, graph, keys):
        assert not self.seen & set(graph)
        self.seen |= set(graph)
        return pickled_get(graph, keys)


def test_a_client_is_an_engine():
    engine = as_engine(FakeClient())
    assert engine.threads == 4 and not engine.shared_memory
    for _ in range(2):
        assert engine.reduce(square, VALUES, add) == Engine(1).reduce(square, VALUES, add)
        assert list(engine.stream(square, [1, 2, 3])) == [1, 4, 9]

"""A fork while another thread factorizes: the child goes on, and its BLAS is as free as before."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import svdflow
from svdflow.compute import engine

SECONDS = 20


def exit_of(child):
    """Exit status of a child; it is killed where it waits for ever."""
    for _ in range(SECONDS * 50):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "waits for ever"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_the_limit_is_being_set_leaves_no_one_waiting():
    """The window is a few microseconds; here a thread stands in it."""
    entered, leave = threading.Event(), threading.Event()

    def stand_in_it():
        with engine._blas_lock:
            entered.set()
            leave.wait(0.5)

    thread = threading.Thread(target=stand_in_it)
    thread.start()
    entered.wait()
    child = os.fork()
    if child == 0:
        with engine.one_blas_thread():
            os._exit(0)
    status = exit_of(child)
    leave.set()
    thread.join()
    assert status == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_during_factorizations_compute_the_same_bits():
    A = np.random.default_rng(0).normal(size=(300, 80))
    expected = svdflow.truncated_svd(A, rank=3, engine=1).s.tobytes()
    stop = threading.Event()

    def work():
        while not stop.is_set():
            svdflow.truncated_svd(A, rank=3, engine=1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(5):
        time.sleep(0.03)
        child = os.fork()
        if child == 0:
            found = svdflow.truncated_svd(A, rank=3, engine=1).s.tobytes()
            os._exit(0 if found == expected and engine._blas_users == [] else 7)
        statuses.append(exit_of(child))
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_does_not_keep_the_limit_of_threads_that_it_has_not():
    held, leave = threading.Event(), threading.Event()

    def hold():
        with engine.one_blas_thread():
            held.set()
            leave.wait(SECONDS)

    def threads_of_blas():
        return [i["num_threads"] for i in engine._blas_controller().info() if i["user_api"] == "blas"]

    with engine.one_blas_thread():
        pass
    before = threads_of_blas()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if engine._blas_users == [] and threads_of_blas() == before else 7)
    status = exit_of(child)
    leave.set()
    thread.join()
    assert status == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_inside_the_limit_keeps_it():
    with engine.one_blas_thread():
        child = os.fork()
        if child == 0:
            kept = len(engine._blas_users) == 1
            os._exit(0 if kept else 7)
        assert exit_of(child) == 0
    assert engine._blas_users == []

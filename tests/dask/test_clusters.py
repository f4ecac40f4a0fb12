"""Every way to a dask cluster gives the bits of threads; what is lost changes none, and nobody waits for ever."""

import os
import threading
import time

import numpy as np
import pytest

from clusters import RANK, kill, slow
from svdflow import truncated_svd
from svdflow.compute.cluster_engine import ClusterEngine
from svdflow.errors import SchedulerLostError, WorkersLostError
from svdflow.svd.checkpoint import Journal

METHODS = ("krylov", "gram", "rsvd")
WORKERS = (1, 2, 4)
MOMENTS = 20  # at which a worker is killed: every third of them between two reads
PATIENCE = 60.0  # seconds that a factorization with a killed worker may take


def factors(A, engine, method="krylov", **options):
    return [part.tobytes() for part in truncated_svd(A, RANK, method=method, engine=engine, **options)]


@pytest.fixture(scope="session")
def alone(matrix_file):
    """The factors by one thread, by method."""
    return {}


def expected(alone, matrix_file, method="krylov"):
    if method not in alone:
        alone[method] = factors(matrix_file, 1, method)
    return alone[method]


# -- the same bits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
def test_a_local_cluster(workers, job, matrix_file, alone):
    engine = job("local", workers=workers)
    assert isinstance(engine, ClusterEngine) and engine.threads == workers
    for method in METHODS:
        assert factors(matrix_file, engine, method) == expected(alone, matrix_file, method)


def test_two_local_clusters_beside_each_other(job, matrix_file, alone):
    first, second = job("local", workers=1), job("local", workers=1)
    found = []
    thread = threading.Thread(target=lambda: found.append(factors(matrix_file, second)))
    thread.start()
    assert factors(matrix_file, first) == expected(alone, matrix_file)
    thread.join()
    assert found == [expected(alone, matrix_file)]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_scheduler_that_stands_over_tls(workers, job, standing, certificates, matrix_file, alone):
    cluster = standing(tls=certificates, workers=workers)
    address = cluster.address()
    assert address.startswith("tls://127.0.0.1:")
    engine = job(address, tls=certificates)
    cluster.await_workers(engine)
    assert factors(matrix_file, engine) == expected(alone, matrix_file)


def test_nobody_joins_it_without_a_certificate(job, standing, certificates):
    cluster = standing(tls=certificates, workers=0)
    started = time.monotonic()
    with pytest.raises(SchedulerLostError, match="no dask scheduler answers"):
        job(cluster.address().replace("tls://", "tcp://"))
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("workers", WORKERS)
def test_a_scheduler_file(workers, job, standing, matrix_file, alone):
    cluster = standing(workers=workers)
    engine = job(cluster.file)
    cluster.await_workers(engine)
    for method in METHODS:
        assert factors(matrix_file, engine, method) == expected(alone, matrix_file, method)


def test_a_file_of_a_scheduler_that_is_no_more(job, standing):
    cluster = standing(workers=0)
    cluster.end()
    with pytest.raises(SchedulerLostError, match="no dask scheduler answers"):
        job(cluster.file)


# -- threads ------------------------------------------------------------------------------------------------


def threads_there():
    """Threads that BLAS and OpenMP may take in this process, the most of any library."""
    import numpy.linalg  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    return max([1, *(pool["num_threads"] for pool in threadpool_info())])


def in_a_task(_):
    return [threads_there()]


@pytest.mark.parametrize("workers", WORKERS)
def test_workers_and_their_blas_stay_within_the_threads_of_the_job(workers, job, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "4")  # as Snakemake says to a job of 4 threads
    engine = job("local", workers=workers, threads=workers)
    nthreads = engine._client.nthreads()
    assert len(nthreads) == workers
    blas = engine._client.run(threads_there)
    assert sum(nthreads[worker] * blas[worker] for worker in nthreads) <= workers
    assert set(engine.reduce(in_a_task, range(8), lambda a, b: a + b)) == {1}
    assert threads_there() > 1 or os.cpu_count() == 1  # control: what is looked at can be more than one


# -- losses -------------------------------------------------------------------------------------------------


def worker_ids(engine):
    return list(engine._client.run(os.getpid, on_error="ignore").values())


class Between:
    """Calls something before the n-th time that tasks are handed out: between two reads, or before the first."""

    def __init__(self, monkeypatch, number, action):
        self.calls, results = 0, ClusterEngine._results

        def counted(engine, *arguments, **named):
            self.calls += 1
            if self.calls == number:
                action()
            return results(engine, *arguments, **named)

        monkeypatch.setattr(ClusterEngine, "_results", counted)


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_worker_that_is_killed(moment, job, matrix_file, alone, monkeypatch):
    random = np.random.default_rng(moment)
    engine = job("local", workers=2)
    victim = worker_ids(engine)[int(random.integers(2))]
    source = slow(matrix_file, 0.02)
    killed = []

    def strike():
        kill(victim)
        killed.append(time.monotonic())

    timer = None
    if moment % 3 == 0:
        Between(monkeypatch, 1 + moment // 3 % 4, strike)
    else:
        timer = threading.Timer(float(random.uniform(0.05, 3.0)), strike)
        timer.start()
    started = time.monotonic()
    found = factors(source, engine)
    took = time.monotonic() - started
    if timer:
        timer.cancel()
    print(f"moment {moment}: killed {killed[0] - started if killed else None}, took {took:.1f} s")
    assert killed, "the factorization was over before"
    assert found == expected(alone, matrix_file)
    assert took < PATIENCE


def test_all_workers_of_a_cluster_that_stands(job, standing, matrix_file, monkeypatch):
    """They have no nanny: nobody starts others, and the job says so."""
    cluster = standing(workers=2)
    engine = job(cluster.file)
    cluster.await_workers(engine)
    Between(monkeypatch, 2, lambda: [kill(worker.pid) for worker in cluster.workers])
    started = time.monotonic()
    with pytest.raises(
        WorkersLostError, match=r"has had no worker for 30 seconds; run again: \d+ reads are kept"
    ):
        factors(slow(matrix_file, 0.01), engine)
    assert time.monotonic() - started < PATIENCE


def test_a_worker_that_comes_late_is_taken_on(job, standing, matrix_file, alone, monkeypatch):
    cluster = standing(workers=1)
    engine = job(cluster.file)
    cluster.await_workers(engine)

    def replace():
        kill(cluster.workers[0].pid)
        cluster.workers.append(cluster.worker(9))

    Between(monkeypatch, 2, replace)
    assert factors(slow(matrix_file, 0.01), engine) == expected(alone, matrix_file)


@pytest.mark.parametrize("reads", [1, 2])
def test_a_scheduler_that_is_killed(reads, job, standing, matrix_file, alone, monkeypatch, tmp_path):
    """The job fails within seconds, says what is kept, and another one goes on from there to the same bits."""
    cluster = standing()
    engine = job(cluster.file)
    cluster.await_workers(engine)
    struck, record = [], Journal.record

    def recorded(journal, *arguments):
        record(journal, *arguments)
        if journal.reads == reads:
            kill(cluster.scheduler.pid)
            struck.append(time.monotonic())

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "record", recorded)
        with pytest.raises(SchedulerLostError, match=f"run again: {reads} reads are kept"):
            factors(slow(matrix_file, 0.01), engine, tol=1e-6, checkpoint=tmp_path / "kept")
    assert time.monotonic() - struck[0] < 20
    resumed, whole = counted(matrix_file), counted(matrix_file)
    found = factors(resumed, 1, tol=1e-6, checkpoint=tmp_path / "kept")
    assert found == factors(whole, 1, tol=1e-6)
    three_panels = 3 * 2**18 // (4 * resumed.shape[1])  # by which a checkpoint knows its matrix
    assert 0 < resumed.rows <= whole.rows - reads * resumed.shape[0] + three_panels


def counted(path):
    """A source of a file that counts the rows that are read of it."""
    source = slow(path, 0)
    source.rows, read = 0, source.read

    def counting(start, stop):
        source.rows += stop - start
        return read(start, stop)

    source.read = counting
    return source

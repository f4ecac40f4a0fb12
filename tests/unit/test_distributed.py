"""A real dask.distributed cluster of processes: the bits of one thread, few bytes moved, and workers that die."""

import os
import signal
import time

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from svdflow import truncated_svd
from svdflow.compute.cluster_engine import as_engine
from svdflow.compute.engine import Engine
from svdflow.matrix import panels
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.random_blocks import gaussian

distributed = pytest.importorskip(
    "distributed", reason="dask.distributed is not installed (pip install svdflow[cluster])"
)

WORKERS = (1, 2, 4)
METHODS = ("krylov", "gram", "rsvd")
RANK = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=tmp_path_factory.mktemp("workers"),
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield cluster, client


@pytest.fixture
def processes(running):
    """A client of a cluster of as many processes as are asked for, with one thread each."""
    cluster, client = running

    def scaled(workers):
        cluster.scale(workers)
        deadline = time.monotonic() + 60
        while len(client.nthreads()) != workers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return client

    return scaled


@pytest.fixture
def small_panels(monkeypatch):
    """Panels of 128 kB, so that a small matrix has several."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**17)


@pytest.fixture(scope="module")
def matrix():
    """1600 x 120, float32, singular values near 1 / i."""
    return gaussian(3, 1600, 120, dtype=np.float32) / np.arange(1, 121, dtype=np.float32)


def factors(A, engine, method="krylov"):
    result = truncated_svd(A, RANK, method=method, engine=engine, max_reads=3)
    return [factor.tobytes() for factor in result]


@pytest.mark.parametrize("workers", WORKERS)
def test_processes_give_the_bits_of_threads(workers, processes, matrix, small_panels, tmp_path):
    with h5py.File(tmp_path / "A.h5", "w") as file:
        file.create_dataset("A", data=matrix, chunks=(100, 120))
    path = f"{tmp_path}/A.h5:/A"
    for method in METHODS:
        alone = factors(path, 1, method)
        assert factors(path, workers, method) == alone  # as many threads
        assert factors(path, processes(workers), method) == alone


def test_every_kind_of_source_goes_to_a_cluster(processes, matrix, small_panels, tmp_path):
    da = pytest.importorskip("dask.array")
    np.save(tmp_path / "A.npy", matrix)
    sparse = sp.csr_array(np.where(np.abs(matrix) > 0.02, matrix, 0))
    for source in (
        matrix,
        matrix[:100],  # wide: worked on as its transpose
        sparse,
        da.from_array(matrix, chunks=(150, 120)),
        tmp_path / "A.npy",
    ):
        assert factors(source, processes(2)) == factors(source, 1)


def test_a_client_of_threads(matrix, small_panels):
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert as_engine(client).threads == 4
        assert factors(matrix, client) == factors(matrix, 1)


def test_a_matrix_in_memory_is_sent_once(processes, small_panels, monkeypatch):
    """Scheduler and client are this process: it leaves one once and the other once a worker, whatever the reads."""
    from distributed.comm.tcp import TCP

    sent, write = 0, TCP.write

    async def counted(*args, **kwargs):
        nonlocal sent
        count = await write(*args, **kwargs)
        sent += count or 0
        return count

    A = gaussian(5, 10000, 100, dtype=np.float32)
    monkeypatch.setattr(TCP, "write", counted)
    info = truncated_svd(A, RANK, method="krylov", engine=processes(2), tol=1e-6, max_reads=5).info
    assert info.reads == 5
    assert A.nbytes < sent < 3.5 * A.nbytes


def test_two_engines_do_not_share_results(processes):
    first, second = as_engine(processes(1)), as_engine(processes(1))
    assert first.reduce(lambda x: x, [1, 2], max) == 2
    assert second.reduce(lambda x: -x, [1, 2], max) == -1
    assert list(second.stream(lambda x: x + 1, list(range(9)))) == list(range(1, 10))


def dies_once(A, flag, at):
    """A source whose process is killed when rows are read for the `at`-th time. Local, so it pickles by value."""

    class Deadly(MatrixSource):
        def __init__(self):
            self.shape, self.dtype, self.reads = A.shape, A.dtype, 0

        def read(self, start, stop):
            self.reads += 1
            if self.reads == at and not os.path.exists(flag):
                with open(flag, "w"):
                    os.kill(os.getpid(), signal.SIGKILL)
            return A[start:stop]

    return Deadly()


@pytest.mark.parametrize(("workers", "at"), [(1, 12), (2, 5)])
def test_a_killed_worker_changes_no_bits(workers, at, processes, matrix, small_panels, tmp_path):
    flag = tmp_path / "killed"
    assert factors(dies_once(matrix, flag, at), processes(workers)) == factors(matrix, 1)
    assert flag.exists()


def test_an_error_in_a_worker_is_raised_here(processes):
    with pytest.raises(ZeroDivisionError):
        as_engine(processes(1)).reduce(lambda x: 1 / x, [1, 0], max)
    assert isinstance(as_engine(processes(1)), Engine)

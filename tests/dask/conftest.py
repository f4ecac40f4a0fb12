"""Engines of jobs, clusters that stand, and a matrix on disk."""

import subprocess
from contextlib import ExitStack

import numpy as np
import pytest

from clusters import COLUMNS, ROWS, Standing
from svdflow.compute.cluster import JobEngine
from svdflow.compute.runtime import EngineChoice, Runtime
from svdflow.matrix import panels
from svdflow.svd.random_blocks import gaussian


def pytest_addoption(parser):
    parser.addoption("--gigabytes", type=float, default=0.4, help="size of the matrix of test_large.py")


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    """Panels of 256 kB, so that a matrix of 19 MB has 74 of them."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**18)


@pytest.fixture(scope="session")
def matrix_file(tmp_path_factory):
    """24,000 x 200, float32, singular values near 1 / sqrt(i)."""
    A = gaussian(3, ROWS, COLUMNS, dtype=np.float32) / np.sqrt(np.arange(1, COLUMNS + 1, dtype=np.float32))
    path = tmp_path_factory.mktemp("matrix") / "A.npy"
    np.save(path, A)
    return path


@pytest.fixture
def job():
    """Engines of jobs, by choice; all are closed at the end."""
    with ExitStack() as stack:

        def opened(cluster, *, workers=0, threads=4, tls=(), allow_plain=False):
            choice = EngineChoice("dask", str(cluster), workers, tls)
            return stack.enter_context(JobEngine(Runtime(threads=threads, engine=choice)))()

        yield opened


@pytest.fixture
def standing(tmp_path):
    """Starts a cluster that stands by itself; it ends with the test."""
    with ExitStack() as stack:

        def started(*, tls=(), workers=2):
            cluster = Standing(tmp_path, tls, workers)
            stack.callback(cluster.end)
            return cluster

        yield started


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Authority, certificate and key for this machine, made by openssl."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=svdflow test", "-days", "2", "-newkey", "rsa:2048", "-nodes"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", "-x509", *subject, *names, "-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    # A certificate that signs itself is its own authority.
    return tuple(str(folder / name) for name in ("cert.pem", "cert.pem", "key.pem"))

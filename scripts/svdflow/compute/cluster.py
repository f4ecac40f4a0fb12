"""The engine of a job: its threads, or a dask cluster that is started or joined when needed, and left at the end."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from svdflow.compute.cluster_engine import ANSWER, ClusterEngine
from svdflow.compute.engine import Engine
from svdflow.compute.runtime import Runtime
from svdflow.errors import SchedulerLostError, WorkersLostError
from svdflow.study.dask_cluster import CUDA, FILE, LOCAL, SRUN, kind_of

log = logging.getLogger(__name__)

# Memory that a worker process takes before it has read anything: Python with NumPy, SciPy, dask and svdflow measures
# 106 MB. Workers take at most OWN_SHARE of a memory limit so, the rest is for the work. Neither changes a result.
PROCESS_BYTES, OWN_SHARE = 110 * 2**20, 0.5
# Seconds that workers of a job's allocation, and those of a cluster that stands, may take to appear. Chosen
START = 120.0
# One BLAS thread a worker. Snakemake sets OMP_NUM_THREADS to the threads of the job, a nanny prefers the environment to
# its own default, and what it is told by `env` comes after NumPy (findings/dask-workers-inherit-threads.sh).
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
# Of clusters that are started here. What a worker holds is small, so nothing is to be spilled, and one that pauses
# would never go on; beyond its memory it is ended, and its task runs again. A worker that says nothing for a minute is
# lost.
QUIET = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.comm.timeouts.connect": f"{ANSWER}s",
}


class JobEngine:
    """The engine of a job, opened by the first call; a context, which closes what was opened.

    Parameters
    ----------
    runtime : Runtime
        Threads, memory limit and choice of an engine.

    Raises
    ------
    SchedulerLostError, WorkersLostError
        By the call: no scheduler answers, or no worker appears.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stack = ExitStack()
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._engine = None
        self._stack.close()

    def __call__(self) -> Engine:
        """The engine, opened."""
        if self._engine is None:
            choice = self._runtime.engine
            if choice.engine == "threads":
                self._engine = Engine(self._runtime.cores)
            else:
                self._engine = OPENERS.get(kind_of(choice.cluster), _joined)(self._runtime, self._stack)
                log.info("dask on cluster %s: %d threads", choice.cluster, self._engine.threads)
        return self._engine


def worker_count(runtime: Runtime) -> int:
    """Worker processes on this machine: as many as were asked for, threads of the job and its memory allowing."""
    wanted = min(runtime.engine.workers or runtime.cores, runtime.cores)
    room = wanted
    if runtime.memory_limit is not None:
        room = max(1, int(OWN_SHARE * runtime.memory_limit // PROCESS_BYTES))
    if min(wanted, room) < runtime.engine.workers:
        log.info(
            "%d workers: the job has %d threads, and memory for %d", min(wanted, room), runtime.cores, room
        )
    return min(wanted, room)


def _local(runtime: Runtime, stack: ExitStack) -> Engine:
    """Processes of one thread on this machine, which nobody else can reach over the network."""
    from distributed import LocalCluster

    workers = worker_count(runtime)
    started = _started(LocalCluster, stack, runtime, n_workers=workers, processes=True)
    return ClusterEngine(_client(stack, started), workers, own_bytes=workers * PROCESS_BYTES)


def _cuda(runtime: Runtime, stack: ExitStack) -> Engine:
    """A process for each GPU, or for the first few; each makes its own device."""
    from dask_cuda import LocalCUDACluster

    started = _started(LocalCUDACluster, stack, runtime, n_workers=runtime.engine.workers or None)
    client = _client(stack, started)
    workers = len(client.nthreads())
    return ClusterEngine(client, workers, own_bytes=workers * PROCESS_BYTES)


def _started(kind: Callable[..., Any], stack: ExitStack, runtime: Runtime, **options: Any) -> Any:
    import dask

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="svdflow-workers-"))
    stack.enter_context(dask.config.set(QUIET))
    with _one_thread_said():
        cluster = kind(
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port
            local_directory=folder,
            memory_limit=runtime.memory_limit
            or 0,  # of each, the last resort: the plan keeps their sum within it
            silence_logs=logging.ERROR,
            **options,
        )
    return stack.enter_context(cluster)


@contextmanager
def _one_thread_said() -> Iterator[None]:
    """`ONE_THREAD` in the environment, where nannies read what they hand on to every worker that they start."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _joined(runtime: Runtime, stack: ExitStack) -> Engine:
    """A cluster that stands, by the address of its scheduler or its scheduler file."""
    where = runtime.engine.cluster
    named = {"scheduler_file": where} if kind_of(where) == FILE else {"address": where}
    client = _client(stack, tls=runtime.engine.tls, **named)
    _await_workers(client, f"at {where}")
    return ClusterEngine(client)


def _srun(runtime: Runtime, stack: ExitStack) -> Engine:
    """A scheduler and workers as tasks of the job's own allocation, by dask-jobqueue's SLURMRunner."""
    if "SLURM_JOB_ID" not in os.environ:
        raise WorkersLostError(
            "cluster srun is for jobs of Slurm, and SLURM_JOB_ID is not set; submit with profiles/slurm, or choose "
            "cluster local"
        )
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    workers = runtime.engine.workers or max(1, tasks - 1)
    # All nodes see the working folder; Snakemake's own is there, and is nobody's result.
    place = Path(".snakemake") if Path(".snakemake").is_dir() else Path()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srun-", dir=place.resolve())))
    file = folder / "scheduler.json"
    command = ["srun", f"--ntasks={workers + 1}", "--overlap", "--kill-on-bad-exit=0"]
    command += [sys.executable, "-m", "svdflow.compute.slurm_task", str(file), *runtime.engine.tls]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    step = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env={**os.environ, **ONE_THREAD, "PYTHONPATH": path}
    )
    stack.callback(_ended, step)
    deadline = time.monotonic() + START
    while not file.exists():
        if step.poll() is not None or time.monotonic() > deadline:
            state = "did not start" if step.poll() is None else f"ended with status {step.returncode}"
            raise WorkersLostError(
                f"the tasks of 'srun --ntasks={workers + 1}' {state}; the job's log says more"
            )
        time.sleep(0.1)
    client = _client(stack, tls=runtime.engine.tls, scheduler_file=str(file))
    stack.callback(_shut, client)
    _await_workers(client, "of srun")
    return ClusterEngine(client, workers)


OPENERS: dict[str, Callable[[Runtime, ExitStack], Engine]] = {LOCAL: _local, CUDA: _cuda, SRUN: _srun}


def _client(stack: ExitStack, cluster: Any = None, *, tls: tuple[str, ...] = (), **named: Any) -> Any:
    """A client of its own, that is nobody's default."""
    from distributed import Client

    options = {"security": security(tls)} if cluster is None else {"address": cluster}
    try:
        client = Client(**named, **options, timeout=ANSWER, set_as_default=False)
    except (
        Exception
    ) as error:  # dask raises many kinds: OSError, TimeoutError, ValueError of a file, ssl.SSLError
        where = next(iter(named.values()), "this machine")
        raise SchedulerLostError(
            f"no dask scheduler answers at {where} ({type(error).__name__}: {error})"
        ) from error
    stack.callback(client.close, timeout=2)
    return client


def security(tls: tuple[str, ...]) -> Any:
    """Of connections, by the files of authority, certificate and key; None without any."""
    if not tls:
        return None
    from distributed.security import Security

    ca, cert, key = tls
    roles = {f"tls_{role}_{what}": file for role in ("client", "scheduler", "worker") for what, file in
             (("cert", cert), ("key", key))}  # fmt: skip
    return Security(tls_ca_file=ca, require_encryption=True, **roles)


def _await_workers(client: Any, where: str) -> None:
    deadline = time.monotonic() + START
    while not client.sync(client.scheduler.ncores, callback_timeout=ANSWER):
        if time.monotonic() > deadline:
            raise WorkersLostError(f"no worker joined the dask scheduler {where} within {START:.0f} seconds")
        time.sleep(0.2)


def _shut(client: Any) -> None:
    """End scheduler and workers with the job."""
    if client.status == "running":
        try:
            client.sync(client.scheduler.terminate, callback_timeout=ANSWER)
        except Exception:  # it hangs up before it has answered
            pass


def _ended(step: "subprocess.Popen[bytes]") -> None:
    try:
        step.wait(timeout=5)
    except subprocess.TimeoutExpired:
        step.terminate()
        try:
            step.wait(timeout=5)
        except subprocess.TimeoutExpired:
            step.kill()
            step.wait()

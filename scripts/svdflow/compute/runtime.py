"""With what a job works: threads, memory, backend and provenance, which every rule's work receives and obeys."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from svdflow.compute.cores import default_threads
from svdflow.compute.gpu_lease import devices, leased
from svdflow.errors import StoreError, WriteError
from svdflow.escaping import visible
from svdflow.registry.declaration import imported
from svdflow.store.provenance import provenance

log = logging.getLogger("svdflow")


@dataclass(frozen=True)
class EngineChoice:
    """What computes the panels of a large matrix; fields as of section ``runtime`` of a config.

    `tls` are the files of authority, certificate and key, where there are any.
    """

    engine: str = "threads"
    cluster: str = "local"
    workers: int = 0
    tls: tuple[str, ...] = ()

    @classmethod
    def of(cls, section: Mapping[str, Any], tasks: int = 0) -> "EngineChoice":
        """Of a complete section ``runtime``; `tasks` of the job's allocation are a scheduler and its workers.

        What Slurm says of them in the environment is taken away on the way to a job by Snakemake's executor.
        """
        tls = tuple(str(section.get(f"tls_{part}", "")) for part in ("ca", "cert", "key"))
        own = {name: section[name] for name in ("engine", "cluster", "workers") if name in section}
        if own.get("cluster") == "srun" and not own.get("workers") and tasks > 1:
            own["workers"] = tasks - 1
        return cls(**own, tls=tls if all(tls) else ())


@dataclass(frozen=True)
class Runtime:
    """With what a job works. Nothing here changes a result, beyond rounding where the backend is another.

    Attributes
    ----------
    threads : int
        Threads of the job, dask's times those of BLAS; 0 for all cores that the process may use.
    memory_limit : int, optional
        Bytes that the job may take; None for no limit.
    backend : str
        ``auto``, ``numpy`` or ``cupy``.
    engine : EngineChoice
        Where panels of large matrices are computed; `svdflow.compute.cluster.JobEngine` opens it.
    provenance : mapping
        Root attributes of what is written.
    """

    threads: int = 0
    memory_limit: int | None = None
    backend: str = "auto"
    engine: EngineChoice = EngineChoice()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        """The number of threads."""
        return self.threads or default_threads()

    def side_by_side(self, bytes_each: float) -> int:
        """How many things of so many bytes each are worked on at a time: fewer rather than too many, at least one."""
        if self.memory_limit is None or bytes_each <= 0:
            return self.cores
        return max(1, min(self.cores, int(self.memory_limit // bytes_each)))


ALONE = Runtime()  # a call from Python: all cores, no limit, no provenance


class _Readable(logging.Formatter):
    """Lines of a log that can be shown on a terminal: a file name in them steers nothing."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


def run_job(snakemake: Any) -> None:
    """Do the work of a rule: call the function that its parameter `run` names.

    It gets the named inputs and outputs, the settings and the `Runtime` as keywords; one that returns False has failed
    after it wrote what it had to write.

    Raises
    ------
    RuntimeError
        The svdflow imported is not the one beside the adapter.
    """
    with _logged(snakemake):
        settings = dict(snakemake.params.get("settings", {}))
        runtime = Runtime(
            threads=snakemake.threads,
            memory_limit=snakemake.resources.mem_mb * 2**20,
            backend=snakemake.config["runtime"]["backend"],
            engine=EngineChoice.of(
                snakemake.config["runtime"], int(getattr(snakemake.resources, "tasks", 0))
            ),
            provenance=provenance(settings, snakemake.params.get("code", "")),
        )
        log.info("rule %s: %s", snakemake.rule, json.dumps(settings, default=str)[:1000])
        log.info("%d threads, %d MiB", runtime.threads, snakemake.resources.mem_mb)
        files = {**_files(snakemake.input), **_files(snakemake.output)}
        work = imported(snakemake.params["run"])
        # A rule that can use a device says how many it asks of a scheduler; here one that is free is taken.
        device = getattr(snakemake.resources, "gpu", None) is not None and runtime.backend != "numpy"
        # dask threads x BLAS threads never exceed `threads`; bits are promised for one BLAS thread.
        with threadpool_limits(1), leased(devices() if device else ()):
            passes = work(**files, **settings, runtime=runtime)
    if passes is False:
        raise SystemExit(1)


def _files(named: Any) -> dict[str, Any]:
    """Files by the names that the rule gives them: a path, or a list where the rule asks for several."""
    return {name: value if isinstance(value, str) else list(value) for name, value in named.items()}


@contextmanager
def _logged(snakemake: Any) -> Iterator[None]:
    """Log into the file of the job, a traceback too; what stops the job is one line on the terminal."""
    _only_ours(Path(snakemake.scriptdir))
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not bury what went wrong
    handler = logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Readable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, WriteError | StoreError):  # they say all that there is to say
            log.error("rule %s failed: %s", snakemake.rule, error)
        else:
            log.exception("rule %s failed", snakemake.rule)
        print(f"svdflow: {snakemake.rule}: {visible(error)} (log: {snakemake.log[0]})", file=sys.stderr)
        raise SystemExit(1) from error
    log.info("done")


def _only_ours(scripts: Path) -> None:
    import svdflow

    found = Path(svdflow.__file__).resolve().parent
    beside = (scripts / "svdflow").resolve()
    if found != beside:
        raise RuntimeError(
            f"the svdflow that is installed ({found}) is not the one of this workflow ({beside}); "
            "run 'make setup' here"
        )

"""What every adapter needs: its log, its limits, and the refusal to run another svdflow than its own."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from threadpoolctl import threadpool_limits

from svdflow.errors import StoreError, WriteError
from svdflow.escaping import visible
from svdflow.store.provenance import provenance

log = logging.getLogger("svdflow")


class _Readable(logging.Formatter):
    """Lines of a log that can be shown on a terminal: a file name in them steers nothing."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


@contextmanager
def running(snakemake: Any) -> Iterator[SimpleNamespace]:
    """Run an adapter: log file, traceback into it, one BLAS thread, the runtime settings.

    Yields
    ------
    job : namespace
        input, output, threads, memory_limit (bytes or None), settings (the tracked parameters), runtime (the
        untracked ones) and provenance (root attributes for what is written).

    Raises
    ------
    RuntimeError
        The svdflow imported is not the one beside the adapter.
    """
    _only_ours(Path(snakemake.scriptdir))
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not bury what went wrong
    handler = logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Readable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    settings = dict(snakemake.params.get("settings", {}))
    job = SimpleNamespace(
        input=snakemake.input,
        output=snakemake.output,
        threads=snakemake.threads,
        settings=settings,
        runtime=dict(snakemake.config["runtime"]),
        memory_limit=_memory_limit(snakemake),
        provenance=provenance(settings, snakemake.params.get("code", "")),
    )
    log.info("rule %s: %s", snakemake.rule, json.dumps(settings, default=str)[:1000])
    try:
        # dask threads x BLAS threads never exceed `threads`; bits are promised for one BLAS thread.
        with threadpool_limits(1):
            yield job
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


def _memory_limit(snakemake: Any) -> int | None:
    """Bytes that the job may use, where the user has set a limit."""
    automatic = snakemake.config["runtime"]["memory_limit"] == "auto"
    return None if automatic else snakemake.resources.mem_mb * 2**20


def _only_ours(scripts: Path) -> None:
    import svdflow

    found = Path(svdflow.__file__).resolve().parent
    beside = (scripts / "svdflow").resolve()
    if found != beside:
        raise RuntimeError(
            f"the svdflow that is installed ({found}) is not the one of this workflow ({beside}); "
            "run 'make setup' here"
        )

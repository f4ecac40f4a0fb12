"""What each task of ``srun`` runs: the first a dask scheduler, the others a worker, until the job ends the scheduler.

``python -m svdflow.compute.slurm_task FILE [CA CERT KEY]``
"""

import sys
from typing import Any

from svdflow.compute.cluster import QUIET, security
from svdflow.compute.cluster_engine import ANSWER


def main(file: str, *tls: str) -> None:
    """Run dask-jobqueue's SLURMRunner, whose client is the job itself, outside of these tasks."""
    from dask_jobqueue.slurm import SLURMRunner

    import dask

    dask.config.set({**QUIET, "logging.distributed": "warning"})
    common: dict[str, Any] = {
        "security": security(tls),
        "protocol": "tls" if tls else "tcp",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    SLURMRunner(
        scheduler_file=file,
        client=False,
        scheduler_options=common,
        worker_options={**common, "nthreads": 1, "death_timeout": 2 * ANSWER},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

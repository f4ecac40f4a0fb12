#!/usr/bin/env bash
# LocalCluster(env={"OPENBLAS_NUM_THREADS": "1"}) does not give its workers one BLAS thread where the environment of the
# process that starts it names another number, and distributed's own default of 1 does not either.
#
# distributed 2026.8.0 with NumPy 2.4.6. A nanny has two ways to set the environment of its worker. What must stand there
# before the process starts (`distributed.nanny.pre-spawn-environ`, by default 1 for OMP, MKL and OPENBLAS_NUM_THREADS)
# gives way to the environment that the nanny finds; `env=` of LocalCluster and Nanny is laid over it inside of the new
# process, when NumPy and its BLAS are loaded already. So under a batch system or a workflow engine that exports
# OMP_NUM_THREADS=4, four workers run sixteen threads, though os.environ of each says 1. What works is to change
# os.environ of the starting process around the call, or to limit BLAS inside of the tasks.
#
# Source: observed; distributed/nanny.py (_get_env_variables, WorkerProcess._run), and the comment on pre-spawn-environ in
# distributed/distributed.yaml.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq distributed==2026.8.0 dask==2026.8.0 numpy==2.4.6 threadpoolctl==3.6.0
cat >"$work/ask.py" <<'PY'
import os
import sys

import numpy as np
from distributed import Client, LocalCluster


def threads():
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return os.environ.get("OPENBLAS_NUM_THREADS"), max(pool["num_threads"] for pool in threadpool_info())


if __name__ == "__main__":
    how = sys.argv[1]
    named = {"env": {"OPENBLAS_NUM_THREADS": "1"}} if how == "env" else {}
    if how == "environ":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", **named) as cluster:
        with Client(cluster) as client:
            (said,) = client.run(threads).values()
    print(f"{how}: OPENBLAS_NUM_THREADS={said[0]} in the worker, {said[1]} BLAS threads")
PY
# Two threads, which OpenBLAS takes on any machine of two cores and more.
export OPENBLAS_NUM_THREADS=2
said=$(for how in default env environ; do "$work/venv/bin/python" "$work/ask.py" "$how"; done)
echo "$said"
[ "$said" = "default: OPENBLAS_NUM_THREADS=2 in the worker, 2 BLAS threads
env: OPENBLAS_NUM_THREADS=1 in the worker, 2 BLAS threads
environ: OPENBLAS_NUM_THREADS=1 in the worker, 1 BLAS threads" ]

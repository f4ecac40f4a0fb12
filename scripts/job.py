"""What every rule runs: the function that it names, on its files and settings, within its threads and memory."""

import os

if __name__ == "__main__":
    # Bits are promised for one BLAS thread. Said before any BLAS is loaded, it also holds for one that is loaded late.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

    from svdflow.compute.runtime import run_job

    run_job(snakemake)

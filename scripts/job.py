"""What every rule runs: the function that it names, on its files and settings, within its threads and memory."""

from svdflow.compute.runtime import run_job

if __name__ == "__main__":
    run_job(snakemake)

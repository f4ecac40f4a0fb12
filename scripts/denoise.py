"""Rule denoise: denoise the observations of a shard by one method at every rank, and measure it."""

from svdflow.compute.runtime import running
from svdflow.tasks.denoise import denoise_shard


def main(job):
    denoise_shard(
        job.input.matrices,
        job.input.factors,
        job.output.table,
        job.output.pictures,
        threads=job.threads,
        provenance=job.provenance,
        **job.settings,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

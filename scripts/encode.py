"""Rule encode: archive the planes of a shard at their target, and compare bytes on disk with other codecs."""

from svdflow.compute.runtime import running
from svdflow.tasks.encode import encode_shard


def main(job):
    encode_shard(
        job.input.matrices,
        job.output.table,
        job.output.archives,
        threads=job.threads,
        provenance=job.provenance,
        **job.settings,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

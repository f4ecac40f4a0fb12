"""Rule factorize: one truncated SVD per plane, at the largest rank that any stage asks for."""

from svdflow.compute.runtime import running
from svdflow.svd.factorize_shard import factorize_shard


def main(job):
    factorize_shard(
        job.input[0],
        job.output[0],
        backend=job.runtime["backend"],
        threads=job.threads,
        memory_limit=job.memory_limit,
        provenance=job.provenance,
        **job.settings,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

"""Rule ingest_synthetic: generate the matrices of a shard, panel by panel."""

from svdflow.compute.runtime import running
from svdflow.matrix.ingest_synthetic import ingest_synthetic


def main(job):
    ingest_synthetic(job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

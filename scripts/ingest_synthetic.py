"""Rule ingest_synthetic: generate the matrices of a shard, panel by panel."""

from svdflow.matrix.synthesize import ingest_synthetic
from svdflow.rule import running


def main(job):
    ingest_synthetic(job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

"""Rule audit_conditioning: how well conditioned the planes of a shard are, and how good their factors."""

from svdflow.audit.conditioning import audit_conditioning_shard
from svdflow.compute.runtime import running


def main(job):
    audit_conditioning_shard(
        job.input.matrices, job.input.factors, job.output[0], provenance=job.provenance, **job.settings
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

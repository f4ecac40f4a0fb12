"""Rule selfcheck: what this installation computes, from the cache of the environment where it was checked before."""

from svdflow.compute.runtime import running
from svdflow.selfcheck.audits import publish_selfcheck


def main(job):
    publish_selfcheck(job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

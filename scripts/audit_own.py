"""Rule audit_own: a user's own functions and matrices."""

from svdflow.audit.own import audit_own
from svdflow.compute.runtime import running


def main(job):
    audit_own(job.input[0], job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

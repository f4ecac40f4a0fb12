"""Rule audit_mutants: faults that the audits must catch."""

from svdflow.audit.family import publish_family
from svdflow.compute.runtime import running
from svdflow.selfcheck.mutants import AUDITS, FAMILY


def main(job):
    publish_family(job.output[0], FAMILY, AUDITS, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

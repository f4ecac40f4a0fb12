"""Rule audit_stability: sums, log-sum-exp, softmax and contractions in every precision."""

from svdflow.audit.family import publish_family
from svdflow.compute.runtime import running
from svdflow.selfcheck.stability import AUDITS, FAMILY


def main(job):
    publish_family(job.output[0], FAMILY, AUDITS, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

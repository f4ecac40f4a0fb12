"""Rule audit_stability: sums, log-sum-exp, softmax and contractions in every precision."""

from svdflow.audit.stability import AUDITS, FAMILY
from svdflow.audit.stage import publish_family
from svdflow.rule import running


def main(job):
    publish_family(job.output[0], FAMILY, AUDITS, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

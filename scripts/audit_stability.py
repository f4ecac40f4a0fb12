"""Rule audit_stability: probe sums, log-sum-exp and softmax in every precision."""

from svdflow.audit.stability import audit_stability
from svdflow.rule import running


def main(job):
    audit_stability(job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

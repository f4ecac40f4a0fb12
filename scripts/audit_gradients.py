"""Rule audit_gradients: check matrix derivatives numerically."""

from svdflow.audit.gradients import audit_gradients
from svdflow.rule import running


def main(job):
    audit_gradients(job.output[0], provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

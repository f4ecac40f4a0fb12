"""Rule audit_gradients: matrix derivatives and the engines that compute them."""

from svdflow.audit.curves import differences
from svdflow.audit.gradients import AUDITS, FAMILY
from svdflow.audit.stage import publish_family
from svdflow.rule import running


def main(job):
    curves = differences(job.settings["seed"])
    publish_family(job.output[0], FAMILY, AUDITS, curves=curves, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

"""Rule audit_gradients: matrix derivatives and the engines that compute them."""

from svdflow.audit.family import publish_family
from svdflow.compute.runtime import running
from svdflow.selfcheck.curves import differences
from svdflow.selfcheck.gradients import AUDITS, FAMILY


def main(job):
    curves = differences(job.settings["seed"])
    publish_family(job.output[0], FAMILY, AUDITS, curves=curves, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

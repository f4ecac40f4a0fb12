"""Rule audit_matrices: solvers, ranks and the laws of singular values on matrices of known answer."""

from svdflow.audit.family import publish_family
from svdflow.compute.runtime import running
from svdflow.selfcheck.curves import digits_lost
from svdflow.selfcheck.matrices import AUDITS, FAMILY


def main(job):
    curves = digits_lost(job.settings["seed"])
    publish_family(job.output[0], FAMILY, AUDITS, curves=curves, provenance=job.provenance, **job.settings)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

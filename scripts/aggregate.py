"""Rules gather and aggregate: bring measurements together in one file."""

from svdflow.compute.runtime import running
from svdflow.report.aggregate import aggregate


def main(job):
    aggregate(list(job.input), job.output[0], job.provenance)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

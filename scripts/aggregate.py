"""Rules gather and aggregate: bring measurements together in one file."""

from svdflow.rule import running
from svdflow.summary.aggregate import aggregate


def main(job):
    aggregate(list(job.input), job.output[0], job.provenance)


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

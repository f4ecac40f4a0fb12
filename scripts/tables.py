"""Rule tables: summarize the measurements per dataset, rank and method."""

from svdflow.compute.runtime import running
from svdflow.report.tables import write_tables


def main(job):
    write_tables(job.input.metrics, job.output[0], baseline=next(iter(job.input.baseline), None))


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

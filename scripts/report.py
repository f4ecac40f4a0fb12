"""Rule report: write the report, one page that opens offline."""

from svdflow.compute.runtime import running
from svdflow.report.document import write_report


def main(job):
    write_report(
        job.input.metrics,
        list(job.input.matrices),
        list(job.input.factors),
        job.output[0],
        study=job.settings,
        denoise=list(job.input.denoise),
        baseline=next(iter(job.input.baseline), None),
        pages=job.output.pages,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

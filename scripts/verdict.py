"""Rule verdict: print what was done and what failed; fail when errors exceed what is allowed."""

import io
import json
from pathlib import Path

from svdflow.compute.runtime import running
from svdflow.report.verdict import verdict
from svdflow.store import publish_text


def job_seconds(folder):
    """Seconds of computing, summed over the benchmark files of the jobs."""
    lines = (line for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines())
    return sum(json.loads(line)["s"] for line in lines)


def main(job):
    results = Path(job.output[0]).parent
    text = io.StringIO()
    passes = verdict(
        job.input.metrics,
        elapsed=job_seconds(results / "benchmarks"),
        look={"report": job.input.report, "tables": job.input.tables, "metrics": job.input.metrics},
        stream=text,
        **job.settings,
    )
    print(text.getvalue(), end="", flush=True)
    if not passes:
        raise SystemExit(1)
    publish_text(job.output[0], text.getvalue())


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

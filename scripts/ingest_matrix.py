"""Rule ingest_matrix: check and link the matrix files of a shard; they are never copied."""

from svdflow.compute.runtime import running
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.study.located import shard_files


def main(job):
    s = job.settings
    inner = {"dataset": s["inner"]}
    suffix = f":{s['inner']}" if s["inner"] else ""
    files = [{**file, **inner, "name": file["name"] + suffix} for file in shard_files(s)]
    ingest_matrix(
        files,
        job.output[0],
        dataset=s["dataset"],
        shard=s["shard"],
        grid=s["grid"],
        fill=s["fill"],
        allow_links=s["allow_links"],
        provenance=job.provenance,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

"""Rule ingest_images: read the images of a shard into planes of their own type."""

from svdflow.compute.runtime import running
from svdflow.images.ingest_images import ingest_images
from svdflow.study.located import shard_files


def main(job):
    s = job.settings
    ingest_images(
        shard_files(s),
        job.output[0],
        dataset=s["dataset"],
        shard=s["shard"],
        colour=s["colour"],
        noise_sigma=s["noise_sigma"],
        seed=s["seed"],
        pixel_limit=s["pixel_limit"],
        crop=s["crop"],
        fill=s["fill"],
        provenance=job.provenance,
    )


if __name__ == "__main__":
    with running(snakemake) as job:
        main(job)

rule ingest_images:
    """Read the images of a shard into planes of their own type."""
    output:
        out="<results>/matrices/{dataset}/{shard}.h5",
    log:
        "<logs>/ingest/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/ingest/{dataset}/{shard}.jsonl"
    wildcard_constraints:
        dataset=any_of(study.named(kind="images")),
    resources:
        mem_mb=memory,
        runtime=minutes,
    params:
        **job_params("ingest_images"),
    message:
        "reading the images of {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/job.py"


rule ingest_synthetic:
    """Generate the matrices of a shard, panel by panel, with what is known of their singular values."""
    output:
        out="<results>/matrices/{dataset}/{shard}.h5",
    log:
        "<logs>/ingest/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/ingest/{dataset}/{shard}.jsonl"
    wildcard_constraints:
        dataset=any_of(study.named(kind="synthetic")),
    resources:
        mem_mb=memory,
        runtime=minutes,
    params:
        **job_params("ingest_synthetic"),
    message:
        "generating {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/job.py"


rule ingest_matrix:
    """Check and link the matrix files of a shard; they are never copied."""
    output:
        out="<results>/matrices/{dataset}/{shard}.h5",
    log:
        "<logs>/ingest/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/ingest/{dataset}/{shard}.jsonl"
    wildcard_constraints:
        dataset=any_of(study.named(kind="matrix")),
    resources:
        mem_mb=memory,
        runtime=minutes,
    params:
        **job_params("ingest_matrix"),
    message:
        "linking the matrices of {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/job.py"

rule factorize:
    """Factorize every plane of a shard once, at the largest rank that any stage asks for."""
    input:
        matrices="<results>/matrices/{dataset}/{shard}.h5",
    output:
        out="<results>/factors/{dataset}/{shard}.h5",
    log:
        "<logs>/factorize/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/factorize/{dataset}/{shard}.jsonl"
    threads: worth
    resources:
        mem_mb=memory,
        runtime=minutes,
        gpu=gpus,
    params:
        **job_params("factorize"),
    message:
        "factorizing {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/job.py"

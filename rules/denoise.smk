rule denoise:
    """Denoise the observations of a shard by one method at every rank, and measure it."""
    input:
        matrices="<results>/matrices/{dataset}/{shard}.h5",
        factors="<results>/factors/{dataset}/{shard}.h5",
    output:
        table="<results>/denoise/{dataset}/{method}/{shard}.h5",
        pictures=directory("<results>/pictures/{dataset}/denoise_{method}/{shard}"),
    log:
        "<logs>/denoise/{dataset}/{method}/{shard}.log",
    benchmark:
        "<benchmarks>/denoise/{dataset}/{method}/{shard}.jsonl"
    wildcard_constraints:
        method=any_of(study.all_methods),
    threads: 2
    resources:
        mem_mb=memory,
    params:
        settings=settings("denoise"),
        code=study.code("denoise"),
    message:
        "denoising {wildcards.dataset}/{wildcards.shard} by {wildcards.method}"
    script:
        "../scripts/denoise.py"

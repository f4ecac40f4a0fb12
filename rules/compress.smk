rule compress:
    """Reconstruct a shard at every rank and measure it."""
    input:
        matrices="<results>/matrices/{dataset}/{shard}.h5",
        factors="<results>/factors/{dataset}/{shard}.h5",
    output:
        table="<results>/compress/{dataset}/{shard}.h5",
        pictures=directory("<results>/pictures/{dataset}/compress/{shard}"),
    log:
        "<logs>/compress/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/compress/{dataset}/{shard}.jsonl"
    threads: 2
    resources:
        mem_mb=memory,
    params:
        settings=settings("compress"),
        code=study.code("compress"),
    message:
        "compressing {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/compress.py"

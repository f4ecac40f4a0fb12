rule encode:
    """Archive the planes of a shard at their target, and compare bytes on disk with other codecs."""
    input:
        matrices="<results>/matrices/{dataset}/{shard}.h5",
    output:
        table="<results>/encode/{dataset}/{shard}.h5",
        archives=directory("<results>/archives/{dataset}/{shard}"),
    log:
        "<logs>/encode/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/encode/{dataset}/{shard}.jsonl"
    threads: 2
    resources:
        mem_mb=memory,
    params:
        settings=settings("encode"),
        code=study.code("encode"),
    message:
        "encoding {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/encode.py"

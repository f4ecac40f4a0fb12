rule audit_conditioning:
    """Say how well conditioned the planes of a shard are, and how good their factors."""
    input:
        matrices="<results>/matrices/{dataset}/{shard}.h5",
        factors="<results>/factors/{dataset}/{shard}.h5",
    output:
        "<results>/audit/{dataset}/{shard}.h5",
    log:
        "<logs>/audit/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/audit/{dataset}/{shard}.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=settings("audit_conditioning"),
        code=study.code("audit_conditioning"),
    message:
        "auditing {wildcards.dataset}/{wildcards.shard}"
    script:
        "../scripts/audit_conditioning.py"


rule audit_gradients:
    """Check matrix derivatives numerically."""
    output:
        "<results>/audit/gradients.h5",
    log:
        "<logs>/audit/gradients.log",
    benchmark:
        "<benchmarks>/audit/gradients.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue", "", ""),
        code=study.code("audit_gradients"),
    message:
        "checking gradients"
    script:
        "../scripts/audit_gradients.py"


rule audit_stability:
    """Probe sums, log-sum-exp and softmax in every precision."""
    output:
        "<results>/audit/stability.h5",
    log:
        "<logs>/audit/stability.log",
    benchmark:
        "<benchmarks>/audit/stability.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue", "", ""),
        code=study.code("audit_stability"),
    message:
        "probing numerical stability"
    script:
        "../scripts/audit_stability.py"

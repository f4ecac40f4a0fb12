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


rule selfcheck:
    """Examine this installation, which takes time once in an environment; it starts first, since nothing precedes it."""
    output:
        "<results>/selfcheck.h5",
    log:
        "<logs>/selfcheck.log",
    benchmark:
        "<benchmarks>/selfcheck.jsonl"
    priority: 1
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("selfcheck"),
        code=study.code("selfcheck"),
    message:
        "examining this installation"
    script:
        "../scripts/selfcheck.py"


rule audit_own:
    """Audit a user's own functions and matrices."""
    input:
        named_file("functions_file"),
    output:
        "<results>/audit/own.h5",
    log:
        "<logs>/audit/own.log",
    benchmark:
        "<benchmarks>/audit/own.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_own"),
        code=study.code("audit_own"),
    message:
        "auditing own functions"
    script:
        "../scripts/audit_own.py"

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


rule audit_matrices:
    """Audit solvers, ranks and the laws of singular values on matrices of known answer."""
    output:
        "<results>/audit/matrices.h5",
    log:
        "<logs>/audit/matrices.log",
    benchmark:
        "<benchmarks>/audit/matrices.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue"),
        code=study.code("audit_matrices"),
    message:
        "auditing solvers and laws"
    script:
        "../scripts/audit_matrices.py"


rule audit_gradients:
    """Check matrix derivatives and the engines that compute them."""
    output:
        "<results>/audit/gradients.h5",
    log:
        "<logs>/audit/gradients.log",
    benchmark:
        "<benchmarks>/audit/gradients.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue"),
        code=study.code("audit_gradients"),
    message:
        "checking gradients"
    script:
        "../scripts/audit_gradients.py"


rule audit_stability:
    """Probe sums, log-sum-exp, softmax and contractions in every precision."""
    output:
        "<results>/audit/stability.h5",
    log:
        "<logs>/audit/stability.log",
    benchmark:
        "<benchmarks>/audit/stability.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue"),
        code=study.code("audit_stability"),
    message:
        "probing numerical stability"
    script:
        "../scripts/audit_stability.py"


rule audit_mutants:
    """Plant faults that the audits must catch."""
    output:
        "<results>/audit/mutants.h5",
    log:
        "<logs>/audit/mutants.log",
    benchmark:
        "<benchmarks>/audit/mutants.jsonl"
    resources:
        mem_mb=memory,
    params:
        settings=study.settings("audit_catalogue"),
        code=study.code("audit_mutants"),
    message:
        "planting faults"
    script:
        "../scripts/audit_mutants.py"


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

rule selfcheck:
    """Examine this installation, which takes time once in an environment; it starts first, since nothing precedes it."""
    output:
        out="<results>/selfcheck.h5",
    log:
        "<logs>/selfcheck.log",
    benchmark:
        "<benchmarks>/selfcheck.jsonl"
    priority: 1
    resources:
        mem_mb=memory,
    params:
        **job_params("selfcheck"),
    message:
        "examining this installation"
    script:
        "../scripts/job.py"


rule audit_own:
    """Audit a user's own functions and matrices."""
    input:
        file=study.config["audit"]["functions_file"] or [],
    output:
        out="<results>/audit/own.h5",
    log:
        "<logs>/audit/own.log",
    benchmark:
        "<benchmarks>/audit/own.jsonl"
    resources:
        mem_mb=memory,
    params:
        **job_params("audit_own"),
    message:
        "auditing own functions"
    script:
        "../scripts/job.py"

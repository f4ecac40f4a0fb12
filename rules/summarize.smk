rule gather:
    """Gather up to 500 stage files, where there are more than that."""
    input:
        parts=part_files,
    output:
        out="<results>/parts/{part}.h5",
    log:
        "<logs>/gather/{part}.log",
    benchmark:
        "<benchmarks>/gather/{part}.jsonl"
    resources:
        mem_mb=memory,
    params:
        **job_params("aggregate"),
    message:
        "gathering part {wildcards.part}"
    script:
        "../scripts/job.py"


rule aggregate:
    """Gather every measurement in one file."""
    input:
        parts=in_results(gathered_files(study)),
    output:
        out="<results>/metrics.h5",
    log:
        "<logs>/aggregate.log",
    benchmark:
        "<benchmarks>/aggregate.jsonl"
    resources:
        mem_mb=memory,
    params:
        **job_params("aggregate"),
    message:
        "gathering all measurements"
    script:
        "../scripts/job.py"


rule tables:
    """Summarize the measurements per dataset, rank and method."""
    input:
        metrics="<results>/metrics.h5",
        baseline=study.config["audit"]["baseline"] or [],
    output:
        outdir=report(
            directory("<results>/tables"),
            patterns=["{name}.csv"],
            caption="../docs/captions/tables.rst",
            category="Tables",
        ),
    log:
        "<logs>/tables.log",
    benchmark:
        "<benchmarks>/tables.jsonl"
    localrule: True
    resources:
        mem_mb=memory,
    params:
        **job_params("tables"),
    message:
        "writing tables"
    script:
        "../scripts/job.py"


rule report:
    """Write the report, one page that opens offline."""
    input:
        metrics="<results>/metrics.h5",
        matrices=in_results(shard_files(study, ["matrices"])),
        factors=in_results(shard_files(study, ["factors"])),
        tasks=in_results(shard_files(study, [task.place for task in study.all_tasks()])),
        baseline=study.config["audit"]["baseline"] or [],
    output:
        out=report(
            "<results>/report.html",
            caption="../docs/captions/report.rst",
            category="Report",
        ),
        pages=report(
            directory("<results>/report"),
            patterns=["{family}.html"],
            caption="../docs/captions/report.rst",
            category="Audits",
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.jsonl"
    resources:
        mem_mb=memory,
    params:
        **job_params("report"),
    message:
        "writing the report"
    script:
        "../scripts/job.py"


rule verdict:
    """Print what was done, what failed and where to look; fail when errors exceed what is allowed."""
    input:
        metrics="<results>/metrics.h5",
        tables="<results>/tables",
        report="<results>/report.html",
    output:
        out="<results>/summary.txt",
    log:
        "<logs>/verdict.log",
    benchmark:
        "<benchmarks>/verdict.jsonl"
    localrule: True
    resources:
        mem_mb=memory,
    params:
        **job_params("verdict"),
    message:
        "summing up"
    script:
        "../scripts/job.py"

from snakemake.utils import min_version

min_version("9.25")


configfile: "config/config.yaml"


report: "docs/report.rst"


pathvars:
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


include: "rules/common.smk"
include: "rules/ingest.smk"
include: "rules/factorize.smk"
include: "rules/tasks.smk"
include: "rules/audit.smk"
include: "rules/summarize.smk"


rule all:
    default_target: True
    input:
        in_results(everything(study)),
    message:
        "all results are there"

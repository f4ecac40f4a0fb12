for task in study.all_tasks():

    rule:
        name:
            task.name
        input:
            **{name: f"<results>/{name}/{{dataset}}/{{shard}}.h5" for name in task.reads},
        output:
            **{name: directory(f"<results>/{leaf}") for name, leaf in task.leaves.items()},
            out=f"<results>/{task.pattern}/{{shard}}.h5",
        log:
            f"<logs>/{task.pattern}/{{shard}}.log",
        benchmark:
            f"<benchmarks>/{task.pattern}/{{shard}}.jsonl"
        wildcard_constraints:
            method=any_of(study.all_methods(task)),
        threads: worth if task.threads > 1 else 1
        resources:
            mem_mb=memory,
            runtime=minutes,
        params:
            **job_params(task.name),
        message:
            f"{task.name} of {{wildcards}}"
        script:
            "../scripts/job.py"

    workflow.get_rule(task.name).docstring = task.summary

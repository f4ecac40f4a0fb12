import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from snakemake.exceptions import WorkflowError
from svdflow.study.config import ConfigError
from svdflow.study.run_lock import RunLock
from svdflow.study.outputs import GATHER, check_outputs, output_folders, result_files
from svdflow.study.study import Study

try:
    study = Study(config, Path(workflow.basedir), workflow.configfiles)
    if workflow.is_main_process:  # not in the process of a job, while others write
        check_outputs(study)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# The adapter reads runtime settings from here; Snakemake does not track it, since they never change a result.
config["runtime"] = study.config["runtime"]


lock = RunLock(study.results)


onstart:
    try:
        lock.take()
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    lock.release()


onerror:
    lock.release()


wildcard_constraints:
    dataset=r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    shard=r"[0-9]{5}",
    part=r"[0-9]{5}",
    method=r"[a-z][a-z0-9_]{0,63}",


def any_of(names):
    """A wildcard constraint that matches exactly these names, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or r"(?!)"


def job_params(stage):
    """Parameters of a stage or task in its rule, as what runs, what shapes its result, and the digest of its code."""

    def settings(wildcards):
        return study.settings(stage, *place(wildcards))

    def code(wildcards):
        return study.code(stage, *place(wildcards))

    return {"run": study.run(stage), "settings": settings, "code": code}


def place(wildcards):
    """Dataset, shard and method of a job; empty where its rule has none."""
    return [wildcards.get(name, "") for name in ("dataset", "shard", "method")]


def memory(wildcards, threads):
    """Megabytes of a job: runtime.memory_limit, its share of this machine, or what a scheduler gives by default."""
    if workflow.non_local_exec or workflow.remote_exec:
        return study.memory_mb(allocated=(workflow.resource_settings.default_resources or {}).get("mem_mb"))
    return study.memory_mb(share=threads / max(threads, workflow.resource_settings.cores or 1))


def task_inputs(task):
    """What the rule of a task reads, by the names that its function gives them."""
    return {name: f"<results>/{name}/{{dataset}}/{{shard}}.h5" for name in task.reads}


def task_outputs(task):
    """The file with its tables, and the folders beside it."""
    folders = {name: directory(f"<results>/{pattern}") for name, pattern in task.leaves.items()}
    return {"out": f"<results>/{task.pattern}/{{shard}}.h5", **folders}


def task_folders():
    """Folders below the results that hold the files of tasks."""
    return [task.place for task in study.all_tasks()]


def named_file(key):
    """The file that a key of the audits names, if it names one."""
    return study.config["audit"][key] or []


def shard_files(*folders):
    """The files in these folders below the results, for all shards, in the order of the sheet."""
    wanted = [(folder, shard) for folder, shard in study.parts() if folder.split("/")[0] in folders]
    return [f"<results>/{folder}/{shard}.h5" for folder, shard in wanted]


def stage_files():
    """Every file with measurements or errors in it."""
    parts = [f"<results>/{folder}/{shard}.h5" for folder, shard in study.parts()]
    return parts + [f"<results>/{file}" for file in study.audit_files]


def all_results():
    """Everything that a study makes: what is missing of it is made anew, whatever stands after it."""
    made = [*result_files(study), *output_folders(study)]
    return [f"<results>/{path.relative_to(study.results)}" for path in made]


def part_files(wildcards):
    """The stage files that one gathering job reads."""
    start = int(wildcards.part) * GATHER
    return stage_files()[start : start + GATHER]


def metrics_files(wildcards):
    """What the metrics are gathered from: the stage files, or their parts where there are many."""
    count = len(stage_files())
    if count <= GATHER:
        return stage_files()
    return [f"<results>/parts/{part:05d}.h5" for part in range(-(-count // GATHER))]

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from snakemake.exceptions import WorkflowError
from svdflow.errors import ConfigError, SvdflowError
from svdflow.study.run_lock import RunLock
from svdflow.study.outputs import check_outputs, everything, files_of_part, gathered_files, shard_files
from svdflow.study.study import Study

try:
    main = workflow.is_main_process
    study = Study(config, Path(workflow.basedir), workflow.configfiles, in_job=not main)
    if main:  # not in the process of a job, while others write
        check_outputs(study)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# The adapter reads runtime settings from here; Snakemake does not track it, since they never change a result.
config["runtime"] = study.config["runtime"]


lock = RunLock(study.results)


onstart:
    try:
        lock.take()
        study.write_manifests()
    except SvdflowError as error:
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


def memory(wildcards, threads, attempt):
    """Megabytes of a job: of this machine its share, of a scheduler what its work needs, times the attempt."""
    job = [*place(wildcards)[:2], threads, attempt]
    if workflow.non_local_exec or workflow.remote_exec:
        allocated = (workflow.resource_settings.default_resources or {}).get("mem_mb")
        return study.resources.memory_mb(*job, allocated=allocated)
    return study.resources.memory_mb(
        *job, share=threads / max(threads, workflow.resource_settings.cores or 1)
    )


def minutes(wildcards, threads, attempt):
    """Minutes that a scheduler gives the job of a shard."""
    return study.resources.minutes(*place(wildcards)[:2], threads, attempt)


def gpus(wildcards):
    """GPUs that a job asks a scheduler for; with backend auto it takes one that it finds."""
    return int(study.config["runtime"]["backend"] == "cupy")


def worth(wildcards):
    """Threads that the work of a shard is worth."""
    return study.resources.threads(*place(wildcards)[:2])


def in_results(files):
    """Files below the results, as rules name them."""
    return [f"<results>/{file}" for file in files]


def part_files(wildcards):
    """The stage files that one gathering job reads."""
    return in_results(files_of_part(study, int(wildcards.part)))

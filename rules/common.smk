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

# Adapters read runtime settings from here; Snakemake does not track it, since they never change a result.
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


def settings(stage):
    """What shapes the result of a stage, as a function of the job's wildcards."""

    def of_job(wildcards):
        return study.settings(stage, wildcards.dataset, wildcards.shard, wildcards.get("method", ""))

    return of_job


def memory(wildcards):
    """Megabytes that a job may take, from runtime.memory_limit."""
    return study.memory_mb


def named_file(key):
    """The file that a key of the audits names, if it names one."""
    path = study.config["audit"][key]
    return [path] if path else []


def shard_files(*stages):
    """The files of these stages, for all shards, in the order of the sheet."""
    return [f"<results>/{stage}/{name}/{shard}.h5" for stage, name, shard in study.parts() if stage in stages]


def stage_files():
    """Every file with measurements or errors in it."""
    audits = [f"<results>/{file}" for file in study.audit_files]
    return shard_files("matrices", "factors", "compress", "denoise", "encode", "audit") + audits


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

"""Runs that are started, disturbed and looked at as a user, or bad luck, would."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil

KEPT = (".h5", ".html", ".csv", ".md", ".png")


def svdflow(workflow, *words, **options):
    command, *rest = words
    return workflow.command(command, "--config", "study.yaml", *rest, module="svdflow", **options)


def start(workflow, *words, environment=None, snakemake=False):
    """A run that goes on by itself, in a session of its own; what it says is in ``said.txt``."""
    config = "--configfile" if snakemake else "--config"
    module = ["snakemake"] if snakemake else ["svdflow", *(words or ["run"])]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
    with (workflow.folder / "said.txt").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", *module, config, "study.yaml"],
            cwd=workflow.folder,
            env={**inherited, "PYTHONPATH": str(workflow.folder / "scripts"), **(environment or {})},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def said(workflow):
    return (workflow.folder / "said.txt").read_text()


def family(run):
    """The process and all that it started."""
    try:
        process = psutil.Process(run.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_all(run):
    """What a power cut does to a run: every process of it ends at once."""
    processes = family(run)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)  # so that none sees another one die
    for process in {*processes, *family(run)}:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    run.wait()
    psutil.wait_procs(processes, timeout=10)


def contents(workflow):
    """The results that must be the same: file -> bytes."""
    results = workflow.folder / "results"
    return {
        str(p.relative_to(results)): p.read_bytes()
        for p in results.rglob("*")
        if p.suffix in KEPT and not any(part.startswith(".") for part in p.relative_to(results).parts)
    }


def users_files(workflow):
    """What the user put there: file -> bytes."""
    ours = {"results", ".snakemake", "said.txt", "scripts", "tmp"}
    found = {}
    for top in workflow.folder.iterdir():
        if top.name not in ours:
            for path in [top] if top.is_file() else top.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    found[str(path.relative_to(workflow.folder))] = path.read_bytes()
    for mine in ("results/notes.txt", "results/pictures/mine/thesis.txt"):
        found[mine] = (workflow.folder / mine).read_bytes()
    return found


def changed(before, after):
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def finished_shards(workflow):
    """Published stage files and when they were written."""
    results = workflow.folder / "results"
    return {
        p: p.stat().st_mtime_ns
        for p in results.rglob("*.h5")
        if not any(part.startswith(".") for part in p.relative_to(results).parts) and p.name != "metrics.h5"
    }


def made_again(before, workflow):
    """How many finished shards were written once more; the archives of one shard are one folder, from one job."""
    after = finished_shards(workflow)
    results = workflow.folder / "results"
    again = [path for path, time in before.items() if after.get(path) != time]
    return len({path.parent if path.is_relative_to(results / "archives") else path for path in again})

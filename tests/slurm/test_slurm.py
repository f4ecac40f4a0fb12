"""A real Slurm: the workflow through its executor, jobs that fail or are killed, one factorization over many tasks."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from slurm_node import CONFIGURATION, FILES, single_node, why_not
from small_study import smallest_workflow

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# The first attempt of one job fails, as where its memory ran out; it is known by what it was given.
PLANTED = """\
    if snakemake.output[-1].endswith("compress/photos/00000.h5") and snakemake.resources.mem_mb == 2000:
        raise SystemExit(1)
"""
GUARD = 'if __name__ == "__main__":\n'
LONGEST = 400.0  # seconds of a run
PROFILE = ("--workflow-profile", "profiles/slurm")
SHEET = "name\tkind\tsource\ttasks\nbig\tmatrix\tbig.h5:/A\tcompress\n"


@pytest.fixture(scope="module")
def slurm():
    with single_node() as cluster:
        yield cluster
        assert cluster.queue() == [], "jobs are left"
        assert len(cluster.alive()) == 3, "a daemon ended before"
    assert cluster.alive() == [], "daemons are left"
    assert not any((CONFIGURATION / name).exists() for name in FILES), "files are left"


def results(workflow, *suffixes):
    """Content of the results that are promised bit for bit, by name."""
    folder = workflow.folder / "results"
    files = [path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(workflow, *words, meanwhile=lambda: None):
    """What `svdflow run` said, with a call every second as long as it runs."""
    command = [sys.executable, "-m", "svdflow", "run", "--config", "study.yaml", "--", *words]
    path = os.pathsep.join(map(str, [workflow.folder / "scripts", *workflow.path]))
    with (workflow.folder / "said").open("w+") as said:
        child = subprocess.Popen(
            command, cwd=workflow.folder, env=os.environ | {"PYTHONPATH": path}, stdout=said, stderr=said
        )
        deadline = time.monotonic() + LONGEST
        try:
            while child.poll() is None:
                assert time.monotonic() < deadline, "it does not end"
                meanwhile()
                time.sleep(1)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        said.seek(0)
        text = said.read()
    assert child.returncode == 0, text
    return text


def jobs_of(slurm, rule):
    return [job for job in slurm.jobs() if f"rule_{rule}" in job.get("Comment", "")]


def test_the_workflow_with_a_job_that_fails_and_one_that_is_killed(slurm, tmp_path):
    """Both are tried again, with twice the memory and time; the results are those of a run on this machine."""
    workflow = smallest_workflow(tmp_path / "study")
    script = workflow.folder / "scripts" / "job.py"
    script.write_text(script.read_text().replace(GUARD, GUARD + PLANTED))
    here = workflow.copy(tmp_path / "here")
    killed = []

    def kill():
        for job in jobs_of(slurm, "factorize_wildcards_photos_00001"):
            if not killed and job["JobState"] == "RUNNING":
                killed.append(job["JobId"])
                slurm.ask("scancel", "-s", "KILL", job["JobId"])

    run(workflow, *PROFILE, meanwhile=kill)
    assert killed, "no job was caught while it ran"
    for rule in ("factorize_wildcards_photos_00001", "compress_wildcards_photos_00000"):
        tried = jobs_of(slurm, rule)
        assert [job["MinMemoryNode"] for job in tried] == ["2000M", "4000M"]
        assert [job["TimeLimit"] for job in tried] == ["00:30:00", "01:00:00"]
        assert tried[-1]["JobState"] == "COMPLETED"
    run(here, "--cores", "2")
    kinds = (".h5", ".csv", ".png", ".md")
    assert len(results(here, *kinds)) > 20
    assert results(workflow, *kinds) == results(here, *kinds)


@pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed: EXTRAS=cluster"
)
def test_one_factorization_over_the_tasks_of_its_job(slurm, tmp_path):
    beside = Path(find_spec("dask_jobqueue").origin).parents[1]
    workflow = smallest_workflow(tmp_path / "study")
    workflow.path = (beside,)
    A = np.random.default_rng(0).standard_normal((40_000, 200)) / np.arange(1, 201)
    with h5py.File(workflow.folder / "big.h5", "w") as file:
        file["A"] = A.astype(np.float32)
    (workflow.folder / "sheet.tsv").write_text(SHEET)
    threads = {"datasets": "sheet.tsv", "factorize": {"max_rank": 10, "method": "krylov"}}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(threads))
    here = workflow.copy(tmp_path / "here")
    srun = {"engine": "dask", "cluster": "srun", "allow_plain": True}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump({**threads, "runtime": srun}))
    until = ("--until", "factorize")
    run(workflow, *PROFILE, "--set-resources", "factorize:tasks=4", "factorize:mpi=srun", *until)
    (log,) = (workflow.folder / "results" / "logs" / "factorize" / "big").glob("*.log")
    assert "dask on cluster srun: 3 threads" in log.read_text()
    (job,) = jobs_of(slurm, "factorize_wildcards_big")
    assert job["NumTasks"] == "4"
    run(here, "--cores", "2", *until)
    assert results(workflow, ".h5") == results(here, ".h5")
    assert "factors/big/00000.h5" in results(here, ".h5")


def test_two_jobs_get_two_gpus(slurm):
    """The standard resource becomes ``--gpus``, and Slurm gives each job its own."""
    words = [
        "--gpus=1",
        "--mem=100",
        "--parsable",
        "--wait",
        "--wrap",
        "echo device $CUDA_VISIBLE_DEVICES; sleep 2",
    ]
    children = [
        subprocess.Popen(["sbatch", f"--output={slurm.state}/gpu{n}", *words], stdout=subprocess.DEVNULL)
        for n in "ab"
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    assert sorted((slurm.state / f"gpu{n}").read_text() for n in "ab") == ["device 0\n", "device 1\n"]

"""Which dask clusters a config may name, and the words that refuse the others before any job starts."""

import json

import pytest

from svdflow.compute.cluster import PROCESS_BYTES, JobEngine, worker_count
from svdflow.compute.engine import Engine
from svdflow.compute.runtime import EngineChoice, Runtime
from svdflow.errors import ConfigError, WorkersLostError
from svdflow.study import dask_cluster
from svdflow.study.config import complete_config

TLS = ("tls_ca", "tls_cert", "tls_key")


def complete(**runtime):
    return complete_config({"runtime": runtime})["runtime"]


@pytest.fixture
def certificates(tmp_path):
    """Files of the three names; nobody looks into them before a connection is made."""
    for name in TLS:
        (tmp_path / name).write_text("-")
    return {name: str(tmp_path / name) for name in TLS}


@pytest.fixture
def all_installed(monkeypatch):
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: name)


def test_threads_are_the_default_and_need_nothing_installed(monkeypatch):
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None)
    assert complete()["engine"] == "threads"
    with JobEngine(Runtime(threads=3)) as engine:
        assert type(engine()) is Engine and engine().threads == 3
    with pytest.raises(ConfigError, match="needs distributed; install the extra 'cluster'"):
        complete(engine="dask")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_this_machine_needs_no_tls(address, all_installed):
    assert complete(engine="dask", cluster=address)["cluster"] == address


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.5:8786", "tcp://node7:8786", "tcp://127.0.0.1.evil.org:8786"]
)
def test_an_address_beyond_it_does(address, all_installed, certificates):
    with pytest.raises(ConfigError, match="beyond this machine and without TLS; give tls_ca"):
        complete(engine="dask", cluster=address)
    complete(engine="dask", cluster=address, allow_plain=True)
    secure = address.replace("tcp", "tls")
    complete(engine="dask", cluster=secure, **certificates)
    with pytest.raises(ConfigError, match="give tls_ca, tls_cert and tls_key"):
        complete(engine="dask", cluster=secure)


def test_tasks_of_srun_reach_over_nodes(all_installed, certificates):
    with pytest.raises(ConfigError, match="cluster srun connects nodes; give tls_ca"):
        complete(engine="dask", cluster="srun")
    complete(engine="dask", cluster="srun", **certificates)


def test_a_scheduler_file_is_held_to_the_address_in_it(tmp_path, all_installed):
    file = tmp_path / "scheduler.json"
    with pytest.raises(ConfigError, match="there is no such file"):
        complete(engine="dask", cluster=str(file))
    for content in ("[", "[]", "{}"):
        file.write_text(content)
        with pytest.raises(ConfigError, match="is no scheduler file"):
            complete(engine="dask", cluster=str(file))
    file.write_text(json.dumps({"address": "tcp://10.1.1.1:8786"}))
    with pytest.raises(ConfigError, match="without TLS"):
        complete(engine="dask", cluster=str(file))
    file.write_text(json.dumps({"address": "tcp://127.0.0.1:8786"}))
    complete(engine="dask", cluster=str(file))


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (
            {"engine": "threads", "cluster": "cuda"},
            "cluster is 'cuda', and engine is threads; write engine: dask",
        ),
        ({"engine": "dask", "cluster": "ucx://node:1"}, "it must be tls://host:port"),
        ({"engine": "dusk"}, "did you mean 'dask'"),
        ({"engine": "dask", "workers": -1}, "'runtime.workers' is -1"),
        ({"engine": "dask", "tls_ca": "/nowhere"}, "tls_ca is set, and not tls_cert, tls_key"),
        ({"engine": "dask", **dict.fromkeys(TLS, "/nowhere")}, "tls_ca is '/nowhere'; no such file"),
    ],
)
def test_what_contradicts_itself_is_named(runtime, words, all_installed):
    with pytest.raises(ConfigError, match=words):
        complete(**runtime)


@pytest.mark.parametrize(("cluster", "module"), [("cuda", "dask_cuda"), ("srun", "dask_jobqueue")])
def test_what_a_cluster_needs_is_named(cluster, module, monkeypatch):
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None if name == module else name)
    with pytest.raises(ConfigError, match=f"needs {module}; install"):
        complete(engine="dask", cluster=cluster, allow_plain=True)


def test_workers_fit_threads_and_memory_of_the_job():
    def count(threads, workers=0, limit=None):
        return worker_count(
            Runtime(threads=threads, memory_limit=limit, engine=EngineChoice("dask", "local", workers))
        )

    assert [count(4), count(4, 2), count(4, 9)] == [4, 2, 4]
    assert count(8, limit=8 * PROCESS_BYTES) == 4, "half of the memory is for the work"
    assert count(8, limit=1) == 1


def test_srun_outside_of_a_job_is_refused(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    job = Runtime(engine=EngineChoice("dask", "srun"))
    with JobEngine(job) as engine, pytest.raises(WorkersLostError, match="SLURM_JOB_ID"):
        engine()


def test_tasks_of_an_allocation_are_a_scheduler_and_workers():
    srun = {"engine": "dask", "cluster": "srun"}
    assert [EngineChoice.of(srun, tasks).workers for tasks in (0, 1, 2, 9)] == [0, 0, 1, 8]
    assert EngineChoice.of({**srun, "workers": 3}, 9).workers == 3
    assert EngineChoice.of({"engine": "dask", "cluster": "local"}, 9).workers == 0


def test_a_choice_is_read_off_the_section(certificates):
    section = {"engine": "dask", "cluster": "local", "workers": 3, **certificates}
    choice = EngineChoice.of(section)
    assert (choice.engine, choice.cluster, choice.workers) == ("dask", "local", 3)
    assert choice.tls == tuple(certificates.values())
    assert EngineChoice.of({"backend": "auto"}) == EngineChoice(), "a section without a word of it"

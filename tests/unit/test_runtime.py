"""The one object that every job obeys: what each of its settings changes, and that none changes a result."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from svdflow.compute.runtime import Runtime, run_job
from svdflow.errors import BackendError
from svdflow.images.batch import each_item
from svdflow.store import open_published, read_table
from svdflow.study import sizes
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard

COMPRESS = {
    "dataset": "d", "shard": 0, "ranks": [1, 3], "energies": [], "powers_of_two": False, "metrics": ["psnr"],
    "images": "none",
}  # fmt: skip


def planes(side, count=6):
    """Items of one plane of side x side values."""
    stored = SimpleNamespace(planes={"grey": np.zeros((side, side))})
    return [SimpleNamespace(index=i, name=str(i), observations=[stored]) for i in range(count)]


@pytest.fixture
def busiest(monkeypatch):
    """Runs items and says how many were worked on at once."""
    monkeypatch.setattr("svdflow.images.batch.StoredArray", np.ndarray)

    def run(runtime, side=100, bytes_a_value=8.0):
        lock, now, most = threading.Lock(), 0, 0

        def work(item):
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.05)
            with lock:
                now -= 1
            return [{"item": item.index}]

        rows, errors = each_item(
            work, planes(side), stage="s", dataset="d", runtime=runtime, bytes_a_value=bytes_a_value
        )
        assert [row["item"] for row in rows] == list(range(6)) and not errors
        return most

    return run


def test_threads_are_items_side_by_side(busiest):
    assert [busiest(Runtime(threads=n)) for n in (1, 3)] == [1, 3]


def test_a_memory_limit_means_fewer_items_side_by_side_and_never_none(busiest):
    item = 8 * 100 * 100
    assert busiest(Runtime(threads=4, memory_limit=100 * item)) == 4
    assert busiest(Runtime(threads=4, memory_limit=2 * item)) == 2
    assert busiest(Runtime(threads=4, memory_limit=item // 2)) == 1


def test_threads_and_memory_change_no_value(factored_shard, tmp_path):
    shard = factored_shard()
    shard.image(np.random.default_rng(1).integers(0, 256, (40, 30), dtype=np.uint8))
    shard.write()
    tables = []
    for runtime in (Runtime(threads=1), Runtime(threads=3), Runtime(threads=3, memory_limit=1)):
        compress_shard(
            shard.matrices, shard.factors, tmp_path / "c.h5", tmp_path / "p", runtime=runtime, **COMPRESS
        )
        tables.append(read_table(tmp_path / "c.h5", "compress"))
    assert len(tables[0]) == 2 and tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_provenance_stands_in_the_file(factored_shard, tmp_path):
    shard = factored_shard()
    shard.image(np.eye(8))
    shard.write()
    runtime = Runtime(provenance={"settings": {"a": 1}, "code": "0123"})
    compress_shard(
        shard.matrices, shard.factors, tmp_path / "c.h5", tmp_path / "p", runtime=runtime, **COMPRESS
    )
    with open_published(tmp_path / "c.h5", "compress") as file:
        assert file.attrs["code"] == "0123"


def test_an_explicit_backend_without_a_device_is_refused(factored_shard, tmp_path, monkeypatch):
    shard = factored_shard()
    shard.image(np.eye(8))
    shard.write()
    monkeypatch.setattr("svdflow.compute.backend._cupy_trouble", lambda: "no CUDA device was found")
    options = {"dataset": "d", "shard": 0, "item_rank": 2, "noisy_rank": 0, "seed": 1}
    factorize_shard(shard.matrices, tmp_path / "auto.h5", runtime=Runtime(backend="auto"), **options)
    assert set(read_table(tmp_path / "auto.h5", "factorize")["backend"]) == {"numpy"}
    factorize_shard(shard.matrices, tmp_path / "cupy.h5", runtime=Runtime(backend="cupy"), **options)
    (error,) = read_table(tmp_path / "cupy.h5", "errors")["message"]
    assert "no CUDA device" in error and issubclass(BackendError, Exception)


def test_a_job_gets_its_files_settings_and_runtime(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("svdflow.compute.runtime.imported", lambda load: lambda **given: seen.update(given))
    monkeypatch.setattr("svdflow.compute.runtime._only_ours", lambda _: None)
    run_job(
        SimpleNamespace(
            scriptdir=".", log=[str(tmp_path / "log")], rule="r", threads=3, resources=SimpleNamespace(mem_mb=5),
            params={"run": "a:b", "settings": {"seed": 1}, "code": "x"}, config={"runtime": {"backend": "numpy"}},
            input={"matrices": "m.h5", "parts": ["a", "b"]}, output={"out": "o.h5"},
        )
    )  # fmt: skip
    runtime = seen.pop("runtime")
    assert seen == {"matrices": "m.h5", "parts": ["a", "b"], "out": "o.h5", "seed": 1}
    assert (runtime.threads, runtime.memory_limit, runtime.backend) == (3, 5 * 2**20, "numpy")
    assert runtime.provenance["settings"] == {"seed": 1} and runtime.provenance["code"] == "x"


def test_what_fails_after_its_work_fails_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr("svdflow.compute.runtime.imported", lambda load: lambda **given: False)
    monkeypatch.setattr("svdflow.compute.runtime._only_ours", lambda _: None)
    with pytest.raises(SystemExit):
        run_job(
            SimpleNamespace(
                scriptdir=".", log=[str(tmp_path / "log")], rule="r", threads=1, resources=SimpleNamespace(mem_mb=5),
                params={"run": "a:b"}, config={"runtime": {"backend": "numpy"}}, input={}, output={},
            )
        )  # fmt: skip


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch):
    """The least limit of the groups above the process, of version 2; "max" is none."""
    root = tmp_path / "cgroup"
    (root / "user" / "job").mkdir(parents=True)
    (root / "user" / "memory.max").write_text("3000000000\n")
    (root / "user" / "job" / "memory.max").write_text("max\n")
    groups = tmp_path / "self"
    groups.write_text("0::/user/job\n")
    monkeypatch.setattr(sizes, "CGROUP", groups)
    monkeypatch.setattr(sizes, "CGROUPS", root)
    assert list(sizes.container_limits()) == [3 * 10**9]
    groups.write_text("5:memory:/box\n3:cpu:/box\n")
    (root / "memory" / "box").mkdir(parents=True)
    (root / "memory" / "box" / "memory.limit_in_bytes").write_text("2000000000")
    assert list(sizes.container_limits()) == [2 * 10**9]

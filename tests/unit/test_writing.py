"""A disk that is full, read-only or failing is no fault of an item: the job fails, leaves nothing, and says why."""

import errno
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from svdflow.compute.runtime import Runtime
from svdflow.errors import WriteError
from svdflow.images.batch import each_item
from svdflow.images.ingest_images import ingest_images
from svdflow.matrix.ingest_synthetic import ingest_synthetic
from svdflow.store import open_published, publish, read_table, write_array
from svdflow.store.error_rows import error_row
from svdflow.store.files import publish_text
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard
from svdflow.tasks.denoise import denoise_shard
from svdflow.tasks.encode import encode_shard

SHARD = {"dataset": "d", "shard": 0}
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def shard(tmp_path):
    """A photograph, ingested and factorized."""
    pixels = np.clip(128 + 20 * np.random.default_rng(0).normal(size=(24, 20)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ingest(tmp_path, tmp_path / "matrices.h5")
    factorize_shard(
        tmp_path / "matrices.h5", tmp_path / "factors.h5", item_rank=4, noisy_rank=4, seed=0, **SHARD
    )
    (tmp_path / "out").mkdir()
    return tmp_path


def ingest(folder, out):
    file = {"index": 0, "path": str(folder / "a.png"), "name": "a.png"}
    ingest_images([file], out, colour="gray", noise_sigma=[], seed=0, **SHARD)


def compress(folder, out):
    compress_shard(
        folder / "matrices.h5", folder / "factors.h5", out, out.with_suffix(""), ranks=[1], energies=[],
        powers_of_two=False, metrics=["psnr"], images="all", **SHARD,
    )  # fmt: skip


def denoise(folder, out):
    denoise_shard(
        folder / "matrices.h5", folder / "factors.h5", out, out.with_suffix(""), method="shrink", ranks=[1],
        rank_rules=["gavish_donoho"], **SHARD,
    )  # fmt: skip


def archive(folder, out):
    encode_shard(
        folder / "matrices.h5",
        out,
        out.with_suffix(""),
        target="psnr=20",
        forms=["svd"],
        codecs=[],
        seed=0,
        **SHARD,
    )


def factorize(folder, out):
    factorize_shard(folder / "matrices.h5", out, item_rank=4, noisy_rank=0, seed=0, **SHARD)


def generate(folder, out):
    ingest_synthetic(
        out, dataset="d", shard="00000", family="waves", parameters={"rows": 20, "columns": 20}, replicates=[0],
        seed=0, with_clean=False,
    )  # fmt: skip


STAGES = (ingest, factorize, compress, denoise, archive, generate)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("room", [0, 1500, 6000])
def test_a_full_disk_fails_the_job_and_leaves_nothing(shard, monkeypatch, stage, room):
    """Writing stops after so many bytes, as a full disk would stop it; pictures go through Python's own files."""
    left, pwrite = [room], os.pwrite

    def limited(file, data, place):
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data, place)

    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(OSError, match="no space is left on the file system of") as caught:
        stage(shard, shard / "out" / "x.h5")
    assert caught.value.errno == errno.ENOSPC
    left_over = [p for p in (shard / "out").iterdir() if p.name not in (".svdflow", ".x.svdflow")]
    assert [p for p in left_over if p.name != "x"] == [], "a result or a temporary file is left"
    monkeypatch.undo()
    stage(shard, shard / "out" / "x.h5")
    assert read_table(shard / "out" / "x.h5", "errors").empty, "the next run does it again, whole"


def test_a_full_disk_while_pictures_are_written_fails_the_job(shard, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("svdflow.tasks.compress.write_panel", full)
    with pytest.raises(OSError, match="No space left"):
        compress(shard, shard / "out" / "x.h5")
    assert not (shard / "out" / "x.h5").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_these_are_never_rows_of_an_item(number):
    with pytest.raises(OSError, match="Errno"):
        error_row("d", 0, "a.png", "ingest", OSError(number, os.strerror(number)))


def test_what_cannot_be_read_of_the_users_is_a_row():
    row = error_row("d", 0, "a.png", "ingest", OSError(errno.EIO, "Input/output error"))
    assert row["code"] == "OSError"


def test_each_item_lets_our_own_errors_through():
    def work(item):
        raise WriteError(errno.EIO, "x.h5 cannot be written")

    with pytest.raises(WriteError):
        each_item(
            work,
            [SimpleNamespace(index=0, name="a.png", observations=[SimpleNamespace(planes={})])],
            stage="compress",
            dataset="d",
            runtime=Runtime(threads=1),
        )


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_every_reason_is_one_sentence(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", refuse)
    with (
        pytest.raises(WriteError, match=r"run again|pathvars") as caught,
        publish(tmp_path / "a.h5", "matrices") as f,
    ):
        write_array(f, "A", np.ones(3))
    assert "a.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(FULL))
    with pytest.raises(WriteError, match=r"summary\.txt"):
        publish_text(tmp_path / "summary.txt", "words")
    assert not (tmp_path / "summary.txt").exists()


def test_the_process_ends_in_peace(tmp_path):
    """HDF5 itself keeps a file open that it cannot write, complains for each object in it, and dies at exit."""
    code = f"""
        import errno, os
        import numpy as np
        from svdflow.errors import WriteError
        from svdflow.store import publish, write_array
        def full(*_): raise OSError(errno.ENOSPC, "full")
        os.pwrite = full
        try:
            with publish({str(tmp_path / "a.h5")!r}, "matrices") as file:
                for i in range(200): write_array(file, f"a{{i}}", np.ones(100))
        except WriteError as error:
            print("said:", error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("said: no space is left")
    assert not done.stderr
    assert not list(tmp_path.iterdir())


def test_a_sealed_file_is_read_back(tmp_path):
    """The sink writes what h5py's own driver would read."""
    with publish(tmp_path / "a.h5", "matrices", {"note": "x" * 70000}) as file:
        write_array(file, "A", np.arange(10.0))
    with open_published(tmp_path / "a.h5") as file:
        assert file.attrs["note"] == "x" * 70000

"""A large plane whose factorization was stopped goes on from where it stood, to the same bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svdflow.matrix import MatrixSource, panels
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.store import read_table
from svdflow.svd import factorize_shard

SHAPE = (6000, 400)
READS_BEFORE = 2.5  # until it is stopped
CHILD = """
import sys
from test_stage_checkpoint import factorize_stopped
factorize_stopped(sys.argv[1])
"""


class Stopped(BaseException):
    """As a signal would: nothing that a shard makes a row of its errors."""


class Counted(MatrixSource):
    """Counts rows read, and ends with `stop` after so many."""

    def __init__(self, source, rows, stop):
        self._source, self._left, self._stop, self.rows_read = source, rows, stop, 0
        self.shape, self.dtype, self.name = source.shape, source.dtype, source.name

    def read(self, start, stop):
        self.rows_read += stop - start
        if self._left is not None and self.rows_read > self._left:
            self._stop()
        return self._source.read(start, stop)


def stopped():
    raise Stopped


def factorize(folder, rows=None, stop=stopped):
    """Rows read by the stage, with every plane large and in ten panels."""
    opened = []
    source = factorize_shard.Task.source

    def counted(task):
        opened.append(Counted(source(task), rows, stop))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(factorize_shard, "SIDE_BY_SIDE", 0)
        patched.setattr(panels, "PANEL_BYTES", SHAPE[0] * SHAPE[1] * 4 // 10)
        patched.setattr(factorize_shard.Task, "source", counted)
        factorize_shard.factorize_shard(
            folder / "matrices.h5",
            folder / "factors.h5",
            dataset="one",
            shard=0,
            item_rank=8,
            noisy_rank=0,
            seed=1,
            method="krylov",
            tol=1e-4,
        )
    return opened[0].rows_read


def factorize_stopped(folder):
    """Be killed between two panels."""
    factorize(Path(folder), READS_BEFORE * SHAPE[0], lambda: os.kill(os.getpid(), signal.SIGKILL))


def kept(folder):
    return sorted(p.name for p in folder.glob(".factors.h5.checkpoint/*/items/000000/0/matrix/read_*.h5"))


def ingest(folder, scale=1.0):
    rng = np.random.default_rng(0)
    A = rng.standard_normal(SHAPE) * np.arange(1, SHAPE[1] + 1) ** -0.3
    A[SHAPE[0] // 3 : SHAPE[0] // 3 + 10] *= scale  # in the fourth of ten panels
    np.save(folder / "A.npy", A.astype(np.float32))
    file = {"index": 0, "name": "A.npy", "path": str(folder / "A.npy")}
    ingest_matrix([file], folder / "matrices.h5", dataset="one", shard="00000")


@pytest.fixture
def linked(tmp_path):
    ingest(tmp_path)
    return tmp_path


@pytest.fixture
def undisturbed(linked):
    """Bytes of the factors, and rows that they took."""
    rows = factorize(linked)
    content = (linked / "factors.h5").read_bytes()
    assert len(read_table(linked / "factors.h5", "errors")) == 0
    (linked / "factors.h5").unlink()
    assert not list(linked.glob(".*.checkpoint"))
    return content, rows


def test_a_killed_process_leaves_what_the_next_one_goes_on_from(linked, undisturbed):
    content, rows = undisturbed
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(linked)], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert child.returncode == -signal.SIGKILL
    finished = len(kept(linked))
    assert finished == 2
    assert not (linked / "factors.h5").exists()
    again = factorize(linked)
    assert (linked / "factors.h5").read_bytes() == content
    assert again == rows - finished * SHAPE[0]
    assert not list(linked.glob(".*.checkpoint"))


def test_matrices_that_changed_are_factorized_anew(linked, undisturbed):
    with pytest.raises(Stopped):
        factorize(linked, READS_BEFORE * SHAPE[0])
    assert kept(linked)
    scratch = linked / ".factors.h5.checkpoint" / "left" / ".svdflow-x.scratch"
    scratch.parent.mkdir()
    scratch.touch()
    ingest(linked, scale=3.0)
    factorize(linked)
    changed = (linked / "factors.h5").read_bytes()
    assert not list(linked.glob(".*.checkpoint"))
    (linked / "factors.h5").unlink()
    factorize(linked)
    assert (linked / "factors.h5").read_bytes() == changed != undisturbed[0]


def test_a_plane_that_fails_leaves_no_checkpoint(linked):
    def fail():
        raise OSError("the disk is gone")

    factorize(linked, READS_BEFORE * SHAPE[0], fail)
    assert "the disk is gone" in read_table(linked / "factors.h5", "errors")["message"][0]
    assert not list(linked.glob(".*.checkpoint"))


def test_small_planes_keep_none(linked, monkeypatch):
    monkeypatch.setattr("svdflow.svd.algorithm.Journal", pytest.fail)
    options = {"dataset": "one", "shard": 0, "item_rank": 8, "noisy_rank": 0, "seed": 1, "method": "krylov"}
    factorize_shard.factorize_shard(linked / "matrices.h5", linked / "factors.h5", **options)
    assert len(read_table(linked / "factors.h5", "factorize")) == 1


@pytest.mark.parametrize("asked", [{}, {"precision": "mixed"}])
def test_the_precision_asked_for_reaches_the_factorization(linked, monkeypatch, asked):
    seen = []
    plain = factorize_shard.factorize
    monkeypatch.setattr(
        factorize_shard, "factorize", lambda *a, **more: seen.append(more["precision"]) or plain(*a, **more)
    )
    options = {"dataset": "one", "shard": 0, "item_rank": 8, "noisy_rank": 0, "seed": 1, **asked}
    factorize_shard.factorize_shard(linked / "matrices.h5", linked / "factors.h5", **options)
    assert seen == [asked.get("precision", "full")]


def test_a_folder_of_the_users_in_the_place_of_checkpoints_is_left_alone(linked):
    mine = linked / ".factors.h5.checkpoint" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        factorize(linked)
    assert mine.read_text() == "mine" and not (linked / "factors.h5").exists()

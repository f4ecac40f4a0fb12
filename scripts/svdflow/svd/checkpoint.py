"""What finished reads summed, on disk, so that a factorization that was killed goes on where it stood.

A search is a pure function of the sums of its reads. So nothing else is kept: after a kill the search runs again from
its start, takes the sums it finds here instead of reading the matrix, and arrives at the same bits. Each entry carries
a checksum of the block that was multiplied; one that does not match ends the recall.
"""

import hashlib
import logging
import os
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.errors import StoreError
from svdflow.matrix.sources import MatrixSource
from svdflow.store import StoredFile, open_published, publish, read_array, write_array
from svdflow.store.files import publish_text
from svdflow.store.ownership import make_folder, refuse_foreign_in, remove_ours
from svdflow.svd.plan import FULL, Plan
from svdflow.svd.read.facts import Facts
from svdflow.svd.read.panel_work import Sums

log = logging.getLogger(__name__)

KIND = "checkpoint"  # what files of the journal call themselves


class Journal:
    """The sums of every read, one file each, in a folder that belongs to one factorization.

    Parameters
    ----------
    folder : path
        Made where it is missing. What another factorization left in it is removed; a folder that holds anything that
        svdflow did not write is refused.
    identity : str
        Of matrix, plan and seed; see `identity_of`.

    Raises
    ------
    NotOursError
        A ValueError too: `folder` is a file, or holds files that svdflow did not write or that were changed since. They
        stay as they are.
    """

    def __init__(self, folder: str | Path, identity: str) -> None:
        self.folder = Path(folder)
        refuse_foreign_in(self.folder)
        known = self.folder / "identity.txt"
        if known.exists() and known.read_text(encoding="utf-8").strip() != identity:
            log.warning("%s: checkpoint of another matrix, plan or seed; starting anew", self.folder)
            remove_ours(self.folder)
        make_folder(self.folder)
        publish_text(known, identity + "\n")

    def recall(self, read: int, X: np.ndarray | None) -> Sums | None:
        """The sums of that read, if it was finished with the same block."""
        path = self._path(read)
        if not path.exists():
            return None
        try:
            with open_published(path, KIND) as file:
                if file.attrs["block"] != _checksum(X):
                    return None
                sums = Sums(read_array(file, "product"), _facts(file))
        except (StoreError, OSError, KeyError) as error:
            log.warning("%s: not used (%s)", path, error)
            return None
        log.info("read %d taken from the checkpoint %s", read, self.folder)
        return sums

    def record(self, read: int, X: np.ndarray | None, sums: Sums) -> None:
        """Keep the sums of a finished read."""
        with publish(self._path(read), KIND) as file:
            file.attrs["block"] = _checksum(X)
            write_array(file, "product", sums.product)
            for entry in fields(Facts):
                value = getattr(sums.facts, entry.name)
                if isinstance(value, np.ndarray):
                    write_array(file, entry.name, value)
                elif value is not None:
                    file.attrs[entry.name] = value

    @property
    def reads(self) -> int:
        """How many finished reads are kept."""
        return sum(1 for _ in self.folder.glob("read_*.h5"))

    def close(self) -> None:
        """Remove what was kept: the factorization is done. What others put beside it stays, and so its folder."""
        remove_ours(self.folder)

    def _path(self, read: int) -> Path:
        return self.folder / f"read_{read:05d}.h5"


def identity_of(source: MatrixSource, plan: Plan, seed: int, *, scale: bool = False) -> str:
    """Digest of all that shapes the sums: plan, seed, scaling, and the matrix.

    The matrix is known by its first, middle and last panel, and a file by size and time of its last change too. An
    array in memory that was changed elsewhere is taken for the same one.
    """
    described = (
        source.shape,
        str(source.dtype),
        plan.method,
        plan.target,
        plan.transposed,
        [str(kind) for kind in (plan.work, plan.wide, plan.output)],
        plan.groups,
        plan.widths,
        plan.tol,
        plan.center,
        scale,
        seed,
        np.__version__,
    )
    fast = (plan.precision,) if plan.precision != FULL else ()
    digest = hashlib.sha256(repr((*described, *fast, *_file_state(source))).encode())
    for start, stop in (plan.bounds[i] for i in sorted({0, len(plan.bounds) // 2, len(plan.bounds) - 1})):
        digest.update(_bytes(plan.tall.read(start, stop)))
    return digest.hexdigest()


def _file_state(source: MatrixSource) -> tuple[int, ...]:
    path = getattr(source, "path", None)
    if path is None or not os.path.isfile(path):
        return ()
    state = os.stat(path)
    return state.st_size, state.st_mtime_ns


def _facts(file: StoredFile) -> Facts:
    known: dict[str, Any] = {}
    for entry in fields(Facts):
        if entry.name in file:
            known[entry.name] = read_array(file, entry.name)
        elif entry.name in file.attrs:
            known[entry.name] = float(file.attrs[entry.name])
    return Facts(**known)


def _checksum(X: np.ndarray | None) -> int:
    return 0 if X is None else zlib.crc32(np.ascontiguousarray(X).data)


def _bytes(block: Any) -> bytes:
    if hasattr(block, "tocsr"):
        block = block.tocsr()
        return b"".join(part.tobytes() for part in (block.data, block.indices, block.indptr))
    return np.ascontiguousarray(block.get() if hasattr(block, "get") else block).tobytes()

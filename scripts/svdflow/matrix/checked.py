"""What a source promises is checked where its panels come from outside: shape, type, mask, and that reads agree."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.errors import SourceError
from svdflow.matrix.blocks import refuse_unlike
from svdflow.matrix.integers import may_be_lossy, refuse_lossy
from svdflow.matrix.masks import unmasked
from svdflow.matrix.sources import MatrixSource


class CheckedSource(MatrixSource):
    """A source whose panels are looked at as they come, in the read that they come in.

    Integers of 64 bits are refused where float64 would round them. Panels of a source that is not svdflow's own must
    have the promised shape, dtype and sparsity, no masked value, and the same bytes whenever this process reads
    them again (a crc32 of each is kept).
    """

    keeps_promises = True

    def __init__(self, source: MatrixSource) -> None:
        self._source = source
        self.shape, self.dtype, self.name = source.shape, source.dtype, source.name
        self.sparse, self.in_memory, self.density = source.sparse, source.in_memory, source.density
        self.row_bands, self.column_bands = source.row_bands, source.column_bands
        self.column_access = source.column_access
        if hasattr(source, "path"):
            self.path = source.path  # by which a checkpoint knows the file
        self._integers = may_be_lossy(np.dtype(source.dtype))
        self._digests: dict[tuple[str, int, int], int] = {}

    @property
    def panel_height(self) -> int:
        return self._source.panel_height

    def read(self, start: int, stop: int) -> Any:
        return self._checked(self._source.read(start, stop), "rows", start, stop)

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        if self._source.keeps_promises and out.dtype == self.dtype:
            self._source.read_into(start, stop, out)
            self._exact(out, "rows", start, stop)
        else:
            super().read_into(start, stop, out)

    def read_columns(self, start: int, stop: int) -> Any:
        return self._checked(self._source.read_columns(start, stop), "columns", start, stop)

    def csr(self) -> sp.csr_array:
        matrix = self._source.csr()
        self._exact(matrix, "rows", 0, self.shape[0])
        return matrix

    def csc(self) -> sp.csc_array:
        matrix = self._source.csc()
        self._exact(matrix, "columns", 0, self.shape[1])
        return matrix

    def _checked(self, block: Any, side: str, start: int, stop: int) -> Any:
        if not self._source.keeps_promises:
            block = self._promised(block, side, start, stop)
        self._exact(block, side, start, stop)
        return block

    def _exact(self, block: Any, side: str, start: int, stop: int) -> None:
        if self._integers:
            where = f"{self.name}, {side} {start} to {stop - 1}"
            refuse_lossy(block.data if sp.issparse(block) else block, where)

    def _promised(self, block: Any, side: str, start: int, stop: int) -> Any:
        """The block, if it is what was promised; SourceError names it otherwise."""
        where = f"{self.name}: {side} {start} to {stop - 1}"
        block = unmasked(block, where)
        m, n = self.shape
        due = (stop - start, n) if side == "rows" else (m, stop - start)
        refuse_unlike(block, due, self.dtype, self.sparse, where)
        if not (isinstance(block, np.ndarray) or sp.issparse(block)):
            return block  # on a device, where a digest would cost a transfer
        digest = _digest(block)
        if self._digests.setdefault((side, start, stop), digest) != digest:
            raise SourceError(
                f"{where} are others than when they were read before; a factorization reads its matrix several times: "
                "fix the source's random numbers, or write the matrix to a file first"
            )
        return block


@contextmanager
def unchanged(source: MatrixSource) -> Iterator[None]:
    """Raise SourceError at the end where the file of a source was written to in between: its reads do not fit then."""
    path: Any = getattr(source, "path", None)
    known = path is not None and os.path.isfile(path)
    before = _state(path) if known else ()
    yield
    if known and (not os.path.isfile(path) or _state(path) != before):
        raise SourceError(
            f"{source.name}: was written to while it was read, so its reads are of different matrices; run again when "
            "the file is finished"
        )


def _state(path: Any) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _digest(block: Any) -> int:
    if sp.issparse(block):
        rows = sp.csr_array(block)
        return zlib.crc32(rows.indices.tobytes(), zlib.crc32(rows.data.tobytes()))
    host = block.get() if hasattr(block, "get") else block
    return zlib.crc32(np.ascontiguousarray(host).reshape(-1).view(np.uint8))


def guarded(source: MatrixSource) -> MatrixSource:
    """The source, with checks of its panels where it needs them."""
    if isinstance(source, CheckedSource):
        return source
    needed = not source.keeps_promises or may_be_lossy(np.dtype(source.dtype))
    return CheckedSource(source) if needed else source

"""Where ``Y = A V`` waits between the last read of A and the moment its singular vectors are known."""

import os
import tempfile
from typing import Any

import numpy as np


def scratch_for(shape: tuple[int, int], dtype: Any, *, on_disk: bool, folder: Any = None) -> Any:
    """A scratch for rows of that shape, in a temporary file (in `folder`) or in memory."""
    return FileScratch(shape, dtype, folder) if on_disk else MemoryScratch(shape, dtype)


class MemoryScratch:
    """Rows kept in an array. Tasks of one process fill disjoint rows of it side by side."""

    def __init__(self, shape: tuple[int, int], dtype: Any) -> None:
        self.rows = np.empty(shape, dtype)

    def write(self, start: int, rows: np.ndarray) -> None:
        self.rows[start : start + len(rows)] = rows

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.rows[start:stop]

    def close(self) -> None:
        del self.rows


class FileScratch:
    """Rows kept in a temporary file, read and written at their offset; pickles as its path.

    Not mapped: mapped pages would count as memory of the process.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: Any, folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        handle, self.path = tempfile.mkstemp(prefix=".svdflow-", suffix=".scratch", dir=folder)
        os.close(handle)

    def write(self, start: int, rows: np.ndarray) -> None:
        with open(self.path, "r+b", buffering=0) as file:
            file.seek(start * self.shape[1] * self.dtype.itemsize)
            view = memoryview(np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8))
            while view.nbytes:
                view = view[file.write(view) :]

    def read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, self.shape[1]), self.dtype)
        view = memoryview(block.reshape(-1).view(np.uint8))
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start * self.shape[1] * self.dtype.itemsize)
            while view.nbytes:
                got = file.readinto(view)
                if not got:
                    raise OSError(f"{self.path}: scratch file is short; was it deleted, or is the disk full?")
                view = view[got:]
        return block

    def close(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)

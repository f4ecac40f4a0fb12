"""What HDF5 writes through, so that a full disk is one error and not a broken library.

HDF5 keeps pages of a file in memory. When the disk is full it can neither write nor give them up: the file stays open,
each object in it complains as it goes, and the process dies as it ends (HDF5 2.0). A sink takes what it is given,
remembers the first error, and lets HDF5 close its file in peace; then it raises.
"""

import os
from pathlib import Path
from types import TracebackType

from svdflow.store.error_rows import write_error


class Sink:
    """A new file as h5py's driver ``fileobj`` wants one: opened at `path`, closed with the block.

    Errors name `final`, the place that the file is meant for.
    """

    def __init__(self, path: Path, final: Path) -> None:
        self.path, self.final = path, final
        self.error: OSError | None = None
        self._place = self._end = 0

    def __enter__(self) -> "Sink":
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise write_error(self.final, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._file)
        if self.error is not None:
            raise write_error(self.final, self.error) from (value or self.error)

    def write(self, data: memoryview) -> int:
        part = memoryview(data).cast("B")
        place, self._place = self._place, self._place + len(part)
        self._end = max(self._end, self._place)
        done = 0
        while self.error is None and done < len(part):
            try:
                done += os.pwrite(self._file, part[done:], place + done)
            except OSError as error:
                self.error = error
        return len(part)

    def readinto(self, out: memoryview) -> int:
        part = memoryview(out).cast("B")
        done = 0
        while done < len(part) and (count := os.preadv(self._file, [part[done:]], self._place + done)):
            done += count
        part[done:] = bytes(len(part) - done)  # what was never written reads as zeros
        self._place += len(part)
        return len(part)

    def read(self, size: int = -1) -> bytes:
        out = bytearray(self._end - self._place if size < 0 else size)
        self.readinto(memoryview(out))
        return bytes(out)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._file, self._end)
            except OSError as error:
                self.error = error
        return self._end

    def flush(self) -> None:
        """Nothing: no bytes are kept here."""

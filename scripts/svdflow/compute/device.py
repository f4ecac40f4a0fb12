"""The device a factorization computes on: how panels get there, in order, and results come home.

All panel work goes through a `Device`, so the same loop runs on NumPy, where nothing moves, and on CuPy, where
`svdflow.compute.cuda` reads, copies and computes at the same time.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from array_api_compat import is_array_api_obj

from svdflow.compute.backend import namespace, to_numpy

T = TypeVar("T")
Bounds = Sequence[tuple[int, int]]
Read = Callable[[int, int], Any]


@dataclass(frozen=True)
class FastProducts:
    """Products of matrices in single precision for which a device rounds both of them further.

    Attributes
    ----------
    name : str
        Of the format, such as ``"TF32"``.
    eps : float
        Distance from 1 to the next number of that format, as of `numpy.finfo`.
    times : callable
        ``times(A, B)`` is ``A @ B`` so rounded, of float32 or complex64 arrays of the device, in their own type.
    """

    name: str
    eps: float
    times: Callable[[Any, Any], Any]


class Device:
    """Host memory and NumPy; the base of the other devices. One instance a factorization, used as a context.

    Attributes
    ----------
    name : str
        ``"numpy"`` or ``"cupy"``.
    notes : list of str
        What happened that a user should know, for `SVDInfo`.
    fast : FastProducts or None
        The fast products that it has.
    """

    name = "numpy"
    fast: FastProducts | None = None

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def xp(self) -> Any:
        """The array-API namespace; not stored, because a module does not pickle."""
        return namespace(self.name)

    def put(self, host: Any) -> Any:
        """An array on the device; one that is there already, or a sparse matrix, passes through."""
        return to_numpy(host) if is_array_api_obj(host) else host

    def get(self, array: Any) -> np.ndarray:
        """An array in host memory; returns when all work on it is done."""
        return to_numpy(array)

    def errors(self) -> AbstractContextManager[Any]:
        """The context to compute in: failed factorizations raise, and work goes to the one compute stream."""
        return nullcontext()

    def feed(self, read: Read, bounds: Bounds) -> Generator[Any]:
        """Panels on the device, in the order of `bounds` and in their stored type.

        Parameters
        ----------
        read : callable
            ``read(start, stop)`` returns rows as an ndarray (stop - start, n), or an array that is on the device.
            It may be called from another thread, never twice at a time.
        bounds : sequence of (start, stop)

        Yields
        ------
        array, shape (stop - start, n)
            Valid until the next one is asked for: its memory is then filled again. Not to be written into.
        """
        for start, stop in bounds:
            yield self.put(read(start, stop))

    def each(self, work: Callable[[Any, int, int], T], read: Read, bounds: Bounds) -> Iterator[T]:
        """``work(panel, start, stop)`` of every panel, in order; where memory runs out, again with less in flight.

        `work` computes from the panel alone and returns what it adds. Panels stay the quanta of sums, so running
        one again changes no bits.
        """
        for (start, stop), panel in zip(bounds, self.feed(read, bounds), strict=True):
            yield work(panel, start, stop)

"""The device a factorization computes on: how panels get there, in order, and results come home.

All panel work goes through a `Device`, so the same loop runs on NumPy, where nothing moves, and on CuPy, where
`svdflow.backend.cuda` reads, copies and computes at the same time.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self, TypeVar

import numpy as np
from array_api_compat import is_array_api_obj

from svdflow.backend.choice import namespace, to_numpy

T = TypeVar("T")
Bounds = Sequence[tuple[int, int]]
Read = Callable[[int, int], Any]


class DeviceMemoryError(MemoryError):
    """The device has too little memory even for one panel at a time; the message says what to do."""


class Device:
    """Host memory and NumPy; the base of the other devices. One instance a factorization, used as a context.

    Attributes
    ----------
    name : str
        ``"numpy"`` or ``"cupy"``.
    notes : list of str
        What happened that a user should know, for `SVDInfo`.
    """

    name = "numpy"

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


def device_of(
    backend: str, *, threads: int = 1, memory_limit: int | None = None, allow_tf32: bool = False
) -> Device:
    """The device of a backend that `pick` returned.

    Parameters
    ----------
    backend : {"numpy", "cupy"}
    threads : int
        Host threads that may fill staging buffers.
    memory_limit : int, optional
        Bytes of device memory to take beyond what the process holds there already; CuPy only.
    allow_tf32 : bool
        Compute although ``CUPY_TF32`` is set, which rounds float32 products to 11 bits; a note says so.

    Raises
    ------
    BackendError
        ``CUPY_TF32`` is set and not allowed.
    ValueError
        Another name was given.
    """
    if backend == "numpy":
        return Device()
    if backend != "cupy":
        raise ValueError(f"backend {backend!r} is not one of 'numpy', 'cupy'")
    from svdflow.backend.cuda import CupyDevice

    return CupyDevice(threads=threads, memory_limit=memory_limit, allow_tf32=allow_tf32)

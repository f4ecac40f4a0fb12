"""Panels on a CUDA device: read, copied and computed with at the same time.

Three things run side by side. The uploading thread reads a panel and moves it through a ring of pinned buffers;
the copy stream carries full buffers over the bus into a slot of device memory; the compute stream works on the
slot before. Events order them, and the host never waits for a product:

- a pinned buffer is filled again after the copy out of it is done (the uploading thread waits for its event);
- a slot is overwritten after all work on it (the copy stream waits for `Slot.released`);
- a panel is computed with after its copy (the compute stream waits for `Slot.copied`).

The compute stream is the one that was current for the caller, so arrays of the caller need no further order.
Method names and semantics: CuPy 14, cupy.cuda.Stream, Event, MemoryPool and cupyx.empty_pinned.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from svdflow.compute.backend import linalg_errors, to_numpy
from svdflow.compute.device import Bounds, Device, FastProducts, Read, T
from svdflow.errors import BackendError, DeviceMemoryError

# How panels travel to a device; none of these can change a result. With less, copies and products wait for each other;
# with more, device memory (slots) or locked host memory (buffers) is taken that nothing needs. Chosen, and timed by
# benchmarks/gpu.py, whose first rows compare the feed with the bus.
SLOTS = 3  # panels on the device: one computed with, one being copied, one to even out slow reads
SLOT_BYTES = 2**30  # all slots together; there are fewer of them where panels are larger
PIECE_BYTES = 32 * 2**20  # a pinned buffer: long enough for the full rate of the bus, cheap to pin
BUFFERS = 3  # pinned buffers: one being filled, one being copied, one free
FILLERS = 4  # threads that fill a buffer, at most: one core copies at about half the rate of a PCIe 4 x16 bus
# Times that half as much is staged where device memory ran out: down to an eighth, then it is an error
RETRIES = 3


class CupyDevice(Device):
    """A CUDA device by CuPy: the one that is current where the instance is made.

    A single thread may compute with it at a time: there is one compute stream, because cuBLAS keeps its bits only
    there.
    """

    name = "cupy"

    def __init__(
        self, *, threads: int = 1, memory_limit: int | None = None, allow_tf32: bool = False
    ) -> None:
        import cupy

        super().__init__()
        if said := rounds_to_tf32():
            if not allow_tf32:
                raise BackendError(
                    f"{said} is set: float32 products would be rounded to 11 bits; unset it, or allow TF32"
                )
            self.notes.append(f"float32 products on the device were rounded to TF32 ({said})")
        if os.environ.get("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM") == "1":
            raise BackendError(
                "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM is set: threads that read and threads that compute would "
                "mean different streams by the same name; unset it"
            )
        self.cupy = cupy
        self.fast = tf32_products(cupy)
        self.memory_limit = memory_limit
        self.fillers = max(1, min(threads, FILLERS))
        self._most = SLOT_BYTES  # bytes of panels in flight
        self._staged = 0  # bytes of panels in flight in the latest feed
        self.compute = cupy.cuda.get_current_stream()
        self.copy = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.get_default_memory_pool()
        self._id = cupy.cuda.Device().id
        self._retries = 0
        self._limit_before: int | None = None

    def __enter__(self) -> Self:
        if self.memory_limit is not None:
            self._limit_before = self._pool.get_limit()
            self._pool.free_all_blocks()
            limit = self._pool.total_bytes() + self.memory_limit
            self._pool.set_limit(size=min(limit, self._limit_before or limit))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._limit_before is not None:
            self._pool.set_limit(size=self._limit_before)
            self._limit_before = None

    def put(self, host: Any) -> Any:
        with self.streaming():
            return self.cupy.asarray(host)

    def get(self, array: Any) -> np.ndarray:
        return array.get(stream=self.compute) if isinstance(array, self.cupy.ndarray) else to_numpy(array)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The device and the compute stream are the current ones of this thread."""
        with self.cupy.cuda.Device(self._id), self.compute:
            yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.streaming())
            stack.enter_context(linalg_errors("cupy"))
            yield

    def event(self) -> Any:
        return self.cupy.cuda.Event(block=True, disable_timing=True)

    def feed(self, read: Read, bounds: Bounds) -> Generator[Any]:
        if not bounds:
            return
        with self.streaming():
            first = read(*bounds[0])
        if isinstance(first, self.cupy.ndarray):
            yield first
            for start, stop in bounds[1:]:
                with self.streaming():
                    panel = read(start, stop)
                yield panel
            return
        tallest = max(stop - start for start, stop in bounds)
        slots = self._slots(tallest * first.shape[1] * first.itemsize, len(bounds))
        with closing(Upload(self, slots, first, read, bounds)) as upload:
            for slot, panel in upload:
                self.compute.wait_event(slot.copied)
                yield panel
                self.compute.record(slot.released)
                upload.free(slot)

    def each(self, work: Callable[[Any, int, int], T], read: Read, bounds: Bounds) -> Iterator[T]:
        done = 0
        while done < len(bounds):
            trouble: Exception | None = None
            with closing(self.feed(read, bounds[done:])) as panels:
                while done < len(bounds) and trouble is None:
                    try:
                        result = work(next(panels), *bounds[done])
                    except self.cupy.cuda.memory.OutOfMemoryError as error:
                        # Its traceback holds the arrays of the failed work, which are in the way.
                        trouble = error.with_traceback(None)
                    else:
                        done += 1
                        yield result
            if trouble is not None:
                self._relieve(trouble)

    def _slots(self, size: int, panels: int) -> list["Slot"]:
        """As many slots of `size` bytes as are to be in flight; fewer where memory runs out."""
        while True:
            number = max(1, min(SLOTS, panels, self._most // max(1, size)))
            self._staged = number * size
            slots: list[Slot] = []
            try:
                with self.streaming():
                    for _ in range(number):
                        slots.append(Slot(self.cupy.empty(size, dtype=np.uint8), self.event(), self.event()))
            except self.cupy.cuda.memory.OutOfMemoryError as error:
                trouble = error.with_traceback(None)
            else:
                for slot in slots:  # its memory may have been that of an array with work still to be done
                    self.compute.record(slot.released)
                return slots
            del slots
            self._relieve(trouble)

    def _relieve(self, trouble: Exception) -> None:
        """Make room after `trouble`, and stage half as much at a time from now on."""
        if self._retries == RETRIES:
            raise DeviceMemoryError(
                f"{trouble} Less was staged {RETRIES} times, in vain: free device memory, raise memory_limit, ask "
                "for a smaller rank, or choose backend 'numpy'"
            ) from trouble
        self._retries += 1
        self.compute.synchronize()
        self._pool.free_all_blocks()
        self.cupy.get_default_pinned_memory_pool().free_all_blocks()
        if self._staged:
            self._most = self._staged // 2
            done = f"at most {self._most} instead of {self._staged} bytes of panels in flight, one panel at least"
        else:
            done = "blocks that were kept for reuse are freed, and the work on this panel is done again"
        self.notes.append(f"out of device memory: {done}; the result is the same")


def rounds_to_tf32() -> str:
    """What makes CuPy round products of this process to TF32; empty where nothing does.

    CuPy looks at its variable once, at the first product of a type, and keeps what it found: so both are asked.
    """
    if float(os.environ.get("CUPY_TF32") or 0) > 0:
        return "CUPY_TF32"
    try:
        from cupy._core import _routines_linalg as linalg

        found = linalg.get_compute_type(np.dtype(np.float32)) == linalg.COMPUTE_TYPE_TF32
    except (ImportError, AttributeError):  # not the CuPy that this was written for
        return ""
    return "the compute type TF32" if found else ""


def tf32_products(cupy: Any) -> FastProducts | None:
    """TF32 by cuBLAS, on cards that have it (compute capability 8.0).

    CuPy has a compute type for products of each floating type (cupy/_core/_routines_linalg.pyx, CuPy 14), of the whole
    process: it is set for one product at a time. A product takes the type when it is enqueued.
    """
    try:
        from cupy._core import _routines_linalg as linalg

        capable = int(cupy.cuda.Device().compute_capability) >= 80
        setting, getting, tf32 = linalg.set_compute_type, linalg.get_compute_type, linalg.COMPUTE_TYPE_TF32
    except (ImportError, AttributeError):  # not the CuPy that this was written for
        return None
    if not capable:
        return None

    def times(A: Any, B: Any) -> Any:
        before = getting(np.float32)
        setting(np.float32, tf32)
        try:
            return A @ B
        finally:
            setting(np.float32, before)

    return FastProducts("TF32", 2.0**-10, times)


@dataclass
class Slot:
    """Device memory for one panel, and the events between the streams that use it."""

    memory: Any
    copied: Any
    released: Any


@dataclass
class Buffer:
    """A pinned buffer, and the event of the last copy out of it."""

    memory: np.ndarray
    copied: Any


class Upload:
    """Panels on their way into slots, read and copied by one thread; iterating gives ``(slot, panel)`` in order."""

    def __init__(
        self, device: CupyDevice, slots: list[Slot], first: np.ndarray, read: Read, bounds: Bounds
    ) -> None:
        self._device = device
        self._waiting: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for slot in slots:
            self._waiting.put(slot)
        self._buffers: deque[Buffer] = deque()  # the one filled longest ago first
        self._closed = False
        self._fillers = ThreadPoolExecutor(device.fillers)
        self._thread = threading.Thread(target=self._run, args=(first, read, bounds), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Slot, Any]]:
        while (item := self._full.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def free(self, slot: Slot) -> None:
        """The work on this slot is on its way; `slot.released` tells when it is done."""
        self._waiting.put(slot)

    def close(self) -> None:
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._fillers.shutdown()
        self._device.copy.synchronize()  # pinned memory is not given back under a copy

    def _run(self, first: np.ndarray, read: Read, bounds: Bounds) -> None:
        try:
            with self._device.streaming():
                panel: np.ndarray | None = first
                for start, stop in bounds:
                    host = read(start, stop) if panel is None else panel
                    slot = self._waiting.get()
                    if slot is None or self._closed:
                        return
                    self._full.put((slot, self._copied(host, slot)))
                    panel = None
            self._full.put(None)
        except BaseException as error:  # goes on in the thread that asked for panels
            self._full.put(error)

    def _copied(self, host: np.ndarray, slot: Slot) -> Any:
        """Enqueue the copy of a panel into a slot; returns the panel on the device, laid out as on the host."""
        if abs(host.strides[0]) < abs(host.strides[1]):  # a transpose: its long runs are columns
            return self._copied(host.T, slot).T
        dtype = host.dtype.newbyteorder("=")
        panel = slot.memory[: host.nbytes].view(dtype).reshape(host.shape)
        copy = self._device.copy
        copy.wait_event(slot.released)
        height = max(1, PIECE_BYTES // max(1, host[:1].nbytes))
        for start in range(0, len(host), height):
            piece = host[start : start + height]
            buffer = self._next_buffer(host[:height].nbytes)
            pinned = buffer.memory[: piece.nbytes].view(dtype).reshape(piece.shape)
            self._fill(pinned, piece)
            panel[start : start + height].set(pinned, stream=copy)
            copy.record(buffer.copied)
        copy.record(slot.copied)
        return panel

    def _next_buffer(self, size: int) -> Buffer:
        """The buffer of the ring that was used longest ago, free to be filled."""
        from cupyx import empty_pinned

        buffer = self._buffers.popleft() if len(self._buffers) == BUFFERS else None
        if buffer is not None:
            buffer.copied.synchronize()
        if buffer is None or buffer.memory.nbytes < size:
            buffer = Buffer(empty_pinned(size, dtype=np.uint8), self._device.event())
        self._buffers.append(buffer)
        return buffer

    def _fill(self, pinned: np.ndarray, piece: np.ndarray) -> None:
        """Copy into pinned memory, by several threads: NumPy lets go of the interpreter for it."""
        parts = min(self._device.fillers, len(piece))
        pairs = zip(np.array_split(pinned, parts), np.array_split(piece, parts))
        list(self._fillers.map(lambda pair: np.copyto(*pair), pairs))

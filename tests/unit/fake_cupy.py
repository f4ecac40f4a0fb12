"""As much of CuPy as `svdflow.compute.cuda` calls, on the host, with the laziest order that streams allow.

Nothing enqueued runs before someone waits for it: a copy reads its pinned buffer, and a product its panel, as late
as events permit. Code that forgets to wait therefore computes with what was overwritten, or with the poison that
fresh memory holds, and its values are wrong. Every action is logged in order.
"""

import sys
import threading
from collections import deque
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import array_api_compat.numpy
import numpy as np

from svdflow.compute import backend

POISON = 0xA5


class OutOfMemoryError(MemoryError):
    pass


class Array(np.ndarray):
    """An array in device memory."""

    def set(self, array, stream=None):
        assert array.flags.c_contiguous and array.dtype == self.dtype and array.shape == self.shape
        stream.enqueue("copy", lambda: np.copyto(self.view(np.ndarray), array))

    def get(self, stream=None):
        stream.synchronize()
        return np.array(self.view(np.ndarray))


class Stream:
    def __init__(self, fake, name):
        self.fake, self.name, self.work = fake, name, deque()

    def enqueue(self, what, action):
        with self.fake.lock:
            self.work.append((what, action))
            if self.fake.eager:
                self.synchronize()

    def record(self, event):
        with self.fake.lock:
            event.ticket = object()
            ticket = event.ticket
            self.work.append(("record", ticket))
            self.fake.streams_of[ticket] = self

    def wait_event(self, event):
        if "wait_event" not in self.fake.broken and event.ticket is not None:
            ticket = event.ticket  # as CUDA does: the state of the event at the time of the call
            self.enqueue("wait", lambda: self.fake.run_until(ticket))

    def synchronize(self):
        with self.fake.lock:
            while self.work:
                self.step()

    def step(self):
        what, action = self.work.popleft()
        if what == "record":
            self.fake.done.add(action)
        else:
            action()
            if what != "wait":
                self.fake.log.append((self.name, what))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class Event:
    def __init__(self, fake):
        self.fake, self.ticket = fake, None

    def synchronize(self):
        if "synchronize" not in self.fake.broken and self.ticket is not None:
            self.fake.run_until(self.ticket)


class Pool:
    def __init__(self):
        self.limit, self.freed = 0, 0

    def get_limit(self):
        return self.limit

    def set_limit(self, size=None):
        self.limit = size

    def total_bytes(self):
        return 1000

    def free_all_blocks(self):
        self.freed += 1


class FakeCupy:
    """One fake library. `fail_at`: the allocations, counted from 1, that run out of memory. `broken`: "wait_event"
    or "synchronize" do nothing, to show that the tests would notice. `eager`: copies are made at once, for whole
    factorizations, whose products are NumPy's and wait for nothing."""

    def __init__(self, *, fail_at=(), broken=(), eager=False):
        self.eager = eager
        self.lock, self.log, self.done, self.streams_of = threading.RLock(), [], set(), {}
        self.fail_at, self.broken, self.allocations, self.pinned = set(fail_at), set(broken), 0, []
        self.compute, self.copies = Stream(self, "compute"), []
        self.pool, self.pinned_pool = Pool(), Pool()

    def run_until(self, ticket):
        with self.lock:
            while ticket not in self.done:
                self.streams_of[ticket].step()

    def allocate(self, size):
        self.allocations += 1
        if self.allocations in self.fail_at:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes.")

    def empty(self, shape, dtype):
        memory = np.full(shape, POISON, dtype)
        self.allocate(memory.nbytes)
        return memory.view(Array)

    def empty_pinned(self, shape, dtype):
        memory = np.full(shape, POISON, dtype)
        if not self.eager:  # of whole factorizations it would be gigabytes
            self.pinned.append(memory)
        return memory

    def launch(self, kernel):
        """Enqueue what a kernel would do on the compute stream."""
        self.compute.enqueue("kernel", kernel)

    def stream(self, non_blocking=False):
        assert non_blocking, "a stream that blocks on the default stream overlaps with nothing"
        self.copies.append(Stream(self, "copy"))
        return self.copies[-1]

    def install(self, monkeypatch):
        """Put this in the place of cupy, cupyx and the array-API namespace."""
        cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
        runtime = SimpleNamespace(
            Stream=self.stream,
            Event=lambda block, disable_timing: Event(self),
            Device=_Device,
            get_current_stream=lambda: self.compute,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        )
        vars(cupy).update(
            cuda=runtime,
            empty=self.empty,
            asarray=lambda host: np.array(host).view(Array),
            ndarray=Array,
            linalg=np.linalg,
            get_default_memory_pool=lambda: self.pool,
            get_default_pinned_memory_pool=lambda: self.pinned_pool,
        )
        vars(cupyx).update(empty_pinned=self.empty_pinned, errstate=self.errstate)
        for name, module in (
            ("cupy", cupy),
            ("cupyx", cupyx),
            ("array_api_compat.cupy", array_api_compat.numpy),
        ):
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(backend, "_cupy_trouble", lambda: "")
        monkeypatch.delenv("CUPY_TF32", raising=False)
        return self

    @contextmanager
    def errstate(self, linalg):
        self.log.append(("errstate", linalg))
        yield


class _Device:
    def __init__(self, number=0):
        self.id = number

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

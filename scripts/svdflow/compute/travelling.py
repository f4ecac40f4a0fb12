"""What travels to a worker and what it does there: tasks with all that they need, and matrices that it keeps."""

import io
import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import numpy as np

from svdflow.compute.engine import FixedTree, Shared, one_blas_thread


@dataclass(frozen=True)
class Pickled:
    """A pickle, and the arrays in it beside it."""

    text: bytes
    buffers: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        return len(self.text) + sum(buffer.nbytes for buffer in self.buffers)


@dataclass(frozen=True)
class Packed:
    """A task, and for each `Shared` object in it a token, with the object itself where it is small."""

    task: Pickled
    shared: tuple[tuple[str, Pickled | None], ...]


@dataclass
class Sent:
    """A `Shared` object as it is sent, and the workers that were sent it."""

    thing: Shared
    token: str
    parcel: Pickled
    holders: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Call:
    """A packed task and its item; of a class of its own, so that dask does not look into it for keys."""

    packed: Packed
    item: Any


@dataclass(frozen=True)
class Lost:
    """A task that is to run again; `lacking` are tokens of what `worker` does not hold."""

    why: str
    worker: str = ""
    lacking: tuple[str, ...] = ()


class Pending(Lost):
    """A task that runs again already."""


@dataclass(frozen=True)
class Added:
    """Task: the sum of neighbouring items by the fixed tree."""

    task: Callable[[Any], Any]
    combine: Callable[[Any, Any], Any]

    def __call__(self, items: Sequence[Any]) -> Any:
        sums = FixedTree(len(items), self.combine)
        for place, item in enumerate(items):
            sums.add(place, self.task(item))
        return sums.total


class _Pickler(cloudpickle.Pickler):
    """Pickles a task without the `Shared` objects in it, which it lists, and with arrays beside the pickle."""

    def __init__(self, file: io.BytesIO, buffers: list[Any], shared: list[Shared] | None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)
        self._shared = shared

    def persistent_id(self, thing: Any) -> int | None:
        if self._shared is None or not isinstance(thing, Shared):
            return None
        places = [i for i, known in enumerate(self._shared) if known is thing]
        if not places:
            self._shared.append(thing)
        return places[0] if places else len(self._shared) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, pickled: Pickled, shared: Sequence[Any] = ()) -> None:
        super().__init__(io.BytesIO(pickled.text), buffers=pickled.buffers)
        self._shared = shared

    def persistent_load(self, place: int) -> Any:
        return self._shared[place]


def pickled(thing: Any, shared: list[Shared] | None = None) -> Pickled:
    """A pickle of anything; `Shared` objects in it are left out where there is a list for them."""
    file, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(file, buffers, shared).dump(thing)
    return Pickled(file.getvalue(), [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers])


_kept: dict[str, Any] = {}  # what this worker was sent, by token
_keeping = threading.Lock()


def keep(token: str, parcel: Pickled) -> None:
    """Take an object in."""
    with _keeping:
        if token not in _kept:
            _kept[token] = _Unpickler(parcel).load()


def forget(tokens: Sequence[str]) -> None:
    """Let go of objects."""
    with _keeping:
        for token in tokens:
            _kept.pop(token, None)


def run(call: Call) -> Any:
    """The result of a task; `Lost` where this process lacks what it is to work on."""
    lacking = []
    for token, parcel in call.packed.shared:
        if parcel is not None:
            keep(token, parcel)
        elif token not in _kept:
            lacking.append(token)
    if lacking:
        from distributed import get_worker

        return Lost("a worker had no copy of the matrix", get_worker().address, tuple(lacking))
    with one_blas_thread():
        shared = [_kept[token] for token, _ in call.packed.shared]
        return _Unpickler(call.packed.task, shared).load()(call.item)

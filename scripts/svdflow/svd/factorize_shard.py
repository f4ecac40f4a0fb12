"""Stage factorize: one truncated SVD for every plane of every observation of a shard."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.compute.cluster import JobEngine
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import DamagedError, EngineLostError, ItemError, StoreError
from svdflow.matrix import MatrixSource, as_source
from svdflow.matrix.linked import open_linked
from svdflow.store import (
    Item,
    Observation,
    StoredArray,
    create_array,
    items,
    open_published,
    publish,
    read_array,
    write_array,
    write_table,
)
from svdflow.store.error_rows import error_row
from svdflow.store.ownership import refuse_foreign_in, remove_ours
from svdflow.store.stacks import StackWriter, stacks_well
from svdflow.svd.factorization import factorize
from svdflow.svd.plan import FULL
from svdflow.svd.result import SVDResult

log = logging.getLogger(__name__)

# Planes of at most so many values (2048 x 2048) are factorized side by side, one thread each; larger ones in turn, with
# all threads and a checkpoint. It changes no bits, only what a kill costs (chosen).
SIDE_BY_SIDE = 2**22
# Memory of one of those at its peak: LAPACK takes the plane and three copies of it in double (`Plan.memory`).
BYTES_A_VALUE = 32
# What is stored of the certificate, as `SVDInfo` names it
FIGURES = ("frobenius_norm", "frobenius_error", "frobenius_kind", "frobenius_resolution")


@dataclass(frozen=True)
class Task:
    """One plane of one observation, and the rank that its stages need."""

    item: Item
    observation: Observation
    plane: str
    rank: int

    @property
    def path(self) -> str:
        return f"items/{self.item.index:06d}/{self.observation.level}/{self.plane}"

    def source(self) -> MatrixSource:
        """The matrix; linked files are opened where they are."""
        if self.observation.link:
            return open_linked(self.observation)
        return as_source(self.observation.planes[self.plane])


def factorize_shard(
    matrices: str | Path,
    out: str | Path,
    *,
    dataset: str,
    shard: int,
    item_rank: int,
    noisy_rank: int,
    seed: int,
    method: str = "auto",
    tol: float = 1e-2,
    center: bool = False,
    precision: str = FULL,
    refuse_masked: bool = True,
    runtime: Runtime = ALONE,
) -> None:
    """Factorize the planes of a shard.

    Parameters
    ----------
    matrices, out : path
        Published matrices file; factors file to publish, with the tables ``factorize`` and ``errors``.
    item_rank, noisy_rank : int
        Rank for the items themselves and for observations with added noise, at most min(m, n) is taken;
        0 leaves them out.
    refuse_masked : bool
        An item with missing pixels that nothing fills becomes a row of ``errors``; False where no later stage needs its
        factors, and it is left out.
    runtime : Runtime
        Threads: planes, or panels of a large plane, side by side; backend and memory limit as of `truncated_svd`, whose
        parameters the others are. Only the backend changes a result, within rounding.

    Notes
    -----
    A large plane keeps a checkpoint in a hidden folder beside `out`, and the same call after a kill goes on from there,
    to the same bytes. The folder is gone once `out` is published, whatever became of single planes.
    """
    options: dict[str, Any] = {
        "method": method,
        "tol": tol,
        "center": center,
        "seed": seed,
        "backend": runtime.backend,
        "precision": precision,
    }
    rows: list[dict[str, Any]] = []
    kept = Path(out).with_name(f".{Path(out).name}.checkpoint")
    with (
        open_published(matrices, "matrices") as source,
        publish(out, "factors", runtime.provenance) as file,
        StackWriter(file) as stacks,
        JobEngine(runtime) as engine,
    ):
        tasks, errors = [], []
        for item in items(source):
            wanted = list(_tasks(item, item_rank, noisy_rank))
            if wanted and item.gaps and refuse_masked:
                errors.append(error_row(dataset, item.index, item.name, "factorize", _masked(item)))
            elif not item.gaps:
                tasks += wanted
        solve = partial(
            _solve,
            file=file,
            folder=_working_folder(kept, Path(matrices)),
            engine=engine,
            limit=runtime.memory_limit,
            **options,
        )
        for task, outcome in _in_order(solve, tasks, runtime.side_by_side(_largest_small(tasks))):
            try:
                result = outcome()
                store_factors(file, stacks, task, result)
                key = {"dataset": dataset, "shard": shard, "item": task.item.index, "name": task.item.name}
                place = {"plane": task.plane, "sigma_added": task.observation.sigma_added}
                rows.append({**key, **place, **_row(result, _truth(task, center))})
            except (MemoryError, EngineLostError):  # the job's loss, not the item's
                raise
            except Exception as error:
                log.exception("%s", task.path)
                if task.path in file:
                    del file[task.path]
                if isinstance(error, StoreError):
                    error = _damaged(error, task)
                errors.append(error_row(dataset, task.item.index, task.item.name, "factorize", error))
        write_table(file, "factorize", rows)
        write_table(file, "errors", errors)
    remove_ours(kept, made=True)


def store_factors(file: h5py.File, stacks: StackWriter, task: Task, result: SVDResult) -> None:
    """Write factors into a stack, or where they are large to a group, where U may be already, as it was streamed."""
    info = result.info
    parts = {"s": result.s, "Vt": result.Vt}
    if info.spectrum is not None and len(info.spectrum) > len(result.s):
        parts["spectrum"] = np.asarray(info.spectrum)
    if info.mean is not None:
        parts["mean"] = np.asarray(info.mean)
    attrs = {"m": info.shape[0], "n": info.shape[1], "center": info.mean is not None}
    attrs |= {name: getattr(info, name) for name in ("method", "rank", "reads", "reason", "backend", "dtype")}
    attrs |= {name: getattr(info, name) for name in FIGURES}
    if result.U is not None and stacks_well(result.U) and stacks_well(result.Vt):
        key = (task.item.index, task.observation.level, task.plane, attrs)
        stacks.add([key], {name: part[None] for name, part in {"U": result.U, **parts}.items()})
        return
    group = file.require_group(task.path)
    for name, part in (parts if result.U is None else {"U": result.U, **parts}).items():
        write_array(group, name, part)
    group.attrs.update(attrs)


def _tasks(item: Item, item_rank: int, noisy_rank: int) -> Iterator[Task]:
    for observation in item.observations:
        rank = noisy_rank if observation.level else item_rank
        for plane in observation.planes or (["matrix"] if observation.link else []):
            if rank:
                yield Task(item, observation, plane, rank)


def _damaged(error: StoreError, task: Task) -> Exception:
    """A linked file is the user's, and bad like any; a matrix that the study stored must be stored again."""
    return ItemError("damaged", str(error)) if task.observation.link else DamagedError(str(error))


def _masked(item: Item) -> ItemError:
    """Why an item with missing pixels is not factorized: a singular value decomposition knows no gaps."""
    return ItemError(
        "masked",
        f"{item.gaps} pixels are missing, and a singular value decomposition needs all: "
        "name a value for them (fill=median, fill=mean or fill=0 in the sheet, --fill for one file), or crop to the "
        "valid part (crop=)",
    )


def _in_order(
    solve: Callable[..., SVDResult], tasks: Iterable[Task], threads: int
) -> Iterator[tuple[Task, Callable[[], SVDResult]]]:
    """Every task with a call that gives its result, in order; small ones run ahead side by side, large ones alone."""
    upcoming = deque(tasks)
    waiting: deque[tuple[Task, Future[SVDResult]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while upcoming or waiting:
            while upcoming and len(waiting) < 2 * threads and _small(upcoming[0]):
                task = upcoming.popleft()
                waiting.append((task, pool.submit(solve, task, side_by_side=True)))
            if waiting:
                task, future = waiting.popleft()
                yield task, future.result
            else:
                task = upcoming.popleft()
                yield task, partial(solve, task, side_by_side=False)


def _small(task: Task) -> bool:
    return 0 < _stored_values(task) <= SIDE_BY_SIDE


def _stored_values(task: Task) -> int:
    """Values of a plane that is stored whole, else 0."""
    node = None if task.observation.link else task.observation.planes[task.plane]
    return node.size if isinstance(node, StoredArray) else 0


def _largest_small(tasks: Iterable[Task]) -> int:
    """Bytes that the largest of the planes worked on side by side takes."""
    return BYTES_A_VALUE * max(filter(SIDE_BY_SIDE.__ge__, map(_stored_values, tasks)), default=0)


def _working_folder(kept: Path, matrices: Path) -> Path:
    """Below `kept`, for checkpoints and scratch of these matrices; what a kill left of others, or of scratch, goes."""
    refuse_foreign_in(kept)
    status = matrices.stat()
    folder = kept / f"{status.st_size}-{status.st_mtime_ns}"
    for left in kept.glob("*"):
        if left != folder:
            remove_ours(left, made=True)
    for scratch in folder.glob("*.scratch"):
        scratch.unlink()
    return folder


def _solve(
    task: Task,
    *,
    file: h5py.File,
    folder: Path,
    engine: JobEngine,
    limit: int | None,
    side_by_side: bool,
    **options: Any,
) -> SVDResult:
    if side_by_side:
        A = read_array(task.observation.planes[task.plane])
        return factorize(A, min(task.rank, *A.shape), engine=1, **options)
    source = task.source()
    folder.mkdir(parents=True, exist_ok=True)
    writers = []

    def sink(shape: tuple[int, int], dtype: np.dtype) -> Any:
        writers.append(create_array(file.require_group(task.path), "U", shape, dtype))
        return writers[-1]

    result = factorize(
        source,
        min(task.rank, *source.shape),
        engine=engine(),
        memory_limit=limit,
        sink=sink,
        scratch=folder,
        checkpoint=folder / task.path if math.prod(source.shape) > SIDE_BY_SIDE else None,
        **options,
    )
    for writer in writers:
        writer.close()
    return result


def _truth(task: Task, center: bool) -> tuple[np.ndarray, str] | None:
    """Known singular values and how they are known; none of them speaks of a centred or noisier matrix."""
    known = task.item.truth
    if known is None or center or task.observation.level:
        return None
    return read_array(known), str(known.attrs["label"])


def _row(result: SVDResult, truth: tuple[np.ndarray, str] | None) -> dict[str, Any]:
    info, s = result.info, result.s
    error, label = math.nan, ""
    if truth is not None:
        values, label = truth
        k = min(len(s), len(values))
        error = float(np.abs(s[:k] - values[:k]).max() / values[0]) if k and values[0] else math.nan
    return {
        "m": info.shape[0],
        "n": info.shape[1],
        "dtype": info.dtype,
        "method": info.method,
        "rank": info.rank,
        "reads": info.reads,
        "frobenius_norm": info.frobenius_norm,
        "frobenius_error": info.frobenius_error,
        "relative_error": info.relative_error,
        "error_kind": info.frobenius_kind,
        "spectral_error": info.spectral_error,
        "spectral_kind": info.spectral_kind,
        "spectral_failure": info.spectral_failure,
        "estimate": info.estimate,
        "s_first": float(s[0]) if len(s) else math.nan,
        "s_last": float(s[-1]) if len(s) else math.nan,
        "truth_error": error,
        "truth_label": label,
        "reason": info.reason,
        "backend": info.backend,
    }

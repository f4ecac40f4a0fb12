"""Archives of arrays: `encode` to a target, `decode`, `describe`."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.forms import checked, encoder_of, forms_for, range_of
from svdflow.codec.quality import Quality, parts_of, shortfall
from svdflow.codec.targets import check_arguments, refusal, search, target_of, whole
from svdflow.compute.engine import one_blas_thread
from svdflow.errors import ArchiveWarning, StoreError, UnreachableTargetError
from svdflow.metrics.errors import double, squared_norm
from svdflow.store.ownership import refuse_foreign


@dataclass(frozen=True)
class ArchiveInfo:
    """What an archive holds and how well.

    Attributes
    ----------
    path : Path
    form : str
        ``svd``, ``tucker`` or ``tiles``.
    shape, dtype : of the array that decodes
    rank : int
        Components; of the largest mode; positions of a tile.
    step : float
        Quantization step, in the unit of the values.
    bytes : int
        Of the file.
    bits_per_value : float
        8 bytes over the number of values.
    rel_error, psnr, max_abs : float
        Measured on the decoded array: Frobenius, relative to the array as it is; dB; in the unit of the values.
    target, target_value : str, float
        What was asked for.
    masked : int
        Missing values: they decode as masked, and count in no error.
    """

    path: Path
    form: str
    shape: tuple[int, ...]
    dtype: str
    rank: int
    step: float
    bytes: int
    bits_per_value: float
    rel_error: float
    psnr: float
    max_abs: float
    target: str
    target_value: float
    masked: int = 0


def encode(
    A: np.ndarray,
    path: str | Path,
    *,
    rel_error: float | None = None,
    psnr: float | None = None,
    max_abs: float | None = None,
    bytes: int | None = None,
    form: str = "auto",
    rank: int | None = None,
    block: int | None = None,
    mask: np.ndarray | None = None,
    data_range: float | None = None,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
    memory_limit: int | None = None,
) -> ArchiveInfo:
    """Write an array as an archive of quantized factors that just meets a target.

    Parameters
    ----------
    A : array, any shape
        Real floats, integers or bool; finite, not empty. Of a masked array, the mask is kept.
    path : path
        The archive, published whole or not at all.
    rel_error : float, optional
        Largest relative Frobenius error of what decodes. Exactly one target is given.
    psnr : float, optional
        Least peak signal-to-noise ratio in dB, with `data_range`.
    max_abs : float, optional
        Largest absolute error, in the unit of the values.
    bytes : int, optional
        Largest size of the file; the quality is the best found within it.
    form : {"auto", "svd", "tucker", "tiles"}
        ``auto`` tries all that apply (`forms_for`) and keeps the smallest (for ``bytes`` the most exact).
    rank : int, optional
        Most components, of each mode, or positions of a tile.
    block : int, optional
        Of a picture, side of the squares that are each encoded by themselves, at one step for all: time and memory then
        grow like its pixels; those of factors of a whole picture grow faster. Without it the array is taken whole.
    mask : bool array of the shape of A, optional
        True where a value is valid. The others are neither judged nor kept, and decode as masked.
    data_range : float, optional
        Peak of PSNR; by default that of `svdflow.images.item_range.value_range`.
    seed : int
        Of the randomized SVD of large arrays.
    provenance : dict, optional
        Kept in the description of the archive, so it must be JSON; its bytes count.
    force : bool
        Replace a file at `path` that svdflow did not write, or that was changed since. Never the file that `A` maps.
    memory_limit : int, optional
        Bytes to work in beside `A`, of a picture in squares (`block`): what does not fit is computed anew for each step
        that is tried. More time, the same bits.

    Returns
    -------
    info : ArchiveInfo
        Its errors are measured on the array that was decoded from the file before it was published.

    Raises
    ------
    ValueError
        Bad arguments, or a target that no step reaches; the message names the least possible.
    NotOursError
        A ValueError too: a file that is not ours stands at `path`; it stays as it is.

    Warns
    -----
    ArchiveWarning
        The target is met by a constant, or by an error above half of the standard deviation of the values.

    Notes
    -----
    The error of what decodes is searched, not predicted: it is at most the target, and within half a percent of it
    for arrays of floats of usual size (``max_abs`` jumps more). docs/archives.md describes the file.
    """
    _refuse_source(A, path)
    refuse_foreign(path, force=force)
    A, mask = checked(A, mask)
    target, value = target_of(rel_error=rel_error, psnr=psnr, max_abs=max_abs, bytes=bytes)
    check_arguments(rank, data_range)
    forms = forms_for(A.shape, A.dtype)
    if form != "auto" and form not in forms:
        raise ValueError(
            f"form {form!r} does not apply to shape {A.shape}; choose {', '.join(forms)} or auto"
        )
    with one_blas_thread():
        peak = range_of(A, mask) if data_range is None else float(data_range)
        count = A.size if mask is None else int(mask.sum())
        goal = peak * 10 ** (-value / 20) if target == "psnr" else value
        allowed = None
        if target == "rel_error":
            allowed = goal * float(np.sqrt(sum(squared_norm(double(A[part])) for part in parts_of(A))))
        elif target == "psnr":
            allowed = goal * count**0.5
        asked: dict[str, Any] = {
            "mask": mask,
            "rank": rank,
            "error": allowed,
            "data_range": peak,
            "seed": seed,
            "block": block,
        }
        best: tuple[Any, ...] | None = None
        failures: list[float] = []
        encoder = trial = None
        for name in forms if form == "auto" else [form]:
            # What the last form made of the array goes before the next one takes its place.
            encoder = trial = None
            encoder = encoder_of(A, name, memory_limit=memory_limit, **asked)
            try:
                trial = search(encoder, target, goal, value, provenance)
            except UnreachableTargetError as error:
                failures.append(error.least)
                continue
            attributes = encoder.described(trial, target, value, provenance)
            content = archive.sealed(trial.coded, attributes)
            key = attributes["rel_error"] if target == "bytes" else len(content)
            if best is None or key < best[0]:
                best = key, content, attributes, encoder.judge
        if best is None:
            raise ValueError(refusal(target, value, min(failures), peak))
        _, content, attributes, judge = best
        del encoder, trial
        _publish(path, content, attributes, judge, goal, force)
    info = describe(path)
    if words := shortfall(A, info.rank, info.rel_error, mask):
        warnings.warn(f"{path}: {words}", ArchiveWarning, stacklevel=2)
    return info


def decode(path: str | Path, *, rank: int | None = None, rows: tuple[int, int] | None = None) -> np.ndarray:
    """The array of an archive, or rows of it, at the stored rank or a smaller one.

    Parameters
    ----------
    path : path
    rank : int, optional
        Leading components to use, 0 or more; those beyond are not read.
    rows : (start, stop), optional
        Range of the first axis; only the chunks that it touches are read.

    Returns
    -------
    A : array
        In the dtype that was encoded; a `numpy.ma.MaskedArray` where values are missing. Integers are rounded and
        clipped.

    Raises
    ------
    ValueError
        A rank or rows that the archive does not have, or more than this machine's memory holds.
    StoreError
        The file is missing, damaged, or of a later layout.
    """
    info = describe(path)
    if rank is not None and not 0 <= whole("rank", rank) <= info.rank:
        raise ValueError(f"rank {rank} is outside 0 to {info.rank}, the rank of {path}")
    if rows is not None:
        start, stop = (whole("rows", row) for row in rows)
        if not 0 <= start <= stop <= info.shape[0]:
            raise ValueError(f"rows {start} to {stop} are outside 0 to {info.shape[0]} of {path}")
        rows = (start, stop)
    archive.check_memory(info.shape, info.shape[0] if rows is None else rows[1] - rows[0])
    with one_blas_thread(), archive.opened(path) as (layout, read):
        values = archive.restored(layout, read, rank, rows)
        mask = archive.mask_of(layout, read, rows)
    if mask is None:
        return values
    values[~mask] = 0
    return np.ma.MaskedArray(values, ~mask)


def describe(path: str | Path) -> ArchiveInfo:
    """What an archive holds, from its attributes; no stream is read.

    Raises
    ------
    StoreError
        The file is missing, damaged, or of a later layout.
    """
    with archive.opened(path) as (layout, _):
        shape, size = tuple(int(n) for n in layout["shape"]), Path(path).stat().st_size
        return ArchiveInfo(
            path=Path(path),
            form=layout["form"],
            shape=shape,
            dtype=np.dtype(layout["dtype"]).name,
            rank=int(layout["rank"]),
            step=float(layout["step"]),
            bytes=size,
            bits_per_value=8 * size / prod(shape),
            rel_error=float(layout["rel_error"]),
            psnr=float(layout["psnr"]),
            max_abs=float(layout["max_abs"]),
            target=layout["target"],
            target_value=float(layout["target_value"]),
            masked=int(layout.get("masked", 0)),
        )


def _refuse_source(A: Any, path: str | Path) -> None:
    """Refuse to write over the file that an array is mapped from."""
    while A is not None:
        file = getattr(A, "filename", None)
        if isinstance(A, np.memmap) and file and Path(path).exists() and Path(path).samefile(file):
            raise ValueError(
                f"{path} is the file that the array is read from; name another one for the archive"
            )
        A = getattr(A, "base", None)


def _publish(
    path: str | Path,
    content: np.ndarray,
    attributes: dict[str, Any],
    judge: Callable[[np.ndarray], Quality],
    goal: float,
    force: bool,
) -> None:
    """Write, decode what was written, and publish it if that is what was promised."""
    with archive.published(path, force=force) as file:
        archive.write(file, content)
        file.flush()
        layout = archive.layout_of(file)
        decoded = archive.restored(layout, archive.reader_of(file, layout))
        found = judge(decoded)
        promised = {"rel_error": found.rel_error, "psnr": found.rmse, "max_abs": found.max_abs}
        if promised.get(attributes["target"], 0.0) > goal or found.rel_error != attributes["rel_error"]:
            raise StoreError(f"{path}: what decodes is not what was encoded; nothing was published")

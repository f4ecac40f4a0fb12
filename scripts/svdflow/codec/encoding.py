"""The doors: `encode` to a target, `decode`, `describe`, and `rate_curve` over many steps."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.forms import Subject, Trial, checked, range_of
from svdflow.codec.quality import closest, coarsest, quality, shortfall
from svdflow.compute.engine import one_blas_thread
from svdflow.errors import ArchiveWarning, UnreachableTargetError
from svdflow.store import StoreError, refuse_foreign

TARGETS = ("rel_error", "psnr", "max_abs", "bytes")
CURVE_BITS = (0.1, 3.0)  # bits per value between which a curve of integers runs
WIDEST = (1e-6, 30.0)  # steps of a curve over the root mean square of the array
TINY = 1e-12
CURVE_ERRORS = (1e-1, 1e-4)  # relative errors between which a curve of floats runs


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


@dataclass(frozen=True)
class RatePoint:
    """One step of a `rate_curve`: the bytes of its file, and what decodes from it."""

    step: float
    bytes: int
    decoded: np.ndarray


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
    mask: np.ndarray | None = None,
    data_range: float | None = None,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
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
    target, value = _target(rel_error=rel_error, psnr=psnr, max_abs=max_abs, bytes=bytes)
    _check(rank, data_range)
    forms = forms_for(A.shape, A.dtype)
    if form != "auto" and form not in forms:
        raise ValueError(
            f"form {form!r} does not apply to shape {A.shape}; choose {', '.join(forms)} or auto"
        )
    with one_blas_thread():
        norm = float(np.linalg.norm(A.astype(np.float64)))
        peak = range_of(A, mask) if data_range is None else float(data_range)
        count = A.size if mask is None else int(mask.sum())
        goal = peak * 10 ** (-value / 20) if target == "psnr" else value
        allowed = {"rel_error": goal * norm, "psnr": goal * count**0.5}.get(target)
        best: tuple | None = None
        failures: list[float] = []
        for name in forms if form == "auto" else [form]:
            subject = Subject(A, name, mask=mask, rank=rank, error=allowed, data_range=peak, seed=seed)
            try:
                trial = _search(subject, target, goal, value, provenance)
            except UnreachableTargetError as error:
                failures.append(error.least)
                continue
            attributes = subject.described(trial, target, value, provenance)
            content = archive.sealed(trial.coded, attributes)
            key = attributes["rel_error"] if target == "bytes" else len(content)
            if best is None or key < best[0]:
                best = key, content, attributes, subject
        if best is None:
            raise ValueError(_refusal(target, value, min(failures), peak))
        _, content, attributes, subject = best
        _publish(path, content, attributes, subject, goal, force)
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
    if rank is not None and not 0 <= _whole("rank", rank) <= info.rank:
        raise ValueError(f"rank {rank} is outside 0 to {info.rank}, the rank of {path}")
    if rows is not None:
        start, stop = (_whole("rows", row) for row in rows)
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


def rate_curve(
    A: np.ndarray,
    form: str,
    *,
    count: int = 6,
    mask: np.ndarray | None = None,
    data_range: float | None = None,
    seed: int = 0,
) -> list[RatePoint]:
    """Sizes and decoded arrays at steps from coarse to fine; the decomposition is computed once.

    Parameters
    ----------
    A : array, any shape
    form : {"svd", "tucker", "tiles"}
    count : int
        Points of the curve, at least 2.
    mask : bool array of the shape of A, optional
        As for `encode`.
    data_range : float, optional
        Recorded with the archive; the curve does not depend on it.
    seed : int

    Returns
    -------
    points : list of RatePoint
        From about 0.1 to 3 bits a value for integers, from a relative error of 0.1 to 1e-4 for floats. ``bytes`` is
        the size of the file that `encode` would write. An array that is exact at rank 0 has one point.
    """
    A, mask = checked(A, mask)
    if form not in forms_for(A.shape, A.dtype):
        raise ValueError(f"form {form!r} does not apply to shape {A.shape}: {forms_for(A.shape, A.dtype)}")
    if _whole("count", count) < 2:
        raise ValueError(f"count must be at least 2, not {count}")
    _check(None, data_range)
    with one_blas_thread():
        subject = Subject(A, form, mask=mask, data_range=data_range, seed=seed)
        if subject.model.scale == 0:
            return [_point(subject, 1.0)]
        return [_point(subject, step) for step in _curve_steps(subject, count)]


def forms_for(shape: tuple[int, ...], dtype: Any) -> list[str]:
    """Forms of an archive that an array of this shape and dtype can take; none for complex numbers and others."""
    if np.dtype(dtype).kind not in "fiub" or not prod(shape) or not shape:
        return []
    return ["svd"] + (["tiles"] if len(shape) == 2 else []) + (["tucker"] if len(shape) > 2 else [])


def _search(
    subject: Subject, target: str, goal: float, value: float, provenance: Mapping[str, Any] | None
) -> Trial:
    """The trial at the coarsest step that meets an error, or at the finest that fits a size."""
    scale = subject.model.scale or 1.0
    if target == "bytes":

        def size(inverse: float) -> float:
            trial = subject.at(1 / inverse)
            attributes = subject.described(trial, target, value, provenance)
            found = archive.size_of(archive.sealed(trial.coded, attributes))
            # Where nothing is lost, a finer step has nothing to gain, and the search may end.
            return max(float(found), goal) if attributes["rel_error"] == 0 else found

        return subject.at(1 / coarsest(size, goal, 1 / scale))
    field = "rmse" if target == "psnr" else target
    guess = {"rel_error": goal * subject.root_mean_square}.get(target, goal)
    start = min(3 * guess, 3 * scale) or 1.0  # an array of zeros takes any step
    search = closest if subject.A.dtype.kind == "f" else coarsest
    return subject.at(search(lambda step: getattr(subject.quality(subject.at(step)), field), goal, start))


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
    subject: Subject,
    goal: float,
    force: bool,
) -> None:
    """Write, decode what was written, and publish it if that is what was promised."""
    with archive.published(path, force=force) as file:
        archive.write(file, content)
        file.flush()
        layout = archive.layout_of(file)
        decoded = archive.restored(layout, archive.reader_of(file, layout))
        found = quality(subject.A, decoded, subject.range, subject.mask)
        promised = {"rel_error": found.rel_error, "psnr": found.rmse, "max_abs": found.max_abs}
        if promised.get(attributes["target"], 0.0) > goal or found.rel_error != attributes["rel_error"]:
            raise StoreError(f"{path}: what decodes is not what was encoded; nothing was published")


def _point(subject: Subject, step: float) -> RatePoint:
    trial = subject.at(step)
    attributes = subject.described(trial, "rel_error", 0.0, None)
    size = archive.size_of(archive.sealed(trial.coded, attributes))
    return RatePoint(step=float(step), bytes=size, decoded=trial.decoded)


def _curve_steps(subject: Subject, count: int) -> np.ndarray:
    """Steps in a geometric series whose ends are near those of the useful rates or errors.

    Two steps are measured, and the straight line through them on logarithms gives the ends.
    """
    scale, floats = subject.model.scale, subject.A.dtype.kind == "f"
    probes = scale * np.array([1, 0.01] if floats else [2, 0.2])
    if floats:
        measured = [subject.quality(subject.at(step)).rel_error for step in probes]
    else:
        measured = [8 * _point(subject, step).bytes / subject.A.size for step in probes]
    x, y = np.log(probes), np.log(np.maximum(measured, TINY))
    slope = (y[1] - y[0]) / (x[1] - x[0]) or 1.0
    ends = x[1] + (np.log(CURVE_ERRORS if floats else CURVE_BITS) - y[1]) / slope
    reach = np.log(scale) + np.log(WIDEST)
    coarse, fine = np.clip(ends, *reach)
    return np.exp(np.linspace(coarse, fine, count))


def _target(**given: Any) -> tuple[str, float]:
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ValueError(f"give exactly one of {', '.join(TARGETS)}; given: {', '.join(named) or 'none'}")
    [(name, value)] = named.items()
    kinds = (int, np.integer) if name == "bytes" else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(
            f"{name} must be {'a whole number' if name == 'bytes' else 'a number'}, not {value!r}"
        )
    if not np.isfinite(value) or (value <= 0 and name != "psnr"):
        raise ValueError(f"{name} must be {'finite' if name == 'psnr' else 'positive'}, not {value!r}")
    return name, float(value)


def _check(rank: Any, data_range: Any) -> None:
    if rank is not None and _whole("rank", rank) < 1:
        raise ValueError(f"rank must be at least 1, not {rank}")
    if data_range is not None:
        number = isinstance(data_range, Real) and not isinstance(data_range, bool)
        if not number or not 0 < data_range < np.inf:
            raise ValueError(f"data_range must be positive, not {data_range!r}")


def _whole(name: str, value: Any) -> int:
    """A whole number; True and False are none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def _refusal(target: str, value: float, least: float, peak: float) -> str:
    if not np.isfinite(least):
        return f"{target} {value:g} cannot be reached: codes would exceed what doubles hold; ask for less accuracy"
    if target == "psnr":
        most = 20 * np.log10(peak / least)
        return f"psnr {value:g} dB cannot be reached; the most is {most:.4g} dB: ask for less, or raise rank"
    advice = "allow more" if target == "bytes" else "allow more, or raise rank"
    return f"{target} {value:g} cannot be reached; the least possible is {least:.6g}: {advice}"

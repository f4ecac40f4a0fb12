"""What an array costs in one form of an archive, at many steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.forms import Encoder, checked, encoder_of, forms_for, range_of
from svdflow.codec.targets import check_arguments, whole
from svdflow.compute.engine import one_blas_thread

# Where a curve begins and ends: the rates and errors that users ask for, as those of the other codecs' ladders. Chosen.
CURVE_BITS = (0.1, 3.0)  # bits per value between which a curve of integers runs
WIDEST = (1e-6, 30.0)  # steps of a curve over the root mean square of the array, at least and at most
TINY = 1e-12  # what a measured error of nothing counts as in a logarithm
CURVE_ERRORS = (1e-1, 1e-4)  # relative errors between which a curve of floats runs


@dataclass(frozen=True)
class RatePoint:
    """One step of a `rate_curve`: the bytes of its file, and what decodes from it."""

    step: float
    bytes: int
    decoded: np.ndarray


def rate_curve(
    A: np.ndarray,
    form: str,
    *,
    count: int = 6,
    block: int | None = None,
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
    block : int, optional
        As for `encode`.
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
    return list(each_step(A, form, count=count, block=block, mask=mask, data_range=data_range, seed=seed))


def each_step(
    A: np.ndarray,
    form: str,
    *,
    count: int = 6,
    block: int | None = None,
    mask: np.ndarray | None = None,
    data_range: float | None = None,
    seed: int = 0,
    memory_limit: int | None = None,
) -> Iterator[RatePoint]:
    """The points of `rate_curve` one by one, so that one decoded array is held; `memory_limit` as for `encode`."""
    A, mask = checked(A, mask)
    if form not in forms_for(A.shape, A.dtype):
        raise ValueError(f"form {form!r} does not apply to shape {A.shape}: {forms_for(A.shape, A.dtype)}")
    if whole("count", count) < 2:
        raise ValueError(f"count must be at least 2, not {count}")
    check_arguments(None, data_range)
    with one_blas_thread():
        peak = range_of(A, mask) if data_range is None else float(data_range)
        asked: dict[str, Any] = {"block": block, "mask": mask, "data_range": peak, "seed": seed}
        encoder = encoder_of(A, form, memory_limit=memory_limit, **asked)
        steps = _curve_steps(encoder, count) if encoder.scale else [1.0]
    for step in steps:
        with one_blas_thread():
            found = _point(encoder, step)
        yield found


def _point(encoder: Encoder, step: float) -> RatePoint:
    trial = encoder.at(step)
    attributes = encoder.described(trial, "rel_error", 0.0, None)
    size = archive.size_of(archive.sealed(trial.coded, attributes))
    return RatePoint(step=float(step), bytes=size, decoded=trial.decoded)


def _curve_steps(encoder: Encoder, count: int) -> np.ndarray:
    """Steps in a geometric series whose ends are near those of the useful rates or errors.

    Two steps are measured, and the straight line through them on logarithms gives the ends.
    """
    scale, floats = encoder.scale, encoder.A.dtype.kind == "f"
    probes = scale * np.array([1, 0.01] if floats else [2, 0.2])
    if floats:
        measured = [encoder.at(step).quality.rel_error for step in probes]
    else:
        measured = [8 * _point(encoder, step).bytes / encoder.A.size for step in probes]
    x, y = np.log(probes), np.log(np.maximum(measured, TINY))
    slope = (y[1] - y[0]) / (x[1] - x[0]) or 1.0
    ends = x[1] + (np.log(CURVE_ERRORS if floats else CURVE_BITS) - y[1]) / slope
    reach = np.log(scale) + np.log(WIDEST)
    coarse, fine = np.clip(ends, *reach)
    return np.exp(np.linspace(coarse, fine, count))

"""An array and one form of it, ready to be quantized at any step and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import inf, prod
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.quality import Quality, quality
from svdflow.codec.quantize import Coded, narrowed
from svdflow.images.item_range import value_range
from svdflow.matrix.masks import materialized
from svdflow.registry import ARCHIVE_FORMS

# Share of the norm that the mean must hold to be taken off: half of the energy. Another share moves the bytes of arrays
# near it, by about a component. Chosen.
LEAST_SHARE = 2**-0.5

# Values above which a picture is encoded in squares of BLOCK, each with factors of its own: those of a whole picture
# cost its pixels times its shorter side. Another value gives other archives of pictures between the two.
WHOLE = 2**21
BLOCK = 1024  # python benchmarks/images.py --case squares
# Bytes of each value of a picture in squares: factors in float64, the most that a form has; codes of a byte or two with
# what they decode to. They decide which decompositions are held, and no result.
OF_A_MODEL, OF_A_TRIAL = 16, 8
TINY, HUGE = 1e-120, 1e120  # between them sums of squares neither vanish nor overflow


@dataclass(frozen=True)
class Trial:
    """Codes at one step, the attributes of their archive, the array that they decode to, and its errors."""

    coded: Coded
    attributes: dict[str, Any]
    decoded: np.ndarray
    quality: Quality


class Encoder:
    """An array and one form of it, ready to be quantized at any step.

    Parameters
    ----------
    A, mask : as `checked` gives them
    form : str
        A key of `svdflow.registry.ARCHIVE_FORMS` that the array can take.
    rank, error, seed
        As the form takes them.
    data_range : float
        Peak of PSNR.

    Attributes
    ----------
    scale, root_mean_square : float
        Of what is quantized, the offset taken off, and of the valid values.
    judge : function of a decoded array
        Its errors; it keeps the array and nothing of the form.
    """

    def __init__(
        self,
        A: np.ndarray,
        form: str,
        *,
        mask: np.ndarray | None = None,
        rank: int | None = None,
        error: float | None = None,
        data_range: float,
        seed: int = 0,
    ) -> None:
        self.A, self.form, self.mask, self.range = A, form, mask, data_range
        self.judge = partial(quality, A, data_range=data_range, mask=mask)
        wide = A.astype(np.float64)
        valid = wide if mask is None else wide[mask]
        self.root_mean_square = float(np.linalg.norm(valid)) / max(1, valid.size) ** 0.5
        if mask is not None:
            # What costs few codes; it is never judged, nor decoded as a value.
            wide[~mask] = valid.mean() if valid.size else 0.0
        self.offset = _offset(wide)
        wide -= self.offset
        wide = wide[:, None] if wide.ndim == 1 else wide
        self.model = ARCHIVE_FORMS[form].code()(wide, rank=rank, error=error, seed=seed)
        self.scale = float(self.model.scale)

    def at(self, step: float) -> Trial:
        """Quantize, and decode what an archive would hold."""
        coded, own, decoded = self.quantized(step)
        attributes = {**layout_of(self.A, self.form, step), **own, **archive.mask_layout(self.mask)}
        return Trial(archive.masked(coded, self.mask), attributes, decoded, self.judge(decoded))

    def quantized(self, step: float) -> tuple[Coded, dict[str, Any], np.ndarray]:
        """Codes without the mask, the attributes that they alone have, and what they decode to."""
        coded = self.model.quantized(step)
        own = {"offset": self.offset, "rank": coded.rank, **coded.layout}
        layout = {**layout_of(self.A, self.form, step), **own}
        return coded, own, archive.restored(layout, coded.streams.__getitem__)

    def described(
        self, trial: Trial, target: str, value: float, provenance: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """All attributes of the archive of a trial."""
        return trial.attributes | {
            "rel_error": trial.quality.rel_error,
            "psnr": trial.quality.psnr,
            "max_abs": trial.quality.max_abs,
            "data_range": self.range,
            "target": target,
            "target_value": float(value),
            **({"provenance": dict(provenance)} if provenance else {}),
        }


class BlockEncoder(Encoder):
    """A picture, each square of which is quantized by itself, all at one step: time and memory grow like its pixels.

    Parameters
    ----------
    A : array (m, n)
    block : int
        Rows and columns of a square, fewer at the right and lower edge.
    memory_limit : int, optional
        Bytes to work in beside `A`. The decompositions of squares that do not fit are computed anew at each step: the
        same bits in more time.
    """

    def __init__(
        self,
        A: np.ndarray,
        form: str,
        *,
        block: int,
        mask: np.ndarray | None = None,
        data_range: float,
        memory_limit: int | None = None,
        **asked: Any,
    ) -> None:
        self.A, self.form, self.mask, self.range, self.block = A, form, mask, data_range, block
        self.places = archive.squares(A.shape, block)
        self.judge = partial(quality, A, data_range=data_range, mask=mask, places=self.places)
        self.asked = {"data_range": data_range, **asked}
        room = inf if memory_limit is None else memory_limit - OF_A_TRIAL * A.size
        self.held = {}
        energy, squares, valid = 0.0, 0.0, 0
        for number in range(len(self.places)):
            part = self._part(number)
            count = part.A.size if part.mask is None else int(np.count_nonzero(part.mask))
            energy += part.scale**2 * part.A.size
            squares += part.root_mean_square**2 * count
            valid += count
            room -= OF_A_MODEL * part.A.size
            if room >= 0:
                self.held[number] = part
        self.scale = (energy / A.size) ** 0.5
        self.root_mean_square = float(squares / valid) ** 0.5

    def _part(self, number: int) -> Encoder:
        """The square of that number, ready to be quantized."""
        place = self.places[number]
        mask = None if self.mask is None else self.mask[place]
        return self.held.get(number) or Encoder(self.A[place], self.form, mask=mask, **self.asked)

    def at(self, step: float) -> Trial:
        """Quantize square by square."""
        streams: list[np.ndarray] = []
        smooth: set[int] = set()
        layouts: list[dict[str, Any]] = []
        decoded = np.empty_like(self.A)
        for number, place in enumerate(self.places):
            coded, own, decoded[place] = self._part(number).quantized(step)
            smooth |= {len(streams) + stream for stream in coded.smooth}
            streams += map(narrowed, coded.streams)
            layouts.append({**own, "count": len(coded.streams)})
        rank = max(own["rank"] for own in layouts)
        attributes = {
            **layout_of(self.A, self.form, step),
            **archive.mask_layout(self.mask),
            "layout": archive.BLOCK_LAYOUT,
            "rank": rank,
            "block": self.block,
            "blocks": layouts,
        }
        coded = archive.masked(Coded(rank, {}, streams, frozenset(smooth)), self.mask)
        return Trial(coded, attributes, decoded, self.judge(decoded))


def square_of(picture: np.ndarray) -> int | None:
    """Side of the squares that a picture is encoded in; None for all of it at once."""
    return BLOCK if picture.ndim == 2 and picture.size > WHOLE else None


def encoder_of(
    A: np.ndarray, form: str, *, block: int | None = None, memory_limit: int | None = None, **asked: Any
) -> Encoder:
    """An `Encoder`, or a `BlockEncoder` for a picture of more than one square."""
    if block is None or A.ndim != 2 or max(A.shape) <= block:
        return Encoder(A, form, **asked)
    return BlockEncoder(A, form, block=block, memory_limit=memory_limit, **asked)


def layout_of(A: np.ndarray, form: str, step: float) -> dict[str, Any]:
    """What the description of an archive says first."""
    return {
        "layout": archive.LAYOUT,
        "form": form,
        "shape": list(A.shape),
        "dtype": A.dtype.newbyteorder("<").str,
        "step": float(step),
    }


def forms_for(shape: tuple[int, ...], dtype: Any) -> list[str]:
    """Forms of an archive that an array of this shape and dtype can take; none for complex numbers and others."""
    if np.dtype(dtype).kind not in "fiub" or not prod(shape) or not shape:
        return []
    limits = {name: form.dimensions for name, form in ARCHIVE_FORMS.items()}
    return [name for name, (low, high) in limits.items() if low <= len(shape) <= high]


def range_of(A: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The peak of PSNR of an array by itself: that of `svdflow.images.item_range.value_range`."""
    return value_range([A if mask is None else A[mask]])[2]


def checked(A: Any, mask: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The array with its mask, refused where an archive cannot hold it.

    Parameters
    ----------
    A : array
        A masked array of NumPy brings its own mask.
    mask : bool array of the shape of A, optional
        True where a value is valid.

    Returns
    -------
    A : array
        0 where the mask says that a value is missing, so that no byte depends on what stood there.
    mask : bool array or None
        None where every value is valid.

    Raises
    ------
    ValueError
        It is empty, complex, not of numbers, not finite, of extreme range, or has integers that float64 does not
        hold; the mask is of another shape or type, or leaves nothing.
    """
    A = materialized(A)
    mask = _valid(A, mask)
    A = np.asarray(A)
    if A.dtype.kind not in "fiub":
        raise ValueError(
            f"A has dtype {A.dtype}; an archive holds real numbers: encode real and imaginary parts apart"
        )
    if A.dtype.itemsize > 8:
        raise ValueError(f"A has dtype {A.dtype}; convert it to float64 first")
    if not A.size or not A.ndim:
        raise ValueError(f"A has shape {A.shape} and no values along an axis; there is nothing to encode")
    if mask is not None:
        A = np.where(mask, A, A.dtype.type(0))
    if A.dtype.kind == "f" and not np.isfinite(A).all():
        raise ValueError(
            "A holds NaN or infinity; replace such values, or say which are missing: mask=~np.isnan(A), --nan-missing"
        )
    if A.dtype.kind == "f" and (peak := float(np.abs(A).max())) and not TINY < peak < HUGE:
        raise ValueError(
            f"A holds values up to {peak:.3g}, whose squares leave the range of float64; rescale it first"
        )
    if A.dtype.itemsize == 8 and A.dtype.kind in "iu" and max(int(A.max()), -int(A.min())) > 2**53:
        raise ValueError("A holds integers above 2^53, which float64 does not; scale or convert it first")
    return A, mask


def _valid(A: Any, mask: Any) -> np.ndarray | None:
    """One mask of what the caller and a masked array say; None where all is valid."""
    shape = np.shape(A)
    valid = np.ones(shape, bool)
    if mask is not None:
        given = np.asarray(mask)
        if given.dtype != bool or given.shape != shape:
            raise ValueError(
                f"mask has dtype {given.dtype} and shape {given.shape}; it must be bool, of shape {shape} as A is, and "
                "True where a value is valid"
            )
        valid &= given
    if isinstance(A, np.ma.MaskedArray):
        valid &= ~np.ma.getmaskarray(A)
    if valid.size and not valid.any():
        raise ValueError(f"all {valid.size} values are masked; there is nothing to encode")
    return None if valid.all() else valid


def _offset(wide: np.ndarray) -> float:
    """The mean where it carries most of the norm, else 0: one number against a component."""
    if wide.min() == wide.max():
        return float(wide.flat[0])
    mean = float(wide.mean())
    return mean if abs(mean) * wide.size**0.5 > LEAST_SHARE * np.linalg.norm(wide) else 0.0

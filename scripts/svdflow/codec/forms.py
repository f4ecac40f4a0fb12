"""An array and one form of it, ready to be quantized at any step and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.quality import Quality, quality
from svdflow.codec.quantize import Coded
from svdflow.codec.svd_form import MatrixForm
from svdflow.codec.tiles_form import TilesForm
from svdflow.codec.tucker_form import TuckerForm
from svdflow.images.item_range import value_range
from svdflow.matrix.masks import materialized

FORMS: Mapping[str, Any] = MappingProxyType({"svd": MatrixForm, "tucker": TuckerForm, "tiles": TilesForm})
LEAST_SHARE = 2**-0.5  # of the norm, that the mean must hold to be taken off

TINY, HUGE = 1e-120, 1e120  # between them sums of squares neither vanish nor overflow


@dataclass(frozen=True)
class Trial:
    """Codes at one step, the attributes of their archive, and the array that they decode to."""

    coded: Coded
    attributes: dict[str, Any]
    decoded: np.ndarray


class Subject:
    """An array and one form of it, ready to be quantized at any step."""

    def __init__(
        self,
        A: np.ndarray,
        form: str,
        *,
        mask: np.ndarray | None = None,
        rank: int | None = None,
        error: float | None = None,
        data_range: float | None = None,
        seed: int = 0,
    ) -> None:
        self.A, self.form, self.mask = A, form, mask
        self.range = range_of(A, mask) if data_range is None else float(data_range)
        wide = A.astype(np.float64)
        valid = wide if mask is None else wide[mask]
        self.root_mean_square = float(np.linalg.norm(valid)) / valid.size**0.5
        if mask is not None:
            wide[~mask] = valid.mean()  # what costs few codes; it is never judged, nor decoded as a value
        self.offset = _offset(wide)
        wide -= self.offset
        wide = wide[:, None] if wide.ndim == 1 else wide
        self.model = FORMS[form](wide, rank=rank, error=error, seed=seed)

    def at(self, step: float) -> Trial:
        """Quantize, and decode what an archive would hold."""
        coded = self.model.quantized(step)
        attributes = {
            "layout": archive.LAYOUT,
            "form": self.form,
            "shape": list(self.A.shape),
            "dtype": self.A.dtype.newbyteorder("<").str,
            "step": float(step),
            "offset": self.offset,
            "rank": coded.rank,
            **coded.layout,
        }
        decoded = archive.restored(attributes, coded.streams.__getitem__)
        return Trial(archive.masked(coded, self.mask), attributes | archive.mask_layout(self.mask), decoded)

    def quality(self, trial: Trial) -> Quality:
        """Errors of a trial."""
        return quality(self.A, trial.decoded, self.range, self.mask)

    def described(
        self, trial: Trial, target: str, value: float, provenance: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """All attributes of the archive of a trial."""
        found = self.quality(trial)
        return trial.attributes | {
            "rel_error": found.rel_error,
            "psnr": found.psnr,
            "max_abs": found.max_abs,
            "data_range": self.range,
            "target": target,
            "target_value": float(value),
            **({"provenance": dict(provenance)} if provenance else {}),
        }


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

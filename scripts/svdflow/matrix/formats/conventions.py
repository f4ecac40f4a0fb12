"""What attributes say about stored numbers: packing, missing values and valid range of netCDF and xarray.

Numbers are unpacked as netCDF4-python does it, missing values are what it masks. Sources: NetCDF Users' Guide, appendix
"Attribute Conventions"; CF Conventions 1.11, sections 2.5 and 8.1; for Zarr, xarray's encoding of ``_FillValue``.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.errors import ConventionError

PACKING = ("scale_factor", "add_offset")
MISSING = ("_FillValue", "missing_value")
RANGE = ("valid_range", "valid_min", "valid_max")
# Packing that other conventions name alike and mean differently, by the value that changes nothing: in HDF-EOS the
# offset comes off before the scale in some products and after it in others.
FOREIGN = {
    "ScaleFactor": 1,
    "Offset": 0,
    "Slope": 1,
    "Intercept": 0,
    "Scale": 1,
    "SCALE_FACTOR": 1,
    "ADD_OFFSET": 0,
}
TELLING = {*PACKING, *MISSING, *RANGE, *FOREIGN, "_Unsigned"}


@dataclass(frozen=True)
class Coding:
    """How values are made of stored numbers.

    Attributes
    ----------
    stored : dtype
        Of the numbers, as the file has them.
    view : dtype
        What their bytes mean, which is another sign under ``_Unsigned``.
    scale, offset : NumPy scalars or None
    missing : tuple of scalars of `view`
        Numbers that stand for a missing value; NaN may be one.
    low, high : scalars of `view` or None
        Numbers outside are missing.
    """

    stored: np.dtype
    view: np.dtype
    scale: Any = None
    offset: Any = None
    missing: tuple[Any, ...] = ()
    low: Any = None
    high: Any = None

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self._unpacked(np.zeros(1, self.view)).dtype

    @property
    def trivial(self) -> bool:
        return self == Coding(self.stored, self.stored)

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """The values of stored numbers; meaningless where `mask` says so."""
        with np.errstate(over="ignore", invalid="ignore"):  # under a mask anything may stand
            return self._unpacked(numbers.view(self.view) if self.view != self.stored else numbers)

    def mask(self, numbers: np.ndarray) -> np.ndarray | None:
        """True where a number stands for a missing value; None where none can."""
        numbers = numbers.view(self.view) if self.view != self.stored else numbers
        found: np.ndarray | None = None
        for value in self.missing:
            hit = np.isnan(numbers) if value != value else numbers == value
            found = hit if found is None else found | hit
        for outside in (
            None if self.low is None else numbers < self.low,
            None if self.high is None else numbers > self.high,
        ):
            if outside is not None:
                found = outside if found is None else found | outside
        return found

    def _unpacked(self, numbers: np.ndarray) -> np.ndarray:
        if self.scale is not None:
            numbers = numbers * self.scale
        return numbers if self.offset is None else numbers + self.offset


def coding_of(attrs: Mapping[str, Any], dtype: np.dtype, name: str, *, fill: Any = None) -> Coding:
    """The coding that attributes describe.

    Parameters
    ----------
    attrs : mapping
        Of an HDF5 dataset or Zarr array.
    dtype : dtype
        Of the stored numbers.
    name : str
        For messages.
    fill : scalar, optional
        A missing value that the file's layout, and no attribute, names.

    Raises
    ------
    ConventionError
        An attribute is not what its convention says, or belongs to one that is not decoded.
    """
    dtype = np.dtype(dtype)
    for word, nothing in FOREIGN.items():
        if word in attrs and not _is(attrs[word], nothing):
            raise ConventionError(
                f"{name}: its attribute {word} says that the stored numbers are not the values, by a convention that "
                "is not decoded here; unpack it first, and store the values"
            )
    view = _signed(attrs.get("_Unsigned"), dtype)
    scale, offset = (_number(attrs, word, name) for word in PACKING)
    missing = [value for word in MISSING for value in _numbers(attrs.get(word), dtype, view, name, word)]
    if fill is not None and "_FillValue" not in attrs:
        missing.append(np.asarray(fill, dtype).view(view)[()])
    low = high = None
    limits = _numbers(attrs.get("valid_range"), dtype, view, name, "valid_range")
    if len(limits) == 2:
        low, high = limits
    else:
        low = next(iter(_numbers(attrs.get("valid_min"), dtype, view, name, "valid_min")), None)
        high = next(iter(_numbers(attrs.get("valid_max"), dtype, view, name, "valid_max")), None)
    return Coding(dtype, view, scale, offset, tuple(missing), low, high)


def _signed(flag: Any, dtype: np.dtype) -> np.dtype:
    """The type that ``_Unsigned`` makes of integers."""
    text = _text(flag).lower()
    if text == "true" and dtype.kind == "i":
        return np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
    if text == "false" and dtype.kind == "u":
        return np.dtype(f"{dtype.byteorder}i{dtype.itemsize}")
    return dtype


def _number(attrs: Mapping[str, Any], word: str, name: str) -> Any:
    """A packing attribute as a NumPy scalar of its own type."""
    if word not in attrs:
        return None
    value = np.asarray(attrs[word])
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise ConventionError(
            f"{name}: its attribute {word} is not one finite number, so its values are not known; mend the attribute, "
            "or store the values unpacked"
        )
    return value.ravel()[0]


def _numbers(value: Any, dtype: np.dtype, view: np.dtype, name: str, word: str) -> list[Any]:
    """An attribute as scalars of the stored type, those that this type has: others can equal no stored number."""
    if value is None:
        return []
    if isinstance(value, str) and dtype.kind == "f":
        value = _float_of_text(value, name, word)
    array = np.asarray(value).ravel()
    if array.dtype.kind not in "biufc" or dtype.kind not in "biufc":
        raise ConventionError(f"{name}: its attribute {word} is no number; mend it, or remove it from a copy")
    with np.errstate(all="ignore"):
        held = array.astype(dtype)
    if dtype.kind == "f":
        same = np.ones(array.shape, bool)  # -999.9 in double names the float32 nearest to it
    elif array.dtype.kind == "f":
        same = np.isfinite(array) & (held.astype(array.dtype) == array)
    else:
        same = np.array([int(a) == int(b) for a, b in zip(array.tolist(), held.tolist())], bool)
        if (
            view != dtype and array.dtype.kind == view.kind
        ):  # 255 for the byte -1 that is meant without a sign
            same = same | (held.view(view) == array)
    return list(held.view(view)[same])


def _float_of_text(text: str, name: str, word: str) -> float:
    """xarray writes float fill values of Zarr version 3 as base64 of a double; JSON has no NaN."""
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text)
    try:
        return float(struct.unpack("<d", base64.b64decode(text, validate=True))[0])
    except (ValueError, struct.error):
        raise ConventionError(
            f"{name}: its attribute {word} is no number; mend it, or remove it from a copy"
        ) from None


def _is(value: Any, number: float) -> bool:
    array = np.asarray(value)
    return array.size == 1 and array.dtype.kind in "biuf" and float(array.ravel()[0]) == number


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bool):
        return str(value)
    return (
        value.decode("ascii", "replace")
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else ""
    )

"""What every denoiser asks of its arguments before anything is computed: numbers, whole numbers, arrays and masks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from svdflow.matrix.masks import materialized
from svdflow.ranks.singular_values import number, shown, whole

__all__ = [
    "Given",
    "check_levels",
    "choice",
    "floating",
    "given",
    "levels",
    "number",
    "threads_of",
    "whole",
]

EXACT = 2**53  # integers beyond it are rounded in double precision


class Given(NamedTuple):
    """An array as it came, plain, and where it is valid.

    Attributes
    ----------
    values : array
        What stands under the mask is whatever stood there.
    valid : bool array of the same shape, or None
        None where all values are valid.
    masked_array : bool
        It came as ``numpy.ma`` and goes back so.
    """

    values: np.ndarray
    valid: np.ndarray | None
    masked_array: bool

    def returned(self, values: np.ndarray, treated: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Denoised values, those that were not `treated` as they came, and the number of these.

        Parameters
        ----------
        values : array
            Of the shape of the given ones.
        treated : bool array that broadcasts against them, optional
            By default the valid ones.
        """
        treated = self.valid if treated is None else np.broadcast_to(treated, self.values.shape)
        left = 0
        if treated is not None:
            values = np.where(treated, values, self.values.astype(values.dtype, copy=False))
            left = int(treated.size - np.count_nonzero(treated))
        return self.hidden(values), left

    def hidden(self, values: np.ndarray) -> np.ndarray:
        """Values behind the mask with which the given ones came, if they came with one."""
        if not self.masked_array:
            return values
        return np.ma.MaskedArray(values, mask=False if self.valid is None else ~self.valid)


def given(name: str, what: str, values: Any, mask: Any, *, kinds: str = "iuf", form: str = "array") -> Given:
    """An array and its mask, checked: numbers of the `kinds`, finite where they are valid, not empty.

    Parameters
    ----------
    name, what : str
        Of the method and of the argument, for messages.
    values : array_like
        ``numpy.ma`` is taken with its mask, and dask arrays are computed.
    mask : bool array or None
        True where a value is valid; of the shape of the values, or of their first axes, for all that follow, or one
        that broadcasts against them.
    kinds : str
        Kinds of dtypes that the method takes.
    form : str
        What shape it takes, for messages.

    Raises
    ------
    TypeError
        A mask that is not boolean.
    ValueError
        No array of such numbers, an empty one, valid values that are not finite, integers that double precision
        rounds, or a mask of another shape.
    """
    values = materialized(values)
    masked_array = isinstance(values, np.ma.MaskedArray)
    hidden = np.ma.getmaskarray(values) if masked_array else None
    array = np.asarray(np.ma.getdata(values) if masked_array else values)
    if array.dtype.kind not in kinds:
        wanted = "numbers" if "c" in kinds else "real numbers"
        raise ValueError(f"{name}: {what} must hold {wanted}, not {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{name}: {what} must be {form} and not empty, not {array.shape}")
    valid = None if mask is None else _mask(name, what, mask, array.shape)
    if hidden is not None and hidden.any():
        valid = ~hidden if valid is None else valid & ~hidden
    if valid is not None and valid.all():
        valid = None
    if valid is not None and not valid.any():
        raise ValueError(f"{name}: the mask leaves no valid value of {what}; True is where a value is valid")
    _check_values(name, what, array, valid)
    return Given(array, valid, masked_array)


def threads_of(name: str, threads: Any) -> int | None:
    """The argument `threads` of method `name`."""
    return None if threads is None else whole(f"{name}: threads", threads, 1)


def levels(name: str, sigma: Any) -> np.ndarray:
    """Standard deviations as float64, of whatever shape; NaN and negative ones are for the caller to refuse.

    Raises
    ------
    TypeError
        Anything but real numbers.
    """
    array = np.asarray(np.ma.filled(sigma, np.nan) if isinstance(sigma, np.ma.MaskedArray) else sigma)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"{name}: sigma must be a number or an array of real numbers, not "
            f"{shown(sigma) if array.ndim == 0 else array.dtype}"
        )
    return array.astype(np.float64)


def check_levels(name: str, sigma: np.ndarray) -> None:
    """Refuse levels that are NaN, infinite or negative."""
    bad = ~(np.isfinite(sigma) & (sigma >= 0))
    if bad.any():
        which = f"{sigma.ravel()[0]!r}" if sigma.size == 1 else f"{np.count_nonzero(bad)} of {sigma.size} so"
        raise ValueError(f"{name}: sigma must be finite and not negative, not {which}")


def choice(where: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse what is not one of the choices."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise ValueError(f"{where} {value!r} is not one of {', '.join(map(str, choices))}")


def floating(dtype: np.dtype) -> np.dtype:
    """Real type of a result: float32 where it holds all values of the given type, or that is float16; else float64."""
    return np.dtype(np.float64 if np.result_type(dtype, np.float32) != np.float32 else np.float32)


def _mask(name: str, what: str, mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(
            f"{name}: mask must hold truth values, True where a value is valid, not {mask.dtype}; "
            "mask.astype(bool) takes 1 as valid"
        )
    if mask.ndim and mask.ndim < len(shape) and mask.shape == shape[: mask.ndim]:
        mask = mask.reshape(*mask.shape, *[1] * (len(shape) - mask.ndim))
    try:
        return np.broadcast_to(mask, shape)
    except ValueError as error:
        raise ValueError(
            f"{name}: a mask of shape {mask.shape} does not go with {what} of shape {shape}; give one of that shape"
        ) from error


def _check_values(name: str, what: str, array: np.ndarray, valid: np.ndarray | None) -> None:
    if array.dtype.kind in "fc":
        double = np.complex128 if array.dtype.kind == "c" else np.float64
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(array if array.dtype.itemsize <= 8 else array.astype(double, copy=False))
        if valid is not None:
            bad &= valid
        if bad.any():
            first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
            raise ValueError(
                f"{name}: {what} must be finite and holds NaN or infinity in {np.count_nonzero(bad)} of {bad.size} "
                f"values, the first at {first}; fill them, or give a mask that is False there"
            )
    elif array.dtype.itemsize == 8:
        inside = array if valid is None else array[valid]
        largest = max(int(inside.max()), -int(inside.min()))
        if largest > EXACT:
            raise ValueError(
                f"{name}: {what} holds {largest}, and double precision rounds integers beyond 2**53; scale them"
            )

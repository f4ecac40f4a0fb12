"""What the rules ask of their arguments: numbers that are numbers, and singular values that could be some."""

from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

from svdflow.matrix.masks import unmasked


def number(where: str, value: Any, *, least: float = 0.0, open_: bool = False) -> float:
    """A finite real number from `least` up, or above it where `open_`.

    Parameters
    ----------
    where : str
        What the number is, for messages: ``patch_svd: data_range``.

    Raises
    ------
    TypeError
        No number: a truth value, text, an array of several.
    ValueError
        NaN, infinite, or too small.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{where} must be a number, not {shown(value)}")
    bound = f"above {least:g}" if open_ else "real" if least == -inf else "not negative"
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found) or found < least or (open_ and found == least):
        raise ValueError(f"{where} must be finite and {bound}, not {value!r}")
    return found


def whole(where: str, value: Any, least: int, most: int | None = None, why: str = "") -> int:
    """A whole number from `least` to `most`.

    Parameters
    ----------
    where : str
        As of `number`.
    why : str
        What sets the upper bound, for the message.

    Raises
    ------
    TypeError
        No number.
    ValueError
        Not whole, or out of bounds.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    bounds = f"from {least} up" if most is None else f"from {least} to {most}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{where} must be a whole number {bounds}, not {shown(value)}")
    if not isinstance(value, Integral) and not float(value).is_integer():
        raise ValueError(f"{where} must be a whole number {bounds}, not {value!r}")
    found = int(value)  # type: ignore[call-overload]  # a whole Real is one
    if found < least or (most is not None and found > most):
        raise ValueError(f"{where} must be a whole number {bounds}{why and f', {why}'}, not {value!r}")
    return found


def checked_values(s: Any, *, descending: bool = False) -> np.ndarray:
    """Singular values as float64.

    Parameters
    ----------
    s : array_like
        Of any shape.
    descending : bool
        Also refuse a vector that is not in descending order.

    Raises
    ------
    TypeError
        No real numbers.
    ValueError
        NaN, masked, infinite or negative, or in another order.
    """
    s = np.asarray(unmasked(s, "singular values"))
    if s.dtype.kind not in "iuf" and s.size:
        raise TypeError(f"singular values must be real numbers, not {s.dtype}")
    s = np.asarray(s, np.float64)
    bad = ~(np.isfinite(s) & (s >= 0))
    if bad.any():
        raise ValueError(
            f"singular values must be finite and not negative; {np.count_nonzero(bad)} of {s.size} are not"
        )
    if descending and np.any(s[1:] > s[:-1]):
        raise ValueError("singular values must be in descending order; np.sort(s)[::-1] is")
    return s


def checked_shape(shape: Any) -> tuple[int, int]:
    """The sides of a matrix.

    Raises
    ------
    TypeError, ValueError
        Anything but two whole numbers from 1 up.
    """
    try:
        m, n = shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"shape must be the two sides of the matrix, not {shape!r}") from error
    return whole("shape: rows", m, 1), whole("shape: columns", n, 1)


def shown(value: Any) -> str:
    """A value and its type, short enough for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{value!r} ({type(value).__name__})"[:80]

"""Dual numbers: forward-mode differentiation along one direction."""

from typing import Any

import numpy as np

Array = np.ndarray


def real_array(x: Any) -> Array:
    """A float64 copy of a real number or array.

    Raises
    ------
    TypeError
        Anything else: complex numbers, objects, text.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"operand of dtype {array.dtype}: the engines differentiate real numbers only")
    return np.array(array, dtype=np.float64)


class Dual:
    """Numbers ``value + tangent e`` with ``e^2 = 0``, as float64 arrays of one shape.

    With the tangent v at x, f(x) has the tangent J_f(x) v, exact but for rounding.

    Parameters
    ----------
    value : array_like, real, any shape
        The point; kept as a float64 copy.
    tangent : array_like, real, broadcasts to the shape of value
        The direction; 0 makes a constant.

    Raises
    ------
    TypeError
        A complex, object or text operand.
    ValueError
        A tangent that does not broadcast to the shape of the value, or shapes that do not fit one another.

    Notes
    -----
    Python and NumPy numbers and arrays may stand on either side of ``+ - * / ** @`` and are constants.
    relu has the derivative 0 at 0. ``x**0`` has the derivative 0 everywhere, ``x**p`` with 0 < p < 1 has an
    infinite one at 0. NaN and infinity propagate, and 0 times infinity is NaN in a tangent as elsewhere.
    Rules: Griewank and Walther (2008), Evaluating Derivatives, section 3.1. An audited subject
    (`svdflow.selfcheck.engines`).

    Examples
    --------
    >>> x = Dual(3.0, 1.0)
    >>> float((2 * x * x).tangent)
    12.0
    """

    __slots__ = ("tangent", "value")
    __array_ufunc__ = None  # NumPy on the left gives way to the reflected operators below

    def __init__(self, value: Any, tangent: Any = 0.0) -> None:
        self.value = real_array(value)
        tangent = real_array(tangent)
        if tangent.shape != self.value.shape:
            tangent = np.broadcast_to(tangent, self.value.shape)
        self.tangent = tangent

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r}, {self.tangent!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def _lift(self, other: Any) -> "Dual":
        return other if isinstance(other, Dual) else type(self)(other)

    def __neg__(self) -> "Dual":
        return type(self)(-self.value, -self.tangent)

    def __add__(self, other: Any) -> "Dual":
        other = self._lift(other)
        return type(self)(self.value + other.value, self.tangent + other.tangent)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Dual":
        other = self._lift(other)
        return type(self)(self.value - other.value, self.tangent - other.tangent)

    def __rsub__(self, other: Any) -> "Dual":
        return self._lift(other) - self

    # A constant has no tangent, rather than one of 0, which an infinite value would turn into NaN.

    def __mul__(self, other: Any) -> "Dual":
        if not isinstance(other, Dual):
            factor = real_array(other)
            return type(self)(self.value * factor, self.tangent * factor)
        return type(self)(self.value * other.value, self.tangent * other.value + self.value * other.tangent)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Dual":
        if not isinstance(other, Dual):
            divisor = real_array(other)
            return type(self)(self.value / divisor, self.tangent / divisor)
        quotient = self.value / other.value
        return type(self)(quotient, (self.tangent - quotient * other.tangent) / other.value)

    def __rtruediv__(self, other: Any) -> "Dual":
        return self._lift(other) / self

    def __pow__(self, other: Any) -> "Dual":
        x, p = self.value, other.value if isinstance(other, Dual) else real_array(other)
        power = x**p
        with np.errstate(all="ignore"):  # the branch that is not taken may divide by 0
            tangent = np.where(p == 0, 0.0, p * x ** (p - 1)) * self.tangent
            if isinstance(other, Dual):  # 0^p is 0 for all p > 0, whatever ln 0 says
                tangent = tangent + np.where((x == 0) & (p > 0), 0.0, power * np.log(x)) * other.tangent
        return type(self)(power, tangent)

    def __rpow__(self, other: Any) -> "Dual":
        return self._lift(other) ** self

    def __matmul__(self, other: Any) -> "Dual":
        if not isinstance(other, Dual):
            factor = real_array(other)
            return type(self)(self.value @ factor, self.tangent @ factor)
        return type(self)(self.value @ other.value, self.tangent @ other.value + self.value @ other.tangent)

    def __rmatmul__(self, other: Any) -> "Dual":
        factor = real_array(other)
        return type(self)(factor @ self.value, factor @ self.tangent)

    def exp(self) -> "Dual":
        value = np.exp(self.value)
        return type(self)(value, value * self.tangent)

    def log(self) -> "Dual":
        return type(self)(np.log(self.value), self.tangent / self.value)

    def sin(self) -> "Dual":
        return type(self)(np.sin(self.value), np.cos(self.value) * self.tangent)

    def cos(self) -> "Dual":
        return type(self)(np.cos(self.value), -np.sin(self.value) * self.tangent)

    def tanh(self) -> "Dual":
        """Hyperbolic tangent; the derivative as 1/cosh^2, since 1 - tanh^2 cancels where tanh saturates."""
        with np.errstate(over="ignore"):
            slope = np.cosh(self.value) ** -2.0
        return type(self)(np.tanh(self.value), slope * self.tangent)

    def relu(self) -> "Dual":
        """Positive part; the derivative at 0 is 0, that at NaN is NaN."""
        return type(self)(np.maximum(self.value, 0), np.heaviside(self.value, 0.0) * self.tangent)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Dual":
        return type(self)(
            self.value.sum(axis=axis, keepdims=keepdims), self.tangent.sum(axis=axis, keepdims=keepdims)
        )

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Dual":
        return type(self)(
            self.value.mean(axis=axis, keepdims=keepdims), self.tangent.mean(axis=axis, keepdims=keepdims)
        )

    @property
    def T(self) -> "Dual":
        return type(self)(self.value.T, self.tangent.T)

"""Reverse-mode differentiation of array programs by a graph of values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from svdflow.selfcheck.autodiff.dual import real_array

Array = np.ndarray
Pull = Callable[[Array], tuple[Array, ...]]


class Value:
    """A float64 array that remembers what it was computed from.

    Parameters
    ----------
    data : array_like, real, any shape
        Kept as a read-only float64 copy: the graph stays true to what it was computed from, and a step of a
        descent makes a new leaf, ``w = Value(w.data - rate * w.grad)``.

    Attributes
    ----------
    data : array, float64
    grad : array, float64, same shape
        Derivative of the output of the last `backward` that reached this value; 0 before.
    parents : tuple of Value
        What this value was computed from; empty for a leaf.

    Raises
    ------
    TypeError
        A complex, object or text operand.
    ValueError
        Shapes that do not fit one another.

    Notes
    -----
    Python and NumPy numbers and arrays may stand on either side of ``+ - * / ** @`` and are constants.
    relu has the derivative 0 at 0. ``x**0`` has the derivative 0 everywhere, ``x**p`` with 0 < p < 1 has an
    infinite one at 0. NaN and infinity propagate, and 0 times infinity is NaN in a gradient as elsewhere.
    Rules: Giles (2008), An extended collection of matrix derivative results, section 2. An audited subject
    (`svdflow.selfcheck.engines`).

    Examples
    --------
    >>> a = Value(3.0)
    >>> (a * a + 2 * a).backward()
    >>> float(a.grad)
    8.0
    """

    __slots__ = ("_pull", "data", "grad", "parents")
    __array_ufunc__ = None  # NumPy on the left gives way to the reflected operators below

    def __init__(self, data: Any) -> None:
        self._set(real_array(data), (), lambda g: ())

    def _set(self, data: Array, parents: "tuple[Value, ...]", pull: Pull) -> None:
        data.flags.writeable = False
        self.data, self.grad = data, np.zeros(data.shape)
        self.parents, self._pull = parents, pull

    def _node(self, data: Any, parents: "tuple[Value, ...]", pull: Pull) -> "Value":
        """A value computed from `parents`; `pull` turns its gradient into one share for each of them."""
        node = object.__new__(type(self))
        node._set(np.asarray(data), parents, pull)
        return node

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def _lift(self, other: Any) -> "Value":
        return other if isinstance(other, Value) else type(self)(other)

    # -- reverse sweep

    def backward(self, seed: Any = None, *, accumulate: bool = False) -> None:
        """Set `grad` of every value that this one was computed from.

        Parameters
        ----------
        seed : array_like, broadcasts to the shape of data, optional
            Gradient of this value itself: the product seed^T J is computed. 1 for a single number.
        accumulate : bool
            Add to the gradients that are there. By default they are replaced, so that a second call gives
            what the first gave; a value that this one does not depend on keeps what it had.

        Raises
        ------
        ValueError
            No seed, and more than one number.

        Notes
        -----
        Each value is visited once, after all that use it, by a loop: depth is bounded by memory only.
        """
        if seed is None and self.data.size != 1:
            raise ValueError(f"backward from a value of shape {self.shape} needs a seed of that shape")
        start = np.broadcast_to(real_array(1.0 if seed is None else seed), self.shape)
        found: dict[int, Array] = {id(self): start}
        for node in self._order():
            gradient = found[id(node)]
            for parent, share in zip(node.parents, node._pull(gradient)):
                share = self._folded(share, parent.shape)
                key = id(parent)
                found[key] = self._joined(found[key], share) if key in found else share
            node.grad = node.grad + gradient if accumulate else np.array(gradient)

    def _order(self) -> "list[Value]":
        """All values below this one, each before those it was computed from."""
        order: list[Value] = []
        seen: set[int] = set()
        stack: list[tuple[Value, bool]] = [(self, False)]
        while stack:
            node, finished = stack.pop()
            if finished:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((parent, False) for parent in node.parents)
        return order[::-1]

    @staticmethod
    def _joined(before: Array, share: Array) -> Array:
        """Gradient of a value that is used more than once."""
        return before + share

    @staticmethod
    def _folded(share: Array, shape: tuple[int, ...]) -> Array:
        """A gradient summed over the axes along which a value of `shape` was repeated."""
        share = np.asarray(share)
        if share.shape == shape:
            return share
        share = share.sum(axis=tuple(range(share.ndim - len(shape))))
        repeated = tuple(k for k, n in enumerate(shape) if n == 1 and share.shape[k] != 1)
        return np.asarray(share.sum(axis=repeated, keepdims=True))

    # -- arithmetic

    def __neg__(self) -> "Value":
        return self._node(-self.data, (self,), lambda g: (-g,))

    def __add__(self, other: Any) -> "Value":
        other = self._lift(other)
        return self._node(self.data + other.data, (self, other), lambda g: (g, g))

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Value":
        other = self._lift(other)
        return self._node(self.data - other.data, (self, other), lambda g: (g, -g))

    def __rsub__(self, other: Any) -> "Value":
        return self._lift(other) - self

    def __mul__(self, other: Any) -> "Value":
        other = self._lift(other)
        a, b = self.data, other.data
        return self._node(a * b, (self, other), lambda g: (g * b, g * a))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Value":
        other = self._lift(other)
        b, quotient = other.data, self.data / other.data

        def pull(g: Array) -> tuple[Array, ...]:
            share = g / b
            return share, -share * quotient

        return self._node(quotient, (self, other), pull)

    def __rtruediv__(self, other: Any) -> "Value":
        return self._lift(other) / self

    def __pow__(self, other: Any) -> "Value":
        x, p = self.data, other.data if isinstance(other, Value) else real_array(other)
        power = x**p

        def base(g: Array) -> Array:
            with np.errstate(all="ignore"):  # the branch that is not taken may divide by 0
                return g * np.where(p == 0, 0.0, p * x ** (p - 1))

        def exponent(g: Array) -> Array:
            with np.errstate(all="ignore"):  # 0^p is 0 for all p > 0, whatever ln 0 says
                return g * np.where((x == 0) & (p > 0), 0.0, power * np.log(x))

        if isinstance(other, Value):
            return self._node(power, (self, other), lambda g: (base(g), exponent(g)))
        return self._node(power, (self,), lambda g: (base(g),))

    def __rpow__(self, other: Any) -> "Value":
        return self._lift(other) ** self

    def __matmul__(self, other: Any) -> "Value":
        other = self._lift(other)
        a, b = self.data, other.data

        def pull(g: Array) -> tuple[Array, ...]:
            # matmul takes a vector on the left for a row, on the right for a column, and drops that axis.
            A, B = (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
            G = g[..., None] if b.ndim == 1 else g
            G = G[..., None, :] if a.ndim == 1 else G
            left = self._folded(G @ B.swapaxes(-1, -2), A.shape)
            right = self._folded(A.swapaxes(-1, -2) @ G, B.shape)
            return left.reshape(a.shape), right.reshape(b.shape)

        return self._node(a @ b, (self, other), pull)

    def __rmatmul__(self, other: Any) -> "Value":
        return self._lift(other) @ self

    # -- functions

    def exp(self) -> "Value":
        value = np.exp(self.data)
        return self._node(value, (self,), lambda g: (g * value,))

    def log(self) -> "Value":
        return self._node(np.log(self.data), (self,), lambda g: (g / self.data,))

    def sin(self) -> "Value":
        return self._node(np.sin(self.data), (self,), lambda g: (g * np.cos(self.data),))

    def cos(self) -> "Value":
        return self._node(np.cos(self.data), (self,), lambda g: (-g * np.sin(self.data),))

    def tanh(self) -> "Value":
        """Hyperbolic tangent; the derivative as 1/cosh^2, since 1 - tanh^2 cancels where tanh saturates."""

        def pull(g: Array) -> tuple[Array, ...]:
            with np.errstate(over="ignore"):
                return (g / np.cosh(self.data) ** 2,)

        return self._node(np.tanh(self.data), (self,), pull)

    def relu(self) -> "Value":
        """Positive part; the derivative at 0 is 0, that at NaN is NaN."""
        return self._node(np.maximum(self.data, 0), (self,), lambda g: (g * np.heaviside(self.data, 0.0),))

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Value":
        total = np.asarray(self.data.sum(axis=axis, keepdims=keepdims))
        kept = self.data.sum(axis=axis, keepdims=True).shape
        return self._node(total, (self,), lambda g: (np.broadcast_to(g.reshape(kept), self.shape),))

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Value":
        total = self.sum(axis, keepdims)
        return total / (self.data.size / max(total.data.size, 1))

    @property
    def T(self) -> "Value":
        return self._node(self.data.T, (self,), lambda g: (g.T,))

"""Faults in the engines that differentiate, in adjoints and in Hessian products."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.adjoint import Operator, audit_adjoint_dot
from svdflow.selfcheck.autodiff import Dual, Value
from svdflow.selfcheck.engines import audit_dual_exact, audit_value_engine, audit_value_exact
from svdflow.selfcheck.hessian import Curved, audit_hvp, log_det, quartic
from svdflow.selfcheck.mutants.mutant import AuditOf, Limits, Mutant

Array = np.ndarray


class Unshared(Value):
    """A value that is used twice keeps the gradient of one use."""

    @staticmethod
    def _joined(before: Array, share: Array) -> Array:
        return share


class Stale(Value):
    """Gradients of the sweep before stay in place and are added to."""

    def backward(self, seed: Any = None, *, accumulate: bool = True) -> None:
        super().backward(seed, accumulate=True)


class Unfolded(Value):
    """The gradient of a broadcast operand is that of its first copy."""

    @staticmethod
    def _folded(share: Array, shape: tuple[int, ...]) -> Array:
        while share.ndim > len(shape):
            share = share[0]
        first = tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
        return np.asarray(share[first])


class Untransposed(Value):
    """The gradient of a square B in A B is handed over transposed."""

    def __matmul__(self, other: Any) -> Value:
        other = self._lift(other)
        product = Value.__matmul__(self, other)

        def pull(g: Array) -> tuple[Array, ...]:
            left, right = product._pull(g)
            return left, right.T if right.shape == right.T.shape else right

        return self._node(product.data, (self, other), pull)


class SlopeOfOutput(Value):
    """tanh' = 1 - y."""

    def tanh(self) -> Value:
        y = np.tanh(self.data)
        return self._node(y, (self,), lambda g: (g * (1 - y),))


class Recursive(Value):
    """Values ordered by a function that calls itself."""

    def _order(self) -> list[Value]:
        order: list[Value] = []
        seen: set[int] = set()

        def visit(node: Value) -> None:
            if id(node) not in seen:
                seen.add(id(node))
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        return order[::-1]


class HalfProduct(Dual):
    """(u v)' = u' v: the other term is missing."""

    def __mul__(self, other: Any) -> Dual:
        other = self._lift(other)
        return type(self)(self.value * other.value, self.tangent * other.value)


class SingleExp(Dual):
    """exp in float32."""

    def exp(self) -> Dual:
        value = np.exp(self.value.astype(np.float32)).astype(float)
        return type(self)(value, value * self.tangent)


class CosineSign(Dual):
    """cos' = sin."""

    def cos(self) -> Dual:
        return type(self)(np.cos(self.value), np.sin(self.value) * self.tangent)


def audit_adjoint(seed: int, limits: Limits, fault: Callable[[Array], Array]) -> Iterable[Record]:
    """Dot tests of a complex matrix and of what `fault` makes of its adjoint."""

    def operators(rng: np.random.Generator) -> Iterator[tuple[str, Operator]]:
        A = rng.standard_normal((20, 12)) + 1j * rng.standard_normal((20, 12))
        B = fault(A.conj().T)
        yield "matrix, 20 x 12", Operator(lambda v: A @ v, lambda u: B @ u, 12, 20, True)

    return audit_adjoint_dot(seed, limits, operators)


def untouched(A: Array) -> Array:
    """The control."""
    return A


def small_entry(A: Array) -> Array:
    """One entry 1e-9 too large."""
    A = A.copy()
    A[3, 4] += 1e-9
    return A


def audit_quartic(seed: int, limits: Limits, fault: Callable[[Curved], Curved]) -> Iterable[Record]:
    """Hessian products of a quartic and of ln |det X|."""
    makers = {"quartic": quartic, "log_det": log_det}
    return audit_hvp(seed, limits, {name: _planted(make, fault) for name, make in makers.items()})


def _planted(make: Callable[..., Curved], fault: Callable[[Curved], Curved]) -> Callable[..., Curved]:
    return lambda rng: fault(make(rng))


def smooth(problem: Curved) -> Curved:
    """The control."""
    return problem


def asymmetric(problem: Curved) -> Curved:
    """H plus a part that is not symmetric."""
    turned = np.roll(np.eye(problem.x.size), 1, axis=0)
    return replace(problem, hvp=lambda x, v: problem.hvp(x, v) + 0.1 * turned @ v)


def diagonal(problem: Curved) -> Curved:
    """The diagonal of H alone: symmetric and linear, and not the Hessian."""

    def hvp(x: Array, v: Array) -> Array:
        columns = (problem.hvp(x, unit) for unit in np.eye(x.size))
        return np.array([column[i] for i, column in enumerate(columns)]) * v

    return replace(problem, hvp=hvp)


def squared(problem: Curved) -> Curved:
    """Not linear in v."""
    return replace(problem, hvp=lambda x, v: problem.hvp(x, v) * np.linalg.norm(v))


FAULTS: list[tuple[str, str, str, AuditOf, Any, Any]] = [
    ("no accumulation on shared nodes", "engine_laws", "a a:", audit_value_exact, Unshared, Value),
    ("gradients of the sweep before", "engine_laws", "second call", audit_value_engine, Stale, Value),
    ("broadcast not summed over", "engine_laws", "column * row", audit_value_exact, Unfolded, Value),
    ("product not transposed", "engine_laws", "matrix @ stack", audit_value_exact, Untransposed, Value),
    ("tanh' = 1 - y in reverse", "value_exact", "ulps", audit_value_exact, SlopeOfOutput, Value),
    ("recursive sweep", "value_engine", "RecursionError", audit_value_engine, Recursive, Value),
    ("product rule without a term", "dual_exact", "ulps", audit_dual_exact, HalfProduct, Dual),
    ("exp in float32", "dual_exact", "ulps", audit_dual_exact, SingleExp, Dual),
    ("cos' = sin", "dual_exact", "ulps", audit_dual_exact, CosineSign, Dual),
    ("conjugate forgotten in an adjoint", "adjoint_dot", "mode", audit_adjoint, np.conj, untouched),
    ("adjoint's entry 1e-9 off", "adjoint_dot", "mode", audit_adjoint, small_entry, untouched),
    ("adjoint with the sign turned", "adjoint_dot", "mode", audit_adjoint, np.negative, untouched),
    ("Hessian not symmetric", "hvp", "v.Hw = w.Hv", audit_quartic, asymmetric, smooth),
    ("Hessian's diagonal", "hvp", "difference", audit_quartic, diagonal, smooth),
    ("Hessian product not linear", "hvp", "linearity", audit_quartic, squared, smooth),
]

MUTANTS = [
    Mutant(name, row, Verdict.FAIL, phrase, audit, fault, right)
    for name, row, phrase, audit, fault, right in FAULTS
]

"""Products and rotations whose rounding is bounded: what `svdflow.audit.enclosures` stands on."""

from collections.abc import Callable
from functools import cache
from math import frexp, sqrt
from typing import Any

import numpy as np

Array = np.ndarray
UNIT = 2.0**-53  # unit roundoff u of float64
# One-sided Jacobi by first-order rotations, which square the cosines between columns: 1e-5 is 1e-20 after two rounds,
# and close values take more. Fewer rounds, or a larger DONE, widen the enclosures and falsify none.
ROUNDS = 4
CLUSTER = 1e-3  # relative gap below which columns are rotated together: the first-order angle is cosine / gap
DONE = 1e-11  # cosines at which to stop: the width of an enclosure grows with them, and 5e-9 is asked for
ANGLE = 0.1  # larger first-order angles are left out: their neglected square, 0.01, is no small error


def gamma(k: float) -> float:
    """``k u / (1 - k u)``, rounded up."""
    return k * UNIT / (1 - k * UNIT) * (1 + 8 * UNIT)


def up(x: Any, operations: int) -> Any:
    """x, raised by the rounding of so many operations on numbers that are not negative."""
    return x * (1 + gamma(operations + 1))


def product_error(A: Array, length: int) -> float:
    """c in ``|fl(A B) - A B| <= c |A| |B|``, rows of this length; a complex sum has two parts of twice that."""
    return gamma(length + 1) if A.dtype.kind != "c" else up(sqrt(2) * gamma(2 * length + 4), 2)


@cache
def classical(product: Callable[[Array, Array], Array] = np.matmul) -> bool:
    """Whether a product of graded integers, exact if classical and in float64, is exact, real and complex.

    Narrower formats lose digits; Strassen's and the 3M method add entries of unlike size first, and lose the small.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-(2**20), 2**20, (64, 64)) for _ in range(2))
    rows, cols = 2.0 ** -rng.integers(0, 80, 64), 2.0 ** -rng.integers(0, 80, 64)
    exact = rows[:, None] * (left @ right) * cols
    A, B = rows[:, None] * left, right * cols
    small = 2.0**-70
    found = product(A + 1j * small * A, B + 0j)
    return all(
        np.array_equal(x, y)
        for x, y in ((product(A, B), exact), (found.real, exact), (found.imag, small * exact))
    )


def columns(A: Array) -> Array:
    """Upper bounds of the lengths of the columns."""
    return up(np.linalg.norm(A, axis=0), 2 * len(A) + 4) + len(A) * 2.0**-500 * A.any(axis=0)


def sliced_product(A: Array, V: Array) -> tuple[Array, Array]:
    """A V almost as if rounded once, and bounds of the lengths of its columns' errors.

    A and V are cut into slices of so few bits that products of the first ones are exact: the error-free
    transformation of Ozaki, Ogita, Oishi and Rump (2012). Entries of A are at most 1.
    """
    complex_ = A.dtype.kind == "c"
    length = A.shape[1] * (4 if complex_ else 1)
    bits = (53 - frexp(length)[1] - 2 * complex_) // 2
    rows = [slice_.conj().T for slice_ in _slices(A.conj().T, bits)]
    first, second, rest = rows
    V1, V2, V_rest = _slices(V, bits)
    parts = [first @ V1, first @ V2]
    lasts = [(first, V_rest)]
    if second.any():
        parts.append(second @ V1)
        lasts.append((second, V2 + V_rest))  # exact: both are parts of an entry of V, next to each other
    if rest.any():
        lasts.append((rest, V))
    parts += [a @ b for a, b in lasts]
    error = np.zeros(V.shape[1])
    for a, b in lasts:
        size = up(float(np.linalg.norm(a)), 2 * a.size + 4)
        error = error + product_error(A, A.shape[1]) * size * columns(b)
    total, low, size = parts[0], np.zeros_like(parts[0]), np.zeros(V.shape[1])
    for part in parts[1:]:
        total, lost = _two_sum(total, part)
        low = low + lost
        size = size + columns(lost)
    total = total + low
    return total, up(error + 8 * UNIT * size + 2 * UNIT * columns(total), 32)


def orthogonalized(G: Array, errors: Array) -> tuple[Array, Array, float]:
    """G T with nearly orthogonal columns, bounds of their errors, and a bound of ``||T^H T - I||``.

    T is a product of rotations: within clusters of nearly equal length from an eigendecomposition, elsewhere the
    first-order angles of a one-sided Jacobi method. They are graded as the columns are, so rounding stays small
    beside the shortest of them.
    """
    k = G.shape[1]
    stretch = 0.0
    for _ in range(ROUNDS):
        order = np.argsort(-np.linalg.norm(G, axis=0), kind="stable")
        G, errors = G[:, order], errors[order]
        d, F = _cosines(G)
        used = d > 64 * k * UNIT * d[0]
        cosines = np.abs(F[np.ix_(used, used)])
        if np.linalg.norm(cosines) < DONE:
            break
        turned, departed, edges = _within_clusters(G, d, F, used, errors)
        if turned is not None:
            G, errors = turned
            stretch = up(stretch + departed + stretch * departed, 4)
            d, F = _cosines(G)
        M, departed = _angles(d, F, used, edges)
        if departed > 0.1:
            break
        weights = np.abs(M)
        lengths = columns(G)
        errors = up(errors + errors @ weights + 2 * product_error(G, k + 2) * (lengths @ weights), 2 * k + 8)
        G = G + G @ M
        errors = up(errors + 2 * UNIT * columns(G), 4)
        stretch = up(stretch + departed + stretch * departed, 4)
    return G, errors, stretch


def _slices(A: Array, bits: int) -> tuple[Array, Array, Array]:
    """A as a sum of three, column by column: two of so many bits, and the rest. Exact."""
    A = np.ascontiguousarray(A)
    parts: Array = A.view(np.float64).reshape(*A.shape, -1) if A.dtype.kind == "c" else A[..., None]
    largest = np.abs(parts).max(axis=(0, 2), initial=0)
    exponent = np.maximum(np.frexp(largest)[1], -400)[None, :, None]
    first = np.ldexp(np.rint(np.ldexp(parts, bits - exponent)), exponent - bits)
    rest = parts - first
    second = np.ldexp(np.rint(np.ldexp(rest, 2 * bits - exponent)), exponent - 2 * bits)
    return tuple(np.ascontiguousarray(x).view(A.dtype)[..., 0] for x in (first, second, rest - second))  # type: ignore[return-value]


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """fl(a + b) and what it lost (Knuth); complex numbers by parts, as NumPy adds them."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _cosines(G: Array) -> tuple[Array, Array]:
    """Lengths of the columns, and the cosines between them; no bounds, as only the choice of T rests on them."""
    d = np.linalg.norm(G, axis=0)
    Y = G / np.where(d > 2.0**-400, d, 1)
    F = Y.conj().T @ Y
    F[np.diag_indices(len(F))] = 0
    return d, F


def _within_clusters(
    G: Array, d: Array, F: Array, used: Array, errors: Array
) -> tuple[tuple[Array, Array] | None, float, Array]:
    """G and errors after rotations within clusters, the rotations' departure, and each column's cluster."""
    apart = np.r_[True, (d[1:] < (1 - CLUSTER) * d[:-1]) | ~used[1:]]
    labels = np.cumsum(apart)
    departed, changed = 0.0, None
    for label in np.flatnonzero(np.bincount(labels) > 1):
        at = np.flatnonzero(labels == label)
        block = F[np.ix_(at, at)]
        if np.linalg.norm(block) < DONE / 8:
            continue
        if changed is None:
            changed = G.copy(), errors.copy()
        w = d[at] / d[at[0]]
        Q = np.linalg.eigh(w[:, None] * (block + np.eye(len(at))) * w)[1][:, ::-1]
        rotated = G[:, at] @ Q
        weights, lengths = np.abs(Q), columns(G[:, at])
        wrong = errors[at] @ weights + product_error(G, len(at)) * (lengths @ weights)
        changed[0][:, at] = rotated
        changed[1][at] = up(wrong, 2 * len(at) + 8)
        gram = Q.conj().T @ Q - np.eye(len(at))
        size = up(float(np.linalg.norm(Q)), 2 * Q.size)
        departed = max(
            departed, up(float(np.linalg.norm(gram)) + product_error(Q, len(at) + 2) * size**2, 2 * Q.size)
        )
    return changed, departed, labels


def _angles(d: Array, F: Array, used: Array, labels: Array) -> tuple[Array, float]:
    """M such that I + M rotates columns of different clusters apart, and a bound of ``||(I+M)^H (I+M) - I||``."""
    safe = np.where(used, d, 1.0)
    ratio = safe / safe[:, None]
    apart = used & used[:, None] & (labels != labels[:, None]) & (np.abs(ratio - 1) > CLUSTER / 4)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        Z = np.where(apart, F * (ratio / (ratio**2 - 1)), 0)
    Z = np.triu(np.where(np.abs(Z) < ANGLE, Z, 0), 1)
    Z = Z - Z.conj().T
    size = up(float(np.linalg.norm(Z)), 2 * Z.size + 4)
    if size**2 < DONE:
        return Z, up(size**2, 4)
    # (I + Z + Z^2/2)^H (I + Z + Z^2/2) = I + Z^4/4 for antihermitian Z.
    M = Z + (Z @ Z) / 2
    wrong = product_error(Z, len(Z) + 2) * size**2 + 2 * UNIT * (size + size**2)
    return M, up(size**4 / 4 + 2 * wrong * (1 + size + size**2 / 2) + wrong**2, 16)

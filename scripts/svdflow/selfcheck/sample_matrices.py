"""Random matrices with the singular values that an audit asks for."""

import numpy as np

from svdflow.matrix.generators.randomness import normal

Array = np.ndarray


def orthonormal(rng: np.random.Generator, side: int, count: int, complex_: bool = False) -> Array:
    """Random orthonormal columns, shape (side, count): the Q of normal entries (Stewart 1980)."""
    return np.linalg.qr(normal(rng, (side, count), complex_))[0]


def randsvd(rng: np.random.Generator, m: int, n: int, s: Array, complex_: bool = False) -> Array:
    """U diag(s) V^H, shape (m, n), with random orthonormal U (m, k) and V (n, k), k = len(s)."""
    U, V = (orthonormal(rng, side, len(s), complex_) for side in (m, n))
    return (U * s) @ V.conj().T

"""Stacks of small eigenproblems: groups of similar patches, filtered through the eigenvalues of their Gram matrices."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rule:
    """What becomes of a component whose eigenvalue is x ``limit(n, k)`` sigma^2, in a group of n patches of k pixels.

    Attributes
    ----------
    limit : callable
        Components with x <= 1 are dropped.
    factor : callable
        ``factor(xp, x)``, for x > 1: what the others are multiplied by, from 0 to 1.
    """

    limit: Callable[[int, int], float]
    factor: Callable[[Any, Any], Any]


# Keep what exceeds noise alone, s > sigma (sqrt n + sqrt k): Davidson and Szarek (2001), theorem 2.13.
BULK_EDGE = Rule(lambda n, k: (n**0.5 + k**0.5) ** 2, lambda xp, x: xp.ones_like(x))


def filter_groups(xp: Any, Y: Any, variance: Any, rule: Rule, rank: int | None = None) -> tuple[Any, Any]:
    """Weigh the principal components of each group, and leave its mean patch as it is.

    Parameters
    ----------
    xp : namespace
        Of the array API; on the device that holds the arrays.
    Y : array (b, n, k)
        Groups of n patches of k pixels.
    variance : array (b,)
        Of the noise, one a group.
    rule : Rule
    rank : int, optional
        Keep this many components at most.

    Returns
    -------
    X : array (b, n, k)
    kept : array (b,)
        Components with a factor above zero.
    """
    n, k = Y.shape[1:]
    mean = xp.mean(Y, axis=1, keepdims=True)
    Y = Y - mean  # in float32, the Gram matrix of patches with their mean has false components
    scale = xp.reshape(1 / (rule.limit(n, k) * variance), (-1, 1, 1))
    eigenvalues, vectors = xp.linalg.eigh((xp.matrix_transpose(Y) @ Y) * scale)
    above = eigenvalues > 1
    # Not clip: for CuPy array-api-compat makes of it two compactions and a wait for the device.
    factors = rule.factor(xp, xp.where(above, eigenvalues, xp.ones_like(eigenvalues)))
    factors = xp.where(above, factors, xp.zeros_like(eigenvalues))
    if rank is not None and rank < k:
        factors = xp.concat([xp.zeros_like(factors[:, rank:]), factors[:, k - rank :]], axis=1)
    kept = xp.sum(xp.astype(factors > 0, Y.dtype), axis=1)
    filters = (vectors * factors[:, None, :]) @ xp.matrix_transpose(vectors)
    return Y @ filters + mean, kept


def filter_groups_on_host(
    Y: np.ndarray, variance: np.ndarray, rule: Rule, rank: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`filter_groups` of float32 groups by NumPy and LAPACK, with no more of each eigenproblem than is kept.

    Notes
    -----
    The trace of the 16th power of a Gram matrix over its limit bounds the same power of the largest eigenvalue; below
    one, nothing is kept. That settles most groups of flat areas for three products. Of the others, only eigenpairs
    above the limit are computed, which for few of them costs a third (side 7) or a quarter (9) of all.
    """
    n, k = Y.shape[1:]
    mean = Y.mean(axis=1, keepdims=True)
    centred = Y - mean
    gram = centred.mT @ centred
    gram /= (rule.limit(n, k) * variance)[:, None, None]
    power = gram
    with np.errstate(over="ignore", invalid="ignore"):  # strong components overflow, and are no silent ones
        for _ in range(3):
            power = power @ power
        silent = np.einsum("ijk,ijk->i", power, power) < 1 - 1e-3
    X = np.broadcast_to(mean, Y.shape).copy()
    kept = np.zeros(len(Y), Y.dtype)
    rest = np.flatnonzero(~silent)
    if len(rest):
        eigenvalues, vectors = eigenpairs_above(gram[rest], 1.0)
        factors = np.where(eigenvalues > 1, rule.factor(np, np.maximum(eigenvalues, 1)), 0)
        if rank is not None:
            factors[:, : max(0, k - rank)] = 0
        kept[rest] = np.count_nonzero(factors, axis=1)
        X[rest] += centred[rest] @ ((vectors * factors[:, None]) @ vectors.mT)
    return X, kept


def eigenpairs_above(A: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs of a stack of symmetric float32 matrices with eigenvalues above a limit.

    Parameters
    ----------
    A : float32 array (b, k, k)
    limit : float

    Returns
    -------
    eigenvalues : float32 array (b, k)
        Ascending; zeros in front stand for all others.
    vectors : float32 array (b, k, k)
        Columns; zeros for all others.

    Notes
    -----
    LAPACK's ``ssyevr`` as SciPy publishes it for Cython, called without the interpreter lock; SciPy's own binding keeps
    the lock, and NumPy offers no part of a spectrum.
    """
    count, k = A.shape[:2]
    values, rows, found = (
        np.zeros((count, k), np.float32),
        np.zeros(A.shape, np.float32),
        np.zeros(count, np.int32),
    )
    syevr = _syevr()
    if syevr is None:
        values, vectors = np.linalg.eigh(A)
        above = values > limit
        return np.where(above, values, 0), np.where(above[:, None], vectors, 0)
    A = np.array(A, np.float32, order="C")  # overwritten
    integers = np.array([k, 1, 33 * k, 10 * k], np.int32)
    reals = np.array([limit, np.finfo(np.float32).max, 0], np.float32)
    info, support = np.zeros(count, np.int32), np.empty(2 * k, np.int32)
    work, whole = np.empty(33 * k, np.float32), np.empty(10 * k, np.int32)
    n, one, lwork, liwork = _addresses(integers)
    low, high, tolerance = _addresses(reals)
    spaces = (support.ctypes.data, work.ctypes.data, lwork, whole.ctypes.data, liwork)
    per_matrix = zip(*map(_addresses, (A, found, values, rows, info)), strict=True)
    for a, m, w, z, status in per_matrix:
        syevr(b"V", b"V", b"L", n, a, n, low, high, one, n, tolerance, m, w, z, n, *spaces, status)
    if info.any():
        raise np.linalg.LinAlgError("ssyevr did not converge")
    # Those found stand in front; as `eigh` has it, the largest comes last.
    order = (np.arange(k) + found[:, None]) % k
    rows *= (np.arange(k) < found[:, None])[..., None]
    values *= np.arange(k) < found[:, None]
    rows = np.take_along_axis(rows, order[..., None], axis=1)
    return np.take_along_axis(values, order, axis=1), rows.mT


def _addresses(array: np.ndarray) -> list[int]:
    """Where each entry along the first axis lies in memory."""
    return [array.ctypes.data + i * array.strides[0] for i in range(len(array))]


@cache
def _syevr() -> Any:
    """``ssyevr`` with 32-bit integers, or None where SciPy publishes another one."""
    from scipy.linalg import cython_lapack

    capsule = getattr(cython_lapack, "__pyx_capi__", {}).get("ssyevr")
    if capsule is None:
        return None
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name(capsule)
    if not signature.startswith(b"void (char *, char *, char *, int *,") or signature.count(b"*") != 21:
        return None
    kinds = [ctypes.c_char_p] * 3 + [ctypes.c_void_p] * 18
    return ctypes.CFUNCTYPE(None, *kinds)(pointer(capsule, signature))

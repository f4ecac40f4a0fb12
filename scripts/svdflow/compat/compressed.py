"""dask's `svd_compressed`, argument for argument."""

from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

import dask
from svdflow.checks import check_flags
from svdflow.compat.accuracy import decompose, narrowed, peer_dtype
from svdflow.compat.parameters import is_integer, seed_of_dask
from svdflow.matrix.sources import DaskSource

ITERATORS = ("power", "QR")
LEAST_SUBSPACE = 20  # least width of dask's sketch, its min_subspace_size, whatever k and n_oversamples are


def svd_compressed(
    a: da.Array,
    k: int,
    iterator: str = "power",
    n_power_iter: int = 0,
    n_oversamples: int = 10,
    seed: Any = None,
    compute: bool = False,
    coerce_signs: bool = True,
) -> tuple[da.Array, da.Array, da.Array]:
    """Leading singular triplets of a dask array, called as ``dask.array.linalg.svd_compressed`` is.

    At least as accurate as dask with the same arguments, in fewer reads of the array, and in memory that does not grow
    with it: panels of whole row chunks are computed, used and let go.

    Parameters
    ----------
    a : dask array, shape (m, n)
        Chunked in any way, real or complex.
    k : int
        Number of triplets; min(m, n) of them come back where it is larger.
    iterator : {"power", "QR"}
        Checked, and without effect: every block is orthonormalized on the short side, as "QR" does on the long one.
    n_power_iter : int
        How accurate: at least as that many power iterations would be. The array is read 2, 3, 4 or 4 times for 0, 1, 2
        or 4 iterations (5 for the last in float64), 2 n_power_iter + 2 times by dask.
    n_oversamples : int
        The sketch has k + n_oversamples columns, and at least 20 as in dask.
    seed : None, int, sequence of ints, SeedSequence, BitGenerator, or Generator or RandomState of NumPy or dask
        The random columns depend on it alone, never on the chunks.
    compute : bool
        True factorizes at once. False returns lazy arrays over one delayed factorization: ``dask.compute(u, s, v)``
        runs it once, and ``.compute()`` of each runs it three times.
    coerce_signs : bool
        Turn each pair so that the sum of its right singular vector is not negative (for complex `a` real and not
        negative).

    Returns
    -------
    u : dask array, shape (m, k), in the row chunks of `a`
    s : dask array, shape (k,), not increasing
    v : dask array, shape (k, n), in the column chunks of `a`
        float32 for float32, complex64 and float32 `s` for complex64, else double precision.

    Raises
    ------
    ValueError
        `a` is not a matrix of numbers of known shape, or an argument is out of range; where it is computed,
        also for NaN or infinity.

    Notes
    -----
    The mapping of arguments, with its reasons, is in the docstring of `svdflow.compat.accuracy`. A lazy factorization
    is one task, and inside it panels run on the threads of the process that has it.

    Examples
    --------
    >>> import dask.array as da
    >>> u, s, v = svd_compressed(da.ones((6, 4), chunks=(3, 4)), 1, seed=0)
    >>> round(float(s.compute()[0]) ** 2, 6)
    24.0
    """
    a = da.asarray(a)
    source = DaskSource(a)
    if iterator not in ITERATORS:
        raise ValueError(f"Iterator {iterator!r} not valid, must be one of {list(ITERATORS)}")
    for name, value, least in (
        ("k", k, 1),
        ("n_power_iter", n_power_iter, 0),
        ("n_oversamples", n_oversamples, 0),
    ):
        if not is_integer(value, least):
            raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
    check_flags(compute=compute, coerce_signs=coerce_signs)
    rank = min(int(k), *source.shape)
    oversampling = max(LEAST_SUBSPACE, int(k + n_oversamples)) - rank
    options = (rank, oversampling, int(n_power_iter), seed_of_dask(seed), bool(coerce_signs))
    dtype = peer_dtype(source.dtype)
    layout = (
        (dtype, (a.chunks[0], (rank,))),
        (dtype.type(0).real.dtype, ((rank,),)),
        (dtype, ((rank,), a.chunks[1])),
    )
    token = tokenize(a, *options)
    if compute:
        factors = _factors(source, *options)
        names = (f"svd-compressed-{part}-{token}" for part in "usv")
        return tuple(
            da.from_array(factor, chunks=chunks, name=name)
            for factor, (_, chunks), name in zip(factors, layout, names)
        )
    lazy = dask.delayed(_factors, nout=3)(source, *options, dask_key_name=f"svd-compressed-{token}")
    return tuple(
        da.from_delayed(factor, tuple(map(sum, chunks)), dtype).rechunk(chunks)
        for factor, (dtype, chunks) in zip(lazy, layout)
    )


def _factors(
    source: DaskSource, rank: int, oversampling: int, n_iter: int, seed: int, coerce_signs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, s, v = decompose(source, rank, n_oversamples=oversampling, n_iter=n_iter, seed=seed)
    if coerce_signs:
        total = v.sum(axis=1)
        length = np.abs(total)
        unit = np.where(length > 0, total / np.where(length > 0, length, 1), 1).astype(v.dtype)
        u, v = u * unit, v * unit.conj()[:, None]
    return u, narrowed(s, u.real.dtype, "singular values"), v

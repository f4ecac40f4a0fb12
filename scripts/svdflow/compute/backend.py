"""Which backend computes, its namespace, and the way home to NumPy.

CuPy is imported only when asked for, so a machine without it pays nothing. Nothing here falls back in
silence: an explicit ``cupy`` without a usable device is an error, and ``auto`` logs what it took.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np
from array_api_compat import array_namespace

from svdflow.errors import BackendError

__all__ = ["BackendError", "array_namespace", "linalg_errors", "namespace", "pick", "to_numpy"]

log = logging.getLogger(__name__)


def pick(backend: str = "auto") -> str:
    """Resolve ``auto``, ``numpy`` or ``cupy`` to the backend that computes.

    Parameters
    ----------
    backend : str
        ``auto`` takes CuPy when a CUDA device answers and NumPy otherwise, and logs which.

    Returns
    -------
    str
        ``"numpy"`` or ``"cupy"``.

    Raises
    ------
    BackendError
        ``cupy`` was asked for by name and no device is usable.
    ValueError
        Another name was given.
    """
    if backend not in ("auto", "numpy", "cupy"):
        raise ValueError(f"backend {backend!r} is not one of 'auto', 'numpy', 'cupy'")
    if backend == "numpy":
        return "numpy"
    trouble = _cupy_trouble()
    if backend == "cupy" and trouble:
        raise BackendError(
            f"backend 'cupy': {trouble}; install the extra cuda12 or cuda13 on a machine with a CUDA device, "
            "or choose backend 'auto' or 'numpy'"
        )
    chosen = "numpy" if trouble else "cupy"
    if backend == "auto":
        log.info("backend auto took %s%s", chosen, f" ({trouble})" if trouble else "")
    return chosen


def namespace(backend: str) -> Any:
    """The array-API namespace of a backend that `pick` returned."""
    return import_module(f"array_api_compat.{backend}")


def linalg_errors(backend: str) -> AbstractContextManager[Any]:
    """A context in which CuPy raises on failed factorizations; its own default is to ignore them."""
    if backend != "cupy":
        return nullcontext()
    import cupyx

    return cupyx.errstate(linalg="raise")


def to_numpy(array: Any) -> np.ndarray:
    """Copy an array of any array-API library to host memory; NumPy arrays pass through."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_cupy_array(array):
        return array.get()
    if array_api_compat.is_array_api_obj(array):
        return (
            np.asarray(array_api_compat.to_device(array, "cpu"))
            if array_api_compat.is_torch_array(array)
            else np.from_dlpack(array)
        )
    return np.asarray(array)


@cache
def _cupy_trouble() -> str:
    """Why CuPy cannot compute here, or the empty string. `is_available` alone misses broken drivers."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        if not cupy.cuda.is_available():
            return "no CUDA device was found"
        if float(cupy.ones(2).sum()) != 2.0:
            return "the CUDA device computes wrong sums"
    except Exception as error:  # CuPy raises many kinds, and each means the same here
        return f"the CUDA device does not answer ({type(error).__name__}: {error})"
    return ""

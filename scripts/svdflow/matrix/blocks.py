"""What a block that comes from outside must be: shape, type and sparsity as promised."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from svdflow.errors import SourceError


def refuse_unlike(block: Any, shape: tuple[int, ...], dtype: np.dtype, sparse: bool, where: str) -> None:
    """Raise SourceError for a block that has not the shape, dtype or sparsity that was promised of it."""
    if not hasattr(block, "shape") or not hasattr(block, "dtype"):
        raise SourceError(
            f"{where} came as {type(block).__name__}, which is no array; return NumPy or SciPy arrays"
        )
    if tuple(block.shape) != tuple(shape):
        raise SourceError(f"{where} came with shape {tuple(block.shape)}, where {tuple(shape)} is due")
    # Of another array library by name: its dtypes need not be NumPy's.
    known = isinstance(block.dtype, np.dtype)
    if (block.dtype != dtype) if known else str(block.dtype).rpartition(".")[2] != dtype.name:
        raise SourceError(
            f"{where} came as {block.dtype}, where {dtype} was promised; convert them with astype({str(dtype)!r}), "
            "or promise what comes"
        )
    if sp.issparse(block) != sparse:
        words = ("dense", "sparse")
        raise SourceError(f"{where} came {words[not sparse]}, where {words[sparse]} ones were promised")

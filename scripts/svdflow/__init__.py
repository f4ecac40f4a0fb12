"""svdflow: low-rank processing of batches of images and of matrices larger than memory.

This face imports lazily, so that ``import svdflow`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svdflow.matrix import open_matrix
    from svdflow.store import read_table
    from svdflow.svd import ConvergenceWarning, SVDResult, truncated_svd

__version__ = "0.1.0"
__all__ = [
    "ConvergenceWarning",
    "SVDResult",
    "__version__",
    "open_matrix",
    "read_table",
    "truncated_svd",
]

_ROOMS = {
    "ConvergenceWarning": "svdflow.svd",
    "SVDResult": "svdflow.svd",
    "truncated_svd": "svdflow.svd",
    "open_matrix": "svdflow.matrix",
    "read_table": "svdflow.store",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'svdflow' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

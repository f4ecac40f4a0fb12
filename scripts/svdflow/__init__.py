"""svdflow: low-rank processing of batches of images and of matrices larger than memory.

This face imports lazily, so that ``import svdflow`` costs next to nothing; docs/api.md lists what is public.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from svdflow import errors
from svdflow.errors import ConvergenceWarning

if TYPE_CHECKING:
    from svdflow.codec import decode, encode
    from svdflow.denoisers.denoising import denoise
    from svdflow.images.io import read_image
    from svdflow.matrix import OperatorSource, open_matrix
    from svdflow.store import read_table
    from svdflow.svd import SVDResult, truncated_svd

__version__ = "0.1.0"
__all__ = [
    "ConvergenceWarning",
    "OperatorSource",
    "SVDResult",
    "__version__",
    "decode",
    "denoise",
    "encode",
    "errors",
    "open_matrix",
    "read_image",
    "read_table",
    "truncated_svd",
]

_ROOMS = {
    "OperatorSource": "svdflow.matrix",
    "SVDResult": "svdflow.svd",
    "decode": "svdflow.codec",
    "denoise": "svdflow.denoisers.denoising",
    "encode": "svdflow.codec",
    "open_matrix": "svdflow.matrix",
    "read_image": "svdflow.images.io",
    "read_table": "svdflow.store",
    "truncated_svd": "svdflow.svd",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'svdflow' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

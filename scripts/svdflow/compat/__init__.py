"""Drop-in doors: the names and arguments of scikit-learn and dask, and svdflow's engine behind them.

Each name is imported where it is first asked for, because only `TruncatedSVD` needs scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svdflow.compat.compressed import svd_compressed
    from svdflow.compat.estimator import TruncatedSVD
    from svdflow.compat.randomized import randomized_svd
    from svdflow.errors import InvalidParameterError

__all__ = ["InvalidParameterError", "TruncatedSVD", "randomized_svd", "svd_compressed"]

_ROOMS = {
    "InvalidParameterError": "svdflow.compat.parameters",
    "TruncatedSVD": "svdflow.compat.estimator",
    "randomized_svd": "svdflow.compat.randomized",
    "svd_compressed": "svdflow.compat.compressed",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'svdflow.compat' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What is factorized: matrices as sources that are read in panels, files of matrices, and generators.

Names are imported where they are asked for: pictures need the checks of this room, and neither readers nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from svdflow.errors import NonFiniteError

if TYPE_CHECKING:
    from svdflow.matrix.opening import as_source, open_matrix
    from svdflow.matrix.operators import OperatorSource
    from svdflow.matrix.sources import MatrixSource

__all__ = ["MatrixSource", "NonFiniteError", "OperatorSource", "as_source", "open_matrix"]

_PLACES = {
    "MatrixSource": "svdflow.matrix.sources",
    "OperatorSource": "svdflow.matrix.operators",
    "as_source": "svdflow.matrix.opening",
    "open_matrix": "svdflow.matrix.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'svdflow.matrix' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

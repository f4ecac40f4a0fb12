"""Truncated singular value decompositions, with their certificates."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from svdflow.errors import ConvergenceWarning, MemoryLimitError
from svdflow.svd.certificates import FrobeniusCertificate, frobenius_certificate
from svdflow.svd.factorization import factorize, truncated_svd
from svdflow.svd.info import SVDInfo
from svdflow.svd.result import SVDResult
from svdflow.svd.solver_options import SolverOptions

if TYPE_CHECKING:
    from svdflow.svd.methods.single_pass import SinglePassSVD

__all__ = [
    "ConvergenceWarning",
    "FrobeniusCertificate",
    "MemoryLimitError",
    "SVDInfo",
    "SVDResult",
    "SinglePassSVD",
    "SolverOptions",
    "factorize",
    "frobenius_certificate",
    "truncated_svd",
]


def __getattr__(name: str) -> Any:
    """Code of single methods is imported where it is asked for, so that an edited one concerns its jobs only."""
    if name == "SinglePassSVD":
        return import_module("svdflow.svd.methods.single_pass").SinglePassSVD
    raise AttributeError(f"module 'svdflow.svd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

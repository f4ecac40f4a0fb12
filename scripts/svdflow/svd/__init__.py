"""Truncated singular value decompositions, with their certificates."""

from svdflow.errors import ConvergenceWarning, MemoryLimitError
from svdflow.svd.certificates import FrobeniusCertificate, frobenius_certificate
from svdflow.svd.factorization import factorize, truncated_svd
from svdflow.svd.methods.single_pass import SinglePassSVD
from svdflow.svd.result import SVDInfo, SVDResult

__all__ = [
    "ConvergenceWarning",
    "FrobeniusCertificate",
    "MemoryLimitError",
    "SVDInfo",
    "SVDResult",
    "SinglePassSVD",
    "factorize",
    "frobenius_certificate",
    "truncated_svd",
]

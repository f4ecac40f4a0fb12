"""Truncated singular value decompositions, rank rules, certificates and least squares."""

from svdflow.linalg.certificates import FrobeniusCertificate, frobenius_certificate
from svdflow.linalg.leastsquares import lstsq_qr, lstsq_svd, pinv, tikhonov
from svdflow.linalg.plan import MemoryLimitError
from svdflow.linalg.reasons import ConvergenceWarning
from svdflow.linalg.result import SVDInfo, SVDResult
from svdflow.linalg.single_pass import SinglePassSVD
from svdflow.linalg.svd import factorize, truncated_svd

__all__ = [
    "ConvergenceWarning",
    "FrobeniusCertificate",
    "MemoryLimitError",
    "SVDInfo",
    "SVDResult",
    "SinglePassSVD",
    "factorize",
    "frobenius_certificate",
    "lstsq_qr",
    "lstsq_svd",
    "pinv",
    "tikhonov",
    "truncated_svd",
]

"""Least squares, pseudo-inverse and Tikhonov regularization."""

from svdflow.least_squares.dense import LeastSquares, PseudoInverse, lstsq_qr, lstsq_svd, pinv, tikhonov

__all__ = ["LeastSquares", "PseudoInverse", "lstsq_qr", "lstsq_svd", "pinv", "tikhonov"]

"""What is factorized: matrices as sources that are read in panels, files of matrices, and generators."""

from svdflow.errors import NonFiniteError
from svdflow.matrix.opening import as_source, open_matrix
from svdflow.matrix.sources import MatrixSource

__all__ = ["MatrixSource", "NonFiniteError", "as_source", "open_matrix"]

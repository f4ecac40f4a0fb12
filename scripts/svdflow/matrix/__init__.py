"""What is factorized: matrices as sources that are read in panels, files of matrices, and generators."""

from svdflow.matrix.files import open_matrix
from svdflow.matrix.panels import NonFiniteError
from svdflow.matrix.sources import MatrixSource, as_source

__all__ = ["MatrixSource", "NonFiniteError", "as_source", "open_matrix"]

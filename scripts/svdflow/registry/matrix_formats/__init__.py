"""Formats of matrix files by name; the code stands in `svdflow.matrix.formats`."""

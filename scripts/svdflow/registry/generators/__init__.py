"""Families of synthetic matrices by name, with their parameters; the code stands in `svdflow.matrix.generators`."""

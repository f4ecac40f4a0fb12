"""Shrinkers of singular values by name; the code stands in `svdflow.ranks.shrinkage`."""

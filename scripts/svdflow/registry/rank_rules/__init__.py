"""Rank rules by name, and what each needs; the code stands in `svdflow.ranks`."""

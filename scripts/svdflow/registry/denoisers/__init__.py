"""Denoisers by name, and what each applies to; the code stands in `svdflow.denoisers`."""

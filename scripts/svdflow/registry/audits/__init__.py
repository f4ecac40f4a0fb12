"""Audits by name, each with the limits of its rows; the code stands in `svdflow.audit` and `svdflow.selfcheck`."""

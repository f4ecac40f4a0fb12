"""Audits of a module of svdflow, as they are declared."""

from svdflow.registry import AUDITS


def audits_of(*modules):
    """Name -> function of (seed, limits), for the audits whose code stands in these modules."""
    names = {module.__name__ for module in modules}
    found = {
        audit.name: audit.code() for audit in AUDITS.values() if audit.selfcheck and audit.module in names
    }
    assert found, f"no audit is declared for {names}"
    return found

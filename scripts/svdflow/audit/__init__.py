"""What can be trusted: conditioning, gradients and stability, each verdict with its resolution.

>>> from svdflow.audit import check_gradient
>>> print(check_gradient(lambda x: (x**2).sum(), lambda x: 2 * x, [1.0, 2.0]).verdict)
PASS
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "audit_matrix": "conditioning",
    "certify_svd": "enclosures",
    "check_gradient": "difference",
    "error_against_step": "step_errors",
    "singular_radius": "difference",
    "taylor_order": "taylor",
    "Verdict": "verdicts",
    "Record": "records",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'svdflow.audit' has no attribute {name!r} (it has {', '.join(__all__)})"
        )
    return getattr(import_module(f"svdflow.audit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""What can be said of this installation without any data: solvers, laws, arithmetic, derivatives, planted faults.

>>> from svdflow import selfcheck
>>> {str(record.verdict) for record in selfcheck.run(["precision"], cache=False)}
{'PASS'}
"""

from typing import Any

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'svdflow.selfcheck' has no attribute {name!r} (it has {', '.join(__all__)})"
        )
    from svdflow.selfcheck.audits import run

    return run


def __dir__() -> list[str]:
    return sorted(__all__)

"""Two small engines that differentiate, kept as subjects of audits: nothing else in svdflow rests on them.

`Dual` carries one derivative forward, `Value` carries the derivatives of one output back. They share no rule of
differentiation, so that each may be held against the other.
"""

from svdflow.selfcheck.autodiff.dual import Dual
from svdflow.selfcheck.autodiff.value import Value

__all__ = ["Dual", "Value"]

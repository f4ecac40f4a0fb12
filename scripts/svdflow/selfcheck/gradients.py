"""The family of audits of gradients: identities, Taylor orders, engines, adjoints, Hessians, the SVD."""

from svdflow.audit.family import Audit
from svdflow.selfcheck import (
    adjoint,
    engines,
    gradient_identities,
    hessian,
    planted_derivatives,
    taylor_orders,
)

FAMILY = "gradients"
AUDITS: dict[str, Audit] = {
    **gradient_identities.AUDITS,
    **taylor_orders.AUDITS,
    **engines.AUDITS,
    **adjoint.AUDITS,
    **hessian.AUDITS,
    **planted_derivatives.AUDITS,
}

"""The family of audits of gradients: identities, Taylor orders, engines, adjoints, Hessians, the SVD."""

from svdflow.audit import adjoint, engines, hessian, identities, planted_derivatives, taylor
from svdflow.audit.stage import Audit

FAMILY = "gradients"
AUDITS: dict[str, Audit] = {
    **identities.AUDITS,
    **taylor.AUDITS,
    **engines.AUDITS,
    **adjoint.AUDITS,
    **hessian.AUDITS,
    **planted_derivatives.AUDITS,
}

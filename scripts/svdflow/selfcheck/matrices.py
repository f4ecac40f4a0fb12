"""The family conditioning where it needs no data: matrices of known answer."""

from svdflow.audit.family import Audit
from svdflow.selfcheck import (
    hilbert,
    integer_ranks,
    known_enclosures,
    least_squares_solvers,
    linear_solvers,
    penrose,
    perturbation,
    posterior,
    random_states,
    reproducibility,
    strd,
)

FAMILY = "conditioning"
AUDITS: dict[str, Audit] = {
    **known_enclosures.AUDITS,
    **posterior.AUDITS,
    **hilbert.AUDITS,
    **integer_ranks.AUDITS,
    **linear_solvers.AUDITS,
    **strd.AUDITS,
    **least_squares_solvers.AUDITS,
    **penrose.AUDITS,
    **perturbation.AUDITS,
    **random_states.AUDITS,
    **reproducibility.AUDITS,
}

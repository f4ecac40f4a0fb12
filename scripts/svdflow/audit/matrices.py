"""The family conditioning where it needs no data: matrices of known answer."""

from svdflow.audit import (
    condition,
    enclosures,
    ensembles,
    integer_rank,
    least_squares,
    penrose,
    perturbation,
    posterior,
    reproducibility,
    solve,
    strd,
)
from svdflow.audit.stage import Audit

FAMILY = "conditioning"
AUDITS: dict[str, Audit] = {
    **enclosures.AUDITS,
    **posterior.AUDITS,
    **condition.AUDITS,
    **integer_rank.AUDITS,
    **solve.AUDITS,
    **strd.AUDITS,
    **least_squares.AUDITS,
    **penrose.AUDITS,
    **perturbation.AUDITS,
    **ensembles.AUDITS,
    **reproducibility.AUDITS,
}

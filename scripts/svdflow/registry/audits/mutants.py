"""Faults that are planted in the subjects of the audits, which have to catch them."""

from math import nan

from svdflow.registry.audit import Audit
from svdflow.registry.thresholds import Threshold

DECLARED = [
    Audit(
        name="faults_of_gradient_checks",
        summary="Faults in gradients and in what checks them",
        family="mutants",
        limits={
            "mutant": Threshold(
                nan, 1, 0, source="law: a planted fault is caught, as expected and for the expected reason"
            ),
            "kill_rate": Threshold(nan, 1e-06, 0, source="law: no planted fault survives"),
        },
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "gradient_checks"},
    ),
    Audit(
        name="faults_of_derivatives",
        summary="Faults in derivatives of the SVD, Taylor orders and identities",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "derivatives"},
    ),
    Audit(
        name="faults_of_differentiation",
        summary="Faults in differentiation engines, Hessians and adjoints",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "differentiation"},
    ),
    Audit(
        name="faults_of_decompositions",
        summary="Faults in decompositions and in what is read off them",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "decompositions"},
    ),
    Audit(
        name="faults_of_solvers",
        summary="Faults in solvers and pseudo-inverses",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "solvers"},
    ),
    Audit(
        name="faults_of_proofs",
        summary="Faults in enclosures, laws and random ensembles",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "proofs"},
    ),
    Audit(
        name="faults_of_arithmetic",
        summary="Faults in sums, exponentials and contractions",
        family="mutants",
        load="svdflow.selfcheck.mutants:audit_mutants",
        keywords={"group": "arithmetic"},
    ),
]

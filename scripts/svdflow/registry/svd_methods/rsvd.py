"""The method `rsvd` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="rsvd",
        summary="randomized subspace iteration, a set number of reads",
        source="Halko, Martinsson and Tropp (2011), algorithm 4.4",
        advice="comparison with others",
        load="svdflow.svd.methods.rsvd:SubspaceIteration",
    )
]

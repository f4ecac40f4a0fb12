"""The method `shift` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="shift",
        summary="subspace iteration with dynamic shifts, one block of k + a few columns",
        source="Feng, Yu, Xie and Tang (2024), dashSVD; Feng et al. (2023), PerSVD",
        advice="little memory",
        load="svdflow.svd.methods.shift:ShiftedIteration",
    )
]

"""The method `krylov` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="krylov",
        summary="block Krylov, one read a step, the last one for U",
        source="Musco and Musco (2015); Tropp and Webber (2023), sections 4 and 5",
        advice="large matrices",
        cost="svdflow.svd.costs:krylov_seconds",
        load="svdflow.svd.methods.krylov:BlockKrylov",
    )
]

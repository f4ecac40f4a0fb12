"""The method `gram` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="gram",
        summary="`A^H A` in one read, U by half a read; by QR (`tsqr`) where squares would lose digits",
        source="Lu et al. (2020), section 3; Demmel et al. (2012) for TSQR",
        advice="a short side of up to a few thousand",
        cost="svdflow.svd.costs:gram_seconds",
        needs_entries=True,
        load="svdflow.svd.methods.gram:GramMatrix",
    )
]

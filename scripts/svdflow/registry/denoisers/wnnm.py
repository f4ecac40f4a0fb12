"""wnnm: weighted nuclear norms of groups of similar patches."""

from svdflow.registry.kinds import IMAGES, Denoiser

DECLARED = [
    Denoiser(
        name="wnnm",
        summary="weighted nuclear norms of groups of similar patches",
        source="Gu et al. (2014)",
        order=40,
        applies_to=(IMAGES,),
        works_on="picture",
        rule="weighted_nuclear_norm",
        cost=130.0,
        memory=0.0,
        load="svdflow.denoisers.methods.wnnm:wnnm",
    )
]

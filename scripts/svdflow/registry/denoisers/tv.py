"""tv: total variation, by scikit-image."""

from svdflow.registry.kinds import IMAGES, Denoiser

DECLARED = [
    Denoiser(
        name="tv",
        summary="total variation, by scikit-image",
        source="Chambolle (2004)",
        order=70,
        applies_to=(IMAGES,),
        works_on="picture",
        rule="total_variation",
        cost=8.0,
        memory=24.0,  # of the result, and of bands of 4 million values
        load="svdflow.denoisers.methods.tv:tv",
    )
]

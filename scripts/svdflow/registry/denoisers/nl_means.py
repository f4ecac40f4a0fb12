"""nl_means: means of similar patches, by scikit-image."""

from svdflow.registry.kinds import IMAGES, Denoiser

DECLARED = [
    Denoiser(
        name="nl_means",
        summary="means of similar patches, by scikit-image",
        source="Buades, Coll and Morel (2005)",
        order=90,
        applies_to=(IMAGES,),
        works_on="picture",
        rule="non_local_means",
        cost=5.0,
        memory=24.0,  # of the result, and of bands of 4 million values
        load="svdflow.denoisers.methods.nl_means:nl_means",
    )
]

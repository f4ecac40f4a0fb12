"""patch_svd: groups of similar patches, each cut to its low rank, in several passes."""

from svdflow.registry.kinds import IMAGES, Denoiser

MOST_PASSES = 100  # a picture changes no more after ten or so
DECLARED = [
    Denoiser(
        name="patch_svd",
        summary="groups of similar patches, each cut to its low rank, in several passes",
        source="Guo et al. (2016); Gavish and Donoho (2017)",
        applies_to=(IMAGES,),
        works_on="picture",
        rule="bulk_edge",
        cost=60.0,
        load="svdflow.denoisers.patch_svd:denoise_plane",
    )
]

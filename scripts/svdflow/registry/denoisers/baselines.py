"""Denoisers of scikit-image, beside those of svdflow."""

from svdflow.registry.kinds import IMAGES, Denoiser

DECLARED = [
    Denoiser(
        name="tv",
        summary="total variation, by scikit-image",
        source="Chambolle (2004)",
        applies_to=(IMAGES,),
        works_on="picture",
        rule="total_variation",
        cost=8.0,
        load="svdflow.denoisers.baselines:tv_plane",
    ),
    Denoiser(
        name="wavelet",
        summary="wavelet thresholds by BayesShrink, by scikit-image",
        source="Chang, Yu and Vetterli (2000)",
        applies_to=(IMAGES,),
        works_on="picture",
        rule="bayes_shrink",
        masks=False,
        cost=10.0,
        load="svdflow.denoisers.baselines:wavelet_plane",
    ),
    Denoiser(
        name="nl_means",
        summary="means of similar patches, by scikit-image",
        source="Buades, Coll and Morel (2005)",
        applies_to=(IMAGES,),
        works_on="picture",
        rule="non_local_means",
        cost=5.0,
        load="svdflow.denoisers.baselines:nl_means_plane",
    ),
]

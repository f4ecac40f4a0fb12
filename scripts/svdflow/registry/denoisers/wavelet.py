"""wavelet: wavelet thresholds by BayesShrink, by scikit-image."""

from svdflow.registry.kinds import IMAGES, Denoiser

DECLARED = [
    Denoiser(
        name="wavelet",
        summary="wavelet thresholds by BayesShrink, by scikit-image",
        source="Chang, Yu and Vetterli (2000)",
        order=80,
        applies_to=(IMAGES,),
        works_on="picture",
        rule="bayes_shrink",
        masks=False,
        cost=10.0,
        memory=24.0,  # of the result, and of bands of 4 million values
        load="svdflow.denoisers.methods.wavelet:wavelet",
    )
]

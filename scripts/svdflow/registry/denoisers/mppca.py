"""mppca: principal components of small windows of a stack or series (MP-PCA)."""

from svdflow.registry.kinds import EVERYTHING, Denoiser

DECLARED = [
    Denoiser(
        name="mppca",
        summary="principal components of small windows of a stack or series (MP-PCA)",
        source="Veraart et al. (2016)",
        order=50,
        applies_to=EVERYTHING,
        works_on="series",
        rule="optimal_shrinkage",
        cost=10.0,
        arguments={"shrink": "frobenius"},
        load="svdflow.denoisers.methods.mppca:mppca",
    )
]

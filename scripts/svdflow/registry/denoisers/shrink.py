"""shrink: shrinks every singular value towards the clean one, optimal for a loss."""

from svdflow.registry.kinds import EVERYTHING, Denoiser

DECLARED = [
    Denoiser(
        name="shrink",
        summary="shrinks every singular value towards the clean one, optimal for a loss",
        source="Gavish and Donoho (2017)",
        order=10,
        applies_to=EVERYTHING,
        works_on="factors",
        rule="optimal_shrinkage",
        memory=0.0,
        load="svdflow.denoisers.methods.shrink:shrink",
    )
]

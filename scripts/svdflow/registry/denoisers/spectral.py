"""Denoisers that change the singular values of the whole plane."""

from svdflow.registry.kinds import EVERYTHING, Denoiser

DECLARED = [
    Denoiser(
        name="shrink",
        summary="shrinks every singular value towards the clean one, optimal for a loss",
        source="Gavish and Donoho (2017)",
        applies_to=EVERYTHING,
        works_on="factors",
        rule="optimal_shrinkage",
        load="svdflow.denoisers.spectral:shrink",
    ),
    Denoiser(
        name="truncate",
        summary="keeps the first components as they are, as many as a rank rule says",
        source="Eckart and Young (1936)",
        applies_to=EVERYTHING,
        works_on="factors",
        load="svdflow.denoisers.spectral:truncate",
    ),
]

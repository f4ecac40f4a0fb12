"""truncate: keeps the first components as they are, as many as a rank rule says."""

from svdflow.registry.kinds import EVERYTHING, Denoiser

DECLARED = [
    Denoiser(
        name="truncate",
        summary="keeps the first components as they are, as many as a rank rule says",
        source="Eckart and Young (1936)",
        order=20,
        applies_to=EVERYTHING,
        works_on="factors",
        memory=0.0,
        load="svdflow.denoisers.methods.truncate:truncate",
    )
]

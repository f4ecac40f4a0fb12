"""The method `single_pass` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="single_pass",
        summary="everything from one read",
        source="Halko, Martinsson and Tropp (2011); Epperly and Tropp (2022) for the error estimate",
        advice="data that can be read once; spectra that fall fast",
        needs_entries=True,
        backends=("numpy",),
        load="svdflow.svd.methods.single_pass:SinglePass",
    )
]

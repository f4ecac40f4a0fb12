"""ssa: singular spectrum analysis of the columns, which are series."""

from svdflow.registry.kinds import MATRIX, SYNTHETIC, Denoiser

DECLARED = [
    Denoiser(
        name="ssa",
        summary="singular spectrum analysis of the columns, which are series",
        source="Golyandina and Zhigljavsky (2013)",
        order=60,
        applies_to=(SYNTHETIC, MATRIX),
        works_on="columns",
        rule="bulk_edge",
        cost=5.0,
        load="svdflow.denoisers.methods.ssa:ssa",
    )
]

"""Form tiles."""

from svdflow.registry.kinds import ArchiveForm

DECLARED = [
    ArchiveForm(
        name="tiles",
        summary="a picture as tiles of 8 x 8, each in the separable basis that the whole picture gives",
        source="higher-order SVD: De Lathauwer et al. (2000)",
        dimensions=(2, 2),
        load="svdflow.codec.tiles_form:TilesForm",
    )
]

"""Form tucker."""

from svdflow.registry.kinds import ArchiveForm

DECLARED = [
    ArchiveForm(
        name="tucker",
        summary="an array of three dimensions or more as a quantized core and quantized factors",
        source="sequentially truncated higher-order SVD: Vannieuwenhoven et al. (2012)",
        dimensions=(3, 64),
        load="svdflow.codec.tucker_form:TuckerForm",
    )
]

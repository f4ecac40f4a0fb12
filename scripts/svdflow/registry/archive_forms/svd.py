"""Form svd."""

from svdflow.registry.kinds import ArchiveForm

DECLARED = [
    ArchiveForm(
        name="svd",
        summary="codes of the left factor times the singular values, and of the right factor",
        source="reverse water-filling: Cover and Thomas (2006), section 10.3.3",
        dimensions=(1, 64),
        load="svdflow.codec.svd_form:MatrixForm",
    )
]

"""BMP."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="bmp",
        title="BMP",
        summary="8 bits, palettes",
        source="by Pillow",
        suffixes=(".bmp",),
        signature=rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0",  # and the length of the second header
        load="svdflow.images.formats.bmp:read",
    ),
]

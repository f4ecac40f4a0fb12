"""TIFF."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="tiff",
        title="TIFF",
        summary="8, 16 and 32 bits, floats, several pages, BigTIFF, GeoTIFF",
        source="TIFF 6.0, by tifffile",
        suffixes=(".tif", ".tiff"),
        signature=rb"II[*+]\0|MM\0[*+]",
        load="svdflow.images.formats.tiff:read",
    ),
]

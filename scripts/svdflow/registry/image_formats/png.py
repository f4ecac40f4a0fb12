"""PNG."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="png",
        title="PNG",
        summary="1 to 16 bits, palettes, transparency, animations",
        source="PNG specification, by libpng",
        suffixes=(".png", ".apng"),
        signature=rb"\x89PNG\r\n\x1a\n",
        load="svdflow.images.formats.png:read",
    ),
]

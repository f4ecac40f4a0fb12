"""GIF."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="gif",
        title="GIF",
        summary="palettes, animations",
        source="GIF89a, by Pillow",
        suffixes=(".gif",),
        signature=rb"GIF8[79]a",
        load="svdflow.images.formats.gif:read",
    ),
]

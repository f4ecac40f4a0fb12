"""WebP."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="webp",
        title="WebP",
        summary="8 bits, transparency, animations",
        source="RFC 9649, by libwebp through Pillow",
        suffixes=(".webp",),
        signature=rb"RIFF....WEBP",
        load="svdflow.images.formats.webp:read",
    ),
]

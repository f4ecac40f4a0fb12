"""JPEG."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="jpeg",
        title="JPEG",
        summary="8 bits, grey, colours and inks",
        source="ITU-T T.81, by libjpeg through Pillow",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        signature=rb"\xff\xd8\xff",
        load="svdflow.images.formats.jpeg:read",
    ),
]

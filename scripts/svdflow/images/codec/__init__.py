"""Archives of quantized factors: arrays at a wanted error or size, decoded at any smaller rank and any rows."""

from svdflow.images.codec.door import (
    ArchiveInfo,
    ArchiveWarning,
    RatePoint,
    decode,
    describe,
    encode,
    forms_for,
    rate_curve,
)

__all__ = [
    "ArchiveInfo",
    "ArchiveWarning",
    "RatePoint",
    "decode",
    "describe",
    "encode",
    "forms_for",
    "rate_curve",
]

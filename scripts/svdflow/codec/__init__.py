"""Archives of quantized factors: arrays at a wanted error or size, decoded at any smaller rank and any rows."""

from svdflow.codec.encoding import ArchiveInfo, decode, describe, encode
from svdflow.codec.forms import forms_for
from svdflow.codec.rate_curves import RatePoint, rate_curve
from svdflow.errors import ArchiveWarning

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

"""Whether a JPEG stream holds all of its picture.

libjpeg never fails on data that are cut, zeroed or overwritten: it warns, fills the rest with grey or with the last
colour, and returns; Pillow drops the warnings. simplejpeg reports them. Only the entropy decoding matters, so the
picture is made at an eighth of its size, for a sixth of the time of the picture itself.
"""

import re

import simplejpeg

from svdflow.store import ItemError

_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
# Warnings of headers (libjpeg, jerror.h): the picture is whole whatever they say.
_HARMLESS = ("JFIF", "Adobe color transform", "Invalid SOS parameters")
_END = b"\xff\xd9"


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG stream of whose coded data a part is missing or overwritten.

    Raises
    ------
    ItemError
        ``truncated`` where data end early, ``corrupt`` where they cannot be decoded.

    Notes
    -----
    Some cameras leave bytes between the last coded one and the end mark: they are taken away, and what is left is
    judged. Data overwritten by other valid codes cannot be told from a picture, for JPEG has no checksum.
    """
    warning = _warning(data)
    if extra := _EXTRA.search(warning):
        end = data.rfind(_END)
        warning = _warning(data[: end - int(extra[1])] + _END)
    if not warning or any(words in warning for words in _HARMLESS):
        return
    code = "truncated" if "premature end" in warning.lower() else "corrupt"
    raise ItemError(code, f"JPEG data are damaged ({warning}); copy the file again from its source")


def _warning(data: bytes) -> str:
    try:
        simplejpeg.decode_jpeg(
            data, colorspace=_space(data), min_height=1, min_width=1, min_factor=8, strict=True
        )
    except ValueError as error:
        return str(error)
    return ""


def _space(data: bytes) -> str:
    colours = simplejpeg.decode_jpeg_header(data, strict=False)[2]
    return {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB")

"""Byte streams that Pillow decodes, once they are found whole."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from svdflow.errors import ItemError
from svdflow.images.colour import cmyk_to_rgb
from svdflow.images.formats.containers import Decoded, ImageFile, Page, check_size, split_alpha, walked

_ORIENTATION = 0x0112  # EXIF 2.32, tag 274
_PILLOW = threading.Lock()


def read_frames(
    file: ImageFile,
    kind: str,
    extent: Callable[[bytes], tuple[int, int]],
    *,
    check: Callable[[bytes], None] | None = None,
    animated: bool = True,
) -> Decoded:
    """All frames of a file of one of Pillow's formats.

    Parameters
    ----------
    file : ImageFile
    kind : str
        Pillow's name of the format.
    extent : function of the bytes
        Walks the stream and gives the width and height that it declares.
    check : function of the bytes, optional
        Refuses a stream whose coded data are not whole.
    animated : bool
        Whether further frames are pages.

    Returns
    -------
    pages : list of Page
        Not yet turned by the orientation tag.
    attrs : dict
        format, mode, exif_orientation, icc_profile, significant_bits.

    Raises
    ------
    ItemError
        ``decompression_bomb``, ``truncated``, ``corrupt`` or ``unsupported``.
    OSError, ValueError
        What Pillow raises of data that it cannot decode.
    """
    data, pixel_limit = file.path.read_bytes(), file.pixel_limit
    width, height = walked(kind, extent, data)
    check_size(width, height, 1, pixel_limit, stored=len(data))
    if check is not None:
        check(data)
    with (
        _limited_to(max(pixel_limit, width * height)),
        Image.open(io.BytesIO(data), formats=[kind]) as image,
    ):
        mode = image.mode
        frames = getattr(image, "n_frames", 1) if animated else 1
        check_size(*image.size, frames, pixel_limit, stored=len(data))
        pages = []
        for frame in range(frames):
            image.seek(frame)
            pages.append(_page(image))
        icc = image.info.get("icc_profile") or b"" if image.mode != "CMYK" else b""
        attrs = {
            "format": kind,
            "mode": mode,
            "exif_orientation": _exif_orientation(image),
            "icc_profile": icc,
            "significant_bits": 8 * pages[0].array.itemsize,
        }
    return pages, attrs


@contextmanager
def _limited_to(pixels: int) -> Iterator[None]:
    """Pillow's own guard, for frames larger than what the header declares; it is global, so it is put back."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is not the user's worry
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ItemError(
                "decompression_bomb", "a frame is larger than the picture that it is part of"
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _page(image: Image.Image) -> Page:
    if image.mode == "CMYK":
        return Page(cmyk_to_rgb(np.asarray(image)))
    target = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        target += "A"
    return split_alpha(np.asarray(image.convert(target)))


def _exif_orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata do not make the pixels unusable
        return 1
    return value if value in range(1, 9) else 1

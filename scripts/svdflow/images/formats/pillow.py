"""JPEG, WebP, BMP and GIF, decoded by Pillow; PNG has a reader of its own."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from svdflow.images.colour import cmyk_to_rgb
from svdflow.images.formats.containers import Container, Decoded, Page, check_size, split_alpha
from svdflow.images.formats.jpeg import check_jpeg
from svdflow.images.formats.png import read_png
from svdflow.store import ItemError

_ORIENTATION = 0x0112
_PILLOW = threading.Lock()


def read_stream(data: bytes, container: Container, pixel_limit: int) -> Decoded:
    """All frames of a byte stream that `containers.examine` has walked.

    Returns
    -------
    pages, attrs
        As of `tiff.read_tiff`.

    Raises
    ------
    ItemError
        ``decompression_bomb``, ``truncated``, ``corrupt`` or ``unsupported``.
    OSError, ValueError
        What Pillow raises of data that it cannot decode.
    """
    check_size(container.width, container.height, 1, pixel_limit, stored=len(data))
    if container.format == "PNG":
        return read_png(data, pixel_limit)
    if container.format == "JPEG":
        check_jpeg(data)
    with (
        _limited_to(max(pixel_limit, container.width * container.height)),
        Image.open(io.BytesIO(data), formats=[container.format]) as image,
    ):
        mode = image.mode
        frames = 1 if container.format == "JPEG" else getattr(image, "n_frames", 1)  # MPO adds previews
        check_size(*image.size, frames, pixel_limit, stored=len(data))
        pages = []
        for frame in range(frames):
            image.seek(frame)
            pages.append(_page(image))
        icc = image.info.get("icc_profile") or b"" if image.mode != "CMYK" else b""
        attrs = {
            "format": container.format,
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

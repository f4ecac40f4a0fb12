"""PNG and animated PNG, decoded by libpng, which refuses what Pillow fills in.

Pillow limits texts and profiles to a megabyte, halves 16-bit colour, compares the transparent grey of two- and
four-bit images at the wrong scale, and reads the first frame alone of a 16-bit animation. So pixels, transparency,
orientation and profile are read from the chunks.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from svdflow.errors import ItemError
from svdflow.images.formats.containers import Decoded, ImageFile, Page, check_size, split_alpha, walked

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # PNG specification, 11.2.2
_SHAPING = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # chunks beside the critical ones that shape pixels
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PROFILE_LIMIT = 2**26  # bytes that a compressed profile or text may unpack to; real ones stay below 2**24
_ORIENTATION = 0x0112  # EXIF 2.32, tag 274
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")

Chunks = list[tuple[bytes, bytes]]


def read(file: ImageFile) -> Decoded:
    """All frames of a PNG.

    Returns
    -------
    pages : list of Page
        Not yet turned. Palettes are expanded; one- to four-bit samples fill the range of a byte; a transparent
        colour becomes alpha.
    attrs : dict
        As of `tiff.read_tiff`.

    Raises
    ------
    ItemError
        ``truncated``, ``decompression_bomb``, ``corrupt`` or ``unsupported``.
    """
    data, pixel_limit = file.path.read_bytes(), file.pixel_limit
    check_size(*walked("PNG", png_extent, data), 1, pixel_limit, stored=len(data))
    chunks = list(png_chunks(data))
    kinds = {kind for kind, _ in chunks}
    if b"IDAT" not in kinds or any(kind[:1].isupper() for kind in kinds - _CRITICAL):
        raise ItemError(
            "corrupt", "no image data, or a critical chunk that the PNG specification does not know"
        )
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
    frames = _frames(chunks)
    check_size(width, height, len(frames), pixel_limit, stored=len(data), pixel_bytes=-(-depth // 8) * 4)
    whole = [_decoded(frame) for frame in frames]
    if len(frames) > 1 and not _replace_all(chunks, width, height):
        whole = _composed(chunks, depth)
    mode = {1: "1", 16: f"{_MODES[colour]};16"}.get(depth, _MODES[colour])
    attrs = {
        "format": "PNG",
        "mode": mode,
        "exif_orientation": _orientation(chunks),
        "icc_profile": _profile(chunks),
        "significant_bits": _significant_bits(chunks, depth),
    }
    return whole, attrs


def png_extent(data: bytes) -> tuple[int, int]:
    """Width and height; walks the chunks up to IEND, with the checksums of those that shape pixels.

    PNG specification, 5.3.
    """
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ItemError("truncated", f"PNG chunk at byte {position} ends at byte {end} of {len(data)}")
        checksum = struct.unpack_from(">I", data, end - 4)[0]
        if (kind[:1].isupper() or kind in _SHAPING) and zlib.crc32(data[position + 4 : end - 4]) != checksum:
            raise ItemError("corrupt", f"PNG chunk at byte {position} does not match its checksum")
        if kind == b"IEND":
            return width, height
        position = end


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each chunk, up to IEND; checksums are not looked at."""
    position = len(_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        if kind == b"IEND":
            return
        position += length + 12


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it stands in the file: length, kind, body, CRC (PNG specification, 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _assembled(chunks: Chunks) -> bytes:
    return _SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def _frames(chunks: Chunks) -> list[Chunks]:
    """Each frame as the chunks of a still PNG of its own (PNG 3, 11.3.6); one where there is no animation."""
    head = chunks[0][1]
    shared = [c for c in chunks if c[0] in (b"PLTE", b"tRNS")]
    announced = [struct.unpack_from(">I", body)[0] for kind, body in chunks if kind == b"acTL"]
    still: Chunks = []
    frames: list[tuple[bytes, Chunks]] = []
    sequence = 0
    for kind, body in chunks:
        if announced and kind in (b"fcTL", b"fdAT"):
            (number,) = struct.unpack_from(">I", body)
            if number != sequence:
                raise ItemError(
                    "truncated", f"part {sequence} of the animation is missing; copy the file again"
                )
            sequence += 1
        if announced and kind == b"fcTL":
            place = struct.unpack_from(">IIII", body, 4)
            if any(place[i] + place[i + 2] > struct.unpack_from(">II", head)[i] for i in (0, 1)):
                raise ItemError("corrupt", f"frame {len(frames)} of the animation is larger than the picture")
            frames.append((body[4:12], []))
        elif announced and kind == b"fdAT":
            frames[-1][1].append((b"IDAT", body[4:]))
        elif kind == b"IDAT":
            (frames[0][1] if frames else still).append((kind, body))
    if announced and len(frames) != announced[0]:
        raise ItemError("truncated", f"the animation announces {announced[0]} frames and has {len(frames)}")
    sized = [(head[:8], still)] if still else []
    return [
        [(b"IHDR", size + head[8:]), *shared, *parts, (b"IEND", b"")] for size, parts in [*sized, *frames]
    ]


def _decoded(frame: Chunks) -> Page:
    return split_alpha(imagecodecs.png_decode(_assembled(frame)))


def _replace_all(chunks: Chunks, width: int, height: int) -> bool:
    """Whether every frame covers the picture and replaces what was there."""
    return all(
        struct.unpack_from(">IIII", body, 4) == (width, height, 0, 0) and body[25] == 0
        for kind, body in chunks
        if kind == b"fcTL"
    )


def _composed(chunks: Chunks, depth: int) -> list[Page]:
    """Frames laid over each other, by Pillow, which does so in 8 bits."""
    if depth == 16:
        raise ItemError(
            "unsupported",
            "a 16-bit animation whose frames are laid over each other; save them as single images",
        )
    kept = {b"IHDR", b"acTL", b"fcTL", b"fdAT", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    pages = []
    with Image.open(io.BytesIO(_assembled([c for c in chunks if c[0] in kept])), formats=["PNG"]) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            grey = image.mode in ("1", "L", "LA")
            target = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
            pages.append(split_alpha(np.asarray(image.convert(target))))
    return pages


def _orientation(chunks: Chunks) -> int:
    """Of the chunk eXIf, of the raw profile that ImageMagick writes, or of XMP; 1 where none is readable."""
    found: Any = 1
    try:
        for kind, body in chunks:
            if kind == b"eXIf":
                found = _exif_orientation(body)
            elif kind == b"zTXt" and body.startswith(
                (b"Raw profile type exif\0", b"Raw profile type APP1\0")
            ):
                digits = _unpacked(body.partition(b"\0")[2][1:]).split(b"\n", 3)[3]
                found = _exif_orientation(bytes.fromhex(digits.decode("ascii")).removeprefix(b"Exif\0\0"))
            elif kind == b"iTXt" and (match := _XMP_ORIENTATION.search(body)):
                found = int(match[1])
    except Exception:  # broken metadata do not make the pixels unusable
        return 1
    return found if found in range(1, 9) else 1


def _exif_orientation(body: bytes) -> Any:
    exif = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is not the user's worry
        exif.load(b"Exif\0\0" + body)
        return exif.get(_ORIENTATION, 1)


def _significant_bits(chunks: Chunks, depth: int) -> int:
    """Of the chunk sBIT, the most that a channel has (PNG specification, 11.3.2.7); 8 or 16 where there is none."""
    whole = max(8, depth)
    stated = next((max(body) for kind, body in chunks if kind == b"sBIT" and body), whole)
    return stated if 8 < stated <= whole else whole


def _profile(chunks: Chunks) -> bytes:
    body = next((body for kind, body in chunks if kind == b"iCCP"), b"")
    try:
        return _unpacked(body.partition(b"\0")[2][1:]) if body else b""
    except zlib.error:
        return b""


def _unpacked(packed: bytes) -> bytes:
    unpacked = zlib.decompressobj().decompress(packed, _PROFILE_LIMIT)
    return unpacked if len(unpacked) < _PROFILE_LIMIT else b""

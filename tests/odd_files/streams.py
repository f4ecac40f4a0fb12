"""JPEG, GIF, WebP and BMP, written by Pillow or from their specifications, and spoilt."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from odd_files import GREY, NOISE, RGB, SMOOTH, Odd, cut

END = b"\xff\xd9"


def saved(array: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cases() -> Iterator[Odd]:
    yield from jpegs()
    yield from spoilt_jpegs()
    yield from gifs()
    yield from webps()
    yield from bmps()
    yield from bad_bmps()


def segment(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body


def without(data: bytes, marker: bytes) -> bytes:
    while (at := data.find(marker)) >= 0:
        data = data[:at] + data[at + 2 + struct.unpack_from(">H", data, at + 2)[0] :]
    return data


def jpegs() -> Iterator[Odd]:
    plain = saved(SMOOTH, "JPEG", quality=95, subsampling=0)
    pages = [imagecodecs.jpeg8_decode(plain)]
    for name, data in {
        "plain": plain,
        "tail": plain + b"written after the end",
        "two-images": plain + saved(NOISE, "JPEG"),
        "camera-padding": plain[:-2] + bytes(7) + END,  # as several cameras leave it
        "text-of-60-kB": plain[:2] + segment(0xFE, b"x" * 60_000) + plain[2:],
        "broken-exif": plain[:2] + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + plain[2:],
        "frame-of-a-film": without(plain, b"\xff\xc4"),  # Motion JPEG: the tables of the standard are meant
        "fill-bytes": plain[:2] + b"\xff\xff\xff" + plain[2:],
    }.items():
        yield Odd(f"{name}.jpg", data, pages=pages, within=2)
    for name, options in {
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_rows": 1},
        "half-chroma": {"subsampling": 2},
        "profile": {"icc_profile": bytes(200_000)},
        "poor": {"quality": 3},
        "rgb": {"keep_rgb": True},
    }.items():
        data = saved(SMOOTH, "JPEG", **options)
        yield Odd(f"{name}.jpg", data, pages=[imagecodecs.jpeg8_decode(data)], within=4)
    grey = saved(SMOOTH[..., 0], "JPEG")
    yield Odd("grey.jpg", grey, pages=[imagecodecs.jpeg8_decode(grey)], within=2)
    inks = saved(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=100)
    yield Odd("inks.jpg", inks, pages=[SMOOTH], within=8)
    one = saved(SMOOTH[:1, :1], "JPEG", quality=100)
    yield Odd("one.jpg", one, pages=[SMOOTH[:1, :1]], within=8)


def spoilt_jpegs() -> Iterator[Odd]:
    """libjpeg returns a picture for nearly all of these, grey or smeared from some row on."""
    for kind, options in {
        "plain": {},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_rows": 1},
    }.items():
        whole = saved(NOISE, "JPEG", quality=90, **options)
        yield from cut(f"{kind}.jpeg", whole, 0.3, 0.99)
        for share in (0.4, 0.7, 0.95):
            at = int(len(whole) * share)
            yield Odd(f"{kind}-ended-{share}.jpg", whole[:at] + END, "truncated")
        at = len(whole) // 2
        yield Odd(f"{kind}-zeroed.jpg", whole[:at] + bytes(len(whole) - at - 2) + END, "truncated|corrupt")
        yield Odd(f"{kind}-hole.jpg", whole[:at] + bytes(2000) + whole[at + 2000 :], "truncated|corrupt")
        yield Odd(f"{kind}-gap.jpg", whole[:at] + whole[at + 4000 :], "truncated|corrupt")
    inks = saved(Image.fromarray(NOISE).convert("CMYK"), "JPEG")
    yield Odd("inks-ended.jpg", inks[: len(inks) // 2] + END, "truncated")
    grey = saved(NOISE[..., 0], "JPEG")
    yield Odd("grey-ended.jpg", grey[: len(grey) // 2] + END, "truncated")
    whole = saved(SMOOTH, "JPEG")
    frame = whole.index(b"\xff\xc0")
    for name, at, value, code in (
        ("twelve-bits", 4, b"\x0c", "unsupported"),
        ("lossless", 1, b"\xc3", "unsupported"),
        ("no-rows", 5, b"\0\0", "zero_size"),
        ("no-columns", 7, b"\0\0", "zero_size"),
        ("huge", 5, b"\xff\xdc\xff\xdc", "decompression_bomb"),
        ("taller", 5, b"\1\0", "truncated"),
    ):
        place = frame + at
        yield Odd(f"{name}.jpg", whole[:place] + value + whole[place + len(value) :], code)
    yield Odd("no-quantization.jpg", without(whole, b"\xff\xdb"), "corrupt")
    film = saved(NOISE, "JPEG", progressive=True)
    ends = [at for at in range(len(film) - 1) if film[at : at + 2] in (b"\xff\xc4", b"\xff\xda")]
    yield Odd("scans-missing.jpg", film[: ends[-2]] + END, "truncated", words="scans")
    scan = whole.index(b"\xff\xda")
    yield Odd("scans.jpg", whole[:scan] + whole[scan : scan + 14] * 300 + END, "decompression_bomb")
    yield Odd("start.jpg", b"\xff\xd8\xff", "truncated")
    yield Odd("ends-at-once.jpg", b"\xff\xd8" + END * 9, "truncated")


def blocks(data: bytes) -> bytes:
    parts = [data[i : i + 255] for i in range(0, len(data), 255)]
    return b"".join(bytes([len(p)]) + p for p in parts) + b"\0"


def gif(width: int, height: int, *body: bytes, end: bytes = b";") -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes([0, 0, 0, 255, 255, 255])
        + b"".join(body)
        + end
    )


def gifs() -> Iterator[Odd]:
    whole = saved(Image.fromarray(NOISE).quantize(256), "GIF")
    pages = [np.asarray(Image.fromarray(NOISE).quantize(256).convert("RGB"))]
    yield Odd("whole.gif", whole, pages=pages)
    yield Odd("tail.gif", whole + b"written after the end", pages=pages)
    yield Odd("padded.gif", whole[:-1] + bytes(3) + b";", pages=pages)
    comment = b"!\xfe" + blocks(b"c" * 5000)
    yield Odd("comment.gif", whole[:-1] + comment + b";", pages=pages)
    yield from cut("cut.gif", whole, 0.02, 0.3, 0.6, 0.9)
    start = 13 + 3 * 256
    while whole[start] == 0x21:  # extensions
        start = whole.index(b"\0", start + 3 + whole[start + 2]) + 1
    start += 10
    stream = whole[start + 1 : -1]
    data = b""
    while stream[0]:
        data, stream = data + stream[1 : 1 + stream[0]], stream[1 + stream[0] :]
    half = len(data) // 2
    for name, spoilt in {
        "missing": data[:half],
        "zeroed": data[:half] + bytes(len(data) - half),
        "ones": data[:half] + b"\xff" * (len(data) - half),
        "none": b"",
    }.items():
        made = whole[: start + 1] + blocks(spoilt) + b";"
        yield Odd(f"{name}.gif", made, "truncated|corrupt")
    image = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\2" + blocks(bytes([0x84, 0x51]))
    yield Odd("tiny.gif", gif(2, 2, image), pages=[np.zeros((2, 2, 3))], within=255)
    yield Odd("unknown-block.gif", gif(2, 2, b"\x99" + image), "corrupt")
    yield Odd("no-frames.gif", gif(2, 2), "corrupt|zero_size")
    yield Odd("no-width.gif", gif(0, 2, image), "zero_size")
    yield Odd("bomb.gif", gif(65535, 65535, image), "decompression_bomb")
    wide = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\2" + blocks(bytes([0x84, 0x51]))
    yield Odd("frame-bomb.gif", gif(2, 2, image, wide), "decompression_bomb")
    yield Odd("film-bomb.gif", gif(9000, 9000, image * 3), "decompression_bomb")


def webps() -> Iterator[Odd]:
    lossless = saved(NOISE, "WEBP", lossless=True)
    lossy = saved(NOISE, "WEBP", quality=90)
    yield Odd("lossless.webp", lossless, pages=[NOISE])
    four = np.dstack([NOISE, NOISE[..., 1]])
    yield Odd(
        "alpha.webp", saved(four, "WEBP", lossless=True, exact=True), pages=[NOISE], alpha=NOISE[..., 1]
    )
    yield Odd("lossy.webp", lossy, pages=[imagecodecs.webp_decode(lossy)], within=1)
    frames = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    film = saved(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    yield Odd("film.webp", film, pages=[NOISE, NOISE[::-1]])
    zeros = saved(NOISE, "WEBP", lossless=True, icc_profile=bytes(5000))
    yield Odd("zeros-in-profile.webp", zeros, pages=[NOISE])
    yield from cut("cut.webp", lossless, 0.01, 0.5, 0.99)
    yield from cut("lossy.webp", lossy, 0.5)
    for name, data in {"lossless": lossless, "lossy": lossy, "film": film}.items():
        at = len(data) // 2
        yield Odd(f"{name}-zeroed.webp", data[:at] + bytes(len(data) - at), "corrupt")
    short = lossless[: len(lossless) // 2]
    yield Odd("shorter.webp", short[:4] + struct.pack("<I", len(short) - 8) + short[8:], "corrupt|truncated")
    yield Odd("unknown.webp", lossless[:12] + b"QUUX" + lossless[16:], "corrupt")
    huge = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    yield Odd("huge.webp", b"RIFF" + struct.pack("<I", len(huge) + 4) + b"WEBP" + huge, "decompression_bomb")


def bmp(width: int, height: int, bits: int, body: bytes, *, packing: int = 0, table: bytes = b"") -> bytes:
    at = 54 + len(table)
    head = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(body), 0, 0, len(table) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + head + table + body


GREYS = b"".join(bytes([i, i, i, 0]) for i in range(256))


def bmps() -> Iterator[Odd]:
    padded = np.pad(GREY, ((0, 0), (0, 3)))
    yield Odd("grey.bmp", bmp(17, 13, 8, padded[::-1].tobytes(), table=GREYS), pages=[GREY])
    yield Odd("downwards.bmp", bmp(17, -13, 8, padded.tobytes(), table=GREYS), pages=[GREY])
    rows = np.pad(RGB[..., ::-1].reshape(13, 51), ((0, 0), (0, 1)))
    yield Odd("rgb.bmp", bmp(17, 13, 24, rows[::-1].tobytes()), pages=[RGB])
    four = np.dstack([RGB[..., ::-1], GREY])
    yield Odd("fourth-byte.bmp", bmp(17, 13, 32, four[::-1].tobytes()), pages=[RGB])  # not alpha: [MS] BI_RGB
    runs = b"".join(bytes([17, row[0], 0, 0]) for row in GREY[::-1]) + b"\0\1"
    yield Odd(
        "runs.bmp", bmp(17, 13, 8, runs, packing=1, table=GREYS), pages=[np.repeat(GREY[:, :1], 17, axis=1)]
    )


def bad_bmps() -> Iterator[Odd]:
    padded = np.pad(GREY, ((0, 0), (0, 3)))
    whole = bmp(17, 13, 8, padded[::-1].tobytes(), table=GREYS)
    yield from cut("cut.bmp", whole, 0.02, 0.3, 0.5, 0.95, 0.99)
    early = b"".join(bytes([17, row[0], 0, 0]) for row in GREY[5::-1]) + b"\0\1"
    yield Odd("runs-end-early.bmp", bmp(17, 13, 8, early, packing=1, table=GREYS), "truncated|corrupt")
    yield Odd("no-width.bmp", bmp(0, 13, 8, b"", table=GREYS), "zero_size")
    yield Odd("huge.bmp", bmp(2**31 - 1, 2**31 - 1, 24, bytes(99)), "decompression_bomb")
    yield Odd("seven-bits.bmp", bmp(17, 13, 7, padded.tobytes(), table=GREYS), "corrupt")
    yield Odd("packing.bmp", bmp(17, 13, 24, padded.tobytes(), packing=9), "corrupt")
    yield Odd("letter.bmp", b"BM was the title of the letter, and more followed.", "not_an_image")

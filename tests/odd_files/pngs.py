"""PNG, written from its specification."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from odd_files import GREY, GREY16, RGB, RGB16, RNG, Odd, cut

TYPES = {"grey": 0, "rgb": 2, "palette": 3, "grey-alpha": 4, "rgba": 6}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TABLE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes = b"", *, crc: int | None = None) -> bytes:
    right = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", right if crc is None else crc)


def header(width: int, height: int, depth: int, kind: str | int, interlace: int = 0) -> bytes:
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, TYPES.get(kind, kind), 0, 0, interlace)
    )


def lines(array: np.ndarray, depth: int) -> bytes:
    """Rows with filter 0 before each; samples below a byte are packed, highest bits first."""
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    if depth == 8:
        return b"".join(b"\0" + row.tobytes() for row in array)
    bits = np.unpackbits(array[..., None].astype(np.uint8), axis=2)[:, :, 8 - depth :]
    return b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)


def png(
    array: np.ndarray, depth: int, kind: str, *before: bytes, packed: bytes | None = None, after: bytes = b""
) -> bytes:
    head = header(array.shape[1], array.shape[0], depth, kind)
    data = zlib.compress(lines(array, depth)) if packed is None else packed
    return SIGNATURE + head + b"".join(before) + chunk(b"IDAT", data) + after + chunk(b"IEND")


def frame(number: int, width: int, height: int, *, left: int = 0, blend: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, 0, 1, 10, 0, blend))


def animation(
    depth: int,
    kind: str,
    frames: list[np.ndarray],
    *,
    announced: int | None = None,
    step: int = 1,
    left: int = 0,
) -> bytes:
    """An APNG whose later frames cover a part from column `left` on."""
    height, width = frames[0].shape[:2]
    count = len(frames) if announced is None else announced
    data = SIGNATURE + header(width, height, depth, kind) + chunk(b"acTL", struct.pack(">II", count, 0))
    data += frame(0, width, height) + chunk(b"IDAT", zlib.compress(lines(frames[0], depth)))
    number = step
    for later in frames[1:]:
        data += frame(number, later.shape[1], later.shape[0], left=left)
        data += chunk(b"fdAT", struct.pack(">I", number + 1) + zlib.compress(lines(later, depth)))
        number += 2
    return data + chunk(b"IEND")


def adam7(array: np.ndarray) -> bytes:
    """The seven passes (PNG specification, 8.1), 8 bits."""
    starts = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    parts = [array[y::dy, x::dx] for y, x, dy, dx in starts]
    return b"".join(lines(p, 8) for p in parts if p.size)


def key(*samples: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(samples)}H", *map(int, samples)))


def cases() -> Iterator[Odd]:
    yield from sound()
    yield from animated()
    yield from described()
    yield from broken()


def sound() -> Iterator[Odd]:
    for depth in (1, 2, 4):
        small, scale = GREY >> (8 - depth), 255 // (2**depth - 1)
        opaque = np.where(small == 1, 0, 255)
        yield Odd(f"grey{depth}.png", png(small, depth, "grey"), pages=[small * scale])
        yield Odd(f"key{depth}.png", png(small, depth, "grey", key(1)), pages=[small * scale], alpha=opaque)
        table = chunk(b"PLTE", TABLE[: 2**depth].tobytes())
        yield Odd(f"palette{depth}.png", png(small, depth, "palette", table), pages=[TABLE[small]])
    for depth, grey, rgb in ((8, GREY, RGB), (16, GREY16, RGB16)):
        peak = 2**depth - 1
        yield Odd(f"grey{depth}.png", png(grey, depth, "grey"), pages=[grey])
        level = grey[3, 4]
        yield Odd(
            f"key{depth}.png",
            png(grey, depth, "grey", key(level)),
            pages=[grey],
            alpha=np.where(grey == level, 0, peak),
        )
        yield Odd(f"rgb{depth}.png", png(rgb, depth, "rgb"), pages=[rgb])
        alpha = np.where((rgb == rgb[2, 5]).all(axis=2), 0, peak)
        yield Odd(f"rgbkey{depth}.png", png(rgb, depth, "rgb", key(*rgb[2, 5])), pages=[rgb], alpha=alpha)
        pair = np.dstack([grey, rgb[..., 0]])
        yield Odd(f"la{depth}.png", png(pair, depth, "grey-alpha"), pages=[grey], alpha=rgb[..., 0])
        four = np.dstack([rgb, grey])
        yield Odd(f"rgba{depth}.png", png(four, depth, "rgba"), pages=[rgb], alpha=grey)
        bands = {"channels": True}
        yield Odd(f"rgba{depth}-channels.png", png(four, depth, "rgba"), pages=[four], options=bands)
    table = chunk(b"PLTE", TABLE.tobytes())
    clear = chunk(b"tRNS", bytes([0, 128]))
    alpha = np.select([GREY == 0, GREY == 1], [0, 128], 255)
    yield Odd("palette8.png", png(GREY, 8, "palette", table, clear), pages=[TABLE[GREY]], alpha=alpha)
    head = SIGNATURE + header(17, 13, 8, "grey", 1)
    laced = head + chunk(b"IDAT", zlib.compress(adam7(GREY))) + chunk(b"IEND")
    yield Odd("interlaced.png", laced, pages=[GREY])
    data = zlib.compress(lines(GREY, 8))
    parts = chunk(b"IDAT", data[:40]) + chunk(b"IDAT") + chunk(b"IDAT", data[40:])
    yield Odd("parts.png", SIGNATURE + header(17, 13, 8, "grey") + parts + chunk(b"IEND"), pages=[GREY])
    yield Odd("more-rows.png", png(GREY[:9], 8, "grey", packed=data), pages=[GREY[:9]])
    yield Odd("tail.png", png(GREY, 8, "grey") + b"written after the end", pages=[GREY])
    yield Odd("one.png", png(GREY[:1, :1], 8, "grey"), pages=[GREY[:1, :1]])


def animated() -> Iterator[Odd]:
    first, second = GREY16, GREY16[::-1]
    yield Odd("film16.png", animation(16, "grey", [first, second]), pages=[first, second])
    yield Odd("film8.png", animation(8, "rgb", [RGB, RGB[::-1]]), pages=[RGB, RGB[::-1]])
    laid = RGB.copy()
    laid[:5, 3:9] = RGB[8:13, :6]
    yield Odd("laid8.png", animation(8, "rgb", [RGB, RGB[8:13, :6]], left=3), pages=[RGB, laid])
    yield Odd("laid16.png", animation(16, "grey", [first, second[:5]]), "unsupported")
    yield Odd("film-short.png", animation(8, "rgb", [RGB, RGB], announced=3), "truncated")
    yield Odd("film-hole.png", animation(8, "rgb", [RGB, RGB], step=3), "truncated")
    yield Odd("film-frame-beyond.png", animation(8, "rgb", [RGB, RGB], left=1), "corrupt")
    whole = animation(8, "rgb", [RGB, RGB])
    place = whole.index(b"fdAT") + 20
    yield Odd("film-flip.png", whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :], "corrupt")


def described() -> Iterator[Odd]:
    """Metadata of every size and kind; the pixels are what they are."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))
    many = b"".join(chunk(b"tEXt", b"key\0" + b"x" * 60_000) for _ in range(30))
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3_000_000)))
    for name, extra in {
        "long-text": text,
        "many-texts": many,
        "large-profile": profile,
        "broken-profile": chunk(b"iCCP", b"icc\0\0nothing"),
        "unknown-chunk": chunk(b"quUx", b"?"),
        "wrong-text": chunk(b"tEXt", b"a\0b", crc=1),
        "gamma": chunk(b"gAMA", struct.pack(">I", 45455)),
        "broken-exif": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    }.items():
        yield Odd(f"{name}.png", png(GREY, 8, "grey", extra), pages=[GREY])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = [np.rot90(GREY16, -1)]
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    yield Odd("exif.png", png(GREY16, 16, "grey", chunk(b"eXIf", body)), pages=turned)
    raw = b"\nexif\n%8d\n" % len(exif.tobytes()) + exif.tobytes().hex().encode() + b"\n"
    magick = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw))
    yield Odd("raw-exif.png", png(GREY16, 16, "grey", magick), pages=turned)
    xmp = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')
    yield Odd("xmp.png", png(GREY16, 16, "grey", xmp), pages=turned)


def broken() -> Iterator[Odd]:
    whole = png(RGB, 8, "rgb")
    yield from cut("rgb.png", whole, 0.03, 0.2, 0.4, 0.6, 0.8, 0.97)
    yield from cut("grey16.png", png(GREY16, 16, "grey"), 0.5, 0.99)
    packed = zlib.compress(lines(RGB, 8))
    middle = len(packed) // 2
    for name, data, code in (
        ("zeroed", packed[:middle] + bytes(len(packed) - middle), "corrupt"),
        ("hole", packed[:middle] + bytes(40) + packed[middle + 40 :], "corrupt"),
        ("short", zlib.compress(lines(RGB[:7], 8)), "truncated"),
        ("no-checksum", packed[:-4], "truncated"),
        ("wrong-checksum", packed[:-1] + bytes([packed[-1] ^ 1]), "corrupt"),
        ("no-deflate", b"hello", "corrupt"),
        ("empty", b"", "truncated"),
        ("filter", zlib.compress(b"".join(b"\7" + row.tobytes() for row in RGB)), "corrupt"),
    ):
        yield Odd(f"idat-{name}.png", png(RGB, 8, "rgb", packed=data), code)
    packed = zlib.compress(lines(RGB16, 16))
    for name, data, code in (
        ("short", zlib.compress(lines(RGB16[:7], 16)), "truncated"),
        ("zeroed", packed[: len(packed) // 2] + bytes(len(packed) // 2), "corrupt"),
        ("no-checksum", packed[:-4], "truncated"),
    ):
        yield Odd(f"idat-{name}-16.png", png(RGB16, 16, "rgb", packed=data), code)
    for name in (b"IHDR", b"IDAT", b"IEND"):
        place = whole.index(name) + 4
        at = place if name != b"IEND" else place + 2
        flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        yield Odd(f"crc-{name.decode()}.png", flipped, "corrupt")
    yield Odd("crc-tRNS.png", png(GREY, 8, "grey", chunk(b"tRNS", b"\0\3", crc=5)), "corrupt")
    yield Odd("no-palette.png", png(GREY, 8, "palette"), "corrupt")
    yield Odd("no-idat.png", SIGNATURE + header(4, 4, 8, "grey") + chunk(b"IEND"), "corrupt")
    yield Odd("critical.png", png(GREY, 8, "grey", chunk(b"QUUX")), "corrupt")
    for name, head, code in (
        ("width0", header(0, 4, 8, "grey"), "zero_size"),
        ("height0", header(4, 0, 8, "grey"), "zero_size"),
        ("depth3", header(4, 4, 3, "grey"), "corrupt"),
        ("kind5", header(4, 4, 8, 5), "corrupt"),
        ("rgb4", header(4, 4, 4, "rgb"), "corrupt"),
        ("huge", header(2**31 - 1, 2**31 - 1, 8, "grey"), "decompression_bomb"),
        ("large", header(100_000, 100_000, 16, "rgba"), "decompression_bomb"),
    ):
        yield Odd(f"{name}.png", SIGNATURE + head + chunk(b"IDAT", packed) + chunk(b"IEND"), code)
    yield Odd("signature.png", SIGNATURE, "truncated")
    yield Odd("signature-of-html.png", SIGNATURE + b"<html>" * 20, "truncated")
    buffer = io.BytesIO()
    Image.new("1", (12_000, 9_000)).save(buffer, "PNG")
    yield Odd("bomb.png", buffer.getvalue(), "decompression_bomb")

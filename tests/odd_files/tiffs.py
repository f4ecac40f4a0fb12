"""TIFF, written by tifffile and Pillow or from its specification, and spoilt."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from odd_files import GREY, GREY16, NOISE, RGB, RGB16, RNG, SMOOTH, Odd, cut
from odd_files.tiff_files import ASCII, LONG, SHORT, marked, pages, plain, raw, tiff

BANDS = RNG.integers(0, 4096, (13, 17, 7), dtype=np.uint16)
FLOATS = RNG.normal(size=(13, 17)).astype(np.float32)
INSIDE = RNG.random((13, 17)) > 0.2  # a mask
ALL = {"channels": True}


def cases() -> Iterator[Odd]:
    yield from depths()
    yield from bands()
    yield from resolutions()
    yield from hidden()
    yield from missing()
    yield from packed()
    yield from broken()


def depths() -> Iterator[Odd]:
    for depth in (1, 2, 4):
        small, scale = GREY >> (8 - depth), 255 // (2**depth - 1)
        bits = np.unpackbits(small[..., None], axis=2)[:, :, 8 - depth :]
        body = b"".join(np.packbits(row.ravel()).tobytes() for row in bits)
        yield Odd(f"grey{depth}.tif", plain(17, 13, body, t258=(SHORT, depth)), pages=[small * scale])
        white = plain(17, 13, body, t258=(SHORT, depth), t262=(SHORT, 0))
        yield Odd(f"white{depth}.tif", white, pages=[255 - small * scale])
    for depth in (10, 12, 14):
        values = GREY16 >> (16 - depth)
        rows = ["".join(f"{v:0{depth}b}" for v in row) for row in values]
        body = b"".join(
            int(r.ljust(-(-len(r) // 8) * 8, "0"), 2).to_bytes(-(-len(r) // 8), "big") for r in rows
        )
        yield Odd(f"grey{depth}.tif", plain(17, 13, body, t258=(SHORT, depth)), pages=[values])
        yield Odd(
            f"grey{depth}-short.tif", plain(17, 13, body[:-40], t258=(SHORT, depth)), "truncated|corrupt"
        )
    for dtype in ("i1", ">i2", "<u4", ">f2", "<f4", ">f8"):
        values = (RNG.normal(size=(13, 17)) * 100).astype(dtype)
        if values.dtype.kind == "u":
            values = RNG.integers(0, 2**32, (13, 17)).astype(dtype)
        yield Odd(
            f"{values.dtype.name}.tif",
            tiff(values, byteorder=dtype[0] if dtype[0] in "<>" else None),
            pages=[values],
        )
    yield Odd("big.tif", tiff(RGB16, bigtiff=True, photometric="rgb"), pages=[RGB16])
    yield Odd("complex.tif", tiff(FLOATS.astype(np.complex64)), "unsupported")
    large = np.full((3, 4), 2**60, np.int64)
    yield Odd("past-2-53.tif", tiff(large + 1), "integer_overflow", words="2^53")
    yield Odd("up-to-2-53.tif", tiff(large >> 7), pages=[large >> 7])


def bands() -> Iterator[Odd]:
    four = np.dstack([RGB, GREY])
    for name, extra in {"straight": "unassalpha"}.items():
        data = tiff(four, photometric="rgb", extrasamples=[extra])
        yield Odd(f"{name}.tif", data, pages=[RGB], alpha=GREY)
        yield Odd(f"{name}-bands.tif", data, pages=[four], options=ALL)
    unnamed = tiff(four, photometric="rgb", extrasamples=["unspecified"])
    yield Odd("fourth.tif", unnamed, "unsupported", words="colour=channels")
    yield Odd("fourth-bands.tif", unnamed, pages=[four], options=ALL)
    for planar in ("contig", "separate"):
        data = BANDS if planar == "contig" else np.ascontiguousarray(np.moveaxis(BANDS, -1, 0))
        seven = tiff(data, photometric="minisblack", planarconfig=planar)
        yield Odd(f"seven-{planar}.tif", seven, "unsupported", words="colour=channels")
        yield Odd(f"seven-{planar}-bands.tif", seven, pages=[BANDS], options=ALL)
        three = tiff(
            data[..., :3] if planar == "contig" else data[:3], photometric="minisblack", planarconfig=planar
        )
        yield Odd(f"three-{planar}.tif", three, "unsupported", words="colour=channels")
        yield Odd(f"three-{planar}-bands.tif", three, pages=[BANDS[..., :3]], options=ALL)
    yield Odd(
        "two.tif",
        tiff(BANDS[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]),
        "unsupported",
    )
    pair = np.dstack([GREY, RGB[..., 0]])
    grey = tiff(pair, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    yield Odd("grey-alpha.tif", grey, pages=[GREY], alpha=RGB[..., 0])
    inks = tiff(four, photometric="separated")
    yield Odd(
        "inks.tif",
        inks,
        pages=[np.asarray(Image.frombytes("CMYK", (17, 13), four.tobytes()).convert("RGB"))],
        within=1,
    )
    yield Odd("inks-bands.tif", inks, pages=[four], options=ALL)
    yield Odd("cielab.tif", tiff(RGB, photometric="cielab"), "unsupported")
    yield Odd(
        "raw-photo.tif", plain(17, 13, GREY.tobytes(), t262=(SHORT, 32803)), "unsupported", words="develop"
    )


def resolutions() -> Iterator[Odd]:
    """The full resolution wins, wherever it stands."""
    half, quarter = GREY[::2, ::2], GREY[::4, ::4]
    thumb = {"subfiletype": 1}
    yield Odd("thumb-first.tif", pages((half, thumb), (GREY, {})), pages=[GREY])
    yield Odd("thumb-last.tif", pages((GREY, {}), (half, thumb), (quarter, thumb)), pages=[GREY])
    yield Odd("subdirectory.tif", pages((half, {**thumb, "subifds": 1}), (GREY, {})), pages=[GREY])
    yield Odd(
        "subdirectory-2.tif",
        pages((quarter, {**thumb, "subifds": 2}), (half, thumb), (GREY, {})),
        pages=[GREY],
    )
    yield Odd("unmarked-preview.tif", pages((half, {"subifds": 1}), (GREY, {})), pages=[GREY])
    yield Odd("pyramid.tif", pages((GREY, {"subifds": 2}), (half, thumb), (quarter, thumb)), pages=[GREY])
    yield Odd(
        "unmarked-pyramid.tif",
        pages((GREY[:12, :16], {}), (GREY[:12:2, :16:2], {}), (GREY[:12:4, :16:4], {})),
        pages=[GREY[:12, :16]],
    )
    yield Odd("two-sizes.tif", pages((GREY, {}), (GREY[:5], {})), pages=[GREY, GREY[:5]])
    yield Odd("only-a-thumb.tif", pages((half, thumb)), pages=[half])
    yield Odd(
        "film.tif",
        pages((GREY, {"subfiletype": 2}), (half, thumb), (GREY[::-1], {"subfiletype": 2}), (half, thumb)),
        pages=[GREY, GREY[::-1]],
    )
    yield Odd(
        "subdirectory-stack.tif", pages((GREY, {"subifds": 1}), (GREY[::-1], {})), pages=[GREY, GREY[::-1]]
    )
    dng = pages(
        (half, {**thumb, "subifds": 1}),
        (
            GREY16,
            {"photometric": 32803, "extratags": [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes([0, 1, 1, 2]))]},
        ),
    )
    yield Odd("raw-inside.tif", dng, "unsupported", words="develop")
    semantic = marked(pages((GREY, {}), (GREY, {"subfiletype": 2})), 65540)
    yield Odd("semantic-mask.tif", semantic, pages=[GREY])
    yield Odd("mask-alone.tif", pages((INSIDE, {"subfiletype": 4, "photometric": 4})), "unsupported")


def hidden() -> Iterator[Odd]:
    stack = RNG.integers(0, 65536, (5, 13, 17), dtype=np.uint16)

    def imagej(path: Path) -> None:
        """Five planes behind one directory, as ImageJ writes past 4 GB."""
        tifffile.imwrite(path, stack, imagej=True)
        data = bytearray(path.read_bytes())
        order = "<" if data[:2] == b"II" else ">"
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        struct.pack_into(order + "I", data, at + 2 + 12 * count, 0)
        path.write_bytes(data)

    yield Odd("imagej.tif", imagej, pages=stack)
    yield Odd("imagej-pages.tif", lambda path: tifffile.imwrite(path, stack, imagej=True), pages=stack)
    yield Odd(
        "one-header.tif",
        lambda path: tifffile.imwrite(path, stack, truncate=True, photometric="minisblack"),
        pages=stack,
    )
    colours = RNG.integers(0, 256, (4, 13, 17, 3), dtype=np.uint8)
    yield Odd(
        "one-header-rgb.tif",
        lambda path: tifffile.imwrite(path, colours, truncate=True, photometric="rgb"),
        pages=colours,
    )

    def short(path: Path) -> None:
        tifffile.imwrite(path, stack, truncate=True, photometric="minisblack")
        path.write_bytes(path.read_bytes()[:-600])

    yield Odd("one-header-short.tif", short, "truncated")

    def metamorph(path: Path) -> None:
        """UIC1 to UIC4 mark a stack; their count is that of the planes (MetaMorph, STK file format)."""
        tags = {
            256: (LONG, 17), 257: (LONG, 13), 258: (SHORT, 16), 259: (SHORT, 1), 262: (SHORT, 1),
            273: (LONG, 8), 277: (SHORT, 1), 278: (LONG, 13), 279: (LONG, 13 * 17 * 2),
        }  # fmt: skip
        body = stack.astype("<u2").tobytes()
        data = bytearray(raw({**tags, 33628: (LONG, [0] * 5), 33629: (LONG, [0] * 5)}, body))
        at = 8 + len(body) + 2
        for i in range(11):  # the type of UIC2 is five fractions; a LONG count of five stands for them
            code, _, _, place = struct.unpack_from("<HHII", data, at + 12 * i)
            if code == 33629:
                struct.pack_into("<HHII", data, at + 12 * i, code, 5, 5, place)
        path.write_bytes(bytes(data) + bytes(200))

    yield Odd("metamorph.tif", metamorph, pages=stack)

    def ome(path: Path) -> None:
        tifffile.imwrite(path, stack, ome=True, photometric="minisblack")
        data = path.read_bytes()
        path.write_bytes(
            data.replace(b'SizeZ="5"', b'SizeZ="9"')
            .replace(b'SizeT="5"', b'SizeT="9"')
            .replace(b'SizeC="5"', b'SizeC="9"')
        )

    yield Odd("ome-lost.tif", ome, "unsupported", words="planes")
    yield Odd(
        "ome.ome.tif",
        lambda path: tifffile.imwrite(path, stack, ome=True, photometric="minisblack"),
        pages=stack,
    )


def missing() -> Iterator[Odd]:
    """Masks, nodata, sparse tiles, LERC: True where valid, 0 elsewhere."""
    holes = np.where(INSIDE, FLOATS, np.nan).astype(np.float32)
    filled = np.where(INSIDE, FLOATS, 0)
    yield Odd("nan.tif", tiff(holes), pages=[filled], mask=INSIDE)
    yield Odd("all-nan.tif", tiff(np.full((4, 5), np.nan, np.float32)), "all_masked")
    yield Odd("infinite.tif", tiff(np.where(INSIDE, FLOATS, np.inf).astype(np.float32)), "non_finite")
    for name, text, value, dtype in (
        ("minus", "-9999", -9999, "i2"),
        ("float", "-3.40282346638529e+38", np.finfo(np.float32).min, "f4"),
        ("tenth", "-0.1", np.float32(-0.1), "f4"),
        ("zero", "0", 0, "u1"),
        ("nan", "nan", np.nan, "f4"),
    ):
        values = np.where(INSIDE, RNG.integers(1, 99, (13, 17)), value).astype(dtype)
        data = tiff(values, extratags=[(42113, "s", 0, text, True)])
        yield Odd(f"nodata-{name}.tif", data, pages=[np.where(INSIDE, values, 0)], mask=INSIDE)
    values = np.where(INSIDE, GREY, 7)
    turned = tiff(values, extratags=[(42113, "s", 0, "7", True), (274, "H", 1, 6, True)])
    there = INSIDE & (values != 7)
    kept = np.where(there, values, 0)
    yield Odd("nodata-turned.tif", turned, pages=[np.rot90(kept, -1)], mask=np.rot90(there, -1))
    beyond = tiff(GREY, extratags=[(42113, "s", 0, "-9999", True)])
    yield Odd("nodata-beyond.tif", beyond, pages=[GREY])
    yield Odd("nodata-text.tif", tiff(GREY, extratags=[(42113, "s", 0, "none", True)]), pages=[GREY])
    five = np.where(INSIDE[..., None], BANDS[..., :5] + 1, 0).astype(np.uint16)
    data = tiff(five, photometric="minisblack", planarconfig="contig", extratags=[(42113, "s", 0, "0", True)])
    yield Odd("nodata-bands.tif", data, pages=[five], mask=INSIDE, options=ALL)
    inside = {"subfiletype": 4, "photometric": 4}
    kept = np.where(INSIDE, GREY, 0)
    yield Odd("mask.tif", pages((GREY, {}), (INSIDE, inside)), pages=[kept], mask=INSIDE)
    yield Odd(
        "mask-bytes.tif",
        marked(pages((GREY, {}), (INSIDE * np.uint8(255), {"subfiletype": 2})), 4),
        pages=[kept],
        mask=INSIDE,
    )
    masked = pages(
        (GREY, {}),
        (INSIDE, inside),
        (GREY[::2, ::2], {"subfiletype": 1}),
        (INSIDE[::2, ::2], {"subfiletype": 5, "photometric": 4}),
    )
    yield Odd("mask-and-overviews.tif", masked, pages=[kept], mask=INSIDE)
    yield Odd("mask-of-another-size.tif", pages((GREY, {}), (INSIDE[:5], inside)), "unsupported")
    tiles = np.zeros((32, 48), np.uint8)
    tiles[:16] = NOISE[:16, :48, 0] | 1
    there = np.zeros((32, 48), bool)
    there[:16] = True

    def sparse(path: Path) -> None:
        """Tiles of the lower half are left out: offset 0, 0 bytes (GDAL, SPARSE_OK)."""
        tifffile.imwrite(path, tiles, tile=(16, 16), compression="zlib", metadata=None)
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            tag, sizes = tags[324], tags[325]
            values = [tag.value[:3] + (0, 0, 0), sizes.value[:3] + (0, 0, 0)]
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags[324].overwrite(values[0])
            file.pages[0].tags[325].overwrite(values[1])

    yield Odd("sparse.tif", sparse, pages=[tiles], mask=there)
    data = imagecodecs.lerc_encode(FLOATS, masks=INSIDE)
    lerc = plain(17, 13, data, t258=(SHORT, 32), t259=(SHORT, 34887), t339=(SHORT, 3), t50674=(LONG, [4, 0]))
    yield Odd("lerc.tif", lerc, pages=[filled], mask=INSIDE)
    data = imagecodecs.zstd_encode(data)
    lerc = plain(17, 13, data, t258=(SHORT, 32), t259=(SHORT, 34887), t339=(SHORT, 3), t50674=(LONG, [4, 2]))
    yield Odd("lerc-zstd.tif", lerc, pages=[filled], mask=INSIDE)
    yield Odd("lerc-whole.tif", tiff(FLOATS, compression="lerc"), pages=[FLOATS])


def packed() -> Iterator[Odd]:
    """Every compression, whole; and strips that hold fewer bytes or rows than they should."""
    encoders: dict[int, Callable[[bytes], bytes]] = {
        1: bytes, 5: imagecodecs.lzw_encode, 8: imagecodecs.zlib_encode, 32773: imagecodecs.packbits_encode,
        34925: imagecodecs.lzma_encode, 50000: imagecodecs.zstd_encode,
    }  # fmt: skip
    grey, half = GREY.tobytes(), GREY[:7].tobytes()
    for code, encode in encoders.items():
        yield Odd(f"packing-{code}.tif", plain(17, 13, encode(grey), t259=(SHORT, code)), pages=[GREY])
        yield Odd(
            f"packing-{code}-half.tif", plain(17, 13, encode(half), t259=(SHORT, code)), "truncated|corrupt"
        )
        spoilt = encode(grey)[:-60]
        yield Odd(f"packing-{code}-cut.tif", plain(17, 13, spoilt, t259=(SHORT, code)), "truncated|corrupt")
    bomb = imagecodecs.zlib_encode(bytes(50_000_000))
    yield Odd(
        "strip-unpacks-to-more.tif",
        plain(17, 13, bomb, t259=(SHORT, 8)),
        "corrupt",
    )
    yield Odd(
        "jpeg.tif",
        tiff(SMOOTH, photometric="rgb", compression="jpeg", compressionargs={"level": 95}),
        pages=[SMOOTH],
        within=40,
    )
    spoilt = imagecodecs.jpeg8_encode(NOISE[..., 0].copy())
    yield Odd(
        "jpeg-whole.tif",
        plain(128, 96, spoilt, t259=(SHORT, 7)),
        pages=[imagecodecs.jpeg8_decode(spoilt)],
        within=2,
    )
    spoilt = spoilt[: len(spoilt) // 2] + b"\xff\xd9"
    yield Odd("jpeg-ended.tif", plain(128, 96, spoilt, t259=(SHORT, 7)), "truncated")
    for name, encode in {
        "jpeg2000": imagecodecs.jpeg2k_encode,
        "webp": imagecodecs.webp_encode,
        "png": imagecodecs.png_encode,
    }.items():
        code = {"jpeg2000": 34712, "webp": 50001, "png": 34933}[name]
        data = encode(NOISE)
        colour = {"t258": (SHORT, [8, 8, 8]), "t262": (SHORT, 2), "t277": (SHORT, 3), "t259": (SHORT, code)}
        yield Odd(f"{name}-cut.tif", plain(128, 96, data[: len(data) // 2], **colour), "truncated|corrupt")
    for code, data in {
        7: imagecodecs.jpeg8_encode(NOISE[..., 0].copy()),
        34712: imagecodecs.jpeg2k_encode(NOISE[..., 0].copy()),
        34933: imagecodecs.png_encode(NOISE[..., 0].copy()),
        34887: imagecodecs.lerc_encode(NOISE[..., 0].copy()),
    }.items():
        yield Odd(
            f"strip-{code}-larger-than-the-page.tif",
            plain(17, 13, data, t259=(SHORT, code)),
            "decompression_bomb",
        )
        sized = plain(128, 96, data, t259=(SHORT, code))
        yield Odd(f"strip-{code}.tif", sized, pages=[NOISE[..., 0]], within=255 if code == 7 else 0)
    yield Odd("unknown-packing.tif", plain(17, 13, grey, t259=(SHORT, 4242)), "unsupported|corrupt")


def broken() -> Iterator[Odd]:
    whole = plain(17, 13, GREY.tobytes())
    yield from cut("grey.tif", whole, 0.5, 0.8, 0.99)
    yield from cut("pages.tif", pages((GREY, {}), (GREY16, {})), 0.3, 0.7)
    yield from cut("big.tif", tiff(RGB16, bigtiff=True, photometric="rgb"), 0.02, 0.5, 0.9)
    for name, changed, code in (
        ("no-width", {"t256": None}, "zero_size|corrupt"),
        ("width0", {"t256": (LONG, 0)}, "zero_size"),
        ("length0", {"t257": (LONG, 0)}, "zero_size"),
        ("no-strips", {"t273": None}, "truncated|corrupt"),
        ("no-sizes", {"t279": None}, ""),  # of one strip that is not packed, they follow
        ("strip-beyond", {"t273": (LONG, 10**6)}, "truncated"),
        ("strip-too-long", {"t279": (LONG, 10**6)}, "truncated"),
        ("strip-empty", {"t279": (LONG, 0)}, "truncated"),
        ("huge", {"t256": (LONG, 2**31), "t257": (LONG, 2**31)}, "decompression_bomb"),
        ("large", {"t256": (LONG, 50_000), "t257": (LONG, 50_000), "t259": (SHORT, 8)}, "decompression_bomb"),
        ("many-samples", {"t277": (SHORT, 60_000)}, "unsupported|truncated|corrupt"),
        ("bits0", {"t258": (SHORT, 0)}, "unsupported|corrupt"),
        ("bits99", {"t258": (SHORT, 99)}, "unsupported|corrupt"),
        ("photometric", {"t262": (SHORT, 999)}, "unsupported"),
        ("palette-without-table", {"t262": (SHORT, 3)}, "corrupt|unsupported"),
        ("tag-beyond", {"t270": (ASCII, b"x" * 50)}, ""),
        ("tile0", {"t322": (LONG, 0), "t323": (LONG, 0)}, "truncated|corrupt|unsupported|"),
        (
            "tile-huge",
            {"t322": (LONG, 2**30), "t323": (LONG, 2**30), "t324": (LONG, 8), "t325": (LONG, 221)},
            "decompression_bomb",
        ),
        ("orientation", {"t274": (SHORT, 77)}, ""),
    ):
        odd = plain(17, 13, GREY.tobytes(), **changed)
        yield Odd(f"{name}.tif", odd, code, pages=[GREY])
    at = len(whole) - 4
    loop = whole[:at] + struct.pack("<I", 8 + GREY.size)
    yield Odd("loop.tif", loop, "corrupt")
    yield Odd("next-beyond.tif", whole[:at] + struct.pack("<I", 10**6), "truncated")
    yield Odd("header.tif", b"II*\0", "truncated|zero_size")
    yield Odd("no-pages.tif", b"II*\0" + bytes(20), "zero_size")
    yield Odd("many-tags.tif", b"II*\0\x08\0\0\0\xff\xff" + bytes(100), "truncated")
    one = pages((GREY, {}), (GREY16, {}))
    yield Odd("types-mixed.tif", one, "unsupported")
    yield Odd("subdirectory-beyond.tif", plain(17, 13, GREY.tobytes(), t330=(LONG, 10**6)), "corrupt")
    shared = b"".join([tiff(np.zeros((4000, 4000), np.uint8), compression="zlib")])
    yield Odd("blank-within-the-limit.tif", shared, pages=[np.zeros((4000, 4000), np.uint8)])
    blank = imagecodecs.zlib_encode(bytes(12_000))
    strips = {"t278": (LONG, 1), "t273": (LONG, [8] * 9000), "t279": (LONG, [len(blank)] * 9000)}
    yield Odd(
        "one-strip-for-all.tif", plain(12_000, 9000, blank, t259=(SHORT, 8), **strips), "decompression_bomb"
    )

"""Reading and writing images: one fixture a trap, each made by a tool other than the reader."""

import io
import struct
import warnings
import zlib

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from svdflow.errors import ItemError
from svdflow.images.io import picture_name, picture_suffix, read_image, write_image

RNG = np.random.default_rng(20)
GREY8 = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
RGBA8 = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)
RGBA16 = RNG.integers(0, 65536, (13, 17, 4), dtype=np.uint16)


def png(width, height, depth, colour_type, scanlines, *extra, end=True):
    """A PNG from its specification."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = head + b"".join(chunk(*e) for e in extra) + chunk(b"IDAT", zlib.compress(scanlines))
    return b"\x89PNG\r\n\x1a\n" + body + (chunk(b"IEND", b"") if end else b"")


def png16(array, *extra):
    """16-bit samples are big-endian; filter 0 before each row."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png(array.shape[1], array.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, *extra)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def written(tmp_path, data, name="file"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refusal(path, **options):
    with pytest.raises(ItemError) as caught:
        read_image(path, **options)
    assert str(caught.value).startswith(str(path).rpartition("/")[2].split(":")[0])
    return caught.value.code


def only_page(path, **options):
    record = read_image(path, **options)
    assert len(record.pages) == 1
    return record.pages[0]


# What must come back as it was


@pytest.mark.parametrize("array", [GREY16, RGB16, RGBA16], ids=["grey", "rgb", "rgba"])
def test_sixteen_bit_png_is_identical(tmp_path, array):
    page = only_page(written(tmp_path, png16(array)))
    assert page.array.dtype == np.uint16
    assert page.array.dtype.isnative
    assert np.array_equal(page.array, array[..., :3] if array.ndim == 3 else array)
    if array is RGBA16:
        assert np.array_equal(page.alpha, array[..., 3])
    else:
        assert page.alpha is None


def test_pillow_would_have_halved_it(tmp_path):
    """The trap is real: were it gone, the second reader could go too."""
    assert np.asarray(Image.open(io.BytesIO(png16(RGB16)))).dtype == np.uint8


def test_sixteen_bit_png_transparent_colour_becomes_alpha(tmp_path):
    key = RGB16[2, 3]  # the one pixel of its colour
    page = only_page(written(tmp_path, png16(RGB16, (b"tRNS", key.astype(">u2").tobytes()))))
    assert np.array_equal(page.array, RGB16)
    assert np.argwhere(page.alpha == 0).tolist() == [[2, 3]]


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tif"])
def test_lossless_colour(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    page = only_page(saved(tmp_path, Image.fromarray(RGB8), f"a.{suffix}", **options))
    assert np.array_equal(page.array, RGB8)
    assert page.alpha is None


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_alpha_is_kept_apart(tmp_path, suffix):
    # exact: WebP would drop the colour of transparent pixels
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    record = read_image(saved(tmp_path, Image.fromarray(RGBA8), f"a.{suffix}", **options))
    assert record.attrs["has_alpha"]
    assert np.array_equal(record.pages[0].array, RGBA8[..., :3])
    assert np.array_equal(record.pages[0].alpha, RGBA8[..., 3])


def test_grey_with_alpha(tmp_path):
    page = only_page(saved(tmp_path, Image.fromarray(np.ascontiguousarray(RGBA8[..., :2]), "LA"), "a.png"))
    assert np.array_equal(page.array, RGBA8[..., 0])
    assert np.array_equal(page.alpha, RGBA8[..., 1])


def test_jpeg_decodes_as_by_an_independent_decoder(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB8), "a.jpg", quality=95)
    peer = imagecodecs.jpeg_decode(path.read_bytes()).astype(int)
    assert np.abs(only_page(path).array.astype(int) - peer).max() <= 2  # two inverse DCTs may round apart


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "tif": {"tiffinfo": exif}}.get(suffix, {})
    path = saved(tmp_path, Image.fromarray(RGB8), f"a.{suffix}", exif=exif, **options)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    record = read_image(path)
    assert record.attrs["exif_orientation"] == orientation
    assert np.array_equal(record.pages[0].array, upright)


def test_sixteen_bit_png_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, png16(RGB16, (b"eXIf", exif.tobytes()[6:])))
    assert np.array_equal(only_page(path).array, np.rot90(RGB16, -1))


def test_palette_is_expanded(tmp_path):
    image = Image.fromarray(RGB8).quantize(16)
    assert np.array_equal(only_page(saved(tmp_path, image, "a.png")).array, np.asarray(image.convert("RGB")))
    page = only_page(saved(tmp_path, image, "b.png", transparency=3))
    assert np.array_equal(page.alpha == 0, np.asarray(image) == 3)


def test_one_bit_is_black_and_white(tmp_path):
    bits = GREY8 > 127
    for name in ("a.png", "a.tif", "a.bmp"):
        assert np.array_equal(
            only_page(saved(tmp_path, Image.fromarray(bits), name)).array, bits * np.uint8(255)
        )


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_inks_become_rgb(tmp_path, suffix):
    image = Image.frombytes("CMYK", (17, 13), RGBA8.tobytes())
    record = read_image(saved(tmp_path, image, f"a.{suffix}"))
    with Image.open(tmp_path / f"a.{suffix}") as again:
        peer = np.asarray(again.convert("RGB")).astype(int)
    assert np.abs(record.pages[0].array.astype(int) - peer).max() <= 1
    assert record.pages[0].alpha is None


def test_profile_is_kept(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg", "a.tif", "a.webp"):
        path = saved(tmp_path, Image.fromarray(RGB8), name, icc_profile=profile)
        assert read_image(path).attrs["icc_profile"] == profile
    out = write_image(tmp_path / "b.png", RGB8, icc_profile=profile)
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile
    with Image.open(write_image(tmp_path / "c.png", GREY8, icc_profile=profile)) as image:
        assert "icc_profile" not in image.info  # an RGB profile does not describe a grey picture


# TIFF


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "lzw", "predictor": True}, {"bigtiff": True, "tile": (16, 16)}]
)
def test_tiff_of_every_depth_is_identical(tmp_path, dtype, options):
    if dtype == "f2" and "predictor" in options:
        options = {"compression": "zlib"}
    array = (RNG.random((40, 50)) * 100).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, **options)
    page = only_page(path)
    assert page.array.dtype == array.dtype
    assert np.array_equal(page.array, array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
def test_sixteen_bit_colour_tiff_with_alpha(tmp_path, planar, byteorder, compression):
    path = tmp_path / "a.tif"
    data = np.moveaxis(RGBA16, -1, 0) if planar == "separate" else RGBA16
    tifffile.imwrite(
        path,
        data,
        photometric="rgb",
        planarconfig=planar,
        byteorder=byteorder,
        compression=compression,
        extrasamples=["unassalpha"],
    )
    page = only_page(path)
    assert page.array.dtype.isnative
    assert np.array_equal(page.array, RGBA16[..., :3])
    assert np.array_equal(page.alpha, RGBA16[..., 3])


def test_jpeg_in_tiff_is_rgb(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(48))[..., None] * np.array([1, 2, 3])
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, smooth.astype(np.uint8), photometric="rgb", compression="jpeg", compressionargs={"level": 95}
    )
    with Image.open(path) as image:
        assert image.tag_v2[262] == 6  # YCbCr
        peer = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(only_page(path).array.astype(int) - peer).max() <= 4  # chroma upsampling differs


def test_plain_ycbcr_tiff_is_rgb(tmp_path):
    image = Image.fromarray(RGB8).convert("YCbCr")
    path = saved(tmp_path, image, "a.tif")
    assert np.abs(only_page(path).array.astype(int) - np.asarray(image.convert("RGB")).astype(int)).max() <= 1


def test_min_is_white_is_inverted(tmp_path):
    for array in (GREY8, GREY16):
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
        assert np.array_equal(only_page(tmp_path / "a.tif").array, np.iinfo(array.dtype).max - array)
    tifffile.imwrite(tmp_path / "b.tif", GREY8 > 127, photometric="miniswhite")
    assert np.array_equal(only_page(tmp_path / "b.tif").array, np.where(GREY8 > 127, 0, 255))


@pytest.mark.parametrize("scale", [256, 257])
def test_tiff_palette_is_expanded(tmp_path, scale):
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY8, photometric="palette", colormap=table * scale)
    page = only_page(tmp_path / "a.tif")
    assert page.array.dtype == np.uint8
    assert np.array_equal(page.array, table.T[GREY8])


def test_premultiplied_alpha_is_divided_out(tmp_path):
    alpha = RNG.integers(128, 256, (13, 17, 1))
    colour = RGB8 * alpha // 255
    stored = np.dstack([colour, alpha]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    # Flooring loses under one level, alpha >= 128/255 less than doubles it, rounding adds half.
    assert np.abs(only_page(tmp_path / "a.tif").array.astype(int) - RGB8).max() <= 2


def test_twelve_bits_have_a_peak_of_4095(tmp_path):
    # Rows of 4 samples packed in 6 bytes, most significant bit first (TIFF 6.0, section 3).
    values = RNG.integers(0, 4096, (5, 4))
    packed = b"".join(int("".join(f"{v:012b}" for v in row), 2).to_bytes(6, "big") for row in values)
    entries = [
        (256, 3, 4),
        (257, 3, 5),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (279, 4, 30),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", t, k, 1, v) for t, k, v in entries
    )
    data = b"II*\0" + struct.pack("<I", 38) + packed + directory + b"\0\0\0\0"
    record = read_image(written(tmp_path, data))
    assert np.array_equal(record.pages[0].array, values)
    assert (record.attrs["data_range"], record.attrs["bits"]) == (4095, 16)


def test_significant_bits_are_those_that_the_file_states(tmp_path):
    values = GREY16 >> 4
    assert read_image(written(tmp_path, png16(values, (b"sBIT", b"\x0c")))).attrs["significant_bits"] == 12
    assert read_image(written(tmp_path, png16(values))).attrs["significant_bits"] == 16
    for stated, bits in ((4095, 12), (1000, 16), (65535, 16)):
        tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(281, "H", 1, stated, True)])
        assert read_image(tmp_path / "a.tif").attrs["significant_bits"] == bits


def test_multi_page_tiff(tmp_path):
    stack = RNG.integers(0, 65536, (3, 12, 10), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    record = read_image(tmp_path / "a.tif")
    assert np.array_equal([p.array for p in record.pages], stack)
    assert np.array_equal(only_page(tmp_path / "a.tif", page=2).array, stack[2])
    assert refusal(tmp_path / "a.tif", page=3) == "unreadable"


def test_planar_colour_tiff_that_pillow_cannot_open():
    import skimage

    path = f"{skimage.__path__[0]}/data/multipage_rgb.tif"
    record = read_image(path)
    peer = np.moveaxis(tifffile.imread(path), 1, -1)
    assert np.array_equal([p.array for p in record.pages], peer)
    assert record.pages[0].array.dtype == np.float64
    assert record.attrs["data_range"] == peer.max() - peer.min()


def test_thumbnails_are_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GREY8, metadata=None)
        tif.write(GREY8[::2, ::2], subfiletype=1, metadata=None)
    assert np.array_equal(only_page(tmp_path / "a.tif").array, GREY8)


# Animations, npy, HDF5


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_frames_are_pages(tmp_path, suffix):
    frames = [Image.fromarray(np.full((8, 9, 3), (40 * i, 10, 200), np.uint8)) for i in range(3)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, frames[0], f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    record = read_image(path)
    assert [p.array[0, 0].tolist() for p in record.pages] == [[40 * i, 10, 200] for i in range(3)]


def test_animation_from_the_wild():
    import skimage

    path = f"{skimage.__path__[0]}/data/no_time_for_that_tiny.gif"
    record = read_image(path)
    assert [p.array.shape for p in record.pages] == [(25, 14, 3)] * 24


@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">f4", "<f8", "?"])
def test_npy_is_native(tmp_path, dtype):
    array = (GREY16 > 1000) if dtype == "?" else GREY16.astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    page = only_page(tmp_path / "a.npy")
    assert page.array.dtype.isnative
    assert np.array_equal(page.array, array * np.uint8(255) if dtype == "?" else array)


def test_a_fourth_channel_of_an_array_is_not_taken_for_alpha(tmp_path):
    np.save(tmp_path / "a.npy", RGBA16)
    assert refusal(tmp_path / "a.npy") == "unsupported"
    page = only_page(tmp_path / "a.npy", channels=True)
    assert np.array_equal(page.array, RGBA16)
    assert page.alpha is None


def test_hdf5_by_name_and_alone(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["run/7"] = RGB16
    assert np.array_equal(only_page(path).array, RGB16)
    with h5py.File(path, "a") as file:
        file.create_dataset("big", data=GREY16.astype(">u2"))
    assert np.array_equal(only_page(f"{path}:/big").array, GREY16)
    assert refusal(path) == "unsupported"
    assert refusal(f"{path}:none") == "unreadable"


# What must be refused


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.jpg", {}),
        ("p.jpg", {"progressive": True}),
        ("a.webp", {}),
        ("a.bmp", {}),
        ("a.gif", {}),
        ("a.tif", {}),
        ("z.tif", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path, name, options):
    picture = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = saved(tmp_path, picture, name, **options).read_bytes()
    read_image(tmp_path / name)  # negative control
    for length in (17, len(whole) // 3, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 1):
        assert refusal(written(tmp_path, whole[:length], f"cut-{length}-{name}")) in (
            "truncated",
            "corrupt",
        ), length
    assert refusal(written(tmp_path, whole[: len(whole) // 2], f"cut-{name}")) == "truncated"


@pytest.mark.parametrize("make", ["tif", "npy", "h5"])
def test_a_cut_array_is_refused(tmp_path, make):
    path = tmp_path / f"a.{make}"
    if make == "tif":
        tifffile.imwrite(path, np.stack([GREY16] * 4), photometric="minisblack")
    elif make == "npy":
        np.save(path, RGB16)
    else:
        with h5py.File(path, "w") as file:
            file["a"] = RGB16
    whole = path.read_bytes()
    for length in (20, len(whole) // 2, len(whole) - 22):  # tifffile ends with 16 bytes of padding
        code = refusal(written(tmp_path, whole[:length], f"cut{length}.{make}"))
        assert code == "truncated" or (code == "corrupt" and make == "h5")


def test_a_lost_last_page_is_noticed(tmp_path):
    """tifffile logs a broken chain of pages and goes on; the reader must not."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in range(3):
            tif.write(GREY8 + page, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        last = tif.pages[2].offset
    assert refusal(written(tmp_path, data[:last], "cut.tif")) == "truncated"


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path):
    data = bytearray(png16(GREY16))
    data[len(data) // 2] ^= 4
    assert refusal(written(tmp_path, bytes(data))) == "corrupt"


def gif_bomb():
    return b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + b"\x3b"


def bmp_bomb():
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, *[0] * 6)
    )


def webp_bomb():
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (59999).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_bomb():
    buffer = io.BytesIO()
    Image.fromarray(RGB8).save(buffer, "JPEG")
    data = buffer.getvalue()
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", 60000, 60000) + data[frame + 4 :]


def tiff_bomb():
    """A real one: 100 kB that decode to 100 MB."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((10_000, 10_000), np.uint8), rowsperstrip=1000, compression="zlib")
    return buffer.getvalue()


def npy_bomb():
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (60000, 60000)}
    )
    return buffer.getvalue()


def hdf5_bomb():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("a", (60000, 60000), "f8", chunks=(1000, 1000))
    return buffer.getvalue()


def frames_bomb():
    """Each frame is below the limit; together they are above it."""
    buffer = io.BytesIO()
    frames = [Image.fromarray(np.full((500, 500), i, np.uint8)) for i in range(5)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        gif_bomb,
        bmp_bomb,
        webp_bomb,
        jpeg_bomb,
        tiff_bomb,
        npy_bomb,
        hdf5_bomb,
        lambda: png(60000, 60000, 8, 2, b""),
    ],
)
def test_bombs_are_refused_before_decoding(tmp_path, make):
    import tracemalloc

    path = written(tmp_path, make())
    tracemalloc.start()
    with pytest.raises(ItemError, match=r"ingest\.pixel_limit") as caught:
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "decompression_bomb"
    assert peak < 4e6


def test_the_limit_is_a_parameter_and_leaves_no_trace(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.zeros((200, 300), np.uint8)), "a.png")
    before = Image.MAX_IMAGE_PIXELS, warnings.filters[:]
    assert refusal(path, pixel_limit=59_999) == "decompression_bomb"
    assert only_page(path, pixel_limit=60_000).array.shape == (200, 300)
    assert refusal(written(tmp_path, frames_bomb(), "a.gif"), pixel_limit=1_000_000) == "decompression_bomb"
    after = Image.MAX_IMAGE_PIXELS, warnings.filters[:]
    assert after == before


def test_the_limit_can_be_raised_above_pillows_own(tmp_path):
    path = saved(tmp_path, Image.new("1", (20_000, 9_500)), "a.png")  # 190 MP: Pillow refuses it
    assert only_page(path, pixel_limit=200_000_000).array.shape == (9_500, 20_000)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_non_finite_values_are_counted_and_placed(tmp_path, value):
    array = np.ones((6, 7), np.float32)
    array[2, 3] = array[5, 0] = value
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.save(tmp_path / "a.npy", array)
    for name in ("a.tif", "a.npy"):
        with pytest.raises(ItemError, match=rf"{name}: 2 of 42 values .* \(2, 3\)") as caught:
            read_image(tmp_path / name)
        assert caught.value.code == "non_finite"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"hello, I am a letter", "not_an_image"),
        (b"<html>404</html>", "not_an_image"),
        (png(0, 5, 8, 0, b""), "zero_size"),
        (b"II*\0" + bytes(20), "zero_size"),
        (png(4, 4, 8, 0, b"\0" * 3), "truncated"),
        (png(1, 1, 8, 0, b"\0\0", end=False), "truncated"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, data, code):
    assert refusal(written(tmp_path, data, "holiday.png")) == code


def test_unreadable_paths_are_named(tmp_path):
    import os

    assert refusal(tmp_path / "missing.png") == "unreadable"
    (tmp_path / "folder.png").mkdir()
    assert refusal(tmp_path / "folder.png") == "unreadable"
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(tmp_path / "pipe.png") == "unreadable"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 3), complex),
        np.zeros((3, 3, 5)),
        np.zeros((2, 3, 3, 3)),
        np.zeros(9),
        np.array([["a", "b"]]),
        np.zeros((3, 3), [("x", "f4")]),
        np.array([[{}]], dtype=object),
    ],
    ids=lambda a: f"{a.dtype.kind}{a.shape}",
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert refusal(tmp_path / "a.npy") == "unsupported"


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0, 3)])
def test_empty_arrays_are_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert refusal(tmp_path / "a.npy") == "zero_size"


def test_channels_and_hidden_planes_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "five.tif", np.zeros((8, 8, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    assert refusal(tmp_path / "five.tif") == "unsupported"
    tifffile.imwrite(tmp_path / "complex.tif", np.ones((8, 8), np.complex64))
    assert refusal(tmp_path / "complex.tif") == "unsupported"
    tifffile.imwrite(
        tmp_path / "hidden.tif",
        np.zeros((4, 2, 8, 8), np.uint8),
        truncate=True,
        photometric="minisblack",
        planarconfig="separate",
    )
    assert refusal(tmp_path / "hidden.tif") == "unsupported"


# What a file unpacks to, against its own size


def test_large_files_that_are_honest_about_their_size_are_read(tmp_path):
    movie = RNG.integers(0, 65536, (20, 64, 64), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    noise = RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", noise)
    saved(tmp_path, Image.fromarray(noise), "a.png")
    saved(tmp_path, Image.fromarray(noise), "a.jpg", quality=60)
    for name in ("movie.tif", "a.npy", "a.png", "a.jpg"):
        read_image(tmp_path / name, pixel_limit=1000)
    assert np.array_equal(
        [p.array for p in read_image(tmp_path / "movie.tif", pixel_limit=1000).pages], movie
    )


def test_files_that_unpack_to_far_more_are_not(tmp_path):
    zeros = np.zeros((2000, 2000), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", zeros, compression="zlib")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=zeros, chunks=(500, 500), compression="gzip")
    saved(tmp_path, Image.fromarray(zeros), "a.png")
    saved(tmp_path, Image.fromarray(zeros), "a.jpg", quality=20)
    saved(tmp_path, Image.fromarray(zeros), "a.gif")
    for suffix in ("tif", "h5", "png", "jpg", "gif"):
        assert refusal(tmp_path / f"a.{suffix}", pixel_limit=1000) == "decompression_bomb"
        assert read_image(tmp_path / f"a.{suffix}").pages[0].array.shape[:2] == (2000, 2000)


def test_an_image_larger_than_memory_is_refused_by_name(tmp_path, monkeypatch):
    import psutil

    np.save(tmp_path / "a.npy", RGB16)
    memory = psutil.virtual_memory()._replace(total=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert refusal(tmp_path / "a.npy", pixel_limit=100) == "too_large"

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "load", full)
    assert refusal(tmp_path / "a.npy") == "too_large"


def test_a_chunk_that_unpacks_to_more_than_declared_is_refused(tmp_path, monkeypatch):
    from svdflow.images.formats import array_files

    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", (4, 4), "u1", chunks=(4, 4), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1_000_000)))
    monkeypatch.setattr(array_files, "_CHUNK_BYTES", 100_000)  # 256 MB, where no test should go
    assert refusal(tmp_path / "a.h5") == "decompression_bomb"


# Ranges and writing


@pytest.mark.parametrize("array", [GREY8, RGB8, GREY16, RGB16], ids=["grey8", "rgb8", "grey16", "rgb16"])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_png_pictures_are_lossless(tmp_path, array, with_alpha):
    alpha = array.reshape(13, 17, -1)[..., 0].copy() if with_alpha else None
    path = write_image(tmp_path / "a.png", array, alpha=alpha)
    peer = imagecodecs.png_decode(path.read_bytes())
    assert np.array_equal(peer, np.dstack([array, alpha]) if with_alpha else array)
    page = only_page(path)
    assert np.array_equal(page.array, array)
    assert page.alpha is None if alpha is None else np.array_equal(page.alpha, alpha)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32])
@pytest.mark.parametrize("shape", [(13, 17), (13, 17, 3)])
def test_other_pictures_are_tiff(tmp_path, dtype, shape):
    array = (RNG.random(shape) * 1e6).astype(dtype)
    path = write_image(tmp_path / f"a{picture_suffix(dtype)}", array, alpha=np.ones(shape[:2], dtype))
    peer = tifffile.imread(path)
    assert peer.dtype == dtype
    assert np.array_equal(peer[..., : peer.shape[2] - 1], array.reshape(13, 17, -1))
    page = only_page(path)
    assert np.array_equal(page.array, array)
    assert np.array_equal(page.alpha, np.ones(shape[:2]))


def test_pictures_are_rounded_and_clipped(tmp_path):
    path = write_image(tmp_path / "a.png", np.array([[-4.0, 1.49, 1.5, 300.0]]), dtype=np.uint8)
    assert np.asarray(Image.open(path)).tolist() == [[0, 1, 2, 255]]


def test_pictures_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix \.tif"):
        write_image(tmp_path / "a.png", np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        write_image(tmp_path / "a.png", np.full((3, 3), np.nan), dtype=np.uint8)
    with pytest.raises(ValueError, match="alpha"):
        write_image(tmp_path / "a.png", GREY8, alpha=np.zeros((2, 2), np.uint8))


def test_names_are_safe():
    assert picture_name(7, "Straße & Meer.final.JPG", ".png") == "000007_Stra-e-Meer-final.png"
    assert picture_name(1234567, "../../etc/passwd", "_rank5.png") == "1234567_passwd_rank5.png"

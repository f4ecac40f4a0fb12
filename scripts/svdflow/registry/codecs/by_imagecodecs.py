"""Codecs that imagecodecs has: of pictures, of fields, and one that takes any real array.

Ladders of pictures run from about a tenth of a bit to more than two bits a pixel on photographs. Settings of fields are
tolerances over the root mean square, from about a tenth of relative error to a ten-thousandth: SZ3 errs evenly up to
its tolerance, 1 / sqrt(3) of it in the mean; ZFP stays several times below. Other settings give other points of the
table ``rates``.
"""

from svdflow.registry.kinds import Codec

EIGHT, DEEP = ("uint8",), ("uint8", "uint16")
PLANE = (2, 2)  # fewest and most dimensions: a plane is coded, never colours together
FLOATS = ("float32", "float64")
REAL = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", *FLOATS),
)

DECLARED = [
    Codec(
        name="png",
        title="PNG",
        summary="lossless, at compression level 9",
        source="PNG specification, by libpng",
        picture=True,
        dtypes=DEEP,
        dimensions=PLANE,
        lossless=True,
        ladder=(9,),
        library="PNG",
        load="svdflow.codec.picture_codecs:png",
    ),
    Codec(
        name="jpeg",
        title="JPEG",
        summary="by quality, with optimized Huffman tables",
        source="ITU-T T.81, by libjpeg-turbo",
        picture=True,
        dtypes=EIGHT,
        dimensions=PLANE,
        lossless=False,
        ladder=(5, 15, 35, 65, 85, 95),
        side=65535,  # sixteen bits in the frame header (T.81, B.2.2)
        library="JPEG8",
        load="svdflow.codec.picture_codecs:jpeg",
    ),
    Codec(
        name="jpeg2000",
        title="JPEG 2000",
        summary="by PSNR in dB over the range of the values; wavelet 9/7, bare codestream",
        source="ITU-T T.800, by OpenJPEG",
        picture=True,
        dtypes=DEEP,
        dimensions=PLANE,
        lossless=False,
        ladder=(26, 30, 34, 38, 43, 50),
        library="JPEG2K",
        load="svdflow.codec.picture_codecs:jpeg2000",
    ),
    Codec(
        name="webp",
        title="WebP",
        summary="by quality, lossy; the plane in all three colours",
        source="RFC 9649, by libwebp",
        picture=True,
        dtypes=EIGHT,
        dimensions=PLANE,
        lossless=False,
        ladder=(1, 15, 40, 75, 90, 97),
        side=16383,  # fourteen bits in the header (RFC 9649, 2.5)
        library="WEBP",
        load="svdflow.codec.picture_codecs:webp",
    ),
    Codec(
        name="avif",
        title="AVIF",
        summary="by quality, luma alone, at speed 6",
        source="AV1 Image File Format, by libavif",
        picture=True,
        dtypes=EIGHT,
        dimensions=PLANE,
        lossless=False,
        ladder=(10, 30, 50, 70, 85, 95),
        side=65535,  # within the sixteen bits of an AV1 sequence header (AV1 specification, 5.5.1)
        library="AVIF",
        load="svdflow.codec.picture_codecs:avif",
    ),
    Codec(
        name="zfp",
        title="ZFP",
        summary="by absolute tolerance",
        source="Lindstrom (2014), by libzfp",
        picture=False,
        dtypes=FLOATS,
        dimensions=(2, 4),
        lossless=False,
        ladder=(16.0, 2.0, 0.3, 0.05, 0.01, 1e-3),
        finite=True,
        library="ZFP",
        load="svdflow.codec.field_codecs:zfp",
    ),
    Codec(
        name="sz3",
        title="SZ3",
        summary="by absolute tolerance",
        source="Liang et al. (2023), by SZ3",
        picture=False,
        dtypes=FLOATS,
        dimensions=(2, 4),
        lossless=False,
        ladder=(0.2, 0.06, 0.02, 6e-3, 2e-3, 1.5e-4),
        finite=True,
        library="SZ3",
        load="svdflow.codec.field_codecs:sz3",
    ),
    Codec(
        name="zstd",
        title="Zstandard",
        summary="lossless, of shuffled bytes, at level 9",
        source="RFC 8878, by libzstd",
        picture=False,
        dtypes=REAL,
        dimensions=(0, 64),
        lossless=True,
        ladder=(9,),
        library="ZSTD",
        load="svdflow.codec.field_codecs:zstd",
    ),
]

"""Entropy coding of integer codes by libraries that are kept by others; each stream takes what is smallest for it.

A stream is a matrix of integers, most of them near zero, and neighbours alike in size. The coding passes of JPEG 2000
without its wavelets (EBCOT; Taubman, 2000) see that likeness: on coefficients of tiles they take a quarter less than
coders that see bytes one by one. Leading components, small streams and wide integers go to pcodec or LZMA
(benchmarks/imagebench/archive.py has the table).
"""

import lzma

import imagecodecs
import numpy as np

NAMES = ("empty", "lzma", "jpeg2000", "pcodec16", "pcodec32", "pcodec64")
EMPTY, LZMA, JPEG2000 = range(3)
PCODEC: dict[int, type[np.signedinteger]] = {3: np.int16, 4: np.int32, 5: np.int64}
HALF = 2**15  # what is added to codes so that they are the unsigned samples of a picture of 16 bits
# Which coders are tried: more of them give smaller archives of the same values and take longer to write. The table
# "Entropy coders" of benchmarks/results/images.md says what each takes (`python benchmarks/images.py --case archive`).
SMALL = 2**14  # codes of a stream for which LZMA is tried; it is slow, and behind on longer ones
MEDIUM = 2**17  # codes of a stream for which pcodec is tried, which sees the smoothness of leading components
WIDE = 8  # mean magnitude above which the bit planes of JPEG 2000 cost more than pcodec
LZMA_FILTERS = [{"id": lzma.FILTER_LZMA1, "dict_size": 2**16, "lc": 0, "lp": 0, "pb": 0}]
LEAST_SIDE = 2  # rows and columns below which a stream is not given to OpenJPEG


def pack(codes: np.ndarray, *, smooth: bool = False) -> tuple[int, bytes]:
    """The smallest coding of a matrix of integers.

    Parameters
    ----------
    codes : int64 array, shape (p, q)
    smooth : bool
        Neighbours are alike in value, not in size alone: the wavelet 5/3 is tried as well.

    Returns
    -------
    coder : int
        Index into NAMES.
    payload : bytes
    """
    if not codes.any():
        return EMPTY, b""
    attempts: list[tuple[int, bytes]] = []
    if min(codes.shape) >= LEAST_SIDE and _fits(codes, np.int16):
        attempts.append((JPEG2000, jpeg2000(codes, 1)))
        if smooth:
            attempts.append((JPEG2000, jpeg2000(codes, _levels(codes.shape))))
    if not attempts or codes.size <= MEDIUM or np.abs(codes).mean() > WIDE:
        attempts.append(pcodec(codes))
    if codes.size <= SMALL:
        attempts.append((LZMA, lzma_planes(codes)))
    return min(attempts, key=lambda attempt: len(attempt[1]))


def unpack(coder: int, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
    """The codes that `pack` was given: int64, of this shape.

    Raises
    ------
    ValueError
        The coder is none of this version's.
    """
    if not 0 <= coder < len(NAMES):
        raise ValueError(f"entropy coder {coder} is not known here; a newer svdflow wrote this archive")
    if coder == EMPTY:
        return np.zeros(shape, np.int64)
    if coder == LZMA:
        return _from_planes(payload, shape)
    if coder == JPEG2000:
        if _picture_size(payload) != tuple(shape):
            raise ValueError("a code stream of another size than its archive says")
        return imagecodecs.jpeg2k_decode(payload, numthreads=1).astype(np.int64).reshape(shape) - HALF
    dtype = PCODEC[coder]
    return imagecodecs.pcodec_decode(payload, shape=shape, dtype=dtype).astype(np.int64).reshape(shape)


def jpeg2000(codes: np.ndarray, resolutions: int) -> bytes:
    """Lossless code stream; one resolution means no wavelet at all."""
    picture = np.ascontiguousarray(codes + HALF, dtype=np.uint16)
    return bytes(
        imagecodecs.jpeg2k_encode(
            picture, level=0, codecformat="j2k", reversible=True, resolutions=resolutions, numthreads=1
        )
    )


def _picture_size(payload: bytes) -> tuple[int, int]:
    """Rows and columns that a JPEG 2000 code stream declares (ISO/IEC 15444-1, A.5.1: marker SIZ follows SOC)."""
    if payload[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("not a JPEG 2000 code stream")
    width, height, left, top = (int.from_bytes(payload[at : at + 4], "big") for at in (8, 12, 16, 20))
    return height - top, width - left


def _levels(shape: tuple[int, ...]) -> int:
    return int(np.clip(np.log2(min(shape)), 1, 6))


def pcodec(codes: np.ndarray) -> tuple[int, bytes]:
    """The narrowest of the integer types that holds the codes, and what pcodec makes of them."""
    coder, dtype = next((coder, dtype) for coder, dtype in PCODEC.items() if _fits(codes, dtype))
    return coder, bytes(imagecodecs.pcodec_encode(codes.astype(dtype).ravel(), level=8))


def _fits(codes: np.ndarray, dtype: type[np.signedinteger]) -> bool:
    return bool(np.iinfo(dtype).min <= codes.min() and codes.max() <= np.iinfo(dtype).max)


def lzma_planes(codes: np.ndarray) -> bytes:
    """Planes of bytes of 2|c| - [c < 0], lowest first, so that runs of zeros stay runs."""
    unsigned = np.where(codes < 0, -2 * codes - 1, 2 * codes).astype("<u8").ravel()
    planes = unsigned.view(np.uint8).reshape(-1, 8).T
    used = 1 + int(np.flatnonzero(planes.any(axis=1))[-1])
    return lzma.compress(planes[:used].tobytes(), format=lzma.FORMAT_RAW, filters=LZMA_FILTERS)


def _from_planes(payload: bytes, shape: tuple[int, int]) -> np.ndarray:
    inflate = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=LZMA_FILTERS)
    raw = np.frombuffer(inflate.decompress(payload, 8 * shape[0] * shape[1]), np.uint8)
    planes = raw.reshape(-1, shape[0] * shape[1])
    unsigned = sum(plane.astype(np.int64) << (8 * index) for index, plane in enumerate(planes))
    return np.where(unsigned % 2, -(unsigned // 2) - 1, unsigned // 2).reshape(shape)

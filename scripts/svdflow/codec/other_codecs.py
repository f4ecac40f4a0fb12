"""What other codecs spend on the same values, and what that says of a factor archive.

Each peer is run over a ladder of settings, coarse to fine, and every setting is judged by its decoded values: bytes
are those of the encoded stream with its headers, errors those of the array that comes back. Pictures have PNG,
JPEG, JPEG 2000, WebP and AVIF beside them; fields ZFP and SZ3; both Zstandard, which loses nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, isfinite, isnan, log, log10, nan, sqrt
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from scipy.interpolate import PchipInterpolator

from svdflow.metrics import bits_per_pixel, max_error, psnr, relative_error, ssim
from svdflow.metrics.errors import valid_pair
from svdflow.metrics.rate import frontier

RATES = (
    1.0,
    0.5,
    2.0,
    0.25,
    3.0,
    0.15,
    4.0,
    6.0,
)  # bits a pixel at which pictures are compared, the usual first
ERRORS = (1e-3, 1e-2, 3e-3, 3e-4, 3e-2, 1e-4, 1e-1)  # relative errors at which fields are compared
TIE_DB, TIE_BYTES = 0.05, 1.02  # closer than this nobody wins
ARCHIVE = "the factor archive"
ROUNDING = 1e-9  # of logarithms and dB: a point of a curve is on it

Encoded = tuple[int, np.ndarray]


class Peer(NamedTuple):
    """A codec, and how it is asked.

    Attributes
    ----------
    name : str
        For a person.
    lossless : bool
    ladder : tuple
        Settings of `encode`, coarse to fine; what they mean is the codec's.
    takes : function of an array
        '' or the reason why this codec, or this build of it, does not take the array.
    encode : function of (array, setting)
        Bytes of the stream, and the array it decodes to, of the same shape and dtype.
    """

    name: str
    lossless: bool
    ladder: tuple[float, ...]
    takes: Callable[[np.ndarray], str]
    encode: Callable[[np.ndarray, float], Encoded]


class CodecPoint(NamedTuple):
    """What one setting of one codec costs and keeps. PSNR in dB; NaN for figures that do not exist."""

    codec: str
    setting: str
    bytes: int
    bits_per_value: float
    psnr: float
    relative_error: float
    max_error: float
    ssim: float
    lossless: bool


def curve(peer: Peer, array: np.ndarray, *, data_range: float, with_ssim: bool) -> list[CodecPoint]:
    """One point for each setting of a peer's ladder.

    Parameters
    ----------
    peer : Peer
    array : array
        As `peer.takes` it.
    data_range : float
        Peak value for PSNR and SSIM, or NaN where it is unknown: both are NaN then.
    with_ssim : bool
        Also SSIM, for 2-D arrays.

    Returns
    -------
    points : list of CodecPoint, in the order of the ladder

    Raises
    ------
    ValueError
        The peer does not take the array; the message gives the reason.
    """
    reason = peer.takes(array)
    if reason:
        raise ValueError(f"{peer.name} does not take this array: {reason}; ask `takes` first")
    key = next((key for key, known in PEERS.items() if known is peer), peer.name)
    array = np.ascontiguousarray(array)
    points = []
    for setting in peer.ladder:
        n_bytes, decoded = peer.encode(array, setting)
        points.append(
            point(key, f"{setting:g}", n_bytes, array, decoded, data_range=data_range, with_ssim=with_ssim)
        )
    return points


def point(
    codec: str,
    setting: str,
    n_bytes: int,
    array: np.ndarray,
    decoded: np.ndarray,
    *,
    data_range: float,
    with_ssim: bool,
    mask: np.ndarray | None = None,
) -> CodecPoint:
    """Judge decoded values against the array they stand for; of a factor archive as of a codec.

    `mask`, bool and of the same shape, is True where a value is valid; no other counts.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    known = data_range > 0
    similar = with_ssim and known and array.ndim == 2 and not np.iscomplexobj(array)
    return CodecPoint(
        codec=codec,
        setting=setting,
        bytes=int(n_bytes),
        bits_per_value=bits_per_pixel(n_bytes, array.shape),
        psnr=psnr(array, decoded, data_range=data_range, mask=mask) if known else nan,
        relative_error=relative_error(array, decoded, mask=mask),
        max_error=max_error(array, decoded, mask=mask),
        ssim=ssim(array, decoded, data_range=data_range, mask=mask) if similar else nan,
        lossless=bool(np.array_equal(*valid_pair(array, decoded, mask))),
    )


def at_rate(points: Sequence[CodecPoint], bits: float) -> float:
    """PSNR in dB at `bits` a value, between the points of one codec; NaN outside their range.

    Monotone cubic in log rate (Fritsch and Carlson, 1980), through the points that no cheaper one equals. Points
    without loss have no finite PSNR and do not count.
    """
    return _between(*_by_psnr(points), log(bits)) if bits > 0 else nan


def at_error(points: Sequence[CodecPoint], error: float) -> float:
    """Bits a value that one codec needs for a relative error, in the logarithms of both; NaN outside its points."""
    lossy = [p for p in points if p.relative_error > 0]
    rates, qualities = frontier([p.bits_per_value for p in lossy], [-log(p.relative_error) for p in lossy])
    return exp(_between(qualities, rates, -log(error))) if error > 0 else nan


def verdict(curves: Mapping[str, Sequence[CodecPoint]], ours: Sequence[str], noun: str) -> str:
    """One or two sentences for a person: which of these to use.

    Parameters
    ----------
    curves : mapping of codec to its points
        All of one array. Where a codec for pictures is among them PSNR is compared at equal rate, else bytes at
        equal relative error, at the usual levels and at those of the archive's own points.
    ours : sequence of str
        Which of the keys are factor archives; the best of them stands for them at each level.
    noun : str
        What was compressed, in the plural: ``images``.

    Returns
    -------
    verdict : str
        A win is claimed only where the archive is ahead at every level at which both were measured. A peer counts
        with its best point that costs no more; beyond its last point that can deny a win and never give one.
    """
    own = {key: curves[key] for key in ours if curves.get(key)}
    peers = {key: points for key, points in curves.items() if key not in ours and points}
    if not own or not peers:
        missing = "other codec" if own else "factor archive"
        return f"No {missing} was measured on these {noun}, so there is nothing to compare."
    pairs = _pairs_at_rates(own, peers) if set(peers) & set(PICTURE_CODECS) else _pairs_at_errors(own, peers)
    if not pairs:
        spans = [_span(side) for side in (own, peers)]
        return (
            f"For these {noun} nothing can be said: {ARCHIVE} was measured at {spans[0]} bits per value, "
            f"the other codecs at {spans[1]}, and no rate or error is common to both."
        )
    first = pairs[0]
    best, worst = (pick(pairs, key=lambda pair: pair.lead) for pick in (max, min))
    if worst.lead > 1:
        return f"For these {noun} use {ARCHIVE}: {first.at} it {first.rest}."
    if best.lead < -1:
        return f"For these {noun} use {first.peer}: {first.at} it {first.rest}."
    if best.lead <= 1 and worst.lead >= -1:
        return f"For these {noun} {ARCHIVE} and {first.peer} do equally well: {first.told}."
    return f"For these {noun} it depends on the quality wanted: {best.told}, but {worst.told}."


class Pair(NamedTuple):
    """The best archive beside the best peer at one level; `lead` is above 1 where ours wins, below -1 where not."""

    peer: str
    lead: float
    at: str
    better: str
    rest: str

    @property
    def told(self) -> str:
        return f"{self.at} {self.better} {self.rest}"


def _pairs_at_rates(own: Mapping[str, Any], peers: Mapping[str, Any]) -> list[Pair]:
    """PSNR at equal rate, the usual rates first."""
    found = []
    for rate in dict.fromkeys((*RATES, *(p.bits_per_value for points in own.values() for p in points))):
        mine = max((db for points in own.values() if isfinite(db := at_rate(points, rate))), default=nan)
        between = {key: db for key, points in peers.items() if isfinite(db := at_rate(points, rate))}
        spent = [(p.psnr, key) for key, points in peers.items() for p in points if p.bits_per_value <= rate]
        theirs, peer = max([*((db, key) for key, db in between.items()), *spent], default=(nan, ""))
        lead = (mine - theirs) / TIE_DB
        if isnan(lead) or (lead > 0 and not between):
            continue
        kept = {
            _name(peer): f"{theirs:.1f} dB" if isfinite(theirs) else "everything",
            ARCHIVE: f"{mine:.1f} dB",
        }
        better, worse = sorted(kept, key=lambda name: (name == ARCHIVE) != (lead > 0))
        at = f"at {rate:.3g} bit{'' if rate == 1 else 's'} per pixel"
        rest = f"keeps {kept[better]} where {worse} keeps {kept[worse]}"
        found.append(Pair(_name(peer), lead, at, better, rest))
    return found


def _pairs_at_errors(own: Mapping[str, Any], peers: Mapping[str, Any]) -> list[Pair]:
    """Bytes at equal relative error, the usual errors first."""
    found = []
    lossy = any(p.relative_error > 0 for points in peers.values() for p in points)
    for error in dict.fromkeys((*ERRORS, *(p.relative_error for points in own.values() for p in points))):
        mine = min((b for points in own.values() if isfinite(b := at_error(points, error))), default=nan)
        between = {key: b for key, points in peers.items() if isfinite(b := at_error(points, error))}
        spent = [
            (p.bits_per_value, k) for k, points in peers.items() for p in points if p.relative_error <= error
        ]
        theirs, peer = min([*((bits, key) for key, bits in between.items()), *spent], default=(nan, ""))
        lead = log(theirs / mine) / log(TIE_BYTES)
        if isnan(lead) or (lead > 0 and lossy and not between):
            continue
        better, worse = (ARCHIVE, _name(peer)) if lead > 0 else (_name(peer), ARCHIVE)
        factor = max(theirs / mine, mine / theirs)
        less = f"{factor:.2g} times fewer bytes than" if factor > TIE_BYTES else "as many bytes as"
        found.append(
            Pair(_name(peer), lead, f"at relative error {error:.2g}", better, f"needs {less} {worse}")
        )
    return found


def _span(side: Mapping[str, Sequence[CodecPoint]]) -> str:
    rates = [p.bits_per_value for points in side.values() for p in points]
    return f"{min(rates):.3g} to {max(rates):.3g}"


def _name(key: str) -> str:
    return PEERS[key].name if key in PEERS else key


def _by_psnr(points: Sequence[CodecPoint]) -> tuple[np.ndarray, np.ndarray]:
    return frontier([p.bits_per_value for p in points], [p.psnr for p in points])


def _between(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """y at a place between strictly ascending x; NaN outside, but for rounding."""
    if not len(x) or not x[0] - ROUNDING <= at <= x[-1] + ROUNDING:
        return nan
    return float(PchipInterpolator(x, y)(min(max(at, x[0]), x[-1]))) if len(x) > 1 else float(y[0])


# The codecs


def _ready(codec: str, array: np.ndarray) -> str:
    if not getattr(imagecodecs, codec.upper()).available:
        return f"imagecodecs {imagecodecs.__version__} was built without {codec}"
    return "it is empty" if array.size == 0 else ""


def _pictures(codec: str, *dtypes: type, side: int = 65535) -> Callable[[np.ndarray], str]:
    def takes(array: np.ndarray) -> str:
        if array.ndim != 2 or array.dtype not in dtypes:
            names = " or ".join(np.dtype(d).name for d in dtypes)
            return f"needs 2-D {names}, got {array.ndim}-D {array.dtype}"
        if max(array.shape) > side:
            return f"a side is above {side}"
        return _ready(codec, array)

    return takes


def _fields(codec: str) -> Callable[[np.ndarray], str]:
    def takes(array: np.ndarray) -> str:
        if not 2 <= array.ndim <= 4 or array.dtype not in (np.float32, np.float64):
            return f"needs float32 or float64 of 2 to 4 dimensions, got {array.ndim}-D {array.dtype}"
        return _ready(codec, array) or (
            "" if np.isfinite(array).all() else "it holds values that are not finite"
        )

    return takes


def _takes_real(array: np.ndarray) -> str:
    if array.dtype.kind not in "buif":
        return f"needs real values, got {array.dtype}"
    return _ready("zstd", array)


def _png(array: np.ndarray, level: float) -> Encoded:
    # The library's own estimate of the size is too small for a narrow picture of noise.
    room = 2 * array.nbytes + len(array) + 4096
    stream = imagecodecs.png_encode(array, level=int(level), out=room)
    return len(stream), imagecodecs.png_decode(stream)


def _jpeg(array: np.ndarray, quality: float) -> Encoded:
    stream = imagecodecs.jpeg8_encode(array, level=int(quality), optimize=True)
    return len(stream), imagecodecs.jpeg8_decode(stream)


def _jpeg2000(array: np.ndarray, db: float) -> Encoded:
    """Bare codestream of the 9/7 wavelet, at a PSNR over the range of the values."""
    # The library takes it over the range of the dtype, which a scan of 12 bits does not fill.
    level = db + 20 * log10(np.iinfo(array.dtype).max / max(1, int(np.ptp(array))))
    stream = imagecodecs.jpeg2k_encode(
        array,
        level=level,  # type: ignore[arg-type]
        reversible=False,
        codecformat="j2k",
        numthreads=1,
    )
    return len(stream), imagecodecs.jpeg2k_decode(stream, numthreads=1)


def _webp(array: np.ndarray, quality: float) -> Encoded:
    stream = imagecodecs.webp_encode(np.repeat(array[..., None], 3, axis=2), level=quality, lossless=False)
    return len(stream), imagecodecs.webp_decode(stream)[..., 0]


def _avif(array: np.ndarray, quality: float) -> Encoded:
    # A grey array goes lossless whatever the level (imagecodecs 2026.3.6), so its RGB goes in, as luma alone.
    grey = np.repeat(array[..., None], 3, axis=2)
    stream = imagecodecs.avif_encode(grey, level=int(quality), speed=6, pixelformat="400", numthreads=1)
    decoded = imagecodecs.avif_decode(stream, numthreads=1)
    return len(stream), decoded if decoded.ndim == 2 else decoded[..., 0]


def _tolerance(array: np.ndarray, share: float) -> float:
    """Absolute tolerance as a share of the root mean square."""
    size = sqrt(float(np.mean(np.square(array, dtype=np.float64))))
    return share * (size if size > 0 else 1.0)


def _zfp(array: np.ndarray, share: float) -> Encoded:
    stream = imagecodecs.zfp_encode(array, level=_tolerance(array, share), mode="a")  # type: ignore[arg-type]
    return len(stream), imagecodecs.zfp_decode(stream)


def _sz3(array: np.ndarray, share: float) -> Encoded:
    stream = imagecodecs.sz3_encode(array, mode="abs", abs=_tolerance(array, share))
    return len(stream), imagecodecs.sz3_decode(stream, array.shape, array.dtype)


def _zstd(array: np.ndarray, level: float) -> Encoded:
    """Bytes of equal significance side by side, as the shuffle filter of HDF5 has them."""
    planes = np.ascontiguousarray(array.reshape(-1, 1).view(np.uint8).T)
    stream = imagecodecs.zstd_encode(planes.tobytes(), level=int(level))
    back = np.frombuffer(imagecodecs.zstd_decode(stream), np.uint8).reshape(planes.shape)
    return len(stream), np.ascontiguousarray(back.T).view(array.dtype).reshape(array.shape)


PICTURE_CODECS = ("png", "jpeg", "jpeg2000", "webp", "avif")
# Settings: level; quality; PSNR in dB; quality; quality. Of fields the tolerance over the root mean square: SZ3 errs
# evenly up to it, 1 / sqrt(3) of it in the mean; ZFP stays several times below.
PEERS: dict[str, Peer] = {
    "png": Peer("PNG", True, (9,), _pictures("png", np.uint8, np.uint16), _png),
    "jpeg": Peer("JPEG", False, (5, 15, 35, 65, 85, 95), _pictures("jpeg8", np.uint8), _jpeg),
    "jpeg2000": Peer(
        "JPEG 2000", False, (26, 30, 34, 38, 43, 50), _pictures("jpeg2k", np.uint8, np.uint16), _jpeg2000
    ),
    "webp": Peer("WebP", False, (1, 15, 40, 75, 90, 97), _pictures("webp", np.uint8, side=16383), _webp),
    "avif": Peer("AVIF", False, (10, 30, 50, 70, 85, 95), _pictures("avif", np.uint8), _avif),
    "zfp": Peer("ZFP", False, (16.0, 2.0, 0.3, 0.05, 0.01, 1e-3), _fields("zfp"), _zfp),
    "sz3": Peer("SZ3", False, (0.2, 0.06, 0.02, 6e-3, 2e-3, 1.5e-4), _fields("sz3"), _sz3),
    "zstd": Peer("Zstandard", True, (9,), _takes_real, _zstd),
}

"""Peers' codecs against their definitions, and the verdict against planted curves."""

from itertools import pairwise
from math import inf, isnan, log, nan, sqrt

import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from svdflow.codec.comparison import at_error, at_rate, verdict
from svdflow.codec.other_codecs import CodecPoint, curve, point, refusal
from svdflow.registry import CODECS

PICTURES = ("png", "jpeg", "jpeg2000", "webp", "avif")
FIELDS = ("zfp", "sz3", "zstd")


def field(shape=(24, 40, 36), dtype=np.float32):
    """Smooth waves and a little noise."""
    axes = np.meshgrid(*(np.linspace(0, 5, side) for side in shape), indexing="ij")
    rng = np.random.default_rng(0)
    return (30 * np.sin(sum(axes)) + 80 + 0.01 * rng.standard_normal(shape)).astype(dtype)


def planted(codec, rates, values, *, error=False):
    """Points with these bits a value and PSNRs, or relative errors."""
    return [
        CodecPoint(
            codec,
            "",
            int(1000 * r),
            r,
            nan if error else v,
            v if error else 10 ** (-v / 20),
            nan,
            nan,
            v == 0,
        )
        for r, v in zip(rates, values, strict=True)
    ]


@pytest.fixture(scope="module")
def camera_curves():
    image = data.camera()[100:356, 100:356]
    return image, {
        key: curve(CODECS[key], image, data_range=255, with_ssim=key == "jpeg") for key in PICTURES
    }


@pytest.mark.parametrize("key", PICTURES)
def test_codecs_of_pictures_span_the_usual_rates(camera_curves, key):
    image, curves = camera_curves
    points = curves[key]
    assert [p.codec for p in points] == [key] * len(CODECS[key].ladder)
    if CODECS[key].lossless:
        assert points[0].lossless and points[0].psnr == inf and points[0].max_error == 0
        return
    assert 5 <= len(points) <= 6 and not any(p.lossless for p in points)
    assert all(a.bytes < b.bytes and a.psnr < b.psnr for a, b in pairwise(points))
    assert points[0].bits_per_value < 0.3 and points[-1].bits_per_value > 2
    assert all(p.bits_per_value == 8 * p.bytes / image.size for p in points)


@pytest.mark.parametrize("key", ["jpeg", "webp", "avif", "jpeg2000"])
def test_points_judge_what_comes_back(camera_curves, key):
    image, curves = camera_curves
    n_bytes, decoded = CODECS[key].code()(image, CODECS[key].ladder[3])
    assert decoded.shape == image.shape and decoded.dtype == image.dtype
    found = curves[key][3]
    assert found.bytes == n_bytes  # deterministic
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(image, decoded, data_range=255), abs=1e-9)
    assert found.max_error == np.abs(image.astype(int) - decoded).max()
    assert isnan(found.ssim) == (key != "jpeg")


def test_codecs_of_the_field_stand_in_their_known_order(camera_curves):
    """At 1 bit a pixel JPEG loses to JPEG 2000 and that to AVIF, by decibels: a mistaken count of bytes would show."""
    _, curves = camera_curves
    at = {key: at_rate(curves[key], 1.0) for key in ("jpeg", "jpeg2000", "avif")}
    assert at["jpeg"] + 1 < at["jpeg2000"] < at["avif"]


def test_deep_pictures_keep_their_levels():
    """JPEG 2000 is asked over the range of the values: a scan of 12 bits comes out as the same picture of 8 bits."""
    grey = data.camera()[:256, :256]
    deep = grey.astype(np.uint16) * 16
    peak = int(np.ptp(grey))
    for setting in (30, 40):
        found, due = (
            peak_signal_noise_ratio(a, CODECS["jpeg2000"].code()(a, setting)[1], data_range=scale * peak)
            for a, scale in ((deep, 16), (grey, 1))
        )
        assert found == pytest.approx(due, abs=0.5)  # 8 bits are rounded once more
    assert np.array_equal(CODECS["png"].code()(deep, 9)[1], deep)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("key", ["zfp", "sz3"])
def test_codecs_of_fields_hold_their_tolerance(key, dtype):
    array = field(dtype=dtype)
    size = sqrt(float(np.mean(array.astype(float) ** 2)))
    points = curve(CODECS[key], array, data_range=float(np.ptp(array)), with_ssim=False)
    for setting, found in zip(CODECS[key].ladder, points, strict=True):
        rounding = np.finfo(array.dtype).eps * 110
        assert found.max_error <= setting * size + rounding
    assert points[0].relative_error > 0.02 and points[-1].relative_error < 1e-4
    assert not isnan(at_error(points, 1e-3))


@pytest.mark.parametrize(
    "array",
    [
        field(),
        field(dtype=np.float64),
        data.camera()[:30, :40],
        np.arange(12) > 5,
        np.arange(-6, 6).reshape(3, 4),
    ],
    ids=lambda a: f"{a.dtype}-{a.ndim}",
)
def test_zstandard_takes_everything_and_loses_nothing(array):
    (found,) = curve(CODECS["zstd"], array, data_range=nan, with_ssim=False)
    assert found.lossless and found.relative_error == 0 and found.bytes > 0
    assert isnan(found.psnr)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("level", [0, 250])
def test_what_a_peer_takes_it_encodes(shape, dtype, level):
    array = np.asfortranarray(level * np.random.default_rng(1).random(shape)).astype(dtype)[::-1]
    taken = [key for key, codec in CODECS.items() if not refusal(codec, array)]
    assert "zstd" in taken  # it takes whatever has numbers
    assert (dtype is np.uint8) == ("jpeg" in taken) and (array.dtype.kind == "f") == ("sz3" in taken)
    for key in taken:
        points = curve(CODECS[key], array, data_range=255, with_ssim=True)
        assert len(points) == len(CODECS[key].ladder)
        assert all(p.bytes > 0 and p.lossless >= CODECS[key].lossless for p in points), key


def test_peers_say_what_they_do_not_take():
    grey, deep, real = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint16), np.zeros((20, 20))
    assert [key for key in CODECS if not refusal(CODECS[key], grey)] == [*PICTURES, "zstd"]
    assert [key for key in CODECS if not refusal(CODECS[key], deep)] == ["png", "jpeg2000", "zstd"]
    assert [key for key in CODECS if not refusal(CODECS[key], real)] == [*FIELDS]
    assert [key for key in CODECS if not refusal(CODECS[key], grey[None])] == ["zstd"]
    assert all(refusal(CODECS[key], real + 1j) for key in CODECS)
    assert "not finite" in refusal(CODECS["zfp"], np.full((5, 5), nan))
    assert "dimensions" in refusal(CODECS["sz3"], np.zeros(5))
    assert "side" in refusal(CODECS["webp"], np.zeros((1, 20000), np.uint8))
    with pytest.raises(ValueError, match="does not take this array: needs 2-D"):
        curve(CODECS["jpeg"], real, data_range=1, with_ssim=False)


def test_a_build_without_a_codec_is_told(monkeypatch):
    monkeypatch.setattr("imagecodecs.AVIF", type("Absent", (), {"available": False}))
    assert "built without avif" in refusal(CODECS["avif"], np.zeros((20, 20), np.uint8))


def test_point_by_hand():
    array = np.array([[3.0, 0], [0, 4]])
    found = point("svd", "rank 1", 7, array, np.array([[0.0, 0], [0, 4]]), data_range=4, with_ssim=True)
    assert found[:4] == ("svd", "rank 1", 7, 14.0)
    assert found.psnr == pytest.approx(10 * np.log10(16 / (9 / 4)))
    assert (found.relative_error, found.max_error, found.lossless) == (3 / 5, 3.0, False)
    assert isnan(found.ssim)  # no window fits
    with pytest.raises(ValueError, match="differ"):
        point("svd", "", 7, array, array[:1], data_range=4, with_ssim=False)


def test_interpolation_is_exact_on_a_line_and_silent_outside():
    """6 dB a doubling of the rate: a straight line in log rate, which the monotone cubic keeps."""
    rates = [0.25, 0.5, 1.0, 2.0]
    points = planted("x", rates, [30 + 6 * log(r * 4) / log(2) for r in rates])
    assert at_rate(points[::-1], sqrt(0.5)) == pytest.approx(39.0, abs=1e-9)
    assert all(at_rate(points, p.bits_per_value) == pytest.approx(p.psnr) for p in points)
    assert isnan(at_rate(points, 0.2)) and isnan(at_rate(points, 2.1)) and isnan(at_rate([], 1.0))
    assert isnan(at_rate(points, 0.0))
    errors = planted("x", [1, 2, 4], [1e-1, 1e-2, 1e-3], error=True)
    assert at_error(errors, sqrt(1e-3)) == pytest.approx(sqrt(2))
    assert isnan(at_error(errors, 0.2)) and isnan(at_error(errors, 1e-4)) and isnan(at_error(errors, 0.0))


def test_verdict_names_the_codec_that_wins():
    curves = {
        "archive": planted("archive", [0.25, 1, 3], [23.2, 28.5, 33.0]),
        "avif": planted("avif", [0.2, 1, 2.5], [30.1, 38.3, 46.0]),
        "jpeg": planted("jpeg", [0.2, 1, 2.5], [27.1, 34.3, 41.0]),
    }
    assert verdict(curves, ["archive"], "images") == (
        "For these images use AVIF: at 1 bit per pixel it keeps 38.3 dB where the factor archive keeps 28.5 dB."
    )


def test_verdict_owns_a_win():
    curves = {
        "archive": planted("archive", [0.25, 1, 2.4], [31, 39.5, 47.0]),
        "poor": planted("poor", [0.25, 1, 2.4], [10, 20, 30]),
        "avif": planted("avif", [0.2, 1, 2.5], [30.1, 38.3, 46.0]),
    }
    said = verdict(curves, ["archive", "poor"], "stacks")
    assert said.startswith("For these stacks use the factor archive: at 1 bit per pixel it keeps 39.5")
    assert "where AVIF keeps 38.3 dB" in said
    crossed = curves | {"jpeg": planted("jpeg", [0.2, 2.5], [20, 60.0])}
    said = verdict(crossed, ["archive", "poor"], "stacks")
    assert "depends" in said and "JPEG keeps" in said and "the factor archive keeps" in said


def test_verdict_on_fields_counts_bytes():
    ours = planted("archive", [0.1, 0.4, 1.2], [1e-2, 1e-3, 1e-4], error=True)
    zfp = planted("zfp", [0.5, 1.24, 5], [2e-2, 1e-3, 1e-5], error=True)
    curves = {"archive": ours, "zfp": zfp, "zstd": planted("zstd", [20], [0.0], error=True)}
    assert verdict(curves, ["archive"], "fields") == (
        "For these fields use the factor archive: at relative error 0.001 it needs 3.1 times fewer "
        "bytes than ZFP."
    )
    lost = curves | {"sz3": planted("sz3", [0.01, 0.1, 0.3], [1e-2, 1e-3, 1e-4], error=True)}
    assert verdict(lost, ["archive"], "fields") == (
        "For these fields use SZ3: at relative error 0.001 it needs 4 times fewer bytes than the factor archive."
    )
    same = {"archive": ours, "zfp": ours}
    assert verdict(same, ["archive"], "fields") == (
        "For these fields the factor archive and ZFP do equally well: at relative error 0.001 ZFP needs as many bytes "
        "as the factor archive."
    )


def test_what_a_peer_did_not_measure_gives_no_win():
    """A ladder that ends early denies a win where its last point is better, and never grants one."""
    ours = planted("archive", [4, 8, 12], [25.0, 28, 30])
    curves = {"archive": ours, "avif": planted("avif", [0.2, 1, 2.5], [30.1, 38.3, 46.0])}
    assert "use AVIF: at 4 bits per pixel it keeps 46.0 dB" in verdict(curves, ["archive"], "images")
    curves["png"] = planted("png", [3.9], [inf])
    assert "use PNG: at 4 bits per pixel it keeps everything" in verdict(curves, ["archive"], "images")
    finer = {"archive": planted("archive", [4, 8], [50.0, 60.0]), "avif": curves["avif"]}
    assert "nothing can be said" in verdict(finer, ["archive"], "images")
    coarse = {
        "archive": planted("archive", [0.1, 0.2], [0.5, 0.3], error=True),
        "zfp": planted("zfp", [1, 2], [1e-2, 1e-3], error=True),
        "zstd": planted("zstd", [20], [0.0], error=True),
    }
    assert "nothing can be said" in verdict(coarse, ["archive"], "fields")
    assert "nothing to compare" in verdict({"avif": curves["avif"]}, ["archive"], "images")
    assert "No other codec" in verdict({"archive": ours}, ["archive"], "images")


def test_verdict_of_one_point_is_at_that_point():
    curves = {
        "archive": planted("archive", [0.7], [26.0]),
        "avif": planted("avif", [0.2, 1, 2.5], [30.1, 38.3, 46.0]),
    }
    assert "at 0.7 bits per pixel it keeps" in verdict(curves, ["archive"], "images")

"""Archives of quantized factors: bounds kept, prefixes and rows, damage found, and the documented layout."""

import json
import re
import warnings
import zlib
from itertools import pairwise, product
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as photographs

from svdflow.codec import (
    ArchiveWarning,
    archive,  # the layout itself
    decode,
    describe,
    encode,
    forms_for,
    rate_curve,
)
from svdflow.codec.quality import closest
from svdflow.codec.quantize import dead_zone
from svdflow.codec.streams import NAMES, pack, unpack
from svdflow.errors import StoreError, UnreachableTargetError
from svdflow.store import publish, verify

DOCUMENT = Path(__file__).parents[2] / "docs" / "archives.md"


def turbulence(n: int, seed: int, exponent: float = 5 / 3) -> np.ndarray:
    """A field (n, n, n) whose energy falls as k^-exponent, float32."""
    k = np.fft.fftfreq(n) * n
    norm = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    norm[0, 0, 0] = np.inf
    noise = np.fft.fftn(np.random.default_rng(seed).standard_normal((n, n, n)))
    return np.fft.ifftn(noise * norm ** (-(exponent + 2) / 2)).real.astype(np.float32)


def decaying(m: int, n: int, seed: int, rate: float = 5.0) -> np.ndarray:
    """A matrix (m, n) with singular values exp(-k / rate)."""
    rng = np.random.default_rng(seed)
    k = min(m, n)
    U, V = (np.linalg.qr(rng.standard_normal((side, k)))[0] for side in (m, n))
    return (U * np.exp(-np.arange(k) / rate)) @ V.T


def picture(m: int, n: int) -> np.ndarray:
    """Edges, a ramp and texture, uint8."""
    y, x = np.mgrid[:m, :n]
    values = 60 + 0.3 * x + 80 * ((x - n / 2) ** 2 + (y - m / 2) ** 2 < (m / 4) ** 2)
    return (values + 20 * np.sin(x * y / 300)).clip(0, 255).astype(np.uint8)


def relative(A: np.ndarray, B: np.ndarray) -> float:
    A, B = A.astype(np.float64), B.astype(np.float64)
    return float(np.linalg.norm(A - B) / np.linalg.norm(A))


SAMPLES = {
    "matrix": decaying(256, 256, 0).astype(np.float32),
    "tall": decaying(5000, 20, 1),
    "field": turbulence(42, 2),
    "stack": np.random.default_rng(3).standard_normal((16, 4096)).reshape(16, 64, 64).cumsum(1),
    "picture": picture(250, 264).astype(np.float64),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("target", ["rel_error", "psnr", "max_abs"])
def test_the_target_is_met_from_below_and_closely(name, target, tmp_path):
    A = SAMPLES[name]
    span = float(A.max()) - float(A.min())
    value = {"rel_error": 3e-3, "psnr": 55.0, "max_abs": 2e-3 * span}[target]
    info = encode(A, tmp_path / "a.h5", **{target: value})
    difference = A.astype(np.float64) - decode(tmp_path / "a.h5").astype(np.float64)
    rmse = np.sqrt(np.mean(difference**2))
    measured, goal = {
        "rel_error": (np.linalg.norm(difference) / np.linalg.norm(A.astype(np.float64)), value),
        "psnr": (rmse, span * 10 ** (-value / 20)),
        "max_abs": (np.abs(difference).max(), value),
    }[target]
    # Sums of squares taken in another order differ by rounding.
    assert 0.98 * goal <= measured <= goal * (1 + 1e-12)
    assert info.rel_error == pytest.approx(relative(A, decode(tmp_path / "a.h5")), rel=1e-9)
    assert (info.target, info.target_value) == (target, value)


@pytest.mark.parametrize("form", ["svd", "tiles"])
@pytest.mark.parametrize("size", [3000, 9000])
def test_bytes_are_not_exceeded_and_nearly_used(form, size, tmp_path):
    info = encode(picture(250, 264), tmp_path / "a.h5", bytes=size, form=form)
    assert info.bytes == (tmp_path / "a.h5").stat().st_size
    assert 0.97 * size <= info.bytes <= size


def test_room_for_everything_is_not_filled(tmp_path):
    A = picture(60, 50)
    info = encode(A, tmp_path / "a.h5", bytes=10**6)
    assert info.rel_error == 0
    assert info.bytes < 2 * A.nbytes + 4096
    np.testing.assert_array_equal(decode(tmp_path / "a.h5"), A)


def test_a_smooth_field_is_a_third_of_its_float32_factors(tmp_path):
    A = turbulence(64, 4)
    info = encode(A, tmp_path / "a.h5", rel_error=1e-3)
    s = np.linalg.svd(A.reshape(64, -1).astype(np.float64), compute_uv=False)
    left_out = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0)) / np.linalg.norm(s)
    rank = int(np.argmax(left_out <= 1e-3))
    assert 3 * info.bytes < min(4 * rank * (64 + 4096), A.nbytes)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_smaller_rank_is_a_prefix_and_rows_are_rows(name, tmp_path):
    A = SAMPLES[name]
    for form in forms_for(A.shape, A.dtype):
        info = encode(A, tmp_path / "a.h5", rel_error=1e-2, form=form)
        whole = decode(tmp_path / "a.h5")
        np.testing.assert_array_equal(decode(tmp_path / "a.h5", rank=info.rank), whole)
        errors = [relative(A, decode(tmp_path / "a.h5", rank=r)) for r in range(0, info.rank, 4)]
        # Each component is fitted to what those before it leave, so errors fall but for what rounding adds.
        assert all(later <= earlier + 1e-2 for earlier, later in pairwise(errors))
        start, stop = len(A) // 3 + 1, len(A) - 2
        tolerance = 1e-5 * np.abs(whole).max()  # of float32, and of sums in another order
        rows = decode(tmp_path / "a.h5", rows=(start, stop))
        np.testing.assert_allclose(rows, whole[start:stop], rtol=0, atol=tolerance)
        assert decode(tmp_path / "a.h5", rows=(3, 3)).shape == (0, *A.shape[1:])


def test_a_small_rank_reads_few_streams_and_few_rows_read_one_chunk(tmp_path, monkeypatch):
    from svdflow.codec import archive

    A = np.random.default_rng(0).standard_normal((9000, 70))
    encode(A, tmp_path / "a.h5", rel_error=0.1, form="svd")
    counted = []
    original = archive.unpack
    monkeypatch.setattr(archive, "unpack", lambda *given: counted.append(given) or original(*given))
    decode(tmp_path / "a.h5")
    every, _ = len(counted), counted.clear()
    decode(tmp_path / "a.h5", rank=8, rows=(0, 100))
    assert every == 1 + 2 + 3 * 2  # exponents, right groups, three chunks of two groups
    assert len(counted) == 1 + 1 + 1


def test_the_rank_of_an_exactly_low_rank_matrix_is_found(tmp_path):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 250))
    assert encode(A, tmp_path / "a.h5", rel_error=1e-3, form="svd").rank == 6


@pytest.mark.parametrize("given", [{"rel_error": 1e-2}, {"rel_error": 0.3, "rank": 12}, {"max_abs": 1e-3}])
def test_large_matrices_are_factored_only_as_far_as_needed(given, tmp_path, monkeypatch):
    monkeypatch.setattr("svdflow.codec.svd_form.FULL_COST", 0)
    A = decaying(600, 400, 7, rate=8.0)
    info = encode(A, tmp_path / "a.h5", form="svd", **given)
    assert 0.98 * info.target_value <= getattr(info, info.target) <= info.target_value
    assert info.rank <= given.get("rank", 400)


def test_equal_calls_make_equal_bytes_whatever_the_number_of_threads(tmp_path):
    from threadpoolctl import threadpool_limits

    for form in ("svd", "tucker"):
        for threads in (1, 2):
            with threadpool_limits(threads):
                encode(SAMPLES["field"], tmp_path / f"{threads}.h5", rel_error=1e-2, form=form)
        assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


DTYPES = [np.uint8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64, bool]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(dtype, tmp_path):
    A = (picture(60, 50) > 128) if dtype is bool else picture(60, 50).astype(dtype)
    encode(A, tmp_path / "a.h5", max_abs=0.4)
    B = decode(tmp_path / "a.h5")
    assert B.dtype == A.dtype
    if np.dtype(dtype).kind != "f":  # within 0.4 of an integer is that integer
        np.testing.assert_array_equal(B, A)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (300,), (1, 1), (2, 3, 5), (7, 1, 9, 4), (9, 17)])
@pytest.mark.parametrize("kind", ["noise", "constant", "zero"])
def test_small_and_flat_arrays(shape, kind, tmp_path):
    A = {
        "noise": np.random.default_rng(0).standard_normal(shape),
        "constant": np.full(shape, 7.25),
        "zero": np.zeros(shape),
    }[kind]
    for form in forms_for(shape, A.dtype):
        info = encode(A, tmp_path / "a.h5", rel_error=1e-2, form=form)
        B = decode(tmp_path / "a.h5")
        assert B.shape == shape
        if kind == "noise":
            assert relative(A, B) <= 1e-2
        else:
            np.testing.assert_array_equal(B, A)
            assert (info.rel_error, info.rank) == (0, 0)


@pytest.mark.parametrize(
    ("A", "given", "words"),
    [
        (np.ones((3, 3)), {}, "exactly one of rel_error, psnr, max_abs, bytes; given: none"),
        (np.ones((3, 3)), {"psnr": 30, "bytes": 9}, "exactly one of .* given: psnr, bytes"),
        (np.ones((3, 3)), {"rel_error": 0}, "rel_error must be positive"),
        (np.ones((3, 3)), {"psnr": np.inf}, "psnr must be finite"),
        (np.ones((3, 3)), {"psnr": 30, "form": "tucker"}, "form 'tucker' does not apply"),
        (np.ones((3, 3)), {"psnr": 30, "rank": 0}, "rank must be at least 1"),
        (np.ones((3, 3)), {"psnr": 30, "data_range": 0}, "data_range must be positive"),
        (np.ones((3, 3), complex), {"psnr": 30}, "dtype complex128"),
        (np.array([[1, np.nan]]), {"psnr": 30}, "NaN or infinity"),
        (np.ones((0, 3)), {"psnr": 30}, "nothing to encode"),
        (np.array([["a"]]), {"psnr": 30}, "real numbers"),
        (np.array([[2**60, 1]]), {"psnr": 30}, "above 2\\^53"),
    ],
)
def test_bad_arguments_are_named(A, given, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        encode(A, tmp_path / "a.h5", **given)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_reached_is_refused_with_the_least_possible(tmp_path):
    A = np.diag([4.0, 3.0, 0.0, 0.0])  # without the second component the error is 3 / 5
    with pytest.raises(
        ValueError, match=r"rel_error 0.1 cannot be reached; the least possible is 0\.(59|60)"
    ):
        encode(A, tmp_path / "a.h5", rel_error=0.1, rank=1, form="svd")
    with pytest.raises(ValueError, match="bytes 100 cannot be reached; the least possible is 2"):
        encode(np.random.default_rng(0).standard_normal((50, 50)), tmp_path / "a.h5", bytes=100)
    with pytest.raises(ValueError, match="the most is"):
        encode(A, tmp_path / "a.h5", psnr=40, rank=1, form="svd")
    assert not list(tmp_path.iterdir())


def test_ranks_and_rows_that_are_not_there_are_refused(tmp_path):
    info = encode(np.random.default_rng(0).standard_normal((20, 30)), tmp_path / "a.h5", rel_error=0.1)
    for wrong in ({"rank": info.rank + 1}, {"rank": -1}, {"rows": (3, 2)}, {"rows": (0, 21)}):
        with pytest.raises(ValueError, match="outside 0 to"):
            decode(tmp_path / "a.h5", **wrong)


@pytest.mark.parametrize(("name", "form"), [("matrix", "svd"), ("picture", "tiles"), ("field", "tucker")])
def test_a_flipped_byte_is_found(name, form, tmp_path):
    path = tmp_path / "a.h5"
    encode(SAMPLES[name], path, rel_error=0.05, form=form)
    sound, whole = path.read_bytes(), decode(path)
    with h5py.File(path) as file:
        begin = file["archive"].id.get_offset()
    found = 0
    places = [*range(0, begin, 61), *np.linspace(begin, len(sound) - 1, 60, dtype=int)]
    for place in places:
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        try:
            np.testing.assert_array_equal(decode(path), whole)
            assert place < begin  # HDF5 leaves room unused there
        except StoreError:
            found += 1
    assert found >= 60
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(StoreError):
        decode(path)


def test_the_store_verifies_an_archive_and_another_kind_is_refused(tmp_path):
    encode(SAMPLES["matrix"], tmp_path / "a.h5", rel_error=0.1)
    verify(tmp_path / "a.h5")
    with publish(tmp_path / "b.h5", "factors"):
        pass
    with pytest.raises(StoreError, match="factors"):
        describe(tmp_path / "b.h5")
    with pytest.raises(StoreError, match="no such file"):
        decode(tmp_path / "c.h5")


@pytest.mark.parametrize("name", [*SAMPLES, "bytes", "cut", "line", "flat"])
def test_the_documented_reader_reads_every_form(name, tmp_path):
    scope: dict = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[-1], scope)
    others = {
        "bytes": picture(61, 70),
        "cut": turbulence(20, 5),
        "line": np.arange(5000.0) % 7,
        "flat": np.ones((3, 4, 5)),
    }
    A = SAMPLES.get(name, others.get(name))
    for form, target in product(forms_for(A.shape, A.dtype), (1e-1, 1e-5)):
        encode(A, tmp_path / "a.h5", rel_error=target, form=form, provenance={"why": "test"})
        B, C = scope["read_archive"](tmp_path / "a.h5"), decode(tmp_path / "a.h5")
        assert B.dtype == C.dtype
        np.testing.assert_allclose(B, C, rtol=0, atol=1e-6 * np.abs(A).max())


def test_the_curve_runs_from_coarse_to_fine_and_tells_the_size_of_the_file(tmp_path):
    A = picture(128, 128)
    for form in ("svd", "tiles"):
        points = rate_curve(A, form, count=4)
        assert [p.step for p in points] == sorted((p.step for p in points), reverse=True)
        errors = [relative(A, p.decoded) for p in points]
        assert errors == sorted(errors, reverse=True)
        for point in points[1:3]:
            info = encode(A, tmp_path / "a.h5", form=form, bytes=point.bytes)
            assert info.bytes <= point.bytes
            # The search may stop short of this very step, by half a per cent of the bytes.
            assert relative(A, decode(tmp_path / "a.h5")) <= 1.1 * relative(A, point.decoded)
        assert all(p.decoded.dtype == A.dtype for p in points)
    assert len(rate_curve(np.ones((5, 6)), "svd")) == 1


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 60)),
    scale=st.sampled_from([0.05, 1, 30, 2e4, 1e8, 1e11]),
    seed=st.integers(0, 2**31),
    smooth=st.booleans(),
)
def test_streams_come_back(shape, scale, seed, smooth):
    codes = np.rint(np.random.default_rng(seed).laplace(size=shape) * scale).astype(np.int64)
    coder, payload = pack(codes, smooth=smooth)
    np.testing.assert_array_equal(unpack(coder, payload, shape), codes)


def test_an_unknown_coder_is_refused():
    with pytest.raises(ValueError, match="newer svdflow"):
        unpack(len(NAMES), b"", (1, 1))


def test_the_dead_zone_by_hand():
    values = np.array([0.59, 0.61, -0.61, 1.59, 1.61, -2.7])
    np.testing.assert_array_equal(dead_zone(values, 1.0, 0.4), [0, 1, -1, 1, 2, -3])


def test_the_search_finds_the_edge_of_a_known_cost():
    assert 0.99 * 10**0.8 <= closest(lambda step: step**1.25, 10.0, 1e-3) <= 10**0.8
    wavy = lambda step: step * (1 + 0.05 * np.sin(1e3 * step))  # noqa: E731
    assert 0.98 * 7 <= wavy(closest(wavy, 7.0, 1e3)) <= 7
    with pytest.raises(UnreachableTargetError) as refused:
        closest(lambda step: 2 + step, 1.0, 1.0)
    assert refused.value.least == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"rel_error": "x"}, "a number"),
        ({"rel_error": True}, "a number"),
        ({"bytes": 5000.5}, "a whole number"),
        ({"rel_error": 1e-30}, "cannot be reached"),
        ({"psnr": 400.0}, "cannot be reached"),
    ],
)
def test_targets_that_make_no_sense_are_refused(tmp_path, wanted, words):
    with pytest.raises(ValueError, match=words):
        encode(np.random.default_rng(0).standard_normal((20, 30)), tmp_path / "a.h5", **wanted)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_extreme_ranges_are_refused_and_not_lost(tmp_path, scale):
    with pytest.raises(ValueError, match="rescale"):
        encode(scale * np.random.default_rng(0).standard_normal((20, 30)), tmp_path / "a.h5", rel_error=0.1)


def holes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A mask, True where valid: a border, a corner, and one value in ten are missing."""
    mask = np.random.default_rng(seed).random(shape) > 0.1
    mask[0], mask[tuple(slice(0, n // 3) for n in shape)] = False, False
    return mask


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("target", ["rel_error", "psnr", "max_abs"])
def test_missing_values_are_kept_as_missing_and_judged_by_nobody(name, target, tmp_path):
    A, mask = SAMPLES[name], holes(SAMPLES[name].shape, 1)
    value = {"rel_error": 1e-2, "psnr": 45.0, "max_abs": 1e-2 * float(np.ptp(A[mask]))}[target]
    for form in forms_for(A.shape, A.dtype):
        info = encode(A, tmp_path / "a.h5", mask=mask, form=form, **{target: value})
        B = decode(tmp_path / "a.h5")
        assert info.masked == np.count_nonzero(~mask)
        np.testing.assert_array_equal(np.ma.getmaskarray(B), ~mask)
        valid, back = A[mask].astype(np.float64), B.data[mask].astype(np.float64)
        error = valid - back
        measured, goal = {
            "rel_error": (np.linalg.norm(error) / np.linalg.norm(valid), value),
            "psnr": (np.sqrt(np.mean(error**2)), np.ptp(valid) * 10 ** (-value / 20)),
            "max_abs": (np.abs(error).max(), value),
        }[target]
        assert 0.9 * goal <= measured <= goal * (1 + 1e-12)
        rows = decode(tmp_path / "a.h5", rows=(2, len(A) - 1))
        np.testing.assert_array_equal(np.ma.getmaskarray(rows), ~mask[2:-1])


@pytest.mark.parametrize("name", ["picture", "field"])
def test_what_stands_under_a_mask_changes_no_byte(name, tmp_path):
    A, mask = SAMPLES[name], holes(SAMPLES[name].shape, 2)
    files = []
    for junk in (0.0, np.nan, np.inf, -3e30):
        encode(np.where(mask, A, junk).astype(A.dtype), tmp_path / "a.h5", mask=mask, rel_error=1e-2)
        files.append((tmp_path / "a.h5").read_bytes())
    encode(np.ma.MaskedArray(A, ~mask), tmp_path / "a.h5", rel_error=1e-2)
    assert {*files} == {(tmp_path / "a.h5").read_bytes()}
    encode(A, tmp_path / "a.h5", mask=np.ones(A.shape, bool), rel_error=1e-2)
    plain = (tmp_path / "a.h5").read_bytes()
    encode(A, tmp_path / "a.h5", rel_error=1e-2)
    assert plain == (tmp_path / "a.h5").read_bytes() and not np.ma.isMaskedArray(decode(tmp_path / "a.h5"))


def test_the_documented_reader_reads_masks_and_older_readers_are_told(tmp_path):
    scope: dict = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[-1], scope)
    for A in (SAMPLES["picture"], SAMPLES["field"], picture(40, 30)):
        for form in forms_for(A.shape, A.dtype):
            encode(A, tmp_path / "a.h5", mask=holes(A.shape, 3), rel_error=1e-2, form=form)
            B, C = scope["read_archive"](tmp_path / "a.h5"), decode(tmp_path / "a.h5")
            np.testing.assert_array_equal(B.mask, C.mask)
            tolerance = 1e-6 * np.abs(A.astype(np.float64)).max() if A.dtype.kind == "f" else 0
            np.testing.assert_allclose(B.compressed(), C.compressed(), rtol=0, atol=tolerance)
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["archive"][...].tobytes()
    assert json.loads(zlib.decompress(data[4 : 4 + int.from_bytes(data[:4], "little")]))["layout"] == 2


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((3, 3), bool), "all 9 values are masked"),
        (np.ones((3, 2), bool), r"shape \(3, 2\)"),
        (np.ones((3, 3), np.uint8), "dtype uint8"),
    ],
)
def test_masks_that_make_no_sense_are_refused(mask, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        encode(np.eye(3), tmp_path / "a.h5", rel_error=0.1, mask=mask)
    with pytest.raises(ValueError, match=r"mask=~np\.isnan"):
        encode(np.array([[1.0, np.nan]]), tmp_path / "a.h5", rel_error=0.1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"rank": True}, {"rank": 2.0}, {"data_range": True}, {"data_range": np.nan}, {"data_range": "255"}],
)
def test_arguments_that_only_look_like_numbers_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        encode(np.eye(9), tmp_path / "a.h5", psnr=30, **wrong)
    encode(np.eye(9), tmp_path / "a.h5", psnr=30)
    for read in ({"rank": True}, {"rows": (False, 2)}, {"rows": (0, 2.5)}):
        with pytest.raises(ValueError, match="must be a whole number"):
            decode(tmp_path / "a.h5", **read)


def test_an_archive_of_next_to_nothing_warns_and_a_sound_one_does_not(tmp_path):
    A = 100 + np.random.default_rng(0).standard_normal((40, 40))
    deviation = float(A.std())
    with pytest.warns(ArchiveWarning, match="rank 0"):
        encode(A, tmp_path / "a.h5", max_abs=50.0)
    with pytest.warns(ArchiveWarning, match="of the spread"):
        info = encode(A, tmp_path / "a.h5", rel_error=0.6 * deviation / 100, form="svd")
    assert info.rank > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(A, tmp_path / "a.h5", rel_error=0.4 * deviation / 100)
        encode(np.full((9, 9), 0.1), tmp_path / "a.h5", rel_error=0.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_at_the_ends_of_a_type_come_back(dtype, sign, tmp_path):
    info = np.finfo(dtype)
    A = np.full((20, 30), sign * info.max, dtype)
    A[::2] = sign * info.max * dtype(0.5)
    A[3, 4] = info.smallest_subnormal
    for form in forms_for(A.shape, A.dtype):
        encode(A, tmp_path / "a.h5", rel_error=1e-2, form=form)
        B = decode(tmp_path / "a.h5")
        assert B.dtype == A.dtype and np.isfinite(B).all() and relative(A, B) <= 1e-2
    tiny = (info.tiny * np.random.default_rng(0).random((20, 30))).astype(dtype)  # most are subnormal
    encode(tiny, tmp_path / "a.h5", rel_error=1e-1)
    assert relative(tiny, decode(tmp_path / "a.h5")) <= 1e-1


def altered(path: Path, **changes) -> None:
    """Rewrite the description of an archive as a damaged or foreign writer might have it."""
    with h5py.File(path) as file:
        data = file["archive"][...].tobytes()
    at = 4 + int.from_bytes(data[:4], "little")
    layout = json.loads(zlib.decompress(data[4:at])) | changes
    text = zlib.compress(json.dumps(layout).encode())
    with archive.published(path) as file:
        archive.write(file, np.frombuffer(len(text).to_bytes(4, "little") + text + data[at:], np.uint8))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": []}, {"shape": [-3, 30]}, {"shape": ["a", 3]}, {"shape": 9}, {"dtype": "O"}, {"dtype": "nonsense"},
        {"form": "other"}, {"step": 0}, {"step": float("nan")}, {"offset": float("inf")}, {"rank": -5}, {"rank": "x"},
        {"streams": []}, {"streams": [[1, 10, 10**9, 10**9, 0]] * 9}, {"streams": None}, {"split": 7}, {"chunk": 0},
        {"layout": None}, {"layout": 99}, {"shape": [200, 300]}, {"chunk": "a"}, {"rank": 10**9},
    ],
)  # fmt: skip
def test_a_description_that_no_encoder_wrote_is_refused(changes, tmp_path):
    A = decaying(20, 30, 0)
    encode(A, tmp_path / "a.h5", rel_error=1e-2, form="svd")
    whole = decode(tmp_path / "a.h5")
    altered(tmp_path / "a.h5")
    np.testing.assert_array_equal(decode(tmp_path / "a.h5"), whole)  # the helper itself changes nothing
    altered(tmp_path / "a.h5", **changes)
    with pytest.raises(StoreError, match=re.escape(str(tmp_path / "a.h5"))):
        decode(tmp_path / "a.h5")


def test_more_than_the_memory_of_the_machine_is_refused_before_it_is_taken(tmp_path):
    encode(np.ones((3, 4)), tmp_path / "a.h5", rel_error=0.1, form="svd")
    altered(tmp_path / "a.h5", shape=[10**9, 10**6])
    with pytest.raises(ValueError, match="decode fewer: rows="):
        decode(tmp_path / "a.h5")
    np.testing.assert_array_equal(decode(tmp_path / "a.h5", rows=(5, 7))[:, :3], np.ones((2, 3)))


@pytest.mark.parametrize("form", ["svd", "tiles"])
@pytest.mark.parametrize("target", [{"psnr": 33.0}, {"max_abs": 30.0}, {"bytes": 6000}])
def test_squares_meet_a_target_and_decode_by_rows_and_rank(form, target, tmp_path):
    """77 x 90 in squares of 32: three rows of three, the last ones cut."""
    A, path = photographs.camera()[100:177, 180:270], tmp_path / "a.h5"
    info = encode(A, path, form=form, block=32, **target)
    whole = decode(path)
    error = A.astype(float) - whole
    assert info.rel_error == pytest.approx(np.linalg.norm(error) / np.linalg.norm(A.astype(float)))
    assert info.max_abs == np.abs(error).max() and info.bytes == path.stat().st_size
    assert info.psnr >= target.get("psnr", 0) and info.max_abs <= target.get("max_abs", 255)
    assert info.bytes <= target.get("bytes", 10**6)
    for rows in ((0, 77), (5, 40), (31, 33), (64, 77), (9, 9)):
        np.testing.assert_array_equal(decode(path, rows=rows), whole[slice(*rows)])
    np.testing.assert_array_equal(decode(path, rank=info.rank), whole)
    coarse = decode(path, rank=1).astype(float)
    assert np.linalg.norm(A - coarse) > np.linalg.norm(error)
    scope: dict = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[-1], scope)
    np.testing.assert_array_equal(scope["read_archive"](path), whole)


def test_each_square_is_the_archive_of_its_part(tmp_path):
    """At one step, a square decodes to what an archive of that square alone decodes to."""
    from svdflow.codec.forms import BlockEncoder, Encoder

    A = photographs.camera()[100:164, 180:244].astype(np.float32)
    found = BlockEncoder(A, "svd", block=40, data_range=255.0).at(9.0)
    for place in ((slice(0, 40), slice(0, 40)), (slice(40, 64), slice(40, 64))):
        alone = Encoder(A[place], "svd", data_range=255.0).at(9.0)
        np.testing.assert_array_equal(found.decoded[place], alone.decoded)


@pytest.mark.parametrize("form", ["svd", "tiles"])
def test_a_memory_limit_changes_no_byte_of_an_archive(form, tmp_path, monkeypatch):
    """Decompositions of squares that do not fit are made anew at each step."""
    from svdflow.codec import forms

    made = []
    start = forms.Encoder.__init__
    monkeypatch.setattr(
        forms.Encoder, "__init__", lambda self, *a, **k: made.append(1) or start(self, *a, **k)
    )
    A = photographs.camera()[100:190, 200:277]
    counts = []
    for limit in (None, forms.OF_A_TRIAL * A.size + 3 * forms.OF_A_MODEL * 32 * 32, 1):
        encode(A, tmp_path / f"{limit}.h5", psnr=35, form=form, block=32, memory_limit=limit)
        counts.append(len(made) - sum(counts))
    assert counts[0] == 9 < counts[1] < counts[2]
    first, *others = (path.read_bytes() for path in tmp_path.glob("*.h5"))
    assert all(other == first for other in others)


def test_large_arrays_are_judged_in_bands(monkeypatch):
    from svdflow.codec import quality

    A = photographs.camera()[100:190, 200:277]
    decoded = A[::-1]
    mask = A > 40
    whole = [quality.quality(A, decoded, 255, m) for m in (None, mask)]
    words = quality.shortfall(A, 3, 0.9), quality.shortfall(A, 3, 0.9, mask)
    monkeypatch.setattr(quality, "AT_ONCE", 500)
    assert len(quality.parts_of(A)) > 10
    for one, m in zip(whole, (None, mask), strict=True):
        found = quality.quality(A, decoded, 255, m)
        assert found.max_abs == one.max_abs and found.rmse == pytest.approx(one.rmse, rel=1e-13)
        assert found.rel_error == pytest.approx(one.rel_error, rel=1e-13)
    assert (quality.shortfall(A, 3, 0.9), quality.shortfall(A, 3, 0.9, mask)) == words and all(words)


def test_squares_keep_missing_values_even_where_all_of_one_are_missing(tmp_path):
    A, mask = photographs.camera()[100:164, 180:244], np.ones((64, 64), bool)
    mask[:32, :40], mask[50, 60] = False, False
    info = encode(A, tmp_path / "a.h5", form="svd", block=32, psnr=33, mask=mask)
    back = decode(tmp_path / "a.h5")
    assert info.masked == 32 * 40 + 1 and np.array_equal(~np.ma.getmaskarray(back), mask)
    error = (A.astype(float) - back)[mask]
    assert 10 * np.log10(255**2 / np.mean(np.square(error))) == pytest.approx(info.psnr)
    scope: dict = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[-1], scope)
    again = scope["read_archive"](tmp_path / "a.h5")
    assert np.array_equal(np.ma.getdata(again)[mask], np.ma.getdata(back)[mask])


@pytest.mark.parametrize(
    "claim",
    [{"block": 1}, {"block": -3}, {"block": 0}, {"block": "x"}, {"shape": [10**9] * 2}, {"blocks": []}],
)
def test_squares_that_are_none_are_damage_and_take_no_memory(claim, tmp_path):
    from svdflow.codec import archive

    A = photographs.camera()[:64, :64]
    encode(A, tmp_path / "a.h5", form="tiles", block=32, psnr=40)
    with archive.opened(tmp_path / "a.h5") as (layout, _):
        found = layout
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        archive._check({**found, **claim})


def test_a_form_of_an_archive_that_is_not_known_is_named(tmp_path, monkeypatch):
    from svdflow.registry import ARCHIVE_FORMS

    encode(photographs.camera()[:32, :32], tmp_path / "a.h5", form="tiles", psnr=45)
    monkeypatch.delitem(ARCHIVE_FORMS._found, "tiles")
    with pytest.raises(StoreError, match=r"'tiles' is not known here .*svd, tucker.*that wrote it"):
        decode(tmp_path / "a.h5")

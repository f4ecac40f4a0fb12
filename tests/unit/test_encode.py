"""The stage encode: archives that reach their target, rows that say what files hold, beside codecs called directly."""

from dataclasses import replace

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from svdflow.codec import decode, describe
from svdflow.compute.runtime import Runtime
from svdflow.images import ingest_images, io
from svdflow.registry import CODECS as CODECS_DECLARED
from svdflow.store import read_table, verify
from svdflow.tasks import encode as tasks_encode
from svdflow.tasks.encode import encode_shard

CAMERA = data.camera()[100:196, 180:276]
CODECS = ("png", "jpeg", "jpeg2000", "webp", "avif", "zfp", "sz3", "zstd")


def run(
    shard,
    folder,
    *,
    target="psnr=32",
    forms=("svd", "tiles", "tucker"),
    codecs=CODECS,
    threads=1,
    errors=(),
    memory_limit=None,
):
    shard.write()
    encode_shard(
        shard.matrices, shard.out, folder / "archives", dataset="test", shard=0, target=target, forms=forms,
        codecs=codecs, seed=0, runtime=Runtime(threads=threads, memory_limit=memory_limit),
    )  # fmt: skip
    assert list(read_table(shard.out, "errors")["code"]) == list(errors)
    return read_table(shard.out, "rates")


def test_the_smallest_archive_that_reaches_the_target_is_kept(factored_shard, tmp_path):
    table = run(factored_shard().image(CAMERA, name="my photo.png"), tmp_path)
    (kept,) = table[table["kept"]].itertuples()
    (file,) = (tmp_path / "archives").glob("[!.]*")
    assert file.name == "000000_my-photo_grey.h5"
    verify(file, "archive")
    back = decode(file)
    assert back.dtype == np.uint8 and kept.bytes == file.stat().st_size == describe(file).bytes
    assert (
        kept.psnr == pytest.approx(peak_signal_noise_ratio(CAMERA, back, data_range=255)) and kept.psnr >= 32
    )
    similarity = structural_similarity(
        CAMERA, back, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert kept.ssim == pytest.approx(similarity, abs=1e-9)
    assert kept.max_error == np.abs(CAMERA.astype(int) - back).max()
    assert (kept.codec, kept.target) == ("svdflow", "psnr=32")
    # The other form took more: its own curve says so where it passes that quality.
    assert set(table["form"]) == {"", "svd", "tiles"}


def test_peers_are_what_their_libraries_give(factored_shard, tmp_path):
    table = run(factored_shard().image(CAMERA), tmp_path, codecs=["jpeg", "png"])
    for row in table[table["codec"] == "jpeg"].itertuples():
        stream = imagecodecs.jpeg8_encode(CAMERA, level=int(float(row.setting)), optimize=True)
        assert row.bytes == len(stream)
        assert row.psnr == pytest.approx(
            peak_signal_noise_ratio(CAMERA, imagecodecs.jpeg8_decode(stream), data_range=255)
        )
        assert row.bits_per_pixel == 8 * row.bytes / CAMERA.size
    (png,) = table[table["codec"] == "png"].itertuples()
    assert png.lossless and png.psnr == np.inf and png.max_error == 0


def test_codecs_that_do_not_take_a_plane_leave_no_row(factored_shard, tmp_path):
    images = run(factored_shard().image(CAMERA), tmp_path)
    assert set(images["codec"]) == {"svdflow", "png", "jpeg", "jpeg2000", "webp", "avif", "zstd"}
    A = np.random.default_rng(0).standard_normal((40, 3)) @ np.random.default_rng(1).standard_normal((3, 30))
    matrices = run(factored_shard().matrix(A), tmp_path, target="rel_error=1e-2")
    assert set(matrices["codec"]) == {"svdflow", "zfp", "sz3", "zstd"}
    assert matrices[matrices["kept"]]["relative_error"].iloc[0] <= 1e-2


def test_a_grid_makes_a_series_of_a_matrix(factored_shard, tmp_path):
    y, x, t = np.mgrid[:12, :10, :20]
    field = np.sin(x / 5 + t / 7) * np.cos(y / 6)
    shard = factored_shard().matrix(field.reshape(120, 20), grid=[12, 10])
    table = run(shard, tmp_path, target="rel_error=1e-2", codecs=[])
    assert set(table["form"]) == {"svd", "tucker"}
    (file,) = (tmp_path / "archives").glob("[!.]*")
    assert decode(file).shape == (12, 10, 20)


def test_what_cannot_be_encoded_is_a_row_of_errors(factored_shard, tmp_path, monkeypatch):
    monkeypatch.setattr("svdflow.tasks.encode.LIMIT", 30)
    shard = factored_shard().matrix(np.ones((4, 5)) * 1j).matrix(np.ones((5, 7)))
    assert run(shard, tmp_path, errors=["not_applicable", "too_large"]).empty
    messages = list(read_table(shard.out, "errors")["message"])
    assert "complex" in messages[0] and "35 values" in messages[1] and "svdflow.encode" in messages[1]


def test_a_codec_that_a_picture_is_too_wide_for_is_a_row_of_errors(factored_shard, tmp_path, monkeypatch):
    webp = replace(CODECS_DECLARED["webp"], side=95)
    monkeypatch.setitem(CODECS_DECLARED._found, "webp", webp)
    table = run(
        factored_shard().image(CAMERA), tmp_path, codecs=("webp", "jpeg", "zfp"), errors=["not_applicable"]
    )  # zfp takes no pictures at all, as it declares
    assert set(table["codec"]) == {"svdflow", "jpeg"}


def test_a_large_picture_is_encoded_in_squares(factored_shard, tmp_path, monkeypatch):
    """Squares of 40 pixels: the archive meets its target, the curves judge what squares decode to."""
    monkeypatch.setattr("svdflow.codec.forms.WHOLE", 96 * 96 - 1)
    monkeypatch.setattr("svdflow.codec.forms.BLOCK", 40)
    table = run(factored_shard().image(CAMERA), tmp_path, codecs=["jpeg"])
    (kept,) = table[table["kept"]].itertuples()
    (file,) = (tmp_path / "archives").glob("[!.]*")
    psnr = peak_signal_noise_ratio(CAMERA, decode(file), data_range=255)
    assert kept.psnr == pytest.approx(psnr) and 32 <= psnr < 32.6
    ours = table[(table["codec"] == "svdflow") & ~table["kept"]]
    assert set(ours["form"]) == {"svd", "tiles"}
    assert all(ours[ours["form"] == form]["psnr"].is_monotonic_increasing for form in ("svd", "tiles"))


@pytest.mark.parametrize("limit", [2**31, 600_000])
def test_a_memory_limit_changes_no_row(factored_shard, tmp_path, monkeypatch, limit):
    """Not even one that holds the decompositions of four of nine squares."""
    monkeypatch.setattr("svdflow.codec.forms.WHOLE", 96 * 96 - 1)
    monkeypatch.setattr("svdflow.codec.forms.BLOCK", 40)
    shard = factored_shard().image(CAMERA)
    tables = [run(shard, tmp_path, codecs=["jpeg"], memory_limit=most) for most in (None, limit)]
    pd.testing.assert_frame_equal(*tables)


def test_a_plane_above_the_memory_limit_is_a_row_of_errors(factored_shard, tmp_path):
    shard = factored_shard().image(CAMERA)
    table = run(shard, tmp_path, memory_limit=2**19, errors=["too_large"])
    message = read_table(shard.out, "errors")["message"][0]
    assert table.empty and "9,216 values" in message and "runtime.memory_limit" in message


def test_large_pictures_go_side_by_side_as_memory_allows(factored_shard, tmp_path, monkeypatch):
    seen = []
    each = tasks_encode.each_item
    monkeypatch.setattr(
        tasks_encode, "each_item", lambda *a, **k: seen.append(k["runtime"].threads) or each(*a, **k)
    )
    shard = factored_shard()
    for i in range(3):
        shard.image(np.roll(CAMERA, 9 * i, axis=1), name=f"{i}.png")
    need = tasks_encode.bytes_of(CAMERA.size)
    monkeypatch.setattr(tasks_encode, "LEAST_BYTES", 0)
    for limit in (None, 2 * need, need // 2):
        run(shard, tmp_path, codecs=[], threads=3, memory_limit=limit)
    assert seen == [3, 2, 1]
    sizes = [tasks_encode.bytes_of(n) for n in (1, 2**21, 2**21 + 1, 2**24, 2**26)]
    assert sizes == sorted(sizes)


def test_a_target_out_of_reach_keeps_nothing_and_the_curves_stay(factored_shard, tmp_path):
    table = run(factored_shard().image(CAMERA), tmp_path, target="bytes=10", errors=["target_not_met"])
    assert not table["kept"].any() and len(table) > 10 and not list((tmp_path / "archives").glob("[!.]*"))


def test_threads_change_no_bit(factored_shard, tmp_path):
    shard = factored_shard()
    for i in range(3):
        shard.image(np.roll(CAMERA, 9 * i, axis=1), name=f"{i}.png")
    tables, files = [], []
    for threads in (1, 3):
        tables.append(run(shard, tmp_path, codecs=["jpeg"], threads=threads))
        files.append([p.read_bytes() for p in sorted((tmp_path / "archives").glob("[!.]*"))])
    assert tables[0].equals(tables[1]) and files[0] == files[1]


def test_a_target_that_no_form_reaches_is_an_error_and_the_other_codecs_stay(factored_shard, tmp_path):
    shard = factored_shard().image(CAMERA, name="lost.png").image(np.full_like(CAMERA, 7), name="flat.png")
    table = run(shard, tmp_path, target="bytes=2235", errors=["target_not_met"])
    errors = read_table(shard.out, "errors")
    assert list(errors["name"]) == ["lost.png"] and "bytes=2235" in errors["message"][0]
    assert set(table[table["item"] == 0]["codec"]) >= {"png", "jpeg"}  # measured all the same
    assert list(table[table["kept"]]["item"]) == [1]


def test_an_archive_that_keeps_next_to_nothing_says_so(factored_shard, tmp_path):
    shard = factored_shard().image(CAMERA, name="photo.png").image(CAMERA // 64 + 100, name="dull.png")
    table = run(shard, tmp_path, target="psnr=36", codecs=[])
    photo, dull = table[table["kept"]].sort_values("item").itertuples()
    # Four grey levels have a deviation of about one: 36 dB of 255 allow an error of four.
    assert photo.note == "" and dull.note.startswith("rank 0")
    assert table[~table["kept"]]["note"].eq("").all()


def test_missing_pixels_stay_missing_in_the_archives_of_a_shard(tmp_path, monkeypatch):
    rows = np.arange(60)[:, None] * np.ones(50)
    values = (rows + 20 * np.sin(np.arange(50) / 4)).astype(np.float32)
    valid = np.ones(values.shape, bool)
    valid[:7] = valid[30, 20] = False
    np.save(tmp_path / "a.npy", values)

    def read_image(path, **_):
        record = io.read_image(tmp_path / "a.npy")
        return replace(record, pages=[record.pages[0]._replace(mask=valid if "hole" in path else None)])

    monkeypatch.setattr(ingest_images, "read_image", read_image)
    files = [{"index": i, "path": name, "name": name} for i, name in enumerate(["full.npy", "hole.npy"])]
    ingest_images.ingest_images(
        files, tmp_path / "matrices.h5", dataset="test", shard=0, colour="gray", noise_sigma=[], seed=0
    )
    assert not list(read_table(tmp_path / "matrices.h5", "errors")["message"])
    encode_shard(
        tmp_path / "matrices.h5", tmp_path / "out.h5", tmp_path / "archives", dataset="test", shard=0,
        target="rel_error=0.01", forms=["svd", "tiles"], codecs=["zfp"], seed=0,
    )  # fmt: skip
    assert read_table(tmp_path / "out.h5", "errors").empty
    table = read_table(tmp_path / "out.h5", "rates")
    back = decode(tmp_path / "archives" / "000001_hole_grey.h5")
    np.testing.assert_array_equal(np.ma.getmaskarray(back), ~valid)
    error, values = (back.data - values)[valid], values[valid].astype(float)
    (row,) = table[table["item"] == 1].itertuples()
    assert row.kept and row.relative_error == pytest.approx(
        np.linalg.norm(error) / np.linalg.norm(values), rel=1e-6
    )
    assert not np.ma.isMaskedArray(decode(tmp_path / "archives" / "000000_full_grey.h5"))

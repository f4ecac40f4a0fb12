"""Missing pixels: kept as a mask from the file to the tables, never taken for numbers, refused where they must be."""

import html
import io

import numpy as np
import pytest
import tifffile

from svdflow.__main__ import main
from svdflow.audit.conditioning import audit_conditioning_shard
from svdflow.codec import decode
from svdflow.images import ingest_images as ingest_module
from svdflow.images import pictures
from svdflow.images.formats.containers import Page
from svdflow.images.ingest_images import ingest_images
from svdflow.images.io import ImageRecord, read_image, write_image
from svdflow.metrics import ssim
from svdflow.report.aggregate import aggregate
from svdflow.report.tables import write_tables
from svdflow.report.verdict import verdict
from svdflow.store import items, open_published, read_array, read_table
from svdflow.study import contents
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard
from svdflow.tasks.encode import encode_shard

RNG = np.random.default_rng(12)
PICTURE = RNG.integers(1, 200, (20, 30), dtype=np.uint8)
HOLE = np.ones((20, 30), bool)
HOLE[3:9, 10:14] = False  # 24 missing pixels


def record(*pages, profile=b""):
    array = pages[0].array
    bits = 8 * array.itemsize
    known = {"format": "TIFF", "mode": "x", "exif_orientation": 1, "icc_profile": profile}
    attrs = {"dtype": str(array.dtype), "bits": bits, "significant_bits": bits, "pages": len(pages)}
    return ImageRecord(list(pages), {**known, **attrs, "has_alpha": any(p.alpha is not None for p in pages)})


@pytest.fixture
def shard(tmp_path, monkeypatch):
    """Ingests records by name, as if a file of each had been read; gives the path of the matrices file."""

    def make(records, **options):
        monkeypatch.setattr(ingest_module, "read_image", lambda path, **_: records[path])
        files = [{"index": i, "path": name, "name": name} for i, name in enumerate(records)]
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        chosen = {"dataset": "test", "shard": 0, "colour": "rgb", "noise_sigma": [], "seed": 42, **options}
        ingest_images(files, out, **chosen)
        return out

    return make


def test_the_mask_is_stored_and_no_bit_depends_on_what_stood_under_it(shard):
    junk = np.where(HOLE, PICTURE, 255).astype(np.uint8)
    outs = [
        shard({"a": record(Page(p, mask=HOLE)), "b": record(Page(PICTURE))}, noise_sigma=[10])
        for p in (PICTURE, junk)
    ]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    with open_published(outs[0], "matrices") as file:
        masked, whole = items(file)
        assert masked.attrs["masked"] == 24 and whole.attrs["masked"] == 0
        assert whole.mask is None and whole.mask_of("grey") is None and "mask" not in whole.group
        assert masked.mask.dtype == np.uint8 and np.array_equal(masked.mask_of("grey"), HOLE)
        first, noisy = (read_array(o.planes["grey"]) for o in masked.observations)
        assert np.array_equal(first, np.where(HOLE, PICTURE, 0))
        assert np.all(noisy[~HOLE] == 0) and np.all(noisy[HOLE] != PICTURE[HOLE])
        # The valid pixels bear the same noise as if nothing were missing.
        assert first.dtype == np.uint8 and noisy.dtype == np.float32
        assert (
            masked.attrs["data_min"] == PICTURE[HOLE].min()
            and masked.attrs["data_max"] == PICTURE[HOLE].max()
        )


def test_pages_and_colours_have_masks_of_their_own(shard):
    colour = RNG.integers(1, 250, (20, 30, 3), dtype=np.uint8)
    pages = record(Page(colour, mask=HOLE), Page(colour), Page(colour, mask=~HOLE))
    with open_published(shard({"a": pages}, colour="ycbcr"), "matrices") as file:
        (item,) = items(file)
        assert item.mask.shape == (3, 20, 30) and item.attrs["masked"] == 600
        assert np.array_equal(item.mask_of("cb_p000"), HOLE) and np.array_equal(item.mask_of("y_p002"), ~HOLE)
        assert item.mask_of("cr_p001") is None
        assert np.all(read_array(item.observations[0].planes["cb_p000"])[~HOLE] == 0)


def test_a_crop_to_the_valid_part_needs_no_mask(shard):
    border = np.zeros((20, 30), bool)
    border[4:16, 8:22] = True
    with open_published(shard({"a": record(Page(PICTURE, mask=border))}, crop=10), "matrices") as file:
        (item,) = items(file)
        assert item.attrs["masked"] == 0 and item.mask is None


def test_nothing_but_missing_pixels_is_a_row_of_the_errors(shard):
    out = shard({"void": record(Page(PICTURE, mask=np.zeros_like(HOLE))), "good": record(Page(PICTURE))})
    (row,) = read_table(out, "errors").to_dict("records")
    assert row["code"] == "all_masked" and row["name"] == "void"
    with open_published(out, "matrices") as file:
        assert [item.name for item in items(file)] == ["good"]


def test_factorize_refuses_a_masked_item_by_name_and_touches_no_other(shard, tmp_path):
    good = {"good": record(Page(PICTURE))}
    options = {"dataset": "test", "shard": 0, "item_rank": 4, "noisy_rank": 4, "seed": 1}
    factors = []
    for number, records in enumerate([{"bad": record(Page(PICTURE, mask=HOLE)), **good}, {"": None, **good}]):
        factors.append(tmp_path / f"factors{number}.h5")
        factorize_shard(shard(records, noise_sigma=[5]), factors[-1], **options)
    (row,) = read_table(factors[0], "errors").to_dict("records")
    assert row["code"] == "masked" and row["stage"] == "factorize" and row["name"] == "bad"
    assert "24 pixels" in row["message"] and "fill=" in row["message"] and "crop" in row["message"]
    tables = [read_table(f, "factorize") for f in factors]
    assert list(tables[0]["name"]) == ["good", "good"]
    with open_published(factors[0], "factors") as one, open_published(factors[1], "factors") as other:
        assert list(one["items"]) == ["000001"]
        for level in "01":
            path = f"items/000001/{level}/grey/Vt"
            assert np.array_equal(one[path][...], other[path][...])


# ---- filled, so that they can be factorized


SMOOTH = np.round(100 + 40 * np.sin(np.arange(32)[:, None] / 3) * np.cos(np.arange(40) / 5)).astype(np.uint8)
GAP = np.ones(SMOOTH.shape, bool)
GAP[12:18, 20:26] = False


@pytest.mark.parametrize(
    ("fill", "value"),
    [("median", np.median(SMOOTH[GAP])), ("mean", np.floor(SMOOTH[GAP].mean() + 0.5)), ("7", 7), ("0", 0)],
)
def test_what_is_filled_is_named_kept_apart_and_factorized(shard, tmp_path, fill, value):
    out = shard({"a": record(Page(SMOOTH, mask=GAP))}, fill=fill, noise_sigma=[5])
    with open_published(out, "matrices") as file:
        (item,) = items(file)
        assert (item.attrs["masked"], item.attrs["filled"]) == (36, fill)
        assert np.array_equal(item.mask_of("grey"), GAP)
        first, noisy = (read_array(o.planes["grey"]) for o in item.observations)
        assert np.array_equal(first, np.where(GAP, SMOOTH, value)) and np.all(noisy[~GAP] == value)
        assert item.attrs["data_max"] == SMOOTH[GAP].max()
    factorize_shard(out, tmp_path / "f.h5", dataset="d", shard=0, item_rank=3, noisy_rank=3, seed=1)
    assert (
        len(read_table(tmp_path / "f.h5", "errors")) == 0
        and len(read_table(tmp_path / "f.h5", "factorize")) == 2
    )


@pytest.mark.parametrize(
    ("fill", "dtype"), [("300", np.uint8), ("-1", np.uint16), ("1.5", np.int16), ("1e39", np.float32)]
)
def test_a_filling_that_the_type_does_not_hold_is_a_row_of_the_errors(shard, fill, dtype):
    out = shard({"a": record(Page(SMOOTH.astype(dtype), mask=GAP)), "b": record(Page(PICTURE))}, fill=fill)
    (row,) = read_table(out, "errors").to_dict("records")
    assert (
        row["code"] == "fill" and f"fill={fill}" in row["message"] and np.dtype(dtype).name in row["message"]
    )


def test_a_page_without_a_valid_pixel_has_no_median(shard):
    pages = record(Page(SMOOTH, mask=GAP), Page(SMOOTH, mask=np.zeros_like(GAP)))
    (row,) = read_table(shard({"a": pages}, fill="median"), "errors").to_dict("records")
    assert row["code"] == "fill" and "fill=0" in row["message"]


def compressed(out, folder, **options):
    factorize_shard(out, folder / "f.h5", dataset="d", shard=0, item_rank=6, noisy_rank=6, seed=1)
    chosen = {
        "ranks": [2, 4],
        "energies": [],
        "powers_of_two": False,
        "metrics": ["psnr", "ssim"],
        "images": "all",
    }
    compress_shard(
        out, folder / "f.h5", folder / "c.h5", folder / "pictures", dataset="d", shard=0, **(chosen | options)
    )
    return read_table(folder / "c.h5", "compress")


def test_figures_are_those_of_the_valid_pixels(shard, tmp_path):
    """Whatever fills the gap: the error in it is left out of every figure."""
    table = compressed(shard({"a": record(Page(SMOOTH, mask=GAP))}, fill="255"), tmp_path)
    filled = np.where(GAP, SMOOTH, 255).astype(float)
    U, s, Vt = np.linalg.svd(filled)
    for rank, row in zip([2, 4], table.to_dict("records"), strict=True):
        image = (U[:, :rank] * s[:rank]) @ Vt[:rank]
        error = (filled - image)[GAP]
        assert row["relative_error"] == pytest.approx(
            np.linalg.norm(error) / np.linalg.norm(filled[GAP]), rel=1e-4
        )
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-3)
        assert row["max_error"] == pytest.approx(np.abs(error).max(), rel=1e-4)
        assert row["ssim"] == pytest.approx(ssim(filled, image, data_range=255, mask=GAP), abs=1e-4)
        assert row["nrmse"] == pytest.approx(np.sqrt(np.mean(error**2)) / 255, rel=1e-4)


def test_tables_and_verdict_say_that_pixels_are_missing(shard, tmp_path):
    out = shard({"a": record(Page(SMOOTH, mask=GAP)), "b": record(Page(SMOOTH, mask=~GAP))}, fill="median")
    table = compressed(out, tmp_path)
    assert dict(zip(table["name"], table["masked"], strict=True)) == {"a": 36, "b": GAP.size - 36}
    aggregate([out, tmp_path / "f.h5", tmp_path / "c.h5"], tmp_path / "metrics.h5")
    text = io.StringIO()
    verdict(tmp_path / "metrics.h5", allow_errors=0, strict=False, audited=False, stream=text)
    assert "2 planes with missing pixels (50 % of theirs): no figure counts these." in text.getvalue()


def test_a_masked_item_is_counted_among_the_errors(shard, tmp_path):
    out = shard({"a": record(Page(SMOOTH, mask=GAP)), "b": record(Page(SMOOTH))})
    compressed(out, tmp_path)
    aggregate([out, tmp_path / "f.h5", tmp_path / "c.h5"], tmp_path / "metrics.h5")
    text = io.StringIO()
    assert not verdict(tmp_path / "metrics.h5", allow_errors=0, strict=False, audited=False, stream=text)
    assert "1 error" in text.getvalue() and "masked: 36 pixels are missing" in text.getvalue()
    write_tables(tmp_path / "metrics.h5", tmp_path / "tables")
    assert "fill=median" in html.unescape((tmp_path / "tables" / "errors.md").read_text())


def test_an_item_with_gaps_leaves_no_row_and_no_picture_and_its_neighbour_all(shard, tmp_path):
    table = compressed(
        shard({"gap": record(Page(SMOOTH, mask=GAP)), "whole": record(Page(SMOOTH))}), tmp_path
    )
    assert set(table["name"]) == {"whole"} and len(read_table(tmp_path / "c.h5", "errors")) == 0
    assert {path.name[:12] for path in (tmp_path / "pictures").glob("0*")} == {"000001_whole"}


# ---- pictures


def test_missing_pixels_are_transparent_in_pictures_of_integers(shard, tmp_path):
    for dtype in (np.uint8, np.uint16, np.int32):
        folder = tmp_path / np.dtype(dtype).name
        folder.mkdir()
        compressed(shard({"a": record(Page(SMOOTH.astype(dtype), mask=GAP))}, fill="median"), folder)
        (written,) = folder.glob("pictures/*/rank4.*")
        page = read_image(written).pages[0]
        assert page.array.dtype == dtype and np.all(page.array[~GAP] == 0)
        assert np.array_equal(page.alpha == np.iinfo(dtype).max, GAP) and np.all(page.alpha[~GAP] == 0)


def test_missing_pixels_are_transparent_beside_an_alpha_of_its_own(tmp_path):
    alpha = RNG.integers(1, 250, SMOOTH.shape, dtype=np.uint8)
    path = write_image(tmp_path / "a.png", np.dstack([SMOOTH] * 3), alpha=alpha, mask=GAP)
    assert np.array_equal(read_image(path).pages[0].alpha, np.where(GAP, alpha, 0))


def test_missing_pixels_of_floats_come_back_as_missing(shard, tmp_path):
    compressed(shard({"a": record(Page(SMOOTH.astype(np.float32), mask=GAP))}, fill="0"), tmp_path)
    (written,) = tmp_path.glob("pictures/*/rank4.tif")
    with tifffile.TiffFile(written) as tif:
        assert tif.pages[0].tags["GDAL_NODATA"].value == "nan" and np.isnan(tif.asarray()[~GAP]).all()
    assert np.array_equal(read_image(written).pages[0].mask, GAP)


def test_a_panel_is_stretched_by_quantiles_says_so_and_shows_what_is_missing(shard, tmp_path):
    deep = SMOOTH.astype(np.uint16) * 2
    deep[0, 0] = 65535  # one hot pixel
    spy = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pictures,
            "panel",
            lambda tiles, legend="": spy.append((tiles, legend)) or np.zeros((4, 4), np.uint8),
        )
        compressed(shard({"a": record(Page(deep, mask=GAP))}, fill="0"), tmp_path, images="panels")
    ((tiles, legend),) = spy
    assert "quantiles" in legend and "grey: missing" in legend
    original = tiles[0][1]
    assert np.all(original[~GAP] == pictures.NEUTRAL) and np.ptp(original[GAP]) > 200  # no black panel
    assert all(np.all(tile[~GAP] == pictures.NEUTRAL) for _, tile in tiles)


def test_eight_bits_are_shown_as_they_are():
    assert pictures.display_limits(SMOOTH) == (0, 255)
    assert np.array_equal(pictures.eight_bits(SMOOTH, (0.0, 255.0)), SMOOTH)
    signed = SMOOTH.astype(np.float64) - 100
    low, high = pictures.display_limits(signed)
    assert signed.min() <= low < 0 < high <= signed.max()
    assert pictures.display_limits(np.full((3, 3), 5.0)) == (5, 10)
    canvas = pictures.panel([("original", SMOOTH)], "black -40, white 40 (quantiles); grey: missing")
    assert canvas.shape[1] > 200 and np.any(
        canvas[-pictures.CAPTION :] < 100
    )  # the legend stands below, whole


# ---- from real files


def test_nodata_of_a_file_goes_all_the_way(tmp_path):
    """A 16-bit TIFF whose GDAL_NODATA is 65535: range, statistics and refusal know nothing of that number."""
    deep = np.where(GAP, SMOOTH.astype(np.uint16), np.uint16(65535))
    tifffile.imwrite(tmp_path / "a.tif", deep, extratags=[(42113, 2, 0, "65535", True)])
    files = [{"index": 0, "path": str(tmp_path / "a.tif"), "name": "a.tif"}]
    out = tmp_path / "m.h5"
    ingest_images(files, out, dataset="d", shard=0, colour="gray", noise_sigma=[], seed=1)
    with open_published(out, "matrices") as file:
        (item,) = items(file)
        assert np.array_equal(item.mask_of("grey"), GAP)
        assert (item.attrs["data_max"], item.attrs["data_range"]) == (SMOOTH[GAP].max(), 255)
    assert contents.measured([tmp_path / "a.tif"], 10**6) == [
        f"uint16 16 {SMOOTH[GAP].min():.1f} {SMOOTH[GAP].max():.1f}"
    ]


def test_one_file_with_gaps_on_the_command_line(tmp_path, capsys):
    values = np.where(GAP, SMOOTH, np.nan).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    command = ["compress", str(tmp_path / "a.tif"), str(tmp_path / "out"), "--ranks", "3"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "36 pixels are missing" in said and "--fill" in said
    assert main([*command, "--fill", "median"]) == 0
    (written,) = (tmp_path / "out").rglob("rank3.tif")
    assert np.array_equal(np.isnan(tifffile.imread(written)), ~GAP)
    with pytest.raises(SystemExit):
        main([*command, "--fill", "much"])
    assert "mean, median or a number" in capsys.readouterr().err


def test_where_no_stage_needs_factors_nothing_is_refused(shard, tmp_path):
    out = shard({"gap": record(Page(SMOOTH, mask=GAP)), "whole": record(Page(SMOOTH))})
    options = {"dataset": "d", "shard": 0, "item_rank": 3, "noisy_rank": 0, "seed": 1, "refuse_masked": False}
    factorize_shard(out, tmp_path / "f.h5", **options)
    assert len(read_table(tmp_path / "f.h5", "errors")) == 0
    assert list(read_table(tmp_path / "f.h5", "factorize")["name"]) == ["whole"]


def test_no_audit_takes_the_zeros_of_a_gap_for_values(shard, tmp_path):
    """A full decomposition of the plane with zeros in its gap would be one of a made-up matrix."""
    out = shard({"gap": record(Page(SMOOTH, mask=GAP)), "filled": record(Page(SMOOTH))})
    factorize_shard(out, tmp_path / "f.h5", dataset="d", shard=0, item_rank=3, noisy_rank=0, seed=1)
    options = {"dataset": "d", "shard": 0, "items": [0, 1], "full_up_to": 100, "thresholds": {}}
    audit_conditioning_shard(out, tmp_path / "f.h5", tmp_path / "a.h5", **options)
    audits = read_table(tmp_path / "a.h5", "audit")
    (only,) = audits[audits["item"] == 0].to_dict("records")
    assert only["verdict"] == "SKIP" and "36 pixels are missing" in only["reason"]
    assert len(audits[audits["item"] == 1]) > 5


def test_the_archive_of_a_plane_with_gaps_is_judged_by_its_valid_pixels(shard, tmp_path):
    out = shard({"a": record(Page(SMOOTH, mask=GAP))})
    options = {"target": "rel_error=0.02", "forms": ["svd"], "codecs": ["png"], "seed": 1}
    encode_shard(out, tmp_path / "e.h5", tmp_path / "archives", dataset="d", shard=0, **options)
    (row,) = read_table(tmp_path / "e.h5", "rates").to_dict("records")
    (archive,) = (tmp_path / "archives").glob("*.h5")
    decoded = decode(archive)
    assert np.array_equal(~np.ma.getmaskarray(decoded), GAP)
    error = (SMOOTH - decoded.astype(float))[GAP].data
    assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), rel=1e-9)
    assert row["max_error"] == np.abs(error).max() and row["masked"] == 36 and not row["lossless"]
    whole = np.where(GAP, decoded.data, 0).astype(float)
    assert row["ssim"] == pytest.approx(
        ssim(SMOOTH.astype(float), whole, data_range=255, mask=GAP), abs=1e-12
    )

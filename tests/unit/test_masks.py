"""Missing pixels: kept as a mask from the file to the tables, never taken for numbers, refused where they must be."""

import numpy as np
import pytest

from svdflow.images import ingest as ingest_module
from svdflow.images.containers import Page
from svdflow.images.ingest import ingest_images
from svdflow.images.io import ImageRecord
from svdflow.linalg.stage import factorize_shard
from svdflow.store import items, open_published, read_array, read_table

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

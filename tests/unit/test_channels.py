"""colour=channels: every band of an image is a plane, from the file to the pictures."""

import numpy as np
import pytest
import tifffile

from svdflow.__main__ import main
from svdflow.images.colour import for_display, from_planes, to_planes
from svdflow.images.ingest_images import ingest_images
from svdflow.images.io import read_image
from svdflow.store import items, open_published, read_array, read_table

RNG = np.random.default_rng(3)
BANDS = RNG.integers(0, 4096, (24, 20, 7), dtype=np.uint16)


@pytest.fixture
def seven(tmp_path):
    path = tmp_path / "seven.tif"
    tifffile.imwrite(path, BANDS, photometric="minisblack", planarconfig="contig")
    return path


@pytest.mark.parametrize("count", [2, 3, 4, 7, 100, 101])
def test_bands_go_there_and_back_and_sort_as_they_stand(count):
    array = RNG.integers(0, 256, (3, 4, count), dtype=np.uint8)
    planes = to_planes(array, "channels")
    assert sorted(planes) == list(planes)
    assert len(planes) == count
    assert np.array_equal(from_planes(planes, "channels"), array)
    assert for_display(planes, "channels", np.uint8).shape == (3, 4 * min(count, 3))


def test_a_shard_holds_each_band(tmp_path, seven):
    file = {"index": 0, "path": str(seven), "name": "seven.tif"}
    ingest_images([file], tmp_path / "m.h5", dataset="d", shard=0, colour="channels", noise_sigma=[], seed=0)
    with open_published(tmp_path / "m.h5", "matrices") as stored:
        (item,) = items(stored)
        planes = item.observations[0].planes
        assert list(planes) == [f"c{band:02d}" for band in range(7)]
        assert all(np.array_equal(read_array(planes[f"c{b:02d}"]), BANDS[..., b]) for b in range(7))
        assert item.attrs["colour"] == "channels"


def test_without_it_bands_are_refused_and_it_is_named(tmp_path, seven):
    file = {"index": 0, "path": str(seven), "name": "seven.tif"}
    ingest_images([file], tmp_path / "m.h5", dataset="d", shard=0, colour="rgb", noise_sigma=[], seed=0)
    errors = read_table(tmp_path / "m.h5", "errors")
    assert "colour=channels" in errors["message"][0]


def test_pictures_are_one_a_band(tmp_path, seven, capsys):
    assert main(["compress", str(seven), str(tmp_path / "out"), "--colour", "channels", "--ranks", "20"]) == 0
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    names = [path.stem for path in pictures if path.stem.startswith("rank20_c")]
    assert names == [f"rank20_c{band:02d}" for band in range(7)]
    last = next(path for path in pictures if path.stem == "rank20_c06")
    assert np.abs(read_image(last).pages[0].array.astype(int) - BANDS[..., 6]).max() <= 1  # full rank
    capsys.readouterr()


def test_denoising_works_on_bands(tmp_path, seven, capsys):
    assert (
        main(["denoise", str(seven), str(tmp_path / "out"), "--colour", "channels", "--method", "patch_svd"])
        == 0
    )
    assert len(list((tmp_path / "out").rglob("*_c0?.png"))) == 7
    capsys.readouterr()

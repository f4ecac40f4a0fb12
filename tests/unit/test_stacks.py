"""Small planes of equal shape and type are stored as one array each, and read as if each stood for itself."""

import h5py
import numpy as np
import pytest

from svdflow import open_matrix
from svdflow.compute.runtime import Runtime
from svdflow.errors import DamagedError
from svdflow.images.ingest_images import ingest_images
from svdflow.images.io import write_image
from svdflow.store import (
    factors,
    items,
    open_published,
    publish,
    read_array,
    read_table,
    verify,
    write_array,
    write_table,
)
from svdflow.store import files as store_files
from svdflow.store import stacks as store_stacks
from svdflow.store.shards import add_item, add_observation
from svdflow.store.stacks import StackWriter, stacks
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard

SHAPES = [(24, 32), (24, 32), (20, 20), (24, 32), (20, 20)]
PLACE = {"dataset": "d", "shard": 0}


def pictures(folder, shapes=SHAPES, dtype=np.uint8):
    """Files of random pixels, and the pixels."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype) for shape in shapes]
    files = []
    for index, array in enumerate(arrays):
        path = write_image(folder / f"p{index}.png", array)
        files.append({"index": index, "path": str(path), "name": f"p{index}.png"})
    return files, arrays


def ingested(folder, files, **more):
    out = folder / "matrices.h5"
    ingest_images(files, out, colour="gray", noise_sigma=[], seed=0, **PLACE, **more)
    return out


def factored(folder, matrices, rank=5, threads=1):
    out = folder / "factors.h5"
    factorize_shard(
        matrices, out, item_rank=rank, noisy_rank=0, seed=0, runtime=Runtime(threads=threads), **PLACE
    )
    return out


def compressed(folder, matrices, found):
    out = folder / "compress.h5"
    compress_shard(
        matrices, found, out, folder / "pictures", ranks=[1, 3, 5], energies=[0.9], powers_of_two=False,
        metrics=["psnr", "ssim"], images="none", **PLACE,
    )  # fmt: skip
    return read_table(out, "compress")


def test_planes_of_equal_shape_are_one_array(tmp_path):
    files, arrays = pictures(tmp_path)
    matrices = ingested(tmp_path, files)
    with h5py.File(matrices) as file:  # as any other program sees it
        shapes = sorted(file[f"stacks/{name}/pixels"].shape for name in ("00000", "00001"))
        entries = file["stacks/entries"][...]
        assert shapes == [(2, 20, 20), (3, 24, 32)]
        for entry in entries:
            stack = file[f"stacks/{entry['stack']:05d}/pixels"]
            np.testing.assert_array_equal(stack[entry["row"]], arrays[entry["item"]])


def test_each_is_read_by_the_name_of_its_item(tmp_path):
    files, arrays = pictures(tmp_path)
    matrices = ingested(tmp_path, files)
    with open_published(matrices, "matrices") as file:
        found = list(items(file))
        assert [item.name for item in found] == [entry["name"] for entry in files]
        for item, array in zip(found, arrays, strict=True):
            plane = item.observations[0].planes["grey"]
            assert (plane.shape, plane.dtype, plane.ndim, plane.nbytes) == (
                array.shape, array.dtype, 2, array.nbytes,
            )  # fmt: skip
            np.testing.assert_array_equal(read_array(plane), array)
            np.testing.assert_array_equal(plane[3:7, 1:], array[3:7, 1:])
    source = open_matrix(f"{matrices}:/items/000002/observations/0/grey")
    np.testing.assert_array_equal(source.read(0, 20), arrays[2])
    with pytest.raises(ValueError, match="no dataset '/items/000002/observations/0/red'"):
        open_matrix(f"{matrices}:/items/000002/observations/0/red")


def test_factors_are_those_of_each_plane(tmp_path):
    files, arrays = pictures(tmp_path)
    found = factored(tmp_path, ingested(tmp_path, files))
    with open_published(found, "factors") as file:
        assert len(stacks(file)) == 2
        entries = list(factors(file))
        assert [entry.index for entry in entries] == [0, 1, 2, 3, 4]
        for entry, array in zip(entries, arrays, strict=True):
            s = np.linalg.svd(array.astype(float), compute_uv=False)
            np.testing.assert_allclose(read_array(entry.s), s[:5], rtol=1e-12)
            left, right = read_array(entry.U).astype(float), read_array(entry.Vt).astype(float)
            error = np.linalg.norm(array - (left * s[:5]) @ right)
            np.testing.assert_allclose(error, np.sqrt((s[5:] ** 2).sum()), rtol=1e-5)
            np.testing.assert_allclose(read_array(entry.group, "spectrum"), s, rtol=1e-9)
            assert entry.attrs["method"] == "full" and entry.attrs["m"] == len(array)


def test_neighbours_change_no_bit(tmp_path):
    files, _ = pictures(tmp_path)
    rows = {}
    for name, kept in {"all": files, "some": [files[1], files[4]]}.items():
        folder = tmp_path / name
        folder.mkdir()
        matrices = ingested(folder, kept)
        rows[name] = compressed(folder, matrices, factored(folder, matrices, threads=2))
    some = rows["all"][rows["all"]["item"].isin([1, 4])].reset_index(drop=True)
    assert some.equals(rows["some"])


def test_bands_fill_and_the_last_is_short(tmp_path, monkeypatch):
    monkeypatch.setattr(store_stacks, "STACK_BYTES", 3 * 400)
    files, arrays = pictures(tmp_path, [(20, 20)] * 8)
    matrices = ingested(tmp_path, files)
    with h5py.File(matrices) as file:
        assert file["stacks/00000/pixels"].chunks == (3, 20, 20)
        assert len(file["stacks/00000/pixels.crc32"]) == 3
    verify(matrices)
    with open_published(matrices) as file:
        for place in (7, 0, 5, 2, 7):  # more bands than are kept, there and back
            np.testing.assert_array_equal(
                read_array(file, f"items/{place:06d}/observations/0/grey"), arrays[place]
            )


def test_large_planes_stand_for_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(store_stacks, "LARGEST", 500)
    files, arrays = pictures(tmp_path)
    matrices = ingested(tmp_path, files)
    with h5py.File(matrices) as file:
        assert file["stacks/00000/pixels"].shape == (2, 20, 20)
        np.testing.assert_array_equal(file["items/000000/observations/0/grey"], arrays[0])
    with open_published(matrices) as file:
        assert [read_array(item.observations[0].planes["grey"]).shape for item in items(file)] == SHAPES
    found = factored(tmp_path, matrices)
    with open_published(found) as file:
        assert [entry.index for entry in factors(file)] == [0, 1, 2, 3, 4]
    assert set(compressed(tmp_path, matrices, found)["item"]) == {0, 1, 2, 3, 4}


def test_results_hold_little_beside_their_numbers(tmp_path):
    """At most twice: it was eight times, when every array stood for itself."""
    files, arrays = pictures(tmp_path, [(64, 64)] * 300)
    matrices = ingested(tmp_path, files)
    found = factored(tmp_path, matrices, rank=32)
    numbers = sum(array.nbytes for array in arrays)
    factor_numbers = len(arrays) * (2 * 64 * 32 * 4 + 32 * 8 + 64 * 8)
    assert numbers < matrices.stat().st_size < 1.3 * numbers
    assert factor_numbers < found.stat().st_size < 1.3 * factor_numbers


def test_files_of_version_2_are_read(tmp_path, monkeypatch):
    files, arrays = pictures(tmp_path)
    monkeypatch.setattr(store_files, "SCHEMA_VERSION", 2)
    old = tmp_path / "old.h5"
    with publish(old, "matrices", PLACE) as file:
        for entry, array in zip(files, arrays, strict=True):
            attrs = {"data_range": 255.0, "data_range_source": "8 bits", "dtype": "uint8", "masked": 0}
            item = add_item(file, entry["index"], entry["name"], "image", attrs)
            write_array(add_observation(item, 0, 0.0), "grey", array)
        write_table(file, "errors", [])
    monkeypatch.undo()
    verify(old)
    before = compressed(tmp_path, old, factored(tmp_path, old))
    new = tmp_path / "new"
    new.mkdir()
    matrices = ingested(new, files)
    assert before.equals(compressed(new, matrices, factored(new, matrices)))


@pytest.mark.parametrize("column", ["row", "stack"])
def test_a_row_that_belongs_to_no_item_is_damage(tmp_path, column):
    def write():
        with publish(tmp_path / "m.h5", "matrices") as file, StackWriter(file) as writer:
            writer.add([(0, 0, "grey", {"sigma_added": 0.0})], {"pixels": np.ones((1, 3, 3))})
            writer._entries[0][column] = 1

    write()
    with (
        open_published(tmp_path / "m.h5") as file,
        pytest.raises(DamagedError, match=r"m\.h5: .*stack"),
    ):
        stacks(file)

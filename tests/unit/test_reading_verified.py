"""One way to read: nothing of a published file is believed before its checksum, whatever bit of it flips."""

import ast
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import svdflow
from svdflow.audit.conditioning import audit_conditioning_shard
from svdflow.codec import decode, encode
from svdflow.errors import DamagedError, StoreError
from svdflow.images.ingest_images import ingest_images
from svdflow.matrix.ingest_synthetic import ingest_synthetic
from svdflow.report.aggregate import aggregate
from svdflow.store import (
    StoredArray,
    open_published,
    publish,
    read_array,
    read_rows,
    read_table,
    verify,
    write_array,
    write_table,
)
from svdflow.store import files as store_files
from svdflow.svd.checkpoint import Journal
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard
from svdflow.tasks.denoise import denoise_shard

SCRIPTS = Path(svdflow.__file__).parents[1]
SHARD = {"dataset": "d", "shard": 0}
FLIPS = 100  # a file, spread evenly over its bytes
# Anyone's HDF5 files are read here; everywhere else a stage gets what `open_published` hands out.
FOREIGN = ("svdflow/store/", "svdflow/matrix/", "svdflow/images/formats/array_files.py")
UNWRAPPED = {"svdflow/matrix/formats/hdf5.py", "svdflow/codec/archive.py", "svdflow/store/reading.py"}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """One small published file of every kind."""
    folder = tmp_path_factory.mktemp("stages")
    random = np.random.default_rng(1)
    pixels = np.clip(128 + 30 * random.normal(size=(24, 3)) @ random.normal(size=(3, 20)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "a photo.png")
    file = {"index": 0, "path": str(folder / "a photo.png"), "name": "a photo.png"}
    paths = {kind: folder / f"{kind}.h5" for kind in KINDS}
    ingest_images([file], paths["matrices"], colour="gray", noise_sigma=[20.0], seed=1, **SHARD)
    factorize_shard(paths["matrices"], paths["factors"], item_rank=6, noisy_rank=6, seed=1, **SHARD)
    both = paths["matrices"], paths["factors"]
    compress_shard(
        *both, paths["compress"], folder / "c", ranks=[1, 3], energies=[0.9], powers_of_two=False, metrics=["psnr"],
        images="none", **SHARD,
    )  # fmt: skip
    denoise_shard(
        *both,
        paths["denoise"],
        folder / "d",
        method="patch_svd",
        ranks=[1],
        rank_rules=[],
        write=False,
        **SHARD,
    )
    audit_conditioning_shard(*both, paths["audit"], items=[0], full_up_to=64, thresholds={}, **SHARD)
    ingest_synthetic(
        paths["sparse"], dataset="d", shard="00000", family="sparse_random", parameters={"rows": 40, "columns": 30},
        replicates=[0], seed=1, with_clean=False,
    )  # fmt: skip
    aggregate([paths[k] for k in ("matrices", "factors", "compress", "denoise", "audit")], paths["metrics"])
    encode(random.normal(size=(24, 20)), paths["archive"], rel_error=0.1)
    return paths


KINDS = ("matrices", "factors", "compress", "denoise", "audit", "sparse", "metrics", "archive")


def content(path, kind):
    """Everything that svdflow reads of a file, as bytes and text: names, attributes, arrays, decoded values."""
    if kind == "archive":
        return decode(path).tobytes()
    found = []

    def visit(group):
        found.append((group.name, {k: repr(v) for k, v in sorted(group.attrs.items())}))
        for node in group.values():
            if isinstance(node, StoredArray):
                attrs = {k: repr(v) for k, v in sorted(node.attrs.items())}
                found.append((node.name, attrs, node.shape, str(node.dtype), read_array(node).tobytes()))
            else:
                visit(node)

    with open_published(path) as file:
        visit(file)
    return found


def refused_or_the_same(path, kind, expected, place):
    """Whether the file is refused by name; where it is not, its content is what it was."""
    refusal = None
    try:
        found = content(path, kind)
    except StoreError as error:
        refusal = str(error)
    assert str(path) in refusal if refusal else found == expected, f"byte {place} of {kind}: {refusal}"
    return refusal is not None


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_changes_what_is_read(stages, tmp_path, kind):
    """Each flip is either found, by name, or changes nothing of what is read (it fell on bytes that mean nothing)."""
    whole, expected = stages[kind].read_bytes(), content(stages[kind], kind)
    path = tmp_path / "flipped.h5"
    found = 0
    for place in range(0, len(whole), max(1, len(whole) // FLIPS)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found += refused_or_the_same(path, kind, expected, place)
    assert found > FLIPS / 20, "the flips must hit something"


@pytest.mark.parametrize("kind", KINDS)
def test_text_in_the_heap_is_protected(stages, tmp_path, kind):
    """Strings of variable length lie in HDF5's global heap, the one place that has no checksum of its own."""
    whole, expected = stages[kind].read_bytes(), content(stages[kind], kind)
    heaps = [place.start() for place in re.finditer(b"GCOL", whole)]
    assert heaps or kind == "archive"
    path = tmp_path / "flipped.h5"
    text = [h + i for h in heaps for i, byte in enumerate(whole[h : h + 4096]) if 32 < byte < 127 and i > 24]
    for place in text[:: max(1, len(text) // 50)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        refused_or_the_same(path, kind, expected, place)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_found(stages, tmp_path, kind):
    whole, path = stages[kind].read_bytes(), tmp_path / "short.h5"
    for part in range(0, 20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(StoreError, match=r"short\.h5"):
            content(path, kind)


def test_stored_singular_values_are_verified_by_compress(stages, tmp_path):
    """Eight of sixteen flips in them changed published numbers once."""
    factors = tmp_path / "factors.h5"
    whole = stages["factors"].read_bytes()
    with open_published(stages["factors"]) as file:
        values = read_array(file, "items/000000/0/grey/s")
    damaged = bytearray(whole)
    damaged[whole.index(values.tobytes()) + 5] ^= 1
    factors.write_bytes(damaged)
    with pytest.raises(DamagedError, match=r"factors\.h5"):
        compress_shard(
            stages["matrices"], factors, tmp_path / "out.h5", tmp_path / "out", ranks=[1], energies=[],
            powers_of_two=False, metrics=["psnr"], images="none", **SHARD,
        )  # fmt: skip
    assert not (tmp_path / "out.h5").exists(), (
        "a damaged shard is no bad item: the job fails and is done again"
    )


def test_an_attribute_that_was_changed_is_found(stages, tmp_path):
    path = tmp_path / "m.h5"
    shutil.copy(stages["matrices"], path)
    with h5py.File(path, "r+") as file:
        file["stacks/00000"].attrs["data_range"] = 1023.0
    with pytest.raises(StoreError, match=r"m\.h5: /stacks/00000: names, types or attributes are damaged"):
        verify(path)


def test_an_attribute_of_an_item_that_was_changed_is_found(stages, tmp_path):
    path = tmp_path / "m.h5"
    shutil.copy(stages["matrices"], path)
    with h5py.File(path, "r+") as file:
        table = file["stacks/items"][...]
        table["data_range"][0] = 1023.0
        file["stacks/items"][...] = table
    with pytest.raises(StoreError, match=r"m\.h5: /stacks/items: its bytes are damaged"):
        verify(path)
    with (
        open_published(path) as file,
        pytest.raises(StoreError, match=r"/stacks/items: its bytes are damaged"),
    ):
        file["items/000000"]


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.pop("stacks/00000/pixels"),
        lambda file: file.pop("stacks/00000/pixels.crc32"),
        lambda file: file.pop("stacks/entries"),
        lambda file: file.move("stacks/00000", "stacks/00009"),
        lambda file: file.create_dataset("stacks/00000/alpha", data=np.ones(3)),
        lambda file: file.pop("errors"),
        lambda file: file.attrs.__delitem__("structure"),
    ],
)
def test_links_that_are_lost_moved_or_added_are_found(stages, tmp_path, change):
    path = tmp_path / "m.h5"
    shutil.copy(stages["matrices"], path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StoreError, match=r"m\.h5"):
        verify(path)


def test_an_array_without_checksums_is_not_published(tmp_path):
    def write():
        with publish(tmp_path / "a.h5", "matrices") as file:
            file["A"] = np.ones(3)

    with pytest.raises(StoreError, match="no checksums"):
        write()
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(stages):
    with open_published(stages["matrices"]) as file:
        with pytest.raises(StoreError, match=r"matrices\.h5: no 'nothing' in /items/000000"):
            file["items/000000/nothing"]
        with pytest.raises(StoreError, match=r"/items/000000 has no attribute 'nothing'"):
            file["items/000000"].attrs["nothing"]
        assert file.get("nothing") is None
        assert "nothing" not in file


def test_rows_are_those_of_numpy(tmp_path):
    values = np.arange(3000.0 * 500).reshape(3000, 500)
    with publish(tmp_path / "a.h5", "matrices") as file:
        write_array(file, "A", values)
        write_array(file, "empty", np.zeros((0, 3)))
    with open_published(tmp_path / "a.h5") as file:
        for key in (
            slice(5, 9),
            slice(None),
            (slice(2000, 2500), slice(3, 4)),
            17,
            (..., 2),
            slice(0, 9, 2),
            slice(9, 3),
        ):
            assert np.array_equal(file["A"][key], values[key])
        assert np.array_equal(np.asarray(file["A"]), values)
        assert np.array_equal(read_rows(file["A"], 2990, 5000), values[2990:])
        assert read_array(file, "empty").shape == (0, 3)


def test_files_of_version_1_are_read(stages, tmp_path, monkeypatch):
    def seal_as_version_1_did(file):
        file.attrs["complete"] = True

    monkeypatch.setattr(store_files, "seal_nodes", seal_as_version_1_did)
    monkeypatch.setattr(store_files, "SCHEMA_VERSION", 1)
    path = tmp_path / "old.h5"
    with publish(path, "matrices") as file:
        write_array(file, "A", np.arange(5.0))
        write_table(file, "errors", [])
    monkeypatch.undo()
    with open_published(path) as file:
        assert read_array(file, "A").tolist() == [0, 1, 2, 3, 4]
    assert read_table(path, "errors").empty
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(StoreError, match="99 is later than 3; use a newer svdflow"), open_published(path):
        pass


def test_a_checkpoint_that_is_damaged_is_not_recalled(tmp_path):
    from svdflow.svd.read.facts import Facts
    from svdflow.svd.read.panel_work import Sums

    journal = Journal(tmp_path / "c", "me")
    sums = Sums(np.arange(12.0).reshape(4, 3), Facts(norm_squared=2.0))
    journal.record(1, None, sums)
    (path,) = (tmp_path / "c").glob("*.h5")
    whole = path.read_bytes()
    assert np.array_equal(journal.recall(1, None).product, sums.product)
    places, forgotten = range(0, len(whole), 97), 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        found = journal.recall(1, None)
        forgotten += found is None
        assert found is None or np.array_equal(found.product, sums.product)
    assert 0 < forgotten < len(places), "some flips must hit something, and some what means nothing"


def test_stages_cannot_read_past_the_checksums():
    """The source holds it: h5py is opened for reading in a few rooms only, and nobody else sees its datasets."""
    wrong = []
    for path in SCRIPTS.rglob("*.py"):
        place = str(path.relative_to(SCRIPTS))
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            words = [ast.unparse(argument) for argument in node.args]
            inside = place.startswith(FOREIGN)
            if called == "isinstance" and words[-1].startswith("h5py.") and not inside:
                wrong.append(
                    f"{place}:{node.lineno}: {ast.unparse(node)}: open_published gives StoredArray, StoredGroup"
                )
            if called == "h5py.File" and not inside and "driver='core'" not in ast.unparse(node):
                wrong.append(f"{place}:{node.lineno}: {ast.unparse(node)}: use open_published or publish")
            if called == "unwrapped" and place not in UNWRAPPED:
                wrong.append(f"{place}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)

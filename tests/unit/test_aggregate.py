"""Gathering in bounded memory: whatever the parts, their order and their number, one table in one order."""

import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest

from svdflow.errors import StoreError
from svdflow.report import aggregate as module
from svdflow.report.aggregate import aggregate
from svdflow.store import open_published, publish, read_table, write_table
from svdflow.store import tables as stored
from svdflow.store.schema import columns

BLANK = {"text": "", "int": 0, "float": 0.0, "bool": False}


def rows(random, dataset, shard, count, *, first=0):
    """Rows of compress: some figures NaN, names of any width, no two alike."""
    blank = {column.name: BLANK[column.kind] for column in columns("compress")}
    return [
        blank
        | {"dataset": dataset, "shard": shard, "item": first + i // 3, "rank": int(random.integers(9))}
        | {"name": "bild-é-" + "x" * int(random.integers(30)), "plane": "grey", "rule": "rank"}
        | {"psnr": float(random.choice([np.nan, -0.0, 30.5, random.normal()])), "ssim": i / 7}
        for i in range(count)
    ]


def part(path, found):
    with publish(path, "compress") as file:
        write_table(file, "compress", found)
        write_table(file, "errors", [])
    return path


@pytest.fixture
def parts(tmp_path):
    """Files of shards in no order, two of one shard, one empty; and all their rows."""
    random = np.random.default_rng(5)
    found, everything = [], []
    places = [("b", 3), ("a", 10), ("a", 2), ("é", 0), ("b", 0), ("a", 2), ("A", 1), ("b", 30)]
    for number, (dataset, shard) in enumerate(places):
        mine = rows(random, dataset, shard, int(random.integers(1, 40)), first=100 * number)
        random.shuffle(mine)
        everything += mine
        found.append(part(tmp_path / f"{number}.h5", mine))
    return [*found, part(tmp_path / "empty.h5", [])], everything


def in_order(everything):
    """By pandas: sorted by all columns, in the order of the schema."""
    names = [column.name for column in columns("compress")]
    return pd.DataFrame(everything)[names].sort_values(names, kind="stable", ignore_index=True)


def same(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


@pytest.mark.parametrize("at_once", [1, 3, 2**16])
@pytest.mark.parametrize("band", [1, 700, 2**23])
def test_all_rows_in_one_order(parts, tmp_path, monkeypatch, at_once, band):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    files, everything = parts
    aggregate(files, tmp_path / "one.h5")
    monkeypatch.setattr(stored, "BAND_BYTES", band)
    monkeypatch.setattr("svdflow.store.arrays.BAND_BYTES", band)
    aggregate(files[:4], tmp_path / "first.h5")
    aggregate(files[4:], tmp_path / "second.h5")
    aggregate([tmp_path / "second.h5", tmp_path / "first.h5"], tmp_path / "two.h5")
    expected = in_order(everything)
    for name in ("one.h5", "two.h5"):
        same(read_table(tmp_path / name, "compress"), expected)
    with pytest.raises(AssertionError):  # control: the parts one behind the other are another table
        same(pd.DataFrame(everything)[expected.columns], expected)


def test_a_large_table_stands_in_bands_with_a_checksum_each(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BAND_BYTES", 4000)
    monkeypatch.setattr("svdflow.store.arrays.BAND_BYTES", 4000)
    files, everything = parts
    out = tmp_path / "out.h5"
    aggregate(files, out)
    with h5py.File(out) as file:
        table = file["compress"]
        assert table.chunks[0] < len(table) == len(everything)
        assert len(file["compress.crc32"]) == -(-len(table) // table.chunks[0]) > 3
        assert table.attrs["psnr.unit"] == "dB" and "crc32" not in table.attrs
        place = table.id.get_chunk_info(2).byte_offset
    with open_published(out) as file:
        assert len(file["compress"].rows(1, 5)) == 4
    with out.open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff")
    with pytest.raises(StoreError, match="are damaged"):
        read_table(out, "compress")


def test_memory_does_not_grow_with_the_number_of_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BAND_BYTES", 2**18)
    monkeypatch.setattr("svdflow.store.arrays.BAND_BYTES", 2**18)
    random = np.random.default_rng(0)
    files = [part(tmp_path / f"{n}.h5", rows(random, "a", n, 600)) for n in range(32)]

    def peak(some):
        tracemalloc.start()
        aggregate(some, tmp_path / f"out{len(some)}.h5")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    aggregate(files[:2], tmp_path / "warm.h5")
    few, many = peak(files[:8]), peak(files)
    assert many < 1.2 * few
    tracemalloc.start()
    pd.concat([read_table(file, "compress") for file in files])
    assert tracemalloc.get_traced_memory()[1] > 2 * many  # control: all tables at once do
    tracemalloc.stop()

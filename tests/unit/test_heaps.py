"""Texts of a file that lead nowhere are found before HDF5 reads them; sound files of all kinds are left alone."""

import struct

import h5py
import numpy as np
import pytest

from svdflow import open_matrix
from svdflow.errors import StoreError
from svdflow.store import open_published, publish, write_array
from svdflow.store.heaps import SIGNATURE, endless_heap


def written(path):
    with publish(path, "matrices", {"settings": {"a": "b" * 300}}) as file:
        write_array(file, "A", np.arange(600.0).reshape(30, 20))
        for i in range(300):
            file.attrs[f"text {i}"] = "x" * (i % 40)
    return path


def shortened(path, length=8):
    """Give the free space of the first collection this size: HDF5 goes on from there, to no good end."""
    content = bytearray(path.read_bytes())
    place = content.find(SIGNATURE) + 16
    while (index := struct.unpack_from("<H", content, place)[0]) != 0:
        place += 16 + (struct.unpack_from("<Q", content, place + 8)[0] + 7) // 8 * 8
    assert index == 0 and struct.unpack_from("<Q", content, place + 8)[0] >= 16
    struct.pack_into("<Q", content, place + 8, length)
    path.write_bytes(content)
    return place


def test_a_collection_whose_end_leads_nowhere_is_found(tmp_path):
    path = written(tmp_path / "a.h5")
    content = path.read_bytes()
    assert content.count(SIGNATURE) >= 2 and endless_heap(path) is None
    place = shortened(path)
    assert endless_heap(path) == place
    with pytest.raises(StoreError, match=rf"a\.h5: damaged at byte {place}"), open_published(path):
        pass


def test_a_strangers_file_too(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["A"] = np.eye(3)
        file["A"].attrs["unit"] = "metre"
        file["names"] = ["one", "two"]
    assert open_matrix(tmp_path / "a.h5").shape == (3, 3)
    place = shortened(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=rf"a\.h5.*damaged at byte {place}"):
        open_matrix(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "content", [b"", b"GCOL", SIGNATURE, SIGNATURE + struct.pack("<Q", 2**63), SIGNATURE * 9]
)
def test_what_is_no_heap_is_no_fault(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert endless_heap(tmp_path / "x") is None


def test_sound_files_with_many_texts(tmp_path):
    for libver in ("earliest", "v110", "latest"):
        path = tmp_path / f"{libver}.h5"
        with h5py.File(path, "w", libver=libver) as file:
            for i in range(200):
                file.attrs[f"{i}"] = "y" * (37 * i % 5000)
            for i in range(0, 200, 3):
                del file.attrs[f"{i}"]
            for i in range(1, 200, 3):
                file.attrs[f"{i}"] = "z" * (i % 11)
            file["t"] = ["w" * i for i in range(500)]
        assert endless_heap(path) is None
        with h5py.File(path) as file:
            assert file.attrs["1"] == "z" and file["t"].asstr()[7] == "w" * 7

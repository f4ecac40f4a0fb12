"""Published files are whole, checksummed and readable; anything else is refused by name."""

import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from svdflow.errors import ItemError, StoreError
from svdflow.store import (
    create_array,
    items,
    open_published,
    publish,
    publish_directory,
    read_array,
    read_rows,
    read_table,
    verify,
    write_array,
    write_table,
)
from svdflow.store.error_rows import error_row
from svdflow.store.schema import columns, markdown
from svdflow.store.shards import add_item, add_observation, slug_of


def bands(tmp_path, rows=5000, columns=1000):
    """A file with one array of several bands."""
    path = tmp_path / "a.h5"
    values = np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)
    with publish(path, "matrices") as file:
        write_array(file, "A", values)
    return path, values


def test_array_comes_back_whole_and_by_rows(tmp_path):
    path, values = bands(tmp_path)
    with open_published(path, "matrices") as file:
        assert file["A"].chunks[0] < len(values), "the test wants several bands"
        np.testing.assert_array_equal(read_array(file, "A"), values)
        np.testing.assert_array_equal(read_rows(file["A"], 1234, 4321), values[1234:4321])


@pytest.mark.parametrize("height", [1, 7, 1048, 5000])
def test_bits_do_not_depend_on_how_rows_arrive(tmp_path, height):
    path, values = bands(tmp_path, 3000, 500)
    other = tmp_path / "b.h5"
    with publish(other, "matrices") as file, create_array(file, "A", values.shape, values.dtype) as writer:
        for start in range(0, len(values), height):
            writer.write(start, values[start : start + height])
    assert other.read_bytes() == path.read_bytes()


def test_every_flipped_byte_is_found(tmp_path):
    path, values = bands(tmp_path, 300, 300)
    whole = path.read_bytes()
    at = whole.index(values[17].tobytes())
    for offset in (0, 1, 2399):
        damaged = bytearray(whole)
        damaged[at + offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="damaged"):
            verify(path)
    path.write_bytes(whole)
    verify(path)


def test_a_damaged_table_is_found(tmp_path):
    path = tmp_path / "t.h5"
    row = error_row("samples", 3, "needle-in-a-table", "ingest", ItemError("truncated", "cut short"))
    with publish(path, "matrices") as file:
        write_table(file, "errors", [row])
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"needle-in-a-table")] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"t\.h5: /errors: its bytes are damaged"):
        read_table(path, "errors")
    with pytest.raises(StoreError, match=r"t\.h5: /errors: its bytes are damaged"):
        verify(path)


def test_missing_rows_are_refused(tmp_path):
    def write():
        with publish(tmp_path / "a.h5", "matrices") as file, create_array(file, "A", (5, 2), "f8") as writer:
            writer.write(0, np.ones((2, 2)))

    with pytest.raises(ValueError, match="2 of 5 rows"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    path, _ = bands(tmp_path, 10, 10)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), publish(path, "matrices"):
        raise RuntimeError
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".svdflow", "a.h5"]


def test_a_killed_writer_publishes_nothing_and_is_swept(tmp_path):
    path = tmp_path / "a.h5"
    code = f"""
        import os, signal, numpy as np
        from svdflow.store import publish, write_array
        with publish({str(path)!r}, "matrices") as file:
            write_array(file, "A", np.ones((4000, 500)))
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False)
    assert done.returncode == -9
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    bands(tmp_path, 10, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".svdflow", "a.h5"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_bytes(b"not HDF5"), "not a readable HDF5 file"),
        (lambda p: h5py.File(p, "w").close(), "unfinished"),
    ],
)
def test_what_is_not_a_published_file_is_named(tmp_path, make, words):
    path = tmp_path / "x.h5"
    make(path)
    with pytest.raises(StoreError, match=words) as caught, open_published(path):
        pass
    assert str(path) in str(caught.value)


def test_another_kind_is_refused(tmp_path):
    path, _ = bands(tmp_path, 4, 4)
    with (
        pytest.raises(StoreError, match="kind 'matrices', expected 'factors'"),
        open_published(path, "factors"),
    ):
        pass


def test_equal_content_makes_equal_bytes(tmp_path):
    for name in ("one.h5", "two.h5"):
        with publish(tmp_path / name, "audit", {"seed": 1, "settings": {"b": 2, "a": 1}}) as file:
            write_table(file, "errors", [])
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "pictures"
    for content in ("old", "new"):
        with publish_directory(path) as folder:
            (folder / f"{content}.txt").write_text(content)
    assert [p.name for p in path.iterdir()] == ["new.txt"]
    with pytest.raises(FileNotFoundError), publish_directory(path) as folder:
        (folder / "half.txt").write_bytes((folder / "missing.txt").read_bytes())
    assert [p.name for p in path.rglob("*")] == ["new.txt"]


def test_table_round_trip_keeps_text_numbers_and_nan(tmp_path):
    path = tmp_path / "t.h5"
    row = {
        c.name: {"text": "Ünïcode 図", "int": -3, "float": 0.1, "bool": True}[c.kind]
        for c in columns("denoise")
    }
    with publish(path, "denoise") as file:
        write_table(file, "denoise", [row, row | {"psnr": float("nan"), "name": ""}])
    frame = read_table(path, "denoise")
    assert frame.loc[0].to_dict() == row
    assert np.isnan(frame["psnr"][1]) and frame["name"][1] == ""


@pytest.mark.parametrize("change", [{"psnr": None}, {"extra": 1.0}])
def test_table_refuses_wrong_columns(tmp_path, change):
    row = {c.name: 0 for c in columns("compress")} | change
    row = {k: v for k, v in row.items() if v is not None}
    with pytest.raises(ValueError, match=next(iter(change))), publish(tmp_path / "t.h5", "compress") as file:
        write_table(file, "compress", [row])


def test_no_such_table_lists_those_there(tmp_path):
    path = tmp_path / "t.h5"
    with publish(path, "audit") as file:
        write_table(file, "errors", [])
    with pytest.raises(StoreError, match="tables here: errors"):
        read_table(path, "audit")


def test_items_know_their_clean_reference(tmp_path):
    path = tmp_path / "m.h5"
    with publish(path, "matrices") as file:
        noisy = add_item(file, 2, "a b.png", "image", {"data_range": 255.0})
        for level, sigma in ((0, 0.0), (1, 25.0)):
            write_array(add_observation(noisy, level, sigma), "grey", np.full((2, 3), level))
        plain = add_item(file, 10, "c.png", "image", {"data_range": 255.0})
        write_array(add_observation(plain, 0, 0.0), "grey", np.zeros((2, 3)))
    with open_published(path) as file:
        first, second = items(file)
        assert (first.index, first.slug, first.attrs["data_range"]) == (2, "a-b", 255.0)
        assert [(o.level, o.sigma_added, list(o.planes)) for o in first.observations] == [
            (0, 0.0, ["grey"]),
            (1, 25.0, ["grey"]),
        ]
        assert read_array(first.clean["grey"]).tolist() == [[0, 0, 0], [0, 0, 0]]
        assert second.clean == {}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("kodim01.png", "kodim01"),
        ("../../etc/passwd", "passwd"),
        ("a; rm -rf $(x).png", "a-rm--rf-x"),
        ("図.png", "item"),
        ("Ünïcode (1).bmp", "Unicode-1"),
        ("x" * 300 + ".tif", "x" * 40),
        (".png", "png"),
        ("C:\\photos\\me.jpg", "me"),
    ],
)
def test_slugs_are_safe(name, slug):
    assert slug_of(name) == slug


def test_items_stand_in_the_order_of_the_manifest_beyond_a_million(tmp_path):
    path = tmp_path / "m.h5"
    with publish(path, "matrices") as file:
        for index in (1_000_000, 999_999, 7):
            add_item(file, index, f"{index}.png", "image", {})
    with open_published(path) as file:
        assert [item.index for item in items(file)] == [7, 999_999, 1_000_000]


def test_error_messages_are_one_short_line():
    row = error_row("d", 0, "n", "ingest", ValueError("two\nlines " + "x" * 1000))
    assert row["code"] == "ValueError" and "\n" not in row["message"] and len(row["message"]) == 400


def test_schema_page_is_in_step(request):
    page = request.config.rootpath / "docs" / "schema.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run 'make docs'"

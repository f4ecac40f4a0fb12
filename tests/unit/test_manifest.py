"""Manifests of many files: columns, shards that keep their size, and jobs that believe what was written."""

import hashlib
import os
from pathlib import Path

import pytest
import skimage

from svdflow.errors import ConfigError
from svdflow.study import contents, manifest, manifest_file
from svdflow.study.config import load_config
from svdflow.study.manifest_file import BelievedManifest
from svdflow.study.study import Study
from svdflow.study.suffixes import suffix_of

HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"
ROW = "mine\timages\tdata\tgray\t-\tcompress\t-\t-\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08"  # what tells that a picture is of 8 bits


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "sheet.tsv").write_text(HEAD + ROW)
    (tmp_path / "study.yaml").write_text("datasets: sheet.tsv\n")
    return tmp_path


def images(folder, numbers):
    for number in numbers:
        (folder / "data" / f"p{number:05d}.png").write_bytes(PNG + b"%d" % number)


def study(folder, *, in_job=False):
    return Study(load_config(["study.yaml"]), folder, ["study.yaml"], in_job=in_job)


def shards(found):
    return {shard: found.settings("ingest_images", "mine", shard) for shard in found.shards("mine")}


@pytest.mark.parametrize(
    ("count", "size", "shard"),
    [
        (10, 4_000, 4096),  # few small ones are one shard all the same
        (10_000, 4_000, 4096),
        (10_000, 10_000, 2048),
        (1_000, 400_000, 64),
        (1_000, 12_000_000, 64),
        (1_000_000, 4_000, 4096),
        (1_000_000, 12_000_000, 2048),  # 512 shards at most
        (5_000_000, 4_000, 16384),
        (10, 0, 4096),
    ],
)
def test_shards_hold_some_megabytes_of_files(count, size, shard):
    assert manifest.default_size([size] * count) == shard


def test_files_that_cannot_be_read_weigh_nothing():
    assert manifest.default_size([-1] * 10 + [2**19] * 1000) == manifest.default_size([2**19] * 1000) == 64


def test_a_shard_size_is_chosen_once(folder, monkeypatch):
    """Images that would have had larger shards from the start rerun the last shard, and add new ones."""
    monkeypatch.setattr(manifest, "BYTES", 2048)
    monkeypatch.setattr(manifest, "FEWEST", 2)
    monkeypatch.setattr(manifest, "SHARDS", 4)
    images(folder, range(7))
    first = study(folder)
    assert first.shard_size("mine") == manifest.default_size(first.listed("mine").sizes) == 64
    monkeypatch.setattr(manifest, "MOST", 2)
    first = study(folder)
    assert first.shard_size("mine") == 2
    before = shards(first)
    first.write_manifests()
    images(folder, range(90, 120))  # SHARDS would make shards of 16 of them
    after = study(folder)
    assert manifest.default_size(after.listed("mine").sizes) == 16
    assert after.shard_size("mine") == 2
    now = shards(after)
    assert len(now) == 19
    assert {name for name, settings in now.items() if before.get(name) != settings} == set(now) - {
        "00000", "00001", "00002",
    }  # fmt: skip
    # Without what the first plan wrote, all would run again.
    after.manifest_path("mine").unlink()
    assert study(folder).shard_size("mine") == 16


def test_a_plan_in_memory_comes_to_the_same_size(folder):
    images(folder, range(5))
    planned, size = study(folder), study(folder).shard_size("mine")
    planned.write_manifests()
    assert study(folder).shard_size("mine") == size == 4096


def test_the_sheet_has_the_last_word_and_the_manifest_keeps_its_own(folder):
    images(folder, range(5))
    study(folder).write_manifests()
    (folder / "sheet.tsv").write_text(HEAD + ROW.replace("\t-\t-\n", "\t3\t-\n"))
    named = study(folder)
    assert named.shard_size("mine") == 3 and named.shards("mine") == ["00000", "00001"]
    named.write_manifests()
    (folder / "sheet.tsv").write_text(HEAD + ROW)
    assert study(folder).shard_size("mine") == 4096


def test_a_manifest_from_before_has_the_shards_of_before(folder):
    images(folder, range(70))
    one = study(folder)
    one.write_manifests()
    path = one.manifest_path("mine")
    lines = path.read_text().splitlines()
    path.write_text("".join(line.rpartition("\t")[0] + "\n" for line in lines))
    old = study(folder)
    assert old.shards("mine") == ["00000", "00001"]
    assert not old.listed("mine").written


@pytest.mark.parametrize("size", ["0", "-3", "x", ""])
def test_a_shard_size_that_is_none_is_damage(folder, size):
    images(folder, range(3))
    one = study(folder)
    one.write_manifests()
    path = one.manifest_path("mine")
    path.write_text(path.read_text().replace('"4096"', f'"{size}"'))
    with pytest.raises(ConfigError, match="a damaged manifest"):
        study(folder)


def test_counting_reads_no_file(folder, monkeypatch):
    images(folder, range(5))
    monkeypatch.setattr(manifest, "_digest", lambda path: pytest.fail(f"{path} was read"))
    one = study(folder)
    assert one.count("mine") == 5 and one.jobs > 0
    with pytest.raises(pytest.fail.Exception, match="was read"):  # control: the settings of a job read it
        one.settings("ingest_images", "mine", "00000")


def test_too_many_are_refused_before_any_is_read(folder, monkeypatch):
    images(folder, range(5))
    monkeypatch.setattr("svdflow.study.study.MAX_ITEMS", 4)
    monkeypatch.setattr(manifest, "_digest", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(ConfigError, match="5 items, more than 4"):
        study(folder)


@pytest.mark.parametrize(
    "size", [0, 1, manifest.SMALL - 1, manifest.SMALL, manifest.SMALL + 1, 3 * manifest.SMALL]
)
def test_digests_are_those_of_hashlib(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert manifest._digest(str(tmp_path / "file")) == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_gone_meanwhile_cannot_be_read(tmp_path):
    assert manifest._digest(str(tmp_path / "none")) == "unreadable"


def test_a_job_believes_the_manifest(folder, monkeypatch):
    """Not one file of the dataset is looked at, and what a job carries is what the plan carried."""
    images(folder, range(9))
    (folder / "sheet.tsv").write_text(HEAD + ROW.replace("\t-\t-\n", "\t4\t-\n"))
    planned = study(folder)
    planned.write_manifests()
    tasks = {shard: planned.settings("compress", "mine", shard) for shard in planned.shards("mine")}
    carried = shards(planned)
    for file in (folder / "data").iterdir():
        file.unlink()
    monkeypatch.setattr(contents, "measured", lambda *_: pytest.fail("files were measured"))
    job = study(folder, in_job=True)
    assert job.count("mine") == 9 and job.shards("mine") == planned.shards("mine")
    assert shards(job) == carried
    assert {shard: job.settings("compress", "mine", shard) for shard in job.shards("mine")} == tasks
    with pytest.raises(ConfigError, match="no image matches"):  # control: a plan looks
        study(folder)


def test_a_job_without_a_manifest_looks(folder):
    images(folder, range(3))
    assert shards(study(folder, in_job=True)) == shards(study(folder))


@pytest.mark.parametrize(
    "name", ["line\nbreak.png", 'quo"te.png', '"\n"0"\t.png', "carriage\r.png", "tab\t.png"]
)
@pytest.mark.parametrize("number", [0, 2, 4])
def test_lines_of_a_shard_are_found_whatever_names_hold(folder, name, number):
    images(folder, [n for n in range(5) if n != number])
    (folder / "data" / (f"p{number:05d}" + name)).write_bytes(PNG)
    one = study(folder)
    one.write_manifests()
    found = BelievedManifest(one.manifest_path("mine"), "data")
    assert len(found) == 5 and found.shard_size == one.shard_size("mine")
    for start, stop in [(0, 5), (1, 3), (4, 5), (2, 9)]:
        assert found.slice(start, stop) == one.manifest("mine").slice(start, stop)


def test_a_manifest_that_says_what_stands_is_not_written(folder, monkeypatch):
    images(folder, range(4))
    (folder / "data" / "z.png").symlink_to("nowhere")  # cannot be read, now and then
    (folder / "data" / "p00001.png").unlink()
    study(folder).write_manifests()
    (folder / "data" / "p00000.png").unlink()
    study(folder).write_manifests()
    writes = []
    monkeypatch.setattr("svdflow.store.files.publish_file", lambda path: writes.append(path))
    again = study(folder)
    again.write_manifests()
    assert writes == [] and again.listed("mine").written
    os.utime(folder / "data" / "p00002.png", ns=(1, 1))
    assert not study(folder).listed("mine").written  # control


def test_a_list_of_packaged_files_is_not_written_twice(folder):
    lists = folder / "config" / "manifests"
    lists.mkdir(parents=True)
    picture = Path(skimage.__file__).parent / "data" / "camera.png"
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    (lists / "one.tsv").write_text(f"package\tpath\tsha256\nskimage\tdata/camera.png\t{digest}\n")
    (folder / "sheet.tsv").write_text(HEAD + ROW.replace("\tdata\t", "\tmanifest:one\t"))
    study(folder).write_manifests()
    path = study(folder).manifest_path("mine")
    before = path.stat()
    again = study(folder)
    again.write_manifests()
    assert again.listed("mine").written and again.listed("mine").extents == ["uint8 8 0.0 255.0"]
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_ino == before.st_ino
    (lists / "one.tsv").write_text((lists / "one.tsv").read_text().replace(digest, "0" * 64))
    assert study(folder).listed("mine").extents == [""]  # control: another content is measured again


def test_files_are_columns(folder):
    images(folder, range(3))
    found = study(folder).manifest("mine")
    assert (
        [entry.name for entry in found.entries] == found.names == ["p00000.png", "p00001.png", "p00002.png"]
    )
    assert found.slice(1, 2) == found.entries[1:2]
    assert found.sizes.itemsize == found.times.itemsize == 8
    manifest_file.write(found, folder / "copy.tsv")
    assert manifest_file.read(folder / "copy.tsv", "data") == found


@pytest.mark.parametrize("name", ["a.png", "a.b.PNG", "a", ".png", "a..png", ".a.png", "a .Png", "x.\udcff"])
def test_suffixes_are_those_of_pathlib(name):
    assert suffix_of(name) == Path(name).suffix.lower()

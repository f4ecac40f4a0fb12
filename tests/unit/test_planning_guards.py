"""Planning opens nothing but files, ends soon whatever folders hold, and counts no thousand millions one by one."""

import glob
import os
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from svdflow.__main__ import main
from svdflow.errors import ConfigError
from svdflow.images.ingest_images import ingest_images
from svdflow.store import read_table
from svdflow.study import globbing
from svdflow.study.config import load_config
from svdflow.study.estimate import estimate
from svdflow.study.globbing import matches
from svdflow.study.located import files_of_shard, locate
from svdflow.study.study import Study

ROOT = Path(__file__).parents[2]
HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"


def study(folder, *rows, **config):
    (folder / "sheet.tsv").write_text(HEAD + "".join("\t".join(row.split("|")) + "\n" for row in rows))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"datasets": "sheet.tsv", **config}))
    return Study(load_config([path]), ROOT, [path])


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two photos, and beside them, under names of pictures, whatever else a folder can hold."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "z"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / f"{name}.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "round.png").symlink_to("round.png")
    (folder / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


ODD = {"pipe.png", "device.png", "dangling.png", "round.png"}


@pytest.mark.parametrize(
    ("source", "odd"), [("photos", ODD | {"folder.png"}), ("photos/*.png", ODD), ("photos/**/*.png", ODD)]
)
def test_what_is_no_file_is_an_item_that_ingest_reports(photos, tmp_path, source, odd):
    one = study(tmp_path, f"mine|images|{source}|gray|-|compress|-|-")
    names = {Path(e.name).name: e.digest for e in one.manifest("mine").entries}
    assert {name for name, digest in names.items() if digest == "unreadable"} == odd
    assert set(names) == odd | {"a.png", "z.png"}
    assert estimate(one)[0].items == len(names)
    settings = one.settings("ingest_images", "mine", "00000")
    ingest_images(
        files_of_shard(*(settings[key] for key in ("folder", "first", "names", "files"))),
        tmp_path / "m.h5",
        dataset="mine",
        shard=0,
        colour="gray",
        noise_sigma=[],
        seed=0,
    )
    errors = read_table(tmp_path / "m.h5", "errors")
    assert {Path(name).name for name in errors["name"]} == odd and set(errors["code"]) == {"unreadable"}


def test_a_file_that_a_pipe_takes_the_place_of_is_not_opened(photos, tmp_path):
    """After planning: the digest of the file is known, and the pipe would be waited for."""
    file = {"index": 0, "path": str(photos / "pipe.png"), "name": "pipe.png", "sha256": "0" * 64}
    ingest_images([file], tmp_path / "m.h5", dataset="d", shard=0, colour="gray", noise_sigma=[], seed=0)
    assert list(read_table(tmp_path / "m.h5", "errors")["code"]) == ["unreadable"]


def test_a_pipe_in_place_of_a_matrix_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("m.h5")
    for source in ("m.h5", "m.h5:/A", "*.h5"):
        one = study(tmp_path, f"big|matrix|{source}|-|-|compress|-|-")
        assert [e.digest for e in one.manifest("big").entries] == ["unreadable"]
        assert estimate(one)


@pytest.mark.parametrize("key", ["datasets", "functions_file", "baseline"])
def test_a_pipe_in_place_of_a_file_of_the_config_is_refused(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    row = "waves|synthetic|waves|-|-|audit|-|rows=8;columns=8"
    config = {"datasets": "pipe"} if key == "datasets" else {"audit": {key: "pipe"}}
    with pytest.raises(ConfigError, match="no such"):
        study(tmp_path, row, **config)


@pytest.mark.parametrize(
    ("words", "remark"),
    [
        ("encode p.npy o.h5 --psnr 30", "p.npy: not a regular file"),
        ("compress p.png o", "p.png: not a regular file"),
        ("denoise p.png o", "p.png: not a regular file"),
        ("decode p.h5 o.npy", "p.h5: no such file"),
        ("audit p.h5:/A", "p.h5: no such file"),
        ("audit p.py:f", "p.py does not run: ValueError: not a regular file"),
    ],
)
def test_commands_do_not_wait_for_a_pipe(tmp_path, monkeypatch, capsys, words, remark):
    monkeypatch.chdir(tmp_path)
    for suffix in ("npy", "png", "h5", "py"):
        os.mkfifo(f"p.{suffix}")
    assert main(words.split()) == 1
    said = capsys.readouterr()
    assert remark in said.err + said.out
    assert not (tmp_path / "o").exists()


# -- patterns -----------------------------------------------------------------------------------------------


def tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


@pytest.mark.parametrize(
    "pattern",
    ["**", "**/*.png", "a/**/*.png", "*/**/c.png", "**/b/**", "**/**/b*", "a/**/b/*.png", "**/.h/*.png", "./**/d.png",
     "a/*.png", "**/[bc].png", ".h/**/*.png", "none/**/*.png"],
)  # fmt: skip
def test_patterns_mean_what_they_mean_elsewhere(tmp_path, monkeypatch, pattern):
    """Without links, the files are those of Python's own glob."""
    monkeypatch.chdir(tmp_path)
    tree(
        tmp_path,
        "a/b/c.png",
        "a/b/d.png",
        "a/c.png",
        "b.png",
        "a/.h/c.png",
        ".h/c.png",
        "a/b/.c.png",
        "b2/b/b.png",
    )
    expected = {Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)}
    assert {p for p in matches(pattern) if p.is_file()} == expected


def test_a_way_back_behind_a_wildcard_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"'\.\.' behind a wildcard"):
        list(matches("**/b/../*.png"))


def test_links_are_followed_once_and_round_ways_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "photos/a.png", "photos/z/b.png", "elsewhere/c.png")
    for i in range(6):  # each of these doubles the ways round, to forty links deep
        (tmp_path / "photos" / f"round{i}").symlink_to(tmp_path / "photos", target_is_directory=True)
        (tmp_path / "photos" / "z" / f"up{i}").symlink_to("..", target_is_directory=True)
    (tmp_path / "photos" / "early").symlink_to("z")
    (tmp_path / "photos" / "other").symlink_to(tmp_path / "elsewhere")
    start = time.monotonic()
    found = sorted(str(p) for p in matches("photos/**/*.png"))
    assert found == ["photos/a.png", "photos/other/c.png", "photos/z/b.png"]
    assert time.monotonic() - start < 5
    one = study(tmp_path, "mine|images|photos/**/*.png|gray|-|compress|-|-")
    assert [e.name for e in one.manifest("mine").entries] == ["a.png", "other/c.png", "z/b.png"]


def test_a_pattern_over_more_than_can_be_listed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(globbing, "MAX_ENTRIES", 30)
    tree(tmp_path, *(f"photos/{i}/{j}.png" for i in range(6) for j in range(5)))
    with pytest.raises(ConfigError, match="photos: more than 30 files and folders"):
        study(tmp_path, "mine|images|photos/**/*.png|gray|-|compress|-|-")
    assert len(list(matches("photos/0/**"))) == 5


# -- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("w|synthetic|hilbert|-|-|compress|1|replicates=1000000000;rows=4;columns=4", "1,000,000,000 items"),
        ("w|synthetic|hilbert|-|-|compress|500000|replicates=9000000;rows=4;columns=4", "shard_size 500,000"),
        ("w|synthetic|hilbert|-|-|compress|2000000000|replicates=1000000000;rows=4;columns=4", "1,000,000,000 items"),
        ("w|synthetic|hilbert|-|-|compress|2|replicates=10000000;rows=4;columns=4", "15000000 jobs are more than 5000"),
    ],
)  # fmt: skip
def test_numbers_beyond_reason_are_refused_at_once(tmp_path, monkeypatch, row, words):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=words):
        study(tmp_path, row)
    assert time.monotonic() - start < 2


def test_the_shard_size_that_would_do_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        "w|synthetic|hilbert|-|-|compress|{}|replicates=2000000;rows=4;columns=4",
        "v|synthetic|waves|-|-|audit|-|rows=8;columns=8",
    ]
    with pytest.raises(ConfigError) as caught:
        study(tmp_path, rows[0].format(3), rows[1])
    would_do = int(str(caught.value).split(", ")[-1].split()[0])
    assert study(tmp_path, rows[0].format(would_do), rows[1]).jobs <= 5000
    with pytest.raises(ConfigError):
        study(tmp_path, rows[0].format(would_do - 1), rows[1])


def test_a_short_shard_size_is_no_matter_where_items_are_few(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = study(tmp_path, "w|synthetic|hilbert|-|-|compress|2000000000|replicates=3;rows=4;columns=4")
    assert one.shards("w") == ["00000"] and list(one.slice("w", "00000")) == [0, 1, 2]


# -- lists of packaged files --------------------------------------------------------------------------------


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """A root with a list of packaged files that a test may write, and one outside of its folder."""
    manifests = tmp_path / "config" / "manifests"
    manifests.mkdir(parents=True)
    text = (ROOT / "config" / "manifests" / "samples.tsv").read_text()
    for place in (manifests / "good.tsv", tmp_path / "config" / "outside.tsv", tmp_path / "outside.tsv"):
        place.write_text(text)
    monkeypatch.chdir(tmp_path)

    def plan(source):
        (tmp_path / "sheet.tsv").write_text(HEAD + f"s\timages\t{source}\tgray\t-\tcompress\t-\t-\n")
        return Study({"datasets": "sheet.tsv"}, tmp_path)

    return plan


@pytest.mark.parametrize(
    "name", ["../outside", "../../outside", "./good", "good/../good", "", ".", "good.tsv", "/good"]
)
def test_names_of_manifests_do_not_leave_their_folder(workflow, tmp_path, name):
    assert len(workflow("manifest:good").manifest("s").entries) > 2
    for source in (name, str(tmp_path / "outside") if name == "/good" else name):
        with pytest.raises(ConfigError, match=r"no manifest '.*there: good"):
            workflow(f"manifest:{source}")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("path", "../../../etc/passwd", "not a file within a package"),
        ("path", "/etc/passwd", "not a file within a package"),
        ("path", "data/../../numpy/x.png", "not a file within a package"),
        ("package", "..", "not a file within a package"),
        ("package", "/etc", "not a file within a package"),
        ("package", "skimage.data", "not a file within a package"),
        ("package", "", "not a file within a package"),
        ("sha256", "", "64 hexadecimal digits"),
        ("sha256", "unreadable", "64 hexadecimal digits"),
    ],
)
def test_files_of_a_manifest_do_not_leave_their_package(workflow, tmp_path, column, value, words):
    path = tmp_path / "config" / "manifests" / "good.tsv"
    head, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    rows[1][head.index(column)] = value
    path.write_text("\n".join("\t".join(row) for row in [head, *rows]) + "\n")
    with pytest.raises(ConfigError, match=words) as caught:
        workflow("manifest:good")
    assert "good.tsv" in str(caught.value)


@pytest.mark.parametrize("text", ["", "name\tpackage\n", "no\ttable\nat\tall\n"])
def test_a_manifest_that_says_nothing_is_refused_by_name(workflow, tmp_path, text):
    (tmp_path / "config" / "manifests" / "good.tsv").write_text(text)
    with pytest.raises(ConfigError, match=r"good\.tsv"):
        workflow("manifest:good")


def test_a_job_locates_nothing_outside_its_package():
    assert locate("package:skimage/data", "camera.png").parent.name == "data"
    for folder, name in (
        ("package:skimage/data", "../x"),
        ("package:skimage/..", "x"),
        ("package:skimage", "/x"),
    ):
        with pytest.raises(ValueError, match="not within its package"):
            locate(folder, name)

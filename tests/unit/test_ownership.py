"""svdflow replaces and removes what it wrote, while nobody changed it, and nothing else."""

import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from PIL import Image

from svdflow import truncated_svd
from svdflow.__main__ import main
from svdflow.codec import decode, encode
from svdflow.errors import NotOursError, StoreError
from svdflow.store import publish, publish_directory, write_array
from svdflow.store.files import publish_files, publish_text
from svdflow.store.ownership import MARK, digest_of, listed, make_folder, refuse_foreign, remove_ours, survey


def everything(folder):
    """Every file below a folder with its bytes, marks left out; links by their target."""
    return {
        p.relative_to(folder).as_posix(): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if (p.is_symlink() or p.is_file()) and not p.name.endswith(MARK)
    }


@pytest.fixture
def photo(tmp_path):
    values = 128 + 60 * np.outer(np.sin(np.arange(40) / 5), np.cos(np.arange(30) / 4))
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def home(tmp_path):
    """A folder of the user's, with a thesis and a picture of the name that `compress` would give."""
    folder = tmp_path / "home"
    (folder / "000000_photo").mkdir(parents=True)
    (folder / "thesis.tex").write_text("everything")
    (folder / "deep").mkdir()
    (folder / "deep" / "data.csv").write_text("1,2\n")
    return folder


# -- the mark ---------------------------------------------------------------------------------------------


def test_only_what_was_written_and_not_changed_is_replaced(tmp_path):
    path = tmp_path / "a.txt"
    publish_text(path, "one")
    publish_text(path, "two")
    refuse_foreign(path)
    path.write_text("mine")
    for attempt in (lambda: publish_text(path, "three"), lambda: refuse_foreign(path)):
        with pytest.raises(NotOursError, match=r"a\.txt: was changed since svdflow wrote it") as caught:
            attempt()
        assert "delete" not in str(caught.value) and "--force" in str(caught.value)
    assert path.read_text() == "mine"
    publish_text(path, "four", force=True)
    publish_text(path, "five")
    assert path.read_text() == "five" and not list(tmp_path.glob("*tmp-*"))


def test_an_edit_of_the_same_length_is_seen(tmp_path):
    path = tmp_path / "a.txt"
    publish_text(path, "PSNR 31.4")
    path.write_text("PSNR 41.3")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(NotOursError):
        refuse_foreign(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a, b: os.utime(a), id="touched"),
        pytest.param(lambda a, b: shutil.copytree(a.parent, b.parent), id="copied"),
        pytest.param(lambda a, b: a.parent.rename(b.parent), id="moved"),
    ],
)
def test_a_folder_that_was_touched_copied_or_moved_is_still_ours(tmp_path, change):
    path, elsewhere = tmp_path / "one" / "a.txt", tmp_path / "two" / "a.txt"
    publish_text(path, "ours")
    change(path, elsewhere)
    for place in (path, elsewhere):
        refuse_foreign(place)
        publish_text(place, "ours anew")
        assert place.read_text() == "ours anew"


def test_a_file_moved_into_another_folder_is_the_users(tmp_path):
    publish_text(tmp_path / "one" / "a.txt", "ours")
    (tmp_path / "a.txt").write_bytes((tmp_path / "one" / "a.txt").read_bytes())
    with pytest.raises(NotOursError, match="svdflow did not write it"):
        refuse_foreign(tmp_path / "a.txt")


def test_links_folders_and_devices_are_never_replaced(tmp_path):
    (tmp_path / "file.h5").write_text("mine")
    (tmp_path / "link.h5").symlink_to("file.h5")
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    before = sorted(tmp_path.iterdir())
    for name, words in (("link", "a link"), ("folder", "a folder"), ("pipe", "no regular file")):
        for force in (False, True):
            with (
                pytest.raises(NotOursError, match=words),
                publish(tmp_path / f"{name}.h5", "archive", force=force),
            ):
                pass
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "file.h5").read_text() == "mine"


def test_a_damaged_result_is_made_anew_and_an_edited_one_is_kept(tmp_path):
    path = tmp_path / "a.h5"

    def write():
        with publish(path, "matrices") as file:
            write_array(file, "A", np.arange(9000.0).reshape(90, 100))

    write()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-7], whole[:3000], whole[:50], whole[:4000] + b"?" + whole[4001:]):
        path.write_bytes(damaged)
        refuse_foreign(path)
    write()
    assert path.read_bytes() == whole
    with h5py.File(path, "a") as file:
        file["mine"] = np.arange(5000)
    with pytest.raises(NotOursError, match="was changed"):
        write()
    for mine in (b"notes", whole[:8] + b"x" * len(whole)):
        path.write_bytes(mine)
        with pytest.raises(NotOursError):
            write()


def test_a_kill_at_any_moment_leaves_a_file_of_ours_with_its_line(tmp_path, monkeypatch):
    """The line stands before the file does: stopped between the two, both the old and the new file are ours."""
    path = tmp_path / "a.txt"
    publish_text(path, "old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        publish_text(path, "new")
    refuse_foreign(path)
    monkeypatch.undo()
    path.write_text("new")
    refuse_foreign(path)


def test_writers_side_by_side_lose_no_line(tmp_path):
    code = """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from svdflow.store.files import publish_text
        folder, first = sys.argv[1], int(sys.argv[2])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: publish_text(f"{folder}/{i}.txt", str(i)), range(first, first + 25)))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    running = [subprocess.Popen([*command, str(first)], env=environment) for first in (0, 25, 50)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert set(listed(tmp_path)) == {f"{i}.txt" for i in range(75)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: refuse_foreign(tmp_path / f"{i}.txt"), range(75)))


def test_lines_that_a_crash_cut_short_are_no_lines_and_spoil_no_other(tmp_path):
    publish_text(tmp_path / "a.txt", "a")
    with (tmp_path / MARK).open("a") as mark:
        mark.write('{"name": "b.txt", "si')
    (tmp_path / "b.txt").write_text("b")
    publish_text(tmp_path / "c.txt", "c")
    assert set(listed(tmp_path)) == {"a.txt", "c.txt"}
    with pytest.raises(NotOursError):
        refuse_foreign(tmp_path / "b.txt")


def test_a_file_of_that_name_that_is_the_users_is_left_alone(tmp_path):
    (tmp_path / MARK).write_text("my notes on svdflow\n")
    with pytest.raises(NotOursError, match="needs the name for its mark"):
        publish_text(tmp_path / "a.txt", "a")
    assert everything(tmp_path) == {} and (tmp_path / MARK).read_text() == "my notes on svdflow\n"


def test_a_mark_that_points_out_of_its_folder_removes_nothing_there(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "thesis.tex"
    publish_text(tmp_path / "thesis.tex", "everything")
    publish_text(inside / "a.txt", "a")
    lines = (tmp_path / MARK).read_text().replace('"thesis.tex"', '"../thesis.tex"')
    (inside / MARK).write_text((inside / MARK).read_text() + lines.split("\n", 1)[1])
    (inside / "link").symlink_to(tmp_path)
    removed, kept = remove_ours(inside)
    assert removed == [inside / "a.txt"] and [path for path, _ in kept] == [inside / "link"]
    assert outside.exists()


def test_large_files_are_known_by_blocks(tmp_path):
    path, size = tmp_path / "large.bin", 2**26 + 12345
    with path.open("wb") as file:
        file.truncate(size)
    digest = digest_of(path, size)
    assert digest.startswith("blocks-")
    for place in (0, size // 63 + 7, size - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert digest_of(path, size) != digest
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"\0")
    assert digest_of(path, size) == digest


# -- folders ----------------------------------------------------------------------------------------------


def fill(path, *names):
    with publish_directory(path) as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)


def test_a_folder_is_replaced_only_while_all_of_it_is_ours(tmp_path):
    path = tmp_path / "tables"
    fill(path, "a.csv", "deep/b.csv")
    (path / ".DS_Store").write_text("")
    (path / ".snakemake_timestamp").write_text("")
    fill(path, "c.csv", "deep/b.csv")
    for spoil, name in (
        (lambda: (path / "mine.csv").write_text("mine"), "mine.csv"),
        (lambda: (path / "deep" / "b.csv").write_text("B"), "b.csv"),
        (lambda: (path / "deep" / "link").symlink_to(tmp_path), "link"),
    ):
        before = everything(path)
        spoil()
        after = everything(path)
        with pytest.raises(NotOursError, match=name) as caught:
            fill(path, "d.csv")
        assert everything(path) == after and "delete" not in str(caught.value)
        for changed in after.keys() - before.keys():
            (path / changed).unlink()
        (path / "deep" / "b.csv").write_text("deep/b.csv")
    fill(path, "d.csv")
    assert everything(path) == {"d.csv": b"d.csv"}


def test_a_folder_of_the_users_is_not_emptied(home):
    before = everything(home)
    with pytest.raises(NotOursError, match=r"thesis\.tex"):
        fill(home, "a.csv")
    assert everything(home) == before


def test_files_go_beside_what_is_there_or_not_at_all(home, tmp_path):
    made = tmp_path / "made"
    fill(made, "a.csv", "000000_photo/rank1.png", "z.csv")
    (home / "z.csv").write_text("mine")
    before = everything(home)
    with pytest.raises(NotOursError, match=r"z\.csv"):
        publish_files(made, home)
    assert everything(home) == before
    publish_files(made, home, force=True)
    publish_files(made, home)
    assert everything(home) == before | {
        "a.csv": b"a.csv",
        "z.csv": b"z.csv",
        "000000_photo/rank1.png": b"000000_photo/rank1.png",
    }
    (home / "a.csv").unlink()
    (home / "a.csv").mkdir()
    with pytest.raises(NotOursError, match=r"a\.csv: a folder"):
        publish_files(made, home, force=True)


def test_what_is_removed_is_ours_alone_and_folders_that_it_empties(home, tmp_path):
    before = everything(home)
    made = tmp_path / "made"
    fill(made, "a.csv", "000000_photo/rank1.png", "fresh/b.csv")
    publish_files(made, home)
    (home / "fresh" / "mine.txt").write_text("mine")
    removed, kept = remove_ours(home)
    assert {p.name for p in removed} == {"a.csv", "rank1.png", "b.csv"}
    assert everything(home) == before | {"fresh/mine.txt": b"mine"}
    assert {path.name for path, _ in kept} == {"thesis.tex", "data.csv", "mine.txt"}
    assert not list(home.rglob(f"*{MARK}")) and home.is_dir()
    make_folder(tmp_path / "new")
    publish_text(tmp_path / "new" / "a.txt", "a")
    assert remove_ours(tmp_path / "new")[1] == [] and not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    publish_text(tmp_path / "empty" / "a.txt", "a")
    assert remove_ours(tmp_path / "empty")[1] == [] and (tmp_path / "empty").is_dir()


def test_what_killed_writers_left_is_swept_and_names_like_it_are_not(tmp_path):
    left, like = tmp_path / ".a[1].txt.tmp-123", tmp_path / ".a[1].txt.tmp-mine"
    for path in (left, like):
        path.write_text("x")
    publish_text(tmp_path / "a[1].txt", "a")
    assert not left.exists() and like.exists()
    assert [path for path, why in survey(tmp_path) if why] == [like]


# -- commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["compress", "denoise"])
@pytest.mark.parametrize("place", ["home", "link", "dot", "parent"])
def test_pictures_are_written_beside_what_is_there(photo, home, monkeypatch, command, place):
    (home.parent / "link").symlink_to(home)
    (home / "000000_photo").rmdir()
    folder, out = {
        "home": (home, home),
        "link": (home, home.parent / "link"),
        "dot": (home, "."),
        "parent": (home.parent, home / ".."),
    }[place]
    monkeypatch.chdir(home)
    before = everything(folder)
    for _ in range(2):
        assert main([command, str(photo), str(out)]) == 0
        after = everything(folder)
        assert {name: after.get(name) for name in before} == before
        assert any(name.endswith(".png") and name not in before for name in after)
    assert (home.parent / "link").is_symlink()


@pytest.mark.parametrize("command", ["compress", "denoise"])
def test_a_broken_image_leaves_everything_as_it_was(tmp_path, home, command):
    (tmp_path / "bad.png").write_text("no image")
    before = everything(tmp_path)
    assert main([command, str(tmp_path / "bad.png"), str(home)]) == 1
    assert main([command, str(tmp_path / "bad.png"), str(tmp_path / "new")]) == 1
    assert everything(tmp_path) == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["compress", "denoise"])
def test_a_picture_of_the_users_is_refused_and_forced_alone(photo, home, capsys, command):
    name = {"compress": "000000_photo/rank1.png", "denoise": "000000_photo.png"}[command]
    (home / name).write_text("a picture of mine")
    before = everything(home)
    assert main([command, str(photo), str(home)]) == 1
    message = capsys.readouterr().err
    assert name in message and "--force" in message and "delete" not in message
    assert everything(home) == before
    assert main([command, str(photo), str(home), "--force"]) == 0
    after = everything(home)
    assert after[name] != before[name] and {n: after[n] for n in before if n != name} == {
        n: before[n] for n in before if n != name
    }


@pytest.mark.parametrize("command", ["compress", "denoise"])
def test_a_file_where_the_folder_would_be_is_refused(photo, home, capsys, command):
    assert main([command, str(photo), str(home / "thesis.tex")]) == 1
    assert "thesis.tex is a file" in capsys.readouterr().err
    assert (home / "thesis.tex").read_text() == "everything"


def test_the_picture_that_is_read_is_never_written_over(photo, tmp_path, capsys):
    place = tmp_path / "out" / "000000_photo.png"
    place.parent.mkdir()
    shutil.copy(photo, place.parent / "photo.png")
    (place).symlink_to("photo.png")
    before = everything(tmp_path)
    for extra in ([], ["--force"]):
        assert main(["denoise", str(place.parent / "photo.png"), str(place.parent), *extra]) == 1
        assert "is the file that is read" in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_encode_and_decode_refuse_what_is_not_theirs(photo, tmp_path, capsys):
    notes, archive, back = tmp_path / "notes.txt", tmp_path / "a.h5", tmp_path / "b.npy"
    notes.write_text("mine")
    np.save(back, np.eye(3))
    mine = back.read_bytes()
    assert main(["encode", str(photo), str(notes), "--psnr", "30"]) == 1
    assert "notes.txt" in capsys.readouterr().err and notes.read_text() == "mine"
    for _ in range(2):
        assert main(["encode", str(photo), str(archive), "--psnr", "30"]) == 0
    assert main(["decode", str(archive), str(back)]) == 1
    assert "b.npy" in capsys.readouterr().err and back.read_bytes() == mine
    assert main(["decode", str(archive), str(back), "--force"]) == 0
    assert main(["decode", str(archive), str(back)]) == 0
    assert np.load(back).shape == (40, 30)
    for command in (
        ["encode", str(photo), str(photo), "--psnr", "30"],
        ["decode", str(archive), str(archive)],
    ):
        before = everything(tmp_path)
        for extra in ([], ["--force"]):
            assert main([*command, *extra]) == 1
            assert "is the file that is read" in capsys.readouterr().err
        assert everything(tmp_path) == before
    assert main(["decode", str(archive), str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (30, 40)
    before = everything(tmp_path)
    assert main(["decode", str(archive), str(tmp_path / "b.jpg")]) == 1
    assert everything(tmp_path) == before  # a format that cannot be written leaves nothing behind


def test_a_dataset_within_a_file_is_not_archived_over_the_file(tmp_path, capsys):
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        file["run/7"] = np.outer(np.arange(1.0, 40), np.arange(1.0, 30)).astype(np.float32)
    command = ["encode", f"{tmp_path}/scans.h5:/run/7", str(tmp_path / "scans.h5"), "--rel-error", "0.01"]
    before = everything(tmp_path)
    for extra in ([], ["--force"]):
        assert main([*command, *extra]) == 1
        assert "is the file that is read" in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_an_array_is_never_archived_over_its_own_file(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.outer(np.arange(1.0, 40), np.arange(1.0, 30)))
    before = path.read_bytes()
    mapped = np.load(path, mmap_mode="r")
    for A in (mapped, mapped[3:], np.load(path)):
        with pytest.raises(ValueError, match=r"a\.npy"):
            encode(A, path, rel_error=1e-3)
    with pytest.raises(ValueError, match="is the file that the array is read from"):
        encode(mapped.T, path, rel_error=1e-3, force=True)
    assert path.read_bytes() == before
    encode(mapped, tmp_path / "a.h5", rel_error=1e-3)
    encode(np.array(mapped), path, rel_error=1e-3, force=True)
    assert decode(path).shape == (39, 29)


# -- checkpoints ------------------------------------------------------------------------------------------


def decaying():
    random = np.random.default_rng(3)
    U, V = (np.linalg.qr(random.standard_normal((n, 40)))[0] for n in (400, 60))
    return (U * 0.7 ** np.arange(40)) @ V.T


@pytest.mark.parametrize("content", ["a passport number", "0" * 64 + "\n"])
def test_a_folder_with_a_file_called_identity_is_no_checkpoint(tmp_path, content):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "identity.txt").write_text(content)
    (folder / "read_00001.h5").write_text("a novel")
    before = everything(folder)
    with pytest.raises(ValueError, match="svdflow did not write"):
        truncated_svd(decaying(), 5, method="krylov", checkpoint=folder)
    assert everything(folder) == before


def test_a_checkpoint_goes_and_leaves_the_folder_that_the_user_made(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder, stays in ((tmp_path / "mine", True), (tmp_path / "new" / "one", False)):
        for _ in range(2):
            truncated_svd(decaying(), 5, method="krylov", checkpoint=folder)
            assert folder.is_dir() is stays and (not stays or not list(folder.iterdir()))


def test_a_file_as_checkpoint_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        truncated_svd(decaying(), 5, method="krylov", checkpoint=tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "everything"


def test_the_error_is_both_a_value_error_and_a_store_error():
    assert issubclass(NotOursError, ValueError) and issubclass(NotOursError, StoreError)

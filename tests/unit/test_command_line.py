"""The command line says what it did, or what was wrong and with what."""

import numpy as np
import pytest
from PIL import Image

import svdflow.codec
from svdflow.__main__ import main
from svdflow.registry import DENOISERS


@pytest.fixture
def photo(tmp_path):
    random = np.random.default_rng(3)
    values = np.clip(128 + 20 * random.normal(size=(40, 4)) @ random.normal(size=(4, 30)), 0, 255)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_compress_writes_a_picture_a_rank(photo, tmp_path, capsys):
    assert main(["compress", str(photo), str(tmp_path / "out"), "--ranks", "1", "4"]) == 0
    names = {p.name for p in (tmp_path / "out").rglob("*.png")}
    assert {"rank1.png", "rank4.png"} <= names
    assert "relative_error" in capsys.readouterr().out


def test_denoise_writes_the_picture(photo, tmp_path, capsys):
    assert main(["denoise", str(photo), str(tmp_path / "out")]) == 0
    (picture,) = (tmp_path / "out").rglob("*.png")
    assert Image.open(picture).size == (30, 40)
    assert "sigma_used" in capsys.readouterr().out


def test_denoise_by_groups_of_patches(photo, tmp_path, capsys):
    command = [
        "denoise",
        str(photo),
        str(tmp_path / "out"),
        "--method",
        "patch_svd",
        "--sigma",
        "12",
        "--passes",
        "1",
    ]
    assert main(command) == 0
    assert "bulk_edge" in capsys.readouterr().out and len(list((tmp_path / "out").rglob("*.png"))) == 1


def test_a_method_that_does_not_apply_says_so(photo, tmp_path, capsys):
    assert main(["denoise", str(photo), str(tmp_path / "out"), "--method", "mppca"]) == 1
    said = capsys.readouterr().err
    assert "mppca" in said and said.startswith("svdflow: ") and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_option_of_another_method_is_refused(photo, tmp_path, capsys):
    assert main(["denoise", str(photo), str(tmp_path / "out"), "--passes", "2"]) == 1
    assert "--passes is an option of patch_svd" in capsys.readouterr().err


def test_missing_values_come_back_as_missing_or_as_the_number_asked_for(tmp_path, capsys):
    values = np.add.outer(np.arange(30.0), np.arange(20.0))
    values[3:6, 4] = np.nan
    np.save(tmp_path / "field.npy", values)
    archive, back = str(tmp_path / "field.h5"), tmp_path / "back.npy"
    encode = ["encode", str(tmp_path / "field.npy"), archive, "--rel-error", "1e-3"]
    assert main(encode) == 1 and "--nan-missing" in capsys.readouterr().err
    assert main([*encode, "--nan-missing"]) == 0 and "3 values are missing" in capsys.readouterr().out
    assert main(["decode", archive, str(back)]) == 0
    np.testing.assert_array_equal(np.isnan(np.load(back)), np.isnan(values))
    assert main(["decode", archive, str(tmp_path / "filled.npy"), "--fill", "-1"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "filled.npy") == -1, np.isnan(values))
    whole = np.ma.MaskedArray(np.arange(600).reshape(30, 20), np.isnan(values))
    svdflow.codec.encode(whole, tmp_path / "whole.h5", max_abs=0.4)
    lost = ["decode", str(tmp_path / "whole.h5"), str(tmp_path / "whole.npy")]
    assert main(lost) == 1 and "3 values are missing" in capsys.readouterr().err
    assert main([*lost, "--fill", "0.5"]) == 1 and "whole number" in capsys.readouterr().err
    assert main([*lost, "--fill", "-9"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), whole.filled(-9))


def test_encode_and_decode_an_image_and_an_array(photo, tmp_path, capsys):
    archive, back = tmp_path / "photo.h5", tmp_path / "back.png"
    assert main(["encode", str(photo), str(archive), "--psnr", "35"]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert main(["decode", str(archive), str(back)]) == 0
    original, decoded = (np.asarray(Image.open(p)).astype(float) for p in (photo, back))
    assert 10 * np.log10(255**2 / np.mean((original - decoded) ** 2)) >= 35
    field = np.outer(np.arange(1.0, 40), np.arange(1.0, 30))
    np.save(tmp_path / "field.npy", field)
    assert (
        main(["encode", str(tmp_path / "field.npy"), str(archive), "--rel-error", "1e-3", "--form", "svd"])
        == 0
    )
    assert main(["decode", str(archive), str(tmp_path / "field-back.npy"), "--rank", "2"]) == 0
    assert np.linalg.norm(np.load(tmp_path / "field-back.npy") - field) <= 1e-3 * np.linalg.norm(field)
    assert main(["encode", str(photo), str(archive)]) == 1
    assert "--rel-error" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compress", "denoise"])
@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("no image"), lambda p: p.mkdir()])
def test_what_cannot_be_read_is_named_and_fails(tmp_path, capsys, command, make):
    make(tmp_path / "bad.png")
    assert main([command, str(tmp_path / "bad.png"), str(tmp_path / "out")]) == 1
    assert "bad.png" in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["0", "-3", "2.5", "x"])
def test_a_rank_that_is_none_is_refused(photo, tmp_path, capsys, rank):
    with pytest.raises(SystemExit):
        main(["compress", str(photo), str(tmp_path / "out"), f"--ranks={rank}"])
    assert "whole number of at least 1" in capsys.readouterr().err


def test_audit_repeats_one_by_name_and_refuses_others(capsys):
    assert main(["audit", "trace_axb", "--seed", "3"]) == 0
    assert "PASS" in capsys.readouterr().out
    assert main(["audit", "trace_abx"]) == 1
    assert "trace_axb" in capsys.readouterr().err


def test_outside_a_workflow_it_says_where_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 1
    assert "is not a svdflow workflow" in capsys.readouterr().err


def test_the_version_is_that_of_the_library(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"svdflow {svdflow.__version__}\n"


def test_methods_are_read_off_their_declarations(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "4000")  # no line is broken at a hyphen
    with pytest.raises(SystemExit):
        main(["denoise", "--help"])
    helped = " ".join(capsys.readouterr().out.split())
    for method in DENOISERS.values():
        assert (f"{method.name}: {method.summary}" in helped) == ("images" in method.applies_to)

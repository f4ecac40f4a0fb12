"""Ingest: what a shard holds, what becomes of bad items, and that neighbours change no bits."""

import csv
import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import stats

from svdflow.images.ingest_images import ingest_images, with_noise
from svdflow.images.io import read_image
from svdflow.store import items, open_published, read_array, read_table

SAMPLES = Path(__file__).parents[2] / "config" / "manifests" / "samples.tsv"
RNG = np.random.default_rng(11)


def png_bytes(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def npy_header(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


GOOD = {
    "grey.png": png_bytes(RNG.integers(0, 256, (20, 30), dtype=np.uint8)),
    "colour.png": png_bytes(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)),
    "alpha.png": png_bytes(RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)),
}
BAD = {
    "cut.png": (GOOD["colour.png"][:500], "truncated"),
    "empty.png": (b"", "empty_file"),
    "letter.png": (b"Dear sir or madam", "not_an_image"),
    "bomb.npy": (npy_header((60000, 60000)), "decompression_bomb"),
    "gone.png": (None, "unreadable"),
}


def manifest(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return [{"index": i, "path": str(folder / name), "name": name} for i, name in enumerate(contents)]


def ingest(files, out, **options):
    defaults = {"dataset": "test", "shard": 0, "colour": "rgb", "noise_sigma": [], "seed": 42}
    ingest_images(files, out, **{**defaults, **options})
    return out


def content(out):
    """name -> attributes, observations and alpha, all read and verified."""
    with open_published(out, "matrices") as file:
        return {
            item.name: (
                item.attrs,
                [{p: read_array(d) for p, d in o.planes.items()} for o in item.observations],
                None if item.alpha is None else read_array(item.alpha),
            )
            for item in items(file)
        }


def test_planes_keep_their_dtype_and_alpha_stands_apart(tmp_path):
    sixteen = RNG.integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    files = manifest(tmp_path / "in", GOOD)
    tifffile.imwrite(tmp_path / "in" / "deep.tif", sixteen)
    files.append({"index": 9, "path": str(tmp_path / "in" / "deep.tif"), "name": "deep.tif"})
    found = content(ingest(files, tmp_path / "out.h5"))
    assert list(found) == [*GOOD, "deep.tif"]
    attrs, (observed,), alpha = found["deep.tif"]
    assert alpha is None
    assert np.array_equal(np.stack([observed[c] for c in "rgb"], -1), sixteen)
    assert observed["r"].dtype == np.uint16
    expected = {
        "data_range": 65535.0,
        "bits": 16,
        "colour": "rgb",
        "format": "TIFF",
        "has_alpha": False,
        "page": 0,
    }
    assert {k: attrs[k] for k in expected} == expected
    assert (attrs["data_min"], attrs["data_max"]) == (sixteen.min(), sixteen.max())
    whole = np.asarray(Image.open(io.BytesIO(GOOD["alpha.png"])))
    assert np.array_equal(found["alpha.png"][2], whole[..., 3])
    assert list(found["grey.png"][1][0]) == ["grey"]
    assert found["grey.png"][0]["colour"] == "gray"


def test_bad_items_become_rows_and_change_no_bits(tmp_path):
    good = manifest(tmp_path / "in", GOOD)
    everything = {**GOOD, **{name: data for name, (data, _) in BAD.items()}}
    order = [
        "cut.png",
        "grey.png",
        "empty.png",
        "letter.png",
        "colour.png",
        "bomb.npy",
        "alpha.png",
        "gone.png",
    ]
    interleaved = {name: everything[name] for name in order}
    options = {"noise_sigma": [15.0, 25.0]}
    alone = content(ingest(good, tmp_path / "alone.h5", **options))
    together = content(ingest(manifest(tmp_path / "in2", interleaved), tmp_path / "together.h5", **options))
    assert list(together) == list(alone)
    for name, (attrs, observations, alpha) in alone.items():
        assert together[name][0] == attrs
        assert np.array_equal(together[name][2], alpha) if alpha is not None else together[name][2] is None
        for mine, theirs in zip(observations, together[name][1], strict=True):
            assert {p: a.tobytes() for p, a in mine.items()} == {p: a.tobytes() for p, a in theirs.items()}
    errors = read_table(tmp_path / "together.h5", "errors")
    assert dict(zip(errors["name"], errors["code"], strict=True)) == {n: code for n, (_, code) in BAD.items()}
    assert set(errors["stage"]) == {"ingest"}
    assert errors["item"].tolist() == [list(interleaved).index(n) for n in errors["name"]]
    assert len(read_table(tmp_path / "alone.h5", "errors")) == 0


def test_noise_is_white_gaussian_unclipped_and_keyed(tmp_path):
    flat = {
        "flat.png": png_bytes(np.zeros((256, 256), np.uint8)),
        "twin.png": png_bytes(np.zeros((256, 256), np.uint8)),
    }
    out = ingest(manifest(tmp_path / "in", flat), tmp_path / "out.h5", noise_sigma=[10.0, 40.0])
    draws = [o["grey"] for _, observations, _ in content(out).values() for o in observations[1:]]
    assert {d.dtype for d in draws} == {np.dtype(np.float32)}
    for draw, sigma in zip(draws, [10, 40, 10, 40], strict=True):
        assert stats.kstest(draw.ravel() / sigma, "norm").pvalue > 1e-4
        spectrum = np.abs(np.fft.fft2(draw)) ** 2 / draw.size / sigma**2
        assert abs(spectrum[:64, :64].mean() - 1) < 5 / 64  # each bin is exponential with mean 1
    correlations = np.corrcoef([d.ravel() for d in draws])[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / 256  # independent over names and levels
    with open_published(out) as file:
        first = next(items(file))
        assert [o.sigma_added for o in first.observations] == [0, 10, 40]
        assert np.array_equal(read_array(first.clean["grey"]), np.zeros((256, 256)))


def test_noise_key_is_the_whole_key():
    plane = np.zeros((4, 5), np.uint8)
    key = [42, "set", "a.png", 1, "r"]
    same = with_noise(plane, 3.0, key)
    assert same.tobytes() == with_noise(plane, 3.0, tuple(key)).tobytes()
    for place, other in enumerate([43, "set2", "b.png", 2, "g"]):
        changed = [*key[:place], other, *key[place + 1 :]]
        assert not np.array_equal(same, with_noise(plane, 3.0, changed))


def test_pages_are_planes(tmp_path):
    frames = [Image.fromarray(np.full((8, 9, 4), (40 * i, 10, 200, 255 - i), np.uint8)) for i in range(2)]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    out = ingest([{"index": 0, "path": str(path), "name": "a.webp"}], tmp_path / "out.h5")
    _, (observed,), alpha = content(out)["a.webp"]
    assert sorted(observed) == sorted(f"{c}_p{i:03d}" for c in "rgb" for i in range(2))
    assert observed["r_p001"][0, 0] == 40
    assert alpha.shape == (2, 8, 9)
    one = ingest([{"index": 0, "path": str(path), "name": "a.webp", "page": 1}], tmp_path / "one.h5")
    attrs, (observed,), alpha = content(one)["a.webp"]
    assert sorted(observed) == ["b", "g", "r"]
    assert (attrs["page"], alpha.shape) == (1, (8, 9))


def test_a_changed_file_does_not_pass_its_checksum(tmp_path):
    files = manifest(tmp_path / "in", {"grey.png": GOOD["grey.png"]})
    right = hashlib.sha256(GOOD["grey.png"]).hexdigest()
    assert content(ingest([{**files[0], "sha256": right}], tmp_path / "a.h5"))
    out = ingest([{**files[0], "sha256": "0" * 64}], tmp_path / "b.h5")
    assert content(out) == {}
    assert read_table(out, "errors")["code"].tolist() == ["checksum"]


def test_large_profiles_are_kept(tmp_path):
    profile = bytes(RNG.integers(0, 256, 100_000, dtype=np.uint8))  # beyond what an HDF5 attribute holds
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", icc_profile=profile)
    out = ingest([{"index": 0, "path": str(tmp_path / "a.png"), "name": "a.png"}], tmp_path / "out.h5")
    with open_published(out) as file:
        assert read_array(file["items/000000/icc_profile"]).tobytes() == profile


def test_an_unknown_colour_stops_at_once(tmp_path):
    with pytest.raises(ValueError, match="unknown colour"):
        ingest([], tmp_path / "out.h5", colour="grey")
    assert not (tmp_path / "out.h5").exists()


def test_the_samples_are_what_their_manifest_says():
    with SAMPLES.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    kinds, formats = set(), set()
    for row in rows:
        package = Path(importlib.util.find_spec(row["package"]).origin).parent
        path = package / row["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"], row["name"]
        assert row["licence"], row["name"]
        record = read_image(path)
        formats.add((record.attrs["format"], len(record.pages) > 1))
        kinds.add((record.pages[0].array.ndim, record.attrs["has_alpha"]))
    assert len({row["name"] for row in rows}) == len(rows)
    assert sum(row["description"].split(",")[0].endswith(("photograph", "micrograph")) for row in rows) >= 14
    assert {("PNG", False), ("JPEG", False), ("TIFF", True)} <= formats
    assert {(2, False), (3, False), (3, True)} <= kinds


def test_noise_on_wide_integers_keeps_double_precision():
    plane = np.full((50, 50), 2**30, np.int32)
    noisy = with_noise(plane, 5.0, ("a",))
    assert noisy.dtype == np.float64  # float32 steps by 64 here
    assert (noisy - plane).std() == pytest.approx(5, rel=0.1)
    assert with_noise(plane.astype(np.uint16), 5.0, ("a",)).dtype == np.float32


def test_a_name_that_is_not_text_stops_no_shard(tmp_path):
    path = tmp_path / "bad\udcff.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path, format="PNG")
    files = [{"index": 0, "path": str(path), "name": path.name}]
    out = tmp_path / "m.h5"
    ingest_images(files, out, dataset="d", shard=0, colour="gray", noise_sigma=[3.0], seed=0)
    with open_published(out) as file:
        assert [item.name for item in items(file)] == ["bad\ufffd.png"]


@pytest.mark.parametrize(("scale", "kept"), [(1e-200, 0), (1e-90, 1), (1e90, 1), (1e200, 0)])
def test_values_whose_squares_leave_float64_are_refused(tmp_path, scale, kept):
    np.save(tmp_path / "a.npy", scale * np.linspace(0, 1, 64).reshape(8, 8))
    out = tmp_path / "m.h5"
    files = [{"index": 0, "path": str(tmp_path / "a.npy"), "name": "a.npy"}]
    ingest_images(files, out, dataset="d", shard=0, colour="gray", noise_sigma=[], seed=0)
    with open_published(out) as file:
        assert len(list(items(file))) == kept
    assert list(read_table(out, "errors")["code"]) == ["extreme_range"] * (1 - kept)


def test_the_middle_square_is_kept(tmp_path):
    """Of all planes and of alpha; a side that is shorter stays whole, and the range is that of what is kept."""
    files = manifest(tmp_path / "in", GOOD)
    with open_published(ingest(files, tmp_path / "all.h5")) as file:
        whole = {
            item.name: {k: read_array(v) for k, v in item.observations[0].planes.items()}
            for item in items(file)
        }
    with open_published(ingest(files, tmp_path / "out.h5", crop=24)) as file:
        kept = list(items(file))
        for item in kept:
            for name, plane in item.observations[0].planes.items():
                np.testing.assert_array_equal(read_array(plane), whole[item.name][name][:, 3:27])
        assert [item.name for item in kept] == list(GOOD)
        shapes = {item.name: item.alpha.shape for item in kept if item.alpha is not None}
        assert shapes == {"alpha.png": (20, 24)}

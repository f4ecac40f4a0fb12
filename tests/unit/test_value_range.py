"""One range a dataset: what PSNR and SSIM refer to, where it comes from, and when it changes."""

import html
import io
import os
import re
import shutil
import struct
import subprocess
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from small_study import ROOT
from svdflow.__main__ import main
from svdflow.compute.runtime import Runtime
from svdflow.errors import ConfigError
from svdflow.images import inspection
from svdflow.images.ingest_images import ingest_images
from svdflow.images.io import read_image, write_image
from svdflow.images.item_range import value_range
from svdflow.matrix.ingest_synthetic import ingest_synthetic
from svdflow.report.aggregate import aggregate
from svdflow.report.document import write_report
from svdflow.report.range_notes import range_words
from svdflow.report.tables import write_tables
from svdflow.store import items, open_published, read_array, read_table
from svdflow.study import contents, manifest, manifest_file
from svdflow.study.config import load_config
from svdflow.study.study import Study
from svdflow.study.value_range import EQUAL, FEWEST, SPAN, STATED, Extent, dataset_ranges
from svdflow.svd.factorize_shard import factorize_shard
from svdflow.tasks.compress import compress_shard
from svdflow.tasks.denoise import denoise_shard
from svdflow.tasks.encode import encode_shard

RNG = np.random.default_rng(21)
HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"


def smooth(shape, top, dtype=np.uint16):
    """A picture of low rank that uses 0 to `top`."""
    rows, columns = np.indices(shape)
    wave = np.sin(rows / 5) * np.cos(columns / 7) + 0.2 * RNG.standard_normal(shape)
    return np.round((wave - wave.min()) / np.ptp(wave) * top).astype(dtype)


# ---- the rule


@pytest.mark.parametrize(
    ("array", "stated", "data_range", "source"),
    [
        (np.uint8([3, 9]), 8, 255, "8 bits"),
        (np.uint8([0, 255]), None, 255, "8 bits"),
        (np.uint16([0, 235]), 16, 255, FEWEST.format(8)),
        (np.uint16([0, 256]), 16, 1023, FEWEST.format(10)),
        (np.uint16([0, 1024]), None, 4095, FEWEST.format(12)),
        (np.uint16([0, 16383]), 16, 16383, FEWEST.format(14)),
        (np.uint16([0, 16384]), 16, 65535, FEWEST.format(16)),
        (np.uint16([0, 235]), 12, 4095, STATED.format(12)),
        (np.uint16([0, 5000]), 12, 16383, FEWEST.format(14)),  # the file states what cannot be
        (np.uint32([0, 4000]), 32, 4095, FEWEST.format(12)),
        (np.uint32([10, 70000]), 32, 69990, SPAN),
        (np.int16([0, 4000]), 16, 4095, FEWEST.format(12)),
        (np.int16([-1000, 3000]), 16, 4000, SPAN),
        (np.float32([-2.5, 7.5]), None, 10, SPAN),
        (np.float64([0, 1]), None, 1, SPAN),
        (np.float64([4, 4]), None, 4, EQUAL),
        (np.float64([0, 0]), None, 1, EQUAL),
        (np.uint16([7, 7]), 16, 255, FEWEST.format(8)),
        (np.int32([-7, -7]), 32, 7, EQUAL),
    ],
)
def test_the_range_of_values(array, stated, data_range, source):
    found = value_range([array], stated)
    assert found == (array.min(), array.max(), data_range, source)


def test_no_value_has_no_range():
    assert np.isnan(value_range([np.zeros(0)]).data_range) and np.isnan(value_range([]).data_range)


def test_a_dataset_has_one_range_for_each_kind_of_samples():
    extents = [
        Extent("uint16", 16, 0, 200),
        Extent("uint16", 16, 3, 900),
        Extent("float32", 32, -1.0, 0.5),
        Extent("float32", 32, 0.0, 2.0),
        Extent("uint8", 8, 0, 255),
    ]
    found = [["8-bit", 255, "8 bits"], ["floats", 3, SPAN], ["integers", 1023, FEWEST.format(10)]]
    assert dataset_ranges(extents) == found == dataset_ranges(extents[::-1])
    assert dataset_ranges([]) == []
    stated = [Extent("uint16", 12, 0, 30), Extent("uint16", 16, 0, 200)]
    assert dataset_ranges(stated) == [["integers", 4095, STATED.format(12)]]


def twelve_bit_colour(values):
    """A TIFF of three packed samples of 12 bits a pixel (TIFF 6.0, sections 3 and 6); an even number a row."""
    rows, columns, _ = values.shape
    size = columns * 36 // 8
    packed = b"".join(
        int("".join(f"{v:012b}" for v in row.ravel()), 2).to_bytes(size, "big") for row in values
    )
    bits, start = struct.pack("<3H", 12, 12, 12), 8 + len(packed)
    tags = [(256, 3, 1, columns), (257, 3, 1, rows), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, rows), (279, 4, 1, len(packed))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", start + 6) + packed + bits + directory + b"\0\0\0\0"


def test_twelve_bit_colour_has_the_range_that_it_states(tmp_path):
    values = RNG.integers(0, 236, (6, 8, 3), dtype=np.uint16)
    (tmp_path / "a.tif").write_bytes(twelve_bit_colour(values))
    record = read_image(tmp_path / "a.tif")
    assert np.array_equal(record.pages[0].array, values) and record.pages[0].array.dtype == np.uint16
    assert record.attrs["data_range"] == 4095 and record.attrs["data_range_source"] == STATED.format(12)


# ---- through the stages


def files_of(folder, pictures):
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        write_image(folder / name, pixels)
    return [{"index": i, "path": str(folder / name), "name": name} for i, name in enumerate(pictures)]


def staged(tmp_path, pictures, *, data_range=(), noise=(), images="none"):
    """The tables compress, denoise and rates of pictures, and the folder of the stages."""
    place = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    place.mkdir()
    common = {"dataset": "d", "shard": 0}
    matrices, factors = place / "matrices.h5", place / "factors.h5"
    files = files_of(place / "in", pictures)
    ingest_images(files, matrices, colour="rgb", noise_sigma=noise, seed=1, **common)
    factorize_shard(matrices, factors, item_rank=4, noisy_rank=4, seed=1, **common)
    compress_shard(
        matrices, factors, place / "compress.h5", place / "pictures", ranks=[1, 3], energies=[], powers_of_two=False,
        metrics=["psnr", "ssim"], images=images, data_range=data_range, runtime=Runtime(threads=1), **common,
    )  # fmt: skip
    denoise_shard(
        matrices, factors, place / "denoise.h5", place / "denoised", method="truncate", ranks=[2],
        rank_rules=["gavish_donoho"], data_range=data_range, runtime=Runtime(threads=1), **common,
    )  # fmt: skip
    encode_shard(
        matrices, place / "encode.h5", place / "archives", target="psnr=35", forms=["svd"], codecs=["png"],
        seed=1, data_range=data_range, runtime=Runtime(threads=1), **common,
    )  # fmt: skip
    tables = [("compress", "compress"), ("denoise", "denoise"), ("encode", "rates")]
    return *(read_table(place / f"{stage}.h5", table) for stage, table in tables), place


def test_sixteen_bits_that_use_235_are_judged_as_their_eight_bit_twin(tmp_path):
    """Both pictures hold the same values; before, the deeper one was 48 dB better and its SSIM near 1."""
    deep = smooth((40, 30), 235)
    twins = staged(tmp_path, {"deep.png": deep, "plain.png": deep.astype(np.uint8)}, noise=[10.0])
    for table in twins[:3]:
        parts = [table[table["name"] == name].reset_index() for name in ("deep.png", "plain.png")]
        assert set(table["data_range"]) == {255.0}
        assert set(parts[0]["data_range_source"]) == {FEWEST.format(8)}
        assert set(parts[1]["data_range_source"]) == {"8 bits"}
    compress = twins[0]
    parts = [compress[compress["name"] == name] for name in ("deep.png", "plain.png")]
    for figure in ("psnr", "ssim", "nrmse"):
        np.testing.assert_allclose(*(part[figure] for part in parts), rtol=1e-6)
    # And they are scikit-image's figures with that range.
    U, s, Vt = np.linalg.svd(deep.astype(float))
    rank3 = (U[:, :3] * s[:3]) @ Vt[:3]
    row = parts[0].iloc[1]
    assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(deep, rank3, data_range=255), abs=1e-3)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = structural_similarity(deep.astype(float), rank3, **options)
    assert row["ssim"] == pytest.approx(expected, abs=1e-3) and expected < 0.99


def test_pictures_that_are_written_keep_their_depth_and_values(tmp_path):
    deep = smooth((40, 30), 235)
    *_, place = staged(tmp_path, {"deep.png": deep}, images="all")
    (written,) = place.glob("pictures/*/rank3.png")
    page = read_image(written).pages[0].array
    assert page.dtype == np.uint16 and np.abs(page.astype(int) - deep).max() < 100 and 150 < page.max() < 300


def test_a_dataset_brings_its_range_and_a_given_one_overrides(tmp_path):
    pictures = {"dim.png": smooth((30, 30), 200)}
    known = [["integers", 4095.0, FEWEST.format(12)]]
    for ranges, value, source in [
        ((), 255, FEWEST.format(8)),
        (known, 4095, FEWEST.format(12)),
        ([["every", 1000.0, "given (data_range)"]], 1000, "given (data_range)"),
    ]:
        for table in staged(tmp_path, pictures, data_range=ranges, noise=[5.0])[:3]:
            assert set(table["data_range"]) == {value} and set(table["data_range_source"]) == {source}


def test_the_range_is_never_that_of_a_noisy_observation(tmp_path):
    clean = smooth((40, 30), 1.0, np.float32) + RNG.random((40, 30)).astype(np.float32)
    _, denoised, _, place = staged(tmp_path, {"field.tif": clean}, noise=[3.0])
    assert set(denoised["data_range"]) == {float(clean.max()) - float(clean.min())}
    with open_published(place / "matrices.h5", "matrices") as file:
        (item,) = items(file)
        assert np.ptp(read_array(item.observations[1].planes["grey"])) > 5 * denoised["data_range"].iloc[0]


def test_replicates_share_the_range_of_the_first_without_its_noise(tmp_path):
    options = {
        "dataset": "d",
        "family": "low_rank_plus_noise",
        "parameters": {"rows": 50, "columns": 40, "rank": 3, "noise": 5.0},
        "seed": 3,
        "with_clean": True,
    }
    found = []
    for shard, replicates in [("00000", [0]), ("00001", [1, 2])]:
        ingest_synthetic(tmp_path / f"{shard}.h5", shard=shard, replicates=replicates, **options)
        with open_published(tmp_path / f"{shard}.h5", "matrices") as file:
            found += [
                (item.attrs["data_range"], np.ptp(read_array(item.clean["matrix"]))) for item in items(file)
            ]
    assert len({peak for peak, _ in found}) == 1 and found[0][0] == pytest.approx(
        float(found[0][1]), rel=1e-6
    )


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (np.uint8, 7),
        (np.uint16, 7),
        (np.int16, -7),
        (np.float32, 0),
        (np.float32, 1e30),
        (np.float64, -1e-30),
    ],
)
def test_a_constant_picture_has_figures(tmp_path, dtype, value):
    name = "flat.png" if np.dtype(dtype).kind == "u" else "flat.tif"
    with np.errstate(all="raise", under="ignore"):
        compress, _, _, place = staged(tmp_path, {name: np.full((30, 20), value, dtype)}, images="all")
    assert (compress["data_range"] > 0).all() and (compress["psnr"] > 100).all()
    assert compress["ssim"].to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert len(list(place.glob("pictures/*.png"))) == 1


def test_tables_and_report_name_the_range_beside_psnr_and_ssim(tmp_path):
    *_, place = staged(tmp_path, {"deep.png": smooth((40, 30), 900), "b.png": smooth((40, 30), 50)}, noise=[9.0],
                       data_range=[["integers", 1023.0, FEWEST.format(10)]])  # fmt: skip
    stages = ("matrices", "factors", "compress", "denoise", "encode")
    aggregate([place / f"{stage}.h5" for stage in stages], tmp_path / "metrics.h5")
    write_tables(tmp_path / "metrics.h5", tmp_path / "tables")
    for name in ("compress", "denoise"):
        table = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert set(table["data_range_median"]) == {1023} and set(table["data_range_source"]) == {
            FEWEST.format(10)
        }
        assert list(table).index("data_range_source") < list(table).index("psnr_median")
        assert FEWEST.format(10) in (tmp_path / "tables" / f"{name}.md").read_text()
    assert set(pd.read_csv(tmp_path / "tables" / "rates.csv")["data_range"]) == {1023}
    moved = {}
    for stage in ("matrices", "factors"):
        moved[stage] = tmp_path / stage / "d" / "00000.h5"
        moved[stage].parent.mkdir(parents=True)
        shutil.copy(place / f"{stage}.h5", moved[stage])
    study = {"title": "t", "datasets": [{"name": "d", "kind": "images"}]}
    report = tmp_path / "report.html"
    write_report(tmp_path / "metrics.h5", [moved["matrices"]], [moved["factors"]], report, study=study)
    words = "Data range 1,023 (10 bits, the fewest that hold all values)"
    page = html.unescape(report.read_text())
    captions = re.findall(r"<(?:figcaption|caption)[^>]*>(.*?)</", page, flags=re.DOTALL)
    for figure in ("Images: PSNR against rate", "Images: SSIM against rank", "Median PSNR of images"):
        (caption,) = (c for c in captions if figure in c)
        assert words in caption
    named = [c for c in captions if "PSNR" in c and "What was run" not in c]
    assert len(named) >= 4 and all(words in c for c in named)
    assert page.count(words) >= 6 and "by quantiles" in page
    assert words not in next(c for c in captions if "relative error against rank" in c)


def test_ranges_in_words():
    frame = pd.DataFrame({"dataset": list("aabc"), "data_range": [255.0, 255, 4095, np.nan],
                          "data_range_source": ["8 bits", "8 bits", "12 bits, as files state", ""]})  # fmt: skip
    assert range_words(frame) == " Data range: a 255 (8 bits); b 4,095 (12 bits, as files state)."
    assert range_words(frame[:2]) == " Data range 255 (8 bits)." and range_words(frame[3:]) == ""


# ---- planning


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    return tmp_path


@pytest.fixture
def in_process(monkeypatch):
    """Files are measured in this process, for tests in which that of its own, a second of imports, plays no part."""

    def run(command, *, input, **_):
        assert command[1:] == ["-m", inspection.__name__]
        said = io.StringIO()
        with monkeypatch.context() as only, redirect_stdout(said):
            only.setattr("sys.stdin", io.StringIO(input))
            inspection.main()
        return subprocess.CompletedProcess(command, 0, said.getvalue())

    monkeypatch.setattr(contents.subprocess, "run", run)
    monkeypatch.setattr(
        contents.os, "sched_getaffinity", lambda _: {0}
    )  # standard output is one for all threads


def study(folder, *rows):
    (folder / "sheet.tsv").write_text(HEAD + "".join("\t".join(row.split("|")) + "\n" for row in rows))
    (folder / "study.yaml").write_text("datasets: sheet.tsv\n")
    return Study(load_config([folder / "study.yaml"]), ROOT, [folder / "study.yaml"])


DEEP = "deep|images|deep|gray|-|compress;denoise;encode|2|-"
JUDGES = ("compress", "denoise", "encode")


def carried(found):
    ranges = [found.settings(stage, "deep", "00000", "shrink")["data_range"] for stage in JUDGES]
    assert ranges[0] == ranges[1] == ranges[2]
    return ranges[0]


def test_an_image_changes_what_judges_carry_where_it_changes_the_range(folder, monkeypatch, in_process):
    pictures = {"a.png": smooth((30, 30), 200), "b.tif": smooth((20, 20), 230)}
    files_of(folder / "deep", pictures)
    first = study(folder, DEEP)
    assert carried(first) == [["integers", 255.0, FEWEST.format(8)]]
    manifest_file.write(first.manifest("deep"), first.manifest_path("deep"))
    untouched = {stage: first.settings(stage, "deep", "00000") for stage in ("ingest_images", "factorize")}

    asked = []
    monkeypatch.setattr(contents, "_decoded", spy(contents._decoded, asked))
    write_image(
        folder / "deep" / "c.png", smooth((20, 20), 240)
    )  # within the range: the old shard carries the same
    assert carried(study(folder, DEEP)) == carried(first)
    write_image(folder / "deep" / "d.png", smooth((20, 20), 900))
    raised = study(folder, DEEP)
    assert carried(raised) == [["integers", 1023.0, FEWEST.format(10)]]
    # Ingest and factorization do not depend on it, and what the manifest knows is not decoded again.
    assert untouched == {stage: raised.settings(stage, "deep", "00000") for stage in untouched}
    assert {os.path.basename(path) for path in asked} == {"c.png", "d.png"}


def test_the_files_are_gone_through_once_however_many_jobs_ask(folder, monkeypatch, in_process):
    files_of(folder / "deep", {"a.png": smooth((9, 9), 200)})
    found, calls = study(folder, DEEP), []
    monkeypatch.setattr("svdflow.study.study.extents", lambda m: calls.append(1) or manifest.extents(m))
    for _ in range(3):
        carried(found)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "text", ["uint16 x 0 1", "uint16 16 nan 1", "uint16 16 5 1", "object 8 0 1", "7", "uint16 16 0 inf"]
)
def test_a_span_in_a_manifest_that_is_none_is_measured_again(folder, text, in_process):
    files_of(folder / "deep", {"a.png": smooth((9, 9), 900)})
    first = study(folder, DEEP)
    first.value_ranges("deep")
    path = first.manifest_path("deep")
    manifest_file.write(first.manifest("deep"), path)
    assert "uint16 16 0.0 900.0" in path.read_text()
    path.write_text(path.read_text().replace("uint16 16 0.0 900.0", text))
    assert carried(study(folder, DEEP)) == [["integers", 1023.0, FEWEST.format(10)]]


def spy(function, asked):
    def called(paths, *rest):
        asked.extend(paths)
        return function(paths, *rest)

    return called


def test_eight_bit_pictures_start_no_process(folder, monkeypatch):
    (folder / "deep").mkdir()
    for name in ("a.png", "b.jpg", "c.gif", "d.bmp", "e.webp"):
        Image.fromarray(smooth((30, 30), 200, np.uint8)).save(folder / "deep" / name)
    pages = RNG.integers(0, 200, (3, 30, 30, 3), dtype=np.uint8)
    for name, order in [("little.tif", "<"), ("big.tif", ">")]:
        tifffile.imwrite(folder / "deep" / name, pages, photometric="rgb", byteorder=order)
    tifffile.imwrite(folder / "deep" / "bits.tif", smooth((30, 30), 1, np.uint8).astype(bool))
    monkeypatch.setattr(contents.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert carried(study(folder, DEEP)) == [["8-bit", 255.0, "8 bits"]]


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (np.ones((9, 9), np.uint16), {}),
        (np.ones((9, 9), np.int8), {}),
        (np.ones((9, 9), np.float16), {}),
        (np.ones((9, 9, 3), np.uint16), {"photometric": "rgb"}),
        (np.ones((9, 9), np.uint8), {"bigtiff": True}),
    ],
)
def test_other_headers_are_left_to_the_child(tmp_path, array, options):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))
    assert contents.eight_bits(tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "a.tif", array, append=not options.get("bigtiff") and array.ndim == 2, **options
    )
    assert not contents.eight_bits(tmp_path / "a.tif")
    for cut in (5, 9, 12, 40):
        (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:cut])
        assert not contents.eight_bits(tmp_path / "b.tif")


def test_files_of_all_kinds_are_measured_and_bad_ones_left_to_ingest(folder):
    place = folder / "deep"
    files_of(place, {"a.tif": smooth((9, 9), 50, np.float32) - 20, "b.tif": smooth((9, 9), 99, np.uint8)})
    np.save(place / "c.npy", smooth((9, 9), 5000, np.int32))
    (place / "d.tif").write_bytes(b"II*\0 no picture")
    (place / "e.png").write_text("a letter")
    np.save(place / "f.npy", np.ones((4, 4), complex))
    assert carried(study(folder, DEEP)) == [
        ["8-bit", 255.0, "8 bits"],
        ["floats", 50.0, SPAN],
        ["integers", 16383.0, FEWEST.format(14)],
    ]


def test_bands_that_are_planes_are_measured_too(folder, in_process):
    """Of four bands of 16 bits the last is alpha, unless every band is a plane."""
    bands = np.stack([smooth((9, 9), top) for top in (200, 210, 220)], axis=-1)
    (folder / "deep").mkdir()
    write_image(folder / "deep" / "a.png", bands, alpha=smooth((9, 9), 60000))
    for colour, peak in [("rgb", 255), ("channels", 65535), ("rgb", 255)]:
        found = study(folder, DEEP.replace("gray", colour))
        assert carried(found)[0][:2] == ["integers", peak]
        manifest_file.write(found.manifest("deep"), found.manifest_path("deep"))


def test_a_decoder_that_dies_takes_one_file_along(tmp_path, monkeypatch):
    """The child is replaced by one that ends at the second of three files, as a crash or the system's killer would."""
    paths = [tmp_path / f"{name}.npy" for name in "abc"]
    for path in paths:
        np.save(path, smooth((8, 8), 300))
    run = subprocess.run

    def dying(command, *, input, **more):
        done = run(command, input=input, **more)
        lines = done.stdout.splitlines(keepends=True)
        if str(paths[1]) in input:
            lines = lines[: [str(p) in input for p in paths].index(True) == 0]
            return subprocess.CompletedProcess(command, -9, "".join(lines) + '["uint', "")
        return done

    monkeypatch.setattr(contents.subprocess, "run", dying)
    monkeypatch.setattr(contents.os, "sched_getaffinity", lambda _: {0})
    assert contents.measured(paths, 10**6) == ["uint16 16 0.0 300.0", "-", "uint16 16 0.0 300.0"]


def test_the_sheet_gives_a_range_and_a_filling(folder):
    files_of(folder / "deep", {"a.png": smooth((30, 30), 200)})
    given = study(folder, DEEP[:-1] + "data_range=1000;fill=-1.5")
    assert carried(given) == [["every", 1000.0, "given (data_range)"]]
    assert given.settings("ingest_images", "deep", "00000")["fill"] == "-1.5"
    lowrank = "low|synthetic|low_rank_plus_noise|-|-|compress|-|data_range=2"
    assert study(folder, lowrank).settings("compress", "low", "00000")["data_range"][0][1] == 2.0
    for wrong in ("data_range=0", "data_range=-3", "data_range=nan", "data_range=inf", "data_range=wide", "fill=x",
                  "fill=nan", "fill="):  # fmt: skip
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            study(folder, DEEP[:-1] + wrong)
    with pytest.raises(ConfigError, match="have missing values"):
        study(folder, lowrank.replace("data_range=2", "fill=0"))


# ---- one file


def test_the_command_line_names_the_range_and_takes_one(tmp_path, capsys):
    write_image(tmp_path / "deep.png", smooth((40, 30), 235))
    compress = ["compress", str(tmp_path / "deep.png"), str(tmp_path / "out"), "--ranks", "2"]
    assert main(compress) == 0
    said = capsys.readouterr().out
    assert "data range 255: 8 bits, the fewest that hold all values" in said
    shutil.rmtree(tmp_path / "out")
    assert main([*compress, "--data-range", "1000"]) == 0
    assert "data range 1000: given" in capsys.readouterr().out
    denoise = ["denoise", str(tmp_path / "deep.png"), str(tmp_path / "other"), "--data-range", "300"]
    assert main(denoise) == 0
    capsys.readouterr()
    encode = ["encode", str(tmp_path / "deep.png"), str(tmp_path / "a.h5"), "--psnr", "35"]
    assert main(encode) == 0
    assert "with data range 255: 8 bits" in capsys.readouterr().out
    np.save(tmp_path / "field.npy", smooth((40, 30), 7.0, np.float64))
    assert main(["encode", str(tmp_path / "field.npy"), str(tmp_path / "b.h5"), "--psnr", "40"]) == 0
    assert f"with data range 7: {SPAN}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*compress, "--data-range", "nan"])
    assert "above 0" in capsys.readouterr().err


def test_an_archive_at_the_default_target_is_no_constant(tmp_path):
    """At 35 dB of 65,535 a picture that uses 0 to 235 was archived as one number."""
    deep = smooth((40, 30), 235)
    rates = staged(tmp_path, {"deep.png": deep}, noise=[5.0])[2]
    kept = rates[rates["kept"].astype(bool)].iloc[0]
    assert kept["relative_error"] < 0.1 and 35 <= kept["psnr"] < 40 and kept["note"] == ""


def test_float_tiff_files_that_state_nothing_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", smooth((9, 9), 50, np.float64))
    assert contents.measured([tmp_path / "a.tif"], 10**6) == ["float64 64 0.0 50.0"]

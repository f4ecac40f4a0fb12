"""Formats, a family and a codec of other distributions: two files each, and everything that lists them has them."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IMAGE = {
    "heights_declared.py": """
        from svdflow.registry import ImageFormat

        HEIGHTS = ImageFormat(
            name="heights", title="Heights", summary="bytes behind two sides", suffixes=(".hts",),
            signature=rb"HEIGHTS", load="heights:read",
        )
    """,
    "heights.py": """
        import numpy as np
        from svdflow.images.formats.containers import Page

        def read(file):
            data = file.path.read_bytes()
            rows, columns = data[7], data[8]
            array = np.frombuffer(data[9:], np.uint8).reshape(rows, columns)
            attrs = {"format": "HEIGHTS", "mode": "L", "exif_orientation": 1, "icc_profile": b""}
            return [Page(array)], attrs
    """,
}
MATRIX = {
    "squares_declared.py": """
        from svdflow.registry import MatrixFormat

        SQUARES = MatrixFormat(
            name="squares", title="Squares", summary="side and entries, in text", suffixes=(".sqr",), panels=False,
            load="squares:open_squares",
        )
    """,
    "squares.py": """
        import numpy as np
        from svdflow.matrix.sources import ArraySource

        def open_squares(path):
            side, *entries = open(path).read().split()
            return ArraySource(np.array(entries, float).reshape(int(side), int(side)), path)
    """,
}
FAMILY = {
    "checks_declared.py": """
        from typing import Literal
        from pydantic import Field
        from svdflow.registry import Generator, Options

        class Checks(Options):
            rows: int = Field(8, ge=1, description="number of rows")
            columns: int = Field(6, ge=1, description="number of columns")
            dtype: Literal["float64"] = Field("float64", description="stored number type")

        CHECKS = Generator(
            name="checks", summary="a board of ones and zeros", truth="computed", options=Checks, load="checks:build",
        )
    """,
    "checks.py": """
        import numpy as np
        from svdflow.matrix.generators.formulas import entrywise

        def build(params, seed):
            j = np.arange(params["columns"])
            return entrywise(lambda start, stop: (np.arange(start, stop)[:, None] + j) % 2.0, params)
    """,
}
CODEC = {
    "halves_declared.py": """
        from svdflow.registry import Codec

        HALVES = Codec(
            name="halves", title="Halves", summary="the upper four bits of each byte", picture=True, dtypes=("uint8",),
            dimensions=(2, 2), lossless=False, ladder=(4,), load="halves:encode",
        )
    """,
    "halves.py": """
        def encode(array, setting):
            return array.size // 2, array >> 4 << 4
    """,
}


def outside(folder, group, name, files):
    """Another distribution as pip leaves it: modules, and a folder of metadata beside them."""
    for file, text in files.items():
        (folder / file).write_text(textwrap.dedent(text))
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[svdflow.{group}]\n{name} = {name}_declared:{name.upper()}\n")


def run(folder, code):
    """What a process prints that finds the distributions of a folder."""
    path = os.pathsep.join([str(folder), str(ROOT / "scripts")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_an_image_format_is_read_and_listed_by_two_files(site):
    outside(site, "image_formats", "heights", IMAGE)
    (site / "data").mkdir()
    (site / "data" / "a.hts").write_bytes(b"HEIGHTS\x02\x03" + bytes(range(6)))
    (site / "data" / "b.xyz").write_bytes(b"")
    printed = run(
        site,
        """
        from pathlib import Path
        from svdflow import read_image
        from svdflow.study.suffixes import left_out

        record = read_image("data/a.hts")
        print(record.pages[0].array.tolist(), record.attrs["format"], record.attrs["data_range"])
        print(left_out(Path("data")))
        """,
    )
    assert printed == ["[[0, 1, 2], [3, 4, 5]] HEIGHTS 255.0", "{'.xyz': 1}"]


def test_a_matrix_format_is_opened_by_two_files(site):
    outside(site, "matrix_formats", "squares", MATRIX)
    (site / "a.sqr").write_text("2\n3 0\n0 4\n")
    printed = run(
        site,
        """
        import svdflow

        source = svdflow.open_matrix("a.sqr")
        print(source.read(0, 2).tolist())
        print([round(float(s), 6) for s in svdflow.truncated_svd("a.sqr", rank=2).s])
        try:
            svdflow.open_matrix("a.sqr", "inner")
        except ValueError as error:
            print(error)
        """,
    )
    assert printed[:2] == ["[[3.0, 0.0], [0.0, 4.0]]", "[4.0, 3.0]"]
    assert "Squares" in printed[2] and "'inner'" in printed[2]


def test_a_family_is_a_dataset_of_a_study_by_two_files(site):
    outside(site, "generators", "checks", FAMILY)
    (site / "sheet.tsv").write_text(
        "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"
        "board\tsynthetic\tchecks\t-\t-\tcompress\t-\trows=4;columns=3\n"
    )
    (site / "study.yaml").write_text("datasets: sheet.tsv\n")
    printed = run(
        site,
        f"""
        from pathlib import Path
        from svdflow.matrix.ingest_synthetic import ingest_synthetic
        from svdflow.store import items, open_published, read_array
        from svdflow.study.config import load_config
        from svdflow.study.study import Study

        study = Study(load_config([Path("study.yaml")]), Path({str(ROOT)!r}), [Path("study.yaml")])
        row = study.datasets["board"]
        ingest_synthetic(
            "board.h5", dataset="board", shard="00000", family=row.source, parameters=row.parameters,
            replicates=[0], seed=1, with_clean=False,
        )
        with open_published("board.h5", "matrices") as file:
            (item,) = items(file)
            print(read_array(item.observations[0].planes["matrix"]).tolist())
        """,
    )
    assert printed == ["[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]"]


def test_a_codec_is_measured_by_two_files(site):
    outside(site, "codecs", "halves", CODEC)
    printed = run(
        site,
        """
        import numpy as np
        from svdflow.codec.other_codecs import curve, refusal
        from svdflow.registry import CODECS

        (found,) = curve(CODECS["halves"], np.full((4, 4), 17, np.uint8), data_range=255, with_ssim=False)
        print(found.codec, found.bytes, found.max_error, refusal(CODECS["halves"], np.zeros((2, 2))))
        """,
    )
    assert printed == ["halves 8 1.0 needs 2-D uint8, got 2-D float64"]


def test_the_page_of_formats_is_in_step():
    spec = importlib.util.spec_from_file_location("formats_page", ROOT / "docs" / "formats_page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert (ROOT / "docs" / "formats.md").read_text(encoding="utf-8") == page.markdown(), "run 'make docs'"

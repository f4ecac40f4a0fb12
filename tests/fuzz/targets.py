"""What is fuzzed: for each parser a valid sample, what may be done with it, and which refusals are named ones.

A target is a function of a folder and of `draw` (hypothesis). It yields what was done, in words; then it runs the
parser and checks that a value is sound. An exception that is none of the target's refusals is a fault, and so is
`Unsound`.
"""

import contextlib
import io
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from bending import STEPS, bend, bent
from hypothesis import strategies as st
from samples import GREY, IMAGES, MATRICES, A, Maker
from soundness import Draw, Target, sound

from svdflow import open_matrix
from svdflow.__main__ import main
from svdflow.codec import decode, describe, encode
from svdflow.errors import ConfigError, FamilyError, ItemError, StoreError
from svdflow.images.io import read_image
from svdflow.registry import GENERATORS
from svdflow.registry.numerals import real, whole
from svdflow.registry.tasks.encode import parse_target
from svdflow.store import (
    items,
    open_published,
    publish,
    read_array,
    read_table,
    verify,
    write_array,
    write_table,
)
from svdflow.store.shards import add_item, add_observation
from svdflow.study import manifest, manifest_file
from svdflow.study.config import load_config
from svdflow.study.families import parse_parameters
from svdflow.study.sheet import Dataset, read_datasets
from svdflow.study.sizes import parse_size
from svdflow.study.study import Study
from svdflow.svd.checkpoint import Journal
from svdflow.svd.read.facts import Facts
from svdflow.svd.read.panel_work import Sums

ROOT = Path(__file__).parents[2]
MOST_VALUES = 2**24  # of a sample of a few kilobytes: more would have come out of nothing


def _image(make: Maker) -> Target:
    def target(folder: Path, draw: Draw) -> Iterator[str]:
        path = make(folder)
        yield bend(path, draw)
        record = read_image(path)
        sound(len(record.pages) > 0, "no pages")
        for page in record.pages:
            array = page.array
            sound(array.ndim in (2, 3) and array.size > 0, f"shape {array.shape}")
            sound(array.size <= MOST_VALUES, f"{array.size} values")
            sound(
                array.dtype.kind in "uif" and bool(np.isfinite(array).all()), f"values of type {array.dtype}"
            )
            mask = page.mask
            sound(mask is None or (mask.dtype == bool and mask.shape == array.shape[:2]), "mask")

    return target


def _matrix(make: Maker) -> Target:
    def target(folder: Path, draw: Draw) -> Iterator[str]:
        path = make(folder)
        yield bend(path, draw)
        source = open_matrix(path)
        m, n = source.shape
        sound(m >= 1 and n >= 1 and source.dtype.kind in "fciub", f"{source.shape} {source.dtype}")
        height = max(1, min(m, source.panel_height, MOST_VALUES // n))
        for start in {0, max(0, m - height)}:
            stop = min(m, start + height)
            panel = source.read(start, stop)
            sound(panel.shape == (stop - start, n), f"panel of shape {panel.shape}")
            if sp.issparse(panel):
                inside = panel.nnz == 0 or (panel.indices.min() >= 0 and panel.indices.max() < n)
                sound(bool(inside) and panel.indptr[-1] == panel.nnz, "indices out of range")

    return target


def archive(folder: Path, draw: Draw) -> Iterator[str]:
    """An archive decodes to what it decoded to before, or is refused: every stream has a checksum."""
    path, form = folder / "a.h5", draw(st.sampled_from(["svd", "tiles"]))
    encode(GREY, path, form=form, psnr=38.0)
    before = decode(path)
    yield f"{form}: {bend(path, draw)}"
    describe(path)
    after = decode(path)
    sound(after.dtype == before.dtype and np.array_equal(after, before), "decodes to something else")


def stage(folder: Path, draw: Draw) -> Iterator[str]:
    """A stage file gives what was written, or is refused."""
    path = folder / "stage.h5"
    with publish(path, "matrices") as file:
        item = add_item(file, 0, "photo.png", "image", {"colour": "gray", "data_range": 255.0})
        write_array(add_observation(item, 0, 0.0), "grey", GREY)
        row = {"dataset": "d", "item": 0, "name": "x.png", "stage": "ingest", "code": "odd", "message": "why"}
        write_table(file, "errors", [row])
    yield bend(path, draw)
    verify(path)
    with open_published(path, "matrices") as file:
        (found,) = items(file)
        plane = read_array(found.observations[0].planes["grey"])
        sound(np.array_equal(plane, GREY) and plane.dtype == GREY.dtype, "another plane")
        sound((found.index, found.name, found.kind) == (0, "photo.png", "image"), "another item")
        sound(float(found.attrs["data_range"]) == 255.0, "another range")
    sound(read_table(path, "errors")["message"].tolist() == ["why"], "another table")


def checkpoint(folder: Path, draw: Draw) -> Iterator[str]:
    """A checkpoint gives the sums that were kept, or none."""
    X, product = np.eye(3), np.arange(12.0).reshape(4, 3)
    where = folder / "journal"
    Journal(where, "me").record(0, X, Sums(product, Facts()))
    yield bend(where, draw)
    found = Journal(where, "me").recall(0, X)
    sound(found is None or np.array_equal(found.product, product), "other sums")


def listed(folder: Path, draw: Draw) -> Iterator[str]:
    """A bent manifest is refused, or every file of the folder still has one place."""
    data = folder / "data"
    data.mkdir()
    for i in range(4):
        (data / f"p{i}.png").write_bytes(bytes([i]))
    dataset = Dataset("d", "images", str(data), "gray", [], ["compress"], 4)
    path = folder / "d.tsv"
    manifest_file.write(manifest.digested(manifest.scan(dataset, ROOT, path)), path)
    yield bend(path, draw)
    found = [e.name for e in manifest.scan(dataset, ROOT, path).entries if not e.gone]
    sound(sorted(found) == [f"p{i}.png" for i in range(4)], f"entries {found}")


SHEET = (
    "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"
    "mine\timages\tdata/*.png\trgb\t15;25\tcompress;denoise\t64\tranks=1,5;crop=8;powers_of_two=true\n"
    "low\tsynthetic\tlow_rank_plus_noise\t-\t-\taudit\t-\trows=50;columns=30;rank=3;noise=0.01;replicates=2\n"
    "file\tmatrix\tdata/a.npy\t-\t-\tencode\t-\ttarget=psnr=40;grid=4x4;tol=1e-3\n"
)


def sheet(folder: Path, draw: Draw) -> Iterator[str]:
    path, steps = folder / "sheet.tsv", draw(STEPS)
    path.write_bytes(bent(SHEET.encode(), steps))
    yield str(steps)
    for name, row in read_datasets(path).items():
        sound(name == row.name and (row.shard_size or 1) >= 1 and 1 <= row.replicates < 2**31, "row")
        sound(all(0 < sigma < np.inf for sigma in row.noise_sigma), "noise")


def config(folder: Path, draw: Draw) -> Iterator[str]:
    """The default configuration, bent, or keys and values at random."""
    path = folder / "study.yaml"
    if draw(st.booleans()):
        steps = draw(STEPS)
        text = bent((ROOT / "config" / "config.yaml").read_bytes(), steps)
    else:
        sections = st.sampled_from(
            ["factorize", "compress", "denoise", "encode", "audit", "runtime", "ingest", "title"]
        )
        keys = st.sampled_from(
            ["tol", "ranks", "method", "target", "thresholds", "memory_limit", "energies", "sample"]
        )
        values = st.one_of(
            st.sampled_from(
                ["1e-3", "yes", "010", "1:30", ".nan", "~", "[1, 2]", "{a: 1}", "&x [*x]", "|", '"\\0"']
            ),
            st.text(string.printable, max_size=12),
            st.integers().map(str),
            st.floats().map(str),
        )
        lines = draw(st.lists(st.tuples(sections, keys, values), min_size=1, max_size=4))
        steps, text = lines, "".join(f"{s}: {{{k}: {v}}}\n" for s, k, v in lines).encode("utf-8", "replace")
    path.write_bytes(text)
    (folder / "sheet.tsv").write_text(
        SHEET.splitlines()[0] + "\nh\tsynthetic\thilbert\t-\t-\tcompress\t-\t-\n"
    )
    yield str(steps)
    given = load_config([path]) | {"datasets": str(folder / "sheet.tsv")}
    study = Study(given, ROOT, [path])
    sound(0 < study.config["factorize"]["tol"] <= 1 and study.jobs < 10, "config")
    sound(
        study.resources.memory_mb("", "", 1, 1, share=0.5) >= 1
        and study.settings("factorize", "h", "00000") is not None,
        "settings",
    )


def words(folder: Path, draw: Draw) -> Iterator[str]:
    """Sizes, numbers, targets and parameters of generators."""
    digits = st.text("0123456789.eE+-_ xnaifGMKTB١²\n\0=", max_size=12)
    text = draw(
        st.one_of(st.text(max_size=12), digits, digits.map("bytes=".__add__), digits.map("psnr=".__add__))
    )
    yield repr(text)
    for parse in (whole, real, parse_size, parse_target):
        with contextlib.suppress(ValueError):
            value = parse(text)
            number = value[1] if isinstance(value, tuple) else value
            sound(number is None or abs(number) < np.inf, f"{parse.__name__}: {value}")
    family = draw(st.sampled_from(sorted(GENERATORS)))
    key = draw(st.sampled_from(sorted(GENERATORS[family].options.model_fields)))
    given = draw(st.one_of(st.just(text), st.integers(), st.floats(), st.booleans(), st.none()))
    with contextlib.suppress(FamilyError):
        value = parse_parameters(family, {key: given})[key]
        sound(
            type(value) is type(GENERATORS[family].options.model_fields[key].default),
            f"{family} {key}: {value!r}",
        )


def commands(folder: Path, draw: Draw) -> Iterator[str]:
    """The command line ends in a status, whatever words it is given."""
    options = [
        "--ranks",
        "--sigma",
        "--method",
        "--passes",
        "--rank",
        "--psnr",
        "--bytes",
        "--rel-error",
        "--seed",
        "--form",
    ]
    values = st.one_of(
        st.sampled_from(["1", "0", "-1", "nan", "1e3", "a.npy", "b.png", "new", "svd", "١"]),
        st.text(max_size=6),
    )
    command = draw(st.sampled_from(["encode", "decode", "compress", "denoise", "check", "plan", "nothing"]))
    rest = draw(st.lists(st.one_of(st.sampled_from(options), values), max_size=5))
    np.save(folder / "a.npy", A)
    yield f"{command} {rest}"
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = main([command, *rest])
        except SystemExit as end:
            status = end.code
    sound(status in (0, 1, 2), f"status {status}")
    sound("Traceback" not in said.getvalue() and "\x1b" not in said.getvalue(), "a traceback or an escape")


TARGETS: dict[str, tuple[Target, tuple[type[Exception], ...]]] = {
    **{f"image-{name}": (_image(make), (ItemError,)) for name, make in IMAGES.items()},
    **{f"matrix-{name}": (_matrix(make), (ValueError, FileNotFoundError)) for name, make in MATRICES.items()},
    "archive": (archive, (StoreError, ValueError)),
    "stage": (stage, (StoreError,)),
    "checkpoint": (checkpoint, (StoreError,)),
    "manifest": (listed, (ConfigError,)),
    "sheet": (sheet, (ConfigError,)),
    "config": (config, (ConfigError,)),
    "words": (words, ()),
    "commands": (commands, ()),
}

"""What the pages and docstrings show runs: every Python block of README and docs, and every doctest."""

import doctest
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from svdflow.images.ingest_images import ingest_images
from svdflow.store import publish, write_table
from svdflow.store.schema import columns
from svdflow.svd.factorize_shard import factorize_shard

ROOT = Path(__file__).parents[2]
BLANK = {"text": "", "int": 0, "float": 0.0, "bool": False}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

# A block that cannot run here says why in the line above it, unseen by readers: <!-- not run: needs a GPU -->
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.{5,}) -->\s*$")
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """A Python block of a page, the line where it begins, and the reason why it is not run."""

    code: str
    line: int
    reason: str | None = None


def blocks(text: str) -> Iterator[Block]:
    for match in BLOCK.finditer(text):
        why = NOT_RUN.search(text[: match.start()])
        yield Block(match["code"], text.count("\n", 0, match.start("code")), why["reason"] if why else None)


def run(text: str, page: str, names: dict) -> int:
    """Run the blocks of a page in order, in one namespace; the number of them that ran."""
    wanted = [block for block in blocks(text) if block.reason is None]
    for block in wanted:
        exec(compile("\n" * block.line + block.code, page, "exec"), names)
    return len(wanted)


def picture(*shape: int, top: float = 255) -> np.ndarray:
    """Smooth, between 0 and `top`, with a little noise."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    smooth = np.sin(rows / 5) * np.cos(columns / 7) * top / 4 + top / 2
    noise = np.random.default_rng(0).normal(0, top / 10, shape)
    return np.clip(smooth.reshape(smooth.shape + (1,) * (len(shape) - 2)) + noise, 0, top)


def samples() -> dict:
    """What the pages leave to their readers: data, under the names that the pages give them."""
    rng = np.random.default_rng(1)
    brain = np.zeros((10, 10, 10), bool)
    brain[2:8, 2:8, 2:8] = True
    return {
        "A": rng.standard_normal((200, 80)) / np.arange(1, 81),
        "noisy": picture(48, 40),
        "image": picture(48, 40).astype(np.uint8),
        "image16": picture(48, 40, top=65535).astype(np.uint16),
        "field": picture(200, 100),
        "series": rng.normal(1000, 10, (10, 10, 10, 12)),
        "brain": brain,
        "signal": np.sin(np.arange(200) / 9) + rng.normal(0, 0.1, 200),
        "f": lambda x: float(x @ x),
        "grad": lambda x: 2 * x,
        "x": np.array([1.0, -2.0, 0.5]),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory of a reader, with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    A = samples()["A"]
    np.save("big.npy", A)
    np.savetxt("design.csv", A, delimiter=",")
    with h5py.File("g.h5", "w") as file:
        file["A"] = A
    Path("results").mkdir()
    with publish(Path("results/metrics.h5"), "metrics") as file:
        row = {column.name: BLANK[column.kind] for column in columns("compress")}
        write_table(file, "compress", [row | {"dataset": "photos", "rank": 20, "psnr": 30.0}])
    shard("results/factors/samples/00000.h5")
    return tmp_path


def shard(path: str) -> None:
    """The factors of one small image, where a study keeps them."""
    Image.fromarray(samples()["image"]).save("small.png")
    small = [{"index": 0, "path": "small.png", "name": "small.png"}]
    ingest_images(small, "m.h5", dataset="samples", shard=0, colour="gray", noise_sigma=[], seed=0)
    Path(path).parent.mkdir(parents=True)
    factorize_shard("m.h5", path, dataset="samples", shard=0, item_rank=20, noisy_rank=0, seed=0)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_python_block_of_a_page_runs(page, folder):
    text = page.read_text(encoding="utf-8")
    assert text.count("```python") == len(list(blocks(text))), "a block is never closed"
    run(text, str(page), samples())


def test_pages_have_blocks_that_run():
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(block.reason is None for text in texts for block in blocks(text)) >= 7


PLANTED = """\
Words.
```python
a = 1
```
<!-- not run: needs a cluster -->
```python
raise SystemExit
```
```python
assert a == 2
```
"""


def test_a_planted_fault_in_a_page_is_found_on_its_line():
    """Negative control: blocks share their names, a marked one is left out, and a wrong one fails."""
    with pytest.raises(AssertionError) as caught:
        run(PLANTED, "page.md", {})
    assert caught.traceback[-1].lineno + 1 == 1 + PLANTED.splitlines().index("assert a == 2")
    assert run(PLANTED.replace("== 2", "== 1"), "page.md", {}) == 2


# -- doctests -----------------------------------------------------------------------------------------------


def documented() -> list[str]:
    """Modules of the library with an example in them."""
    paths = sorted((ROOT / "scripts" / "svdflow").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT / "scripts").with_suffix("").parts) for p in paths]
    return [
        name.removesuffix(".__init__")
        for name, path in zip(names, paths, strict=True)
        if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", documented())
def test_examples_of_docstrings_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert tried > 0, "examples stand where doctest does not look"
    assert failed == 0


def test_doctests_are_among_the_modules():
    assert len(documented()) > 10


def test_a_planted_fault_in_a_doctest_is_found():
    examples = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(examples, out=lambda words: None).failed == 1

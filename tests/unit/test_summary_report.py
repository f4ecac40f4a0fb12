"""The report: self-contained, safe, the same on every run, and its pictures show what they say."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from PIL import Image
from skimage.measure import block_reduce

from svdflow.compute.runtime import Runtime
from svdflow.errors import ItemError
from svdflow.images.colour import in_order
from svdflow.report import audits as audits_of
from svdflow.report import figures, reconstructions
from svdflow.report.aggregate import aggregate
from svdflow.report.document import write_report
from svdflow.report.material import Library
from svdflow.report.reconstructions import Kept, data_uri
from svdflow.report.select import Shown
from svdflow.store import factors, open_published, publish, write_array, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.schema import columns
from svdflow.store.shards import add_item, add_observation
from svdflow.tasks.denoise_report import denoising_cards

HOSTILE = "<script>alert('x')</script>\"&.png"
RANKS = (1, 2, 5, 10)
BLANK = {"text": "", "int": 0, "float": float("nan"), "bool": False}
SIZE_LIMIT = 2_000_000  # bytes of a report of this small study
LOADING = {
    "src",
    "href",
    "srcset",
    "data",
    "action",
    "poster",
    "background",
    "cite",
    "formaction",
    "xlink:href",
}


def row(table: str, **values) -> dict:
    blank = {c.name: BLANK[c.kind] for c in columns(table)}
    assert not values.keys() - blank.keys()
    return blank | values


class Page(HTMLParser):
    """What a browser would find: loads, images, headings, ids, text and unbalanced tags."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "path", "use", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loads += [v or "" for k, v in attrs if k in LOADING]
        self.loads += re.findall(
            r"url\(([^)]*)\)", " ".join(v or "" for k, v in attrs if k in ("style", "clip-path"))
        )
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loads += [v or "" for k, v in attrs if k in LOADING]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


def outside_loads(text: str) -> list[str]:
    """What a page would fetch from elsewhere, nothing in a self-contained one. Links are followed, not fetched."""
    page = Page(text)
    links = {attrs.get("href") for attrs in page.of("a")}
    fetched = [load for load in page.loads if not load.startswith(("#", "data:")) and load not in links]
    styles = re.findall(r"@import[^;]*|url\(\s*[\"']?(?!#|data:)[^)]*", text)
    scripts = ["script" for _ in page.of("script")] + ["iframe" for _ in page.of("iframe")]
    return fetched + styles + scripts


@pytest.fixture(scope="module")
def study_files(tmp_path_factory):
    """Three colour images with noise added, two matrices with a known spectrum, one failed item."""
    root = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(5)
    names = [HOSTILE, "b.png", "c.png"]
    images = [np.clip(rng.normal(120, 40 + 20 * i, (48, 64, 3)), 0, 255).astype(np.uint8) for i in range(3)]
    parts = [
        *_shard(
            root,
            "photos",
            "image",
            [
                (n, dict(zip("rgb", np.moveaxis(a, 2, 0), strict=True)))
                for n, a in zip(names, images, strict=True)
            ],
            (0.0, 20.0),
        ),
        *_shard(
            root,
            "decay",
            "matrix",
            [(f"decay {i}", {"matrix": _with_spectrum(rng)}) for i in range(2)],
            (0.0,),
        ),
    ]
    with publish(root / "audit" / "gradients.h5", "audit") as file:
        rows = [
            row(
                "audit",
                family="gradients",
                audit="trace",
                subject=f"case {i}",
                verdict="PASS",
                margin=0.01 * i,
            )
            for i in range(50)
        ]
        rows.append(
            row(
                "audit",
                family="gradients",
                audit="det",
                subject="singular",
                verdict="FAIL",
                margin=7.0,
                reason="wrong",
            )
        )
        write_table(file, "audit", rows)
        write_table(file, "curves", [])
        write_table(file, "errors", [])
    aggregate(
        [*parts, root / "audit" / "gradients.h5"],
        root / "metrics.h5",
        runtime=Runtime(provenance={"config_digest": "abc123", "libraries": {"numpy": "2"}}),
    )
    return root


SPECTRUM = 0.5 ** np.arange(30.0)


def _with_spectrum(rng) -> np.ndarray:
    left, right = (np.linalg.qr(rng.normal(size=(n, 30)))[0] for n in (40, 30))
    return (left * SPECTRUM) @ right.T


def _shard(root: Path, dataset: str, kind: str, its: list, sigmas: tuple[float, ...]) -> list[Path]:
    paths = {k: root / k / dataset / "00000.h5" for k in ("matrices", "factors", "compress", "denoise")}
    rows: dict[str, list[dict]] = {"factorize": [], "compress": [], "denoise": []}
    rng = np.random.default_rng(1)
    with publish(paths["matrices"], "matrices") as matrices, publish(paths["factors"], "factors") as factors:
        for index, (name, planes) in enumerate(its):
            first = next(iter(planes.values()))
            attrs = {
                "colour": "rgb",
                "bits": 8,
                "dtype": str(first.dtype),
                "data_min": float(first.min()),
                "data_max": float(first.max()),
            }
            group = add_item(matrices, index, name, kind, attrs)
            if kind == "matrix":
                write_array(group, "singular_values", SPECTRUM).attrs["label"] = "exact"
            for level, sigma in enumerate(sigmas):
                observation = add_observation(group, level, sigma)
                for plane, values in planes.items():
                    noisy = (
                        values
                        if not sigma
                        else (values + rng.normal(0, sigma, values.shape)).astype(np.float32)
                    )
                    write_array(observation, plane, noisy)
                    stored = factors.create_group(f"items/{index:06d}/{level}/{plane}")
                    U, s, Vt = np.linalg.svd(noisy.astype(float), full_matrices=False)
                    for key, array in (("U", U), ("s", s), ("Vt", Vt)):
                        write_array(stored, key, array)
                    _measure(
                        rows,
                        {
                            "dataset": dataset,
                            "item": index,
                            "name": name,
                            "plane": plane,
                            "sigma_added": sigma,
                            "m": values.shape[0],
                            "n": values.shape[1],
                        },
                        s,
                        level,
                    )
        for file, table in ((matrices, None), (factors, "factorize")):
            bad = (
                error_row(dataset, 9, HOSTILE, "ingest", ItemError("truncated", "<b>ends early</b>"))
                if file is matrices
                else None
            )
            write_table(file, "errors", [bad] if bad and kind == "image" else [])
            if table:
                write_table(file, table, rows[table])
    for stage in ("compress", "denoise"):
        with publish(paths[stage], stage) as file:
            write_table(file, stage, rows[stage])
            write_table(file, "errors", [])
    return list(paths.values())


def _measure(rows: dict, key: dict, s: np.ndarray, level: int) -> None:
    energy = np.cumsum(s**2) / np.sum(s**2)
    rows["factorize"].append(
        row(
            "factorize",
            **key,
            method="full",
            rank=len(s),
            backend="numpy",
            relative_error=0.0,
            truth_error=1e-15,
        )
    )
    if level == 0:
        for rank in RANKS:
            error = float(np.sqrt(max(1 - energy[rank - 1], 0)))
            figures = {
                "relative_error": error,
                "psnr": -20 * np.log10(error + 1e-9),
                "ssim": 1 - error,
                "bits_per_pixel": float(rank),
                "data_range": 255.0,
            }
            rows["compress"].append(
                row("compress", **key, rule="rank", target=float(rank), rank=rank, reached=True, **figures)
            )
        rank = int(np.searchsorted(energy, 0.9) + 1)
        rows["compress"].append(row("compress", **key, rule="energy", target=0.9, rank=rank, reached=True))
    else:
        for rank in RANKS:
            rows["denoise"].append(
                row(
                    "denoise",
                    **key,
                    method="truncate",
                    rule="rank",
                    rank=rank,
                    psnr=20.0 + rank,
                    error_clean=0.1,
                    best=rank == 10,
                )
            )
        rows["denoise"].append(
            row(
                "denoise",
                **key,
                method="truncate",
                rule="gavish_donoho",
                rank=4,
                psnr=25.0,
                error_clean=0.1,
                chosen=True,
            )
        )


STUDY = {
    "title": f"A study of {HOSTILE}",
    "seed": 42,
    "version": "0.1.0",
    "config": {"seed": 42, "note": HOSTILE},
    "datasets": [
        {"name": "photos", "kind": "images"},
        {"name": "decay", "kind": "synthetic"},
        {"name": "silent", "kind": "matrix"},
    ],
}


def write(root: Path, out: Path, study=STUDY) -> str:
    matrices, factors = (sorted((root / kind).rglob("*.h5")) for kind in ("matrices", "factors"))
    write_report(root / "metrics.h5", matrices, factors, out, study=study)
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(study_files):
    return write(study_files, study_files / "report.html")


def test_the_page_loads_nothing_from_outside(html):
    assert outside_loads(html) == []
    assert "http://" not in html
    assert "https://" not in html
    assert len(html.encode()) < SIZE_LIMIT


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="https://example.org/x.png">',
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'x.css';</style>",
        "<style>a{background:url(x.png)}</style>",
        "<script>1</script>",
    ],
)
def test_the_check_finds_a_planted_load(html, planted):
    assert outside_loads(html.replace("</main>", planted + "</main>"))


def test_the_page_is_well_formed_and_accessible(html):
    page = Page(html)
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {load[1:] for load in page.loads if load.startswith("#")}
    assert targets <= set(ids)
    assert len(page.of("h1")) == 1
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.of("img"))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.of("svg"))
    assert all(head["scope"] in ("col", "row") for head in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table"))
    assert len(page.of("figcaption")) == len(page.of("figure"))
    assert {"lang": "en"} in page.of("html")
    assert any(meta.get("name") == "viewport" for meta in page.of("meta"))
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_hostile_names_are_text(html):
    assert "<script" not in html
    assert "<b>ends" not in html
    assert HOSTILE in "".join(Page(html).words)


def test_the_page_says_what_was_found(html):
    words = " ".join("".join(Page(html).words).split())
    assert "5 items from 2 datasets, 11 planes in all" in words
    assert "11 more stand in the table audit" in words
    assert "abc123" in words
    assert "silent" in words
    assert words.index("singular") < words.index("case 49") < words.index("case 48")  # worst first


def test_two_runs_give_the_same_bytes(study_files, html, tmp_path):
    assert write(study_files, tmp_path / "again.html") == html


def test_a_study_without_any_result_still_has_a_page(tmp_path):
    aggregate([], tmp_path / "metrics.h5")
    write_report(
        tmp_path / "metrics.h5", [], [], tmp_path / "report.html", study={"title": "Empty", "datasets": []}
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nothing was factorized." in text
    assert outside_loads(text) == []


def test_files_that_were_not_read_are_a_sentence(tmp_path):
    aggregate([], tmp_path / "metrics.h5")
    study = {"title": "t", "datasets": [], "left_out": ["left out of mine: 12 .dcm (not read)"]}
    write_report(tmp_path / "metrics.h5", [], [], tmp_path / "report.html", study=study)
    assert "<li>Left out of mine: 12 .dcm (not read).</li>" in (tmp_path / "report.html").read_text(
        encoding="utf-8"
    )


def test_items_whose_files_are_elsewhere_are_shown_by_their_figures(study_files, tmp_path):
    write_report(study_files / "metrics.h5", [], [], tmp_path / "report.html", study=STUDY)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.of("svg")
    assert not page.of("img")


def shown(item: int, dataset: str = "photos") -> Shown:
    return Shown(dataset, 0, item, "", "")


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def library(root: Path) -> Library:
    return Library(*(sorted((root / kind).rglob("*.h5")) for kind in ("matrices", "factors")))


def test_reduced_low_rank_picture_is_the_block_mean_of_the_full_one(study_files, monkeypatch):
    seen = []
    monkeypatch.setattr(reconstructions, "WIDTH", 16)
    monkeypatch.setattr(reconstructions, "data_uri", lambda p: seen.append(p) or "")
    with library(study_files).open(shown(1)) as material:
        reconstructions.rank_pictures(material, {5: "rank 5", 48: "rank 48", 49: "not stored"})
        planes = [np.asarray(material.planes(0)[name]).astype(float) for name in "rgb"]
    full = np.stack(planes, axis=-1)
    low = np.stack([_truncated(plane, 5) for plane in planes], axis=-1)
    for picture, expected in zip(seen, (full, low, full), strict=True):
        mean = np.clip(block_reduce(expected, (4, 4, 1), np.mean), 0, 255)
        assert picture.shape == (12, 16, 3)
        assert np.abs(picture - mean).max() <= 1.01  # rounded twice


def _truncated(plane: np.ndarray, rank: int) -> np.ndarray:
    U, s, Vt = np.linalg.svd(plane, full_matrices=False)
    return (U[:, :rank] * s[:rank]) @ Vt[:rank]


def test_denoise_pictures_run_from_noisy_to_clean_at_full_size(study_files, monkeypatch):
    seen = []
    monkeypatch.setattr(reconstructions, "CROP", 20)
    monkeypatch.setattr(reconstructions, "data_uri", lambda p: seen.append(p) or "")
    with library(study_files).open(shown(2)) as material:
        made = reconstructions.denoise_pictures(material, 20.0, {"best": dict.fromkeys("rgb", Kept(4))})
        planes = [np.asarray(material.planes(1)[name]) for name in "rgb"]
        clean = np.stack([np.asarray(material.planes(0)[name]) for name in "rgb"], axis=-1)
    assert [p.caption for p in made] == ["noisy", "best", "clean"]
    middle = np.s_[14:34, 22:42]
    expected = np.stack([_truncated(plane.astype(float), 4)[middle] for plane in planes], axis=-1)
    assert np.abs(seen[1] - np.clip(expected, 0, 255)).max() <= 1.01
    assert np.array_equal(seen[2], clean[middle])


def own_rows(item: int, ranks: dict[str, int], **more) -> list[dict]:
    """Rows of the table denoise of an image that came without noise_sigma: nothing to compare with."""
    key = {"dataset": "photos", "item": item, "sigma_added": 0.0, "sigma_source": "mad", "sigma_used": 15.0}
    blank = dict.fromkeys(("psnr", "ssim", "snr", "error_clean"), float("nan"))
    return [row("denoise", **key, **blank, plane=p, rank=k, chosen=True, **more) for p, k in ranks.items()]


def test_an_own_image_is_shown_as_observed_and_as_each_rule_leaves_it(study_files, monkeypatch):
    seen = []
    monkeypatch.setattr(reconstructions, "CROP", 20)
    monkeypatch.setattr(reconstructions, "data_uri", lambda p: seen.append(p) or "")
    ranks = {"r": 4, "g": 5, "b": 7}
    rows = own_rows(1, ranks, method="truncate", rule="gavish_donoho")
    rows += own_rows(1, dict.fromkeys("rgb", 48), method="shrink", rule="optimal_shrinkage")
    rows += own_rows(1, {"r_p1": 9}, method="truncate", rule="gavish_donoho")  # another page
    with library(study_files).open(shown(1)) as material:
        (card,) = denoising_cards(shown(1), material, {"denoise": pd.DataFrame(rows)})
        planes = {name: np.asarray(material.planes(0)[name]).astype(float) for name in "rgb"}
    assert card.drawing is None
    assert [p.caption for p in card.pictures[:3]] == [  # the files of this study know the clean image, too
        "observed",
        "shrink: rank 48, sigma 15 estimated",
        "truncate: ranks 4 to 7, sigma 15 estimated",
    ]
    middle = np.s_[14:34, 22:42]
    expected = (planes, {p: _shrunk(a, 15.0) for p, a in planes.items()}, _truncated_each(planes, ranks))
    for picture, want in zip(seen[:3], expected, strict=True):
        whole = np.stack([want[p][middle] for p in "rgb"], axis=-1)
        assert np.abs(picture - np.clip(whole, 0, 255)).max() <= 1.01


def _truncated_each(planes: dict[str, np.ndarray], ranks: dict[str, int]) -> dict[str, np.ndarray]:
    return {name: _truncated(plane, ranks[name]) for name, plane in planes.items()}


def _shrunk(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Gavish and Donoho (2017), equation 7."""
    U, s, Vt = np.linalg.svd(plane, full_matrices=False)
    beta = min(plane.shape) / max(plane.shape)
    y = s / (sigma * max(plane.shape) ** 0.5)
    inside = np.maximum((y**2 - beta - 1) ** 2 - 4 * beta, 0)
    return (U * np.where(y > 1 + beta**0.5, inside**0.5 / y, 0) * (s / y)) @ Vt


def test_the_page_shows_own_images_denoised(study_files, tmp_path):
    ranks = dict.fromkeys("rgb", 4)
    rows = [r for i in range(3) for r in own_rows(i, ranks, method="truncate", rule="gavish_donoho")]
    with publish(tmp_path / "denoise.h5", "denoise") as file:
        write_table(file, "denoise", rows)
        write_table(file, "errors", [])
    others = [study_files / kind / "photos" / "00000.h5" for kind in ("factors", "compress")]
    aggregate([*others, tmp_path / "denoise.h5"], tmp_path / "metrics.h5")
    for kind in ("matrices", "factors"):
        (tmp_path / kind).symlink_to(study_files / kind)
    page = Page(write(tmp_path, tmp_path / "report.html"))
    alts = [image["alt"] for image in page.of("img")]
    assert sum("truncate: rank 4, sigma 15 estimated" in alt for alt in alts) == 3
    words = " ".join("".join(page.words).split())
    assert "neither a best rank nor a PSNR" in words
    assert "No item shown here has a clean reference" not in words


def test_centred_factors_get_their_means_back(tmp_path):
    A = np.add.outer(np.arange(8.0), 100 + 10 * np.arange(6.0))
    U, s, Vt = np.linalg.svd(A - A.mean(axis=0), full_matrices=False)
    with publish(tmp_path / "f.h5", "factors") as file:
        group = file.create_group("items/000000/0/grey")
        for key, array in (("U", U), ("s", s), ("Vt", Vt), ("mean", A.mean(axis=0))):
            write_array(group, key, array)
    with open_published(tmp_path / "f.h5", "factors") as file:
        (stored,) = factors(file)
        crop = reconstructions._cropped_product(stored, Kept(1).weights(stored), np.s_[2:5], np.s_[1:4])
        means = reconstructions._product(stored, 1, lambda rows: reconstructions._reduce(rows, 2))
    np.testing.assert_allclose(crop, A[2:5, 1:4])  # centred, it has rank 1
    np.testing.assert_allclose(means, block_reduce(A, (2, 2), np.mean))


LONG = "99 % energy; gavish_donoho, optimal-shrinkage, noise 0.05"


@pytest.mark.parametrize(
    "names",
    [[f"{LONG}: rank 17", "grey"], ["W" * 26] * 3, ["W" * 9] * 4, ["a" * 300], ["r", "g", "b", LONG * 3]],
)
def test_no_label_of_a_legend_is_cut(names):
    with rc_context(figures.STYLE):
        figure, axes = figures.new_figure()
        for name in names:
            axes.plot([1, 2], [1, 2], label=name)
        page = Page(figures.finish(figure, "k", "l"))
        figure.draw_without_rendering()
    said, told = ("".join("".join(words).split()) for words in (page.words, names))
    assert told in said
    box, sheet = figure.legends[0].get_window_extent(), figure.bbox
    assert sheet.x0 <= box.x0
    assert box.x1 <= sheet.x1
    assert sheet.y0 <= box.y0
    assert box.y1 <= sheet.y1


def test_one_flat_image_does_not_stretch_the_band():
    errors = [1e-16, *np.linspace(0.1, 0.2, 30)]
    rows = pd.DataFrame(
        [
            row("compress", item=i, plane="grey", rank=5, m=64, n=48, relative_error=e)
            for i, e in enumerate(errors)
        ]
    )
    (curve,) = figures._median_curve(rows, "rank", "relative_error").to_dict("records")
    assert (curve["low"], curve["high"]) == pytest.approx(tuple(np.quantile(errors, [0.1, 0.9])))
    assert 0.1 < curve["low"] < curve["y"] < curve["high"] < 0.2


def audits(verdict: str, n: int, **more) -> list[dict]:
    return [row("audit", **{"family": "f", "audit": "a", "verdict": verdict, "margin": 0.1} | more)] * n


def test_condition_numbers_known_from_below_do_not_fill_the_list_of_audits():
    below = {"audit": "condition_number", "reason": "truncated: at least s_1/s_8"}
    rows = [
        *audits("INCONCLUSIVE", 39, **below),
        *audits("PASS", 60),
        *audits("SKIP", 1),
        *audits("WARN", 2),
        *audits("INCONCLUSIVE", 1, audit="condition_number", reason="float limit"),
        *audits("FAIL", 1, margin=3.0),
    ]
    grid = audits_of.worst_audits(pd.DataFrame(rows))
    told = [line[0] for line in grid.rows]
    assert told == ["FAIL", "INCONCLUSIVE", "WARN", "WARN", "SKIP", *["INCONCLUSIVE"] * 3, *["PASS"] * 32]
    assert [line[-1] for line in grid.rows][1] == "float limit"
    assert "The condition number of 39 planes is known only from below" in grid.caption
    assert "64 more" in grid.caption
    assert "from below" not in audits_of.worst_audits(pd.DataFrame(audits("PASS", 2))).caption


def test_a_block_of_one_row_and_part_full_blocks_are_means():
    rows = np.arange(10.0).reshape(5, 2)
    assert reconstructions._reduce(rows, 2).tolist() == [[1, 2], [5, 6], [8, 9]]
    assert np.array_equal(reconstructions._reduce(rows, 1), rows)


def test_pictures_keep_their_values():
    grey = np.full((16, 16), 200, np.uint8)
    assert np.abs(pixels(data_uri(grey)).astype(int) - 200).max() <= 1


def test_linked_sparse_and_complex_items_have_no_pictures(tmp_path):
    matrices, factors = tmp_path / "matrices" / "odd" / "00000.h5", tmp_path / "factors" / "odd" / "00000.h5"
    with publish(matrices, "matrices") as file, publish(factors, "factors") as stored:
        linked = add_observation(add_item(file, 0, "linked", "matrix", {}), 0, 0.0)
        linked.attrs["link_path"] = "big.h5"
        sparse = add_observation(add_item(file, 1, "sparse", "matrix", {}), 0, 0.0).create_group("matrix")
        sparse.attrs["format"] = "csr"
        state = add_observation(add_item(file, 2, "state", "matrix", {}), 0, 0.0)
        write_array(state, "matrix", np.ones((4, 4), complex))
        stored.create_group("items")
    for index in range(3):
        with Library([matrices], [factors]).open(shown(index, "odd")) as material:
            assert reconstructions.rank_pictures(material, {1: "rank 1"}) == []
            assert reconstructions.denoise_pictures(material, 0.0, {"best": {"matrix": Kept(1)}}) == []


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to draw the page")
@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_draws_the_page(study_files, html, tmp_path, width):
    quiet = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    flags = [*quiet.split(), "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    flags += [
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2000",
        f"--screenshot={tmp_path / 'page.png'}",
    ]
    url = (study_files / "report.html").as_uri()
    subprocess.run([str(CHROMIUM), *flags, url], check=True, capture_output=True, timeout=60)
    page = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    assert page.shape[1] == width
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 50  # text, lines and pictures, not a blank sheet


def test_planes_stand_in_the_order_people_say():
    assert in_order(["b", "g", "r"]) == ["r", "g", "b"]
    assert in_order(["cb", "cr", "y"]) == ["y", "cb", "cr"]

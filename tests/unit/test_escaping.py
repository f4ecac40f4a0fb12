"""Names of files are read and never obeyed, whatever they hold: terminal, log, CSV, Markdown, HTML, SVG, JUnit."""

import csv
import html
import io
import logging
import re
import string
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from svdflow.__main__ import main
from svdflow.compute import runtime
from svdflow.errors import ItemError
from svdflow.escaping import csv_cell, markdown, visible, xml
from svdflow.report import figures, page, tables
from svdflow.report.aggregate import aggregate
from svdflow.report.document import write_report
from svdflow.report.junit import junit
from svdflow.report.tables import write_csv, write_tables
from svdflow.report.verdict import verdict
from svdflow.store import publish, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.schema import columns

ORDINARY = [
    "IMG_0001.jpg",
    "my photo (2).png",
    "Größe größer.tif",
    "写真 01.png",
    "صورة\u200cها.png",
    "a-b+c=d@e.png",
    "50% & more.png",
    "two  spaces.png",
    "Screenshot 1.00\u202fPM.png",  # as macOS names them
    "👩\u200d🔬.png",
    "C:\\folder\\file.png",
    "data/_x_/y.png",
    "3;4.png",
]
FORMULAS = [
    "=1+1.png", "+1+1", "-1+1.png", "@SUM(1)", " =1+1", "a;=1+1", "a; +x", "＝1+1", "＠x", "=cmd|' /C calc'!A0",
]  # fmt: skip
CONTROLS = [
    "\x1b[2Jred.png", "\x1b]0;title\x07", "a\rb.png", "a\nFAILED", "a\tb", "a\x00b", "a\x08\x08b", "a\x9b31mb",
    "a\u2028b", "gnp.\u202efdp", "\u2066x", "a\ufffeb", "\udcff.png", "a\x7fb",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>.png", "<img src=x onerror=alert(1)>", "[click](https://example.org)",
    "![x](https://example.org/x)", "<https://example.org>", "https://example.org/a", "www.example.org", "a@example.org",
    "`code`", "**bold**", "_thin_", "~~gone~~", "| cell | more", "a\\|b", "\\", "# head", "- item", "1. item", "$x$",
    "&lt;b&gt;", "&#60;", "]]>", "\" onload=\"x", "' onload='x", "{{ 7 * 7 }}", "{% raw %}", "javascript:x", "[^1]",
    "<!-- x", "--> x", "&", "%3Cb%3E",
]  # fmt: skip
HOSTILE = FORMULAS + CONTROLS + MARKUP


def errors(names):
    return [
        error_row("d", i, name, "ingest", ItemError("odd", f"{name}: why")) for i, name in enumerate(names)
    ]


@pytest.fixture
def metrics(tmp_path):
    """A metrics file whose errors and audits bear every name."""
    blank = {"text": "", "int": 0, "float": 0.5, "bool": False}
    audit = {c.name: blank[c.kind] for c in columns("audit")} | {
        "family": "own",
        "verdict": "FAIL",
        "audit": "rank",
    }
    rows = [
        audit | {"subject": name, "reason": name, "reproduce": name, "item": i}
        for i, name in enumerate(HOSTILE)
    ]
    with publish(tmp_path / "part.h5", "audit") as file:
        write_table(file, "audit", rows)
        write_table(file, "curves", [])
        write_table(file, "errors", errors(HOSTILE))
    aggregate([tmp_path / "part.h5"], tmp_path / "metrics.h5")
    return tmp_path / "metrics.h5"


def stored(name):
    """A name as tables hold it: UTF-8, without NUL."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")


class Page(HTMLParser):
    """Tags, attributes and words of a page, as html.parser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay_as_they_are(name, tmp_path):
    assert visible(name) == name
    assert html.unescape(xml(name)) == name
    assert html.unescape(markdown(name)) == " ".join(name.split()) or "\u202f" in name
    write_csv(pd.DataFrame({"name": [name], "value": [-1.5]}), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [["name", "value"], [name, "-1.5"]]


@pytest.mark.parametrize("name", CONTROLS)
def test_what_does_not_show_is_shown(name):
    shown = visible(name)
    assert not set(shown) & set(name).difference(string.printable[:95], "ab")
    assert "\\" in shown
    shown.encode("utf-8")
    ElementTree.fromstring(f"<a b='{xml(name)}'>{xml(name)}</a>")


@given(st.text())
def test_nothing_that_steers_is_left(text):
    shown = visible(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert visible(shown) == shown
    element = ElementTree.fromstring(f"<a b=\"{xml(text)}\" c='{xml(text)}'>{xml(text)}</a>")
    assert (element.text or "") == element.get("b") == element.get("c") == shown


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_markdown_gives_the_text_back_and_no_markup(text):
    cell = markdown(text)
    assert html.unescape(cell) == visible(" ".join(text.split()))
    rest = re.sub(r"&#[0-9]+;", "", cell)
    assert not re.search(r"[\\`*\[\]<>&|~$@#!{}]", rest)


@pytest.mark.parametrize("text", ["-5", "+5", "-1.5e-3", "-inf", "nan", "-.5", "12"])
def test_numbers_written_as_text_stay_numbers(text):
    assert csv_cell(text) == text


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_text_in_a_spreadsheet(name):
    for cell in csv_cell(name).split(";"):  # where the decimal mark is a comma, a semicolon ends a cell
        assert not cell.strip().startswith(("=", "+", "-", "@", "＝", "＠"))
    assert csv_cell(name).replace("'", "") == name.replace(
        "'", ""
    )  # the negative control: nothing else changes


def test_csv_of_a_run(metrics, tmp_path):
    write_tables(metrics, tmp_path / "tables")
    files = sorted((tmp_path / "tables").glob("*.csv"))
    assert {"errors.csv", "audits.csv"} <= {file.name for file in files}
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        assert {len(row) for row in rows} == {len(rows[0])}
        for cell in (cell for row in rows for cell in row):
            number = re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?|[+-]?inf", cell)
            assert number or not cell.lstrip().startswith(("=", "+", "-", "@")), cell
            assert visible(cell) == cell
    found = pd.read_csv(tmp_path / "tables" / "errors.csv", keep_default_na=False)
    assert list(found["name"]) == [csv_cell(stored(name)) for name in HOSTILE]


def test_markdown_of_a_run(metrics, tmp_path):
    write_tables(metrics, tmp_path / "tables")
    lines = (tmp_path / "tables" / "errors.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| d ")]
    assert len(rows) == len(HOSTILE)
    for line, name in zip(rows, HOSTILE, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 6
        assert html.unescape(cells[2]) == visible(" ".join(stored(name).split()))


def test_a_reader_of_markdown_finds_text_alone():
    reader = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": True, "html": True})
    head = "| name |\n|---|\n"
    assert "<a href" in reader.render(
        head + "| https://example.org |\n"
    )  # the control: this reader makes links
    for name in ORDINARY + HOSTILE:
        text = tables.markdown(pd.DataFrame({"name": [stored(name)]}))
        words = Page(reader.render(text))
        assert {tag for tag, _ in words.tags} <= {"table", "thead", "tbody", "tr", "th", "td"}, name
        assert "".join(words.words).split() == ["name", *visible(" ".join(stored(name).split())).split()]


def test_junit_of_a_run(metrics, tmp_path):
    write_tables(metrics, tmp_path / "tables")
    root = ElementTree.parse(tmp_path / "tables" / "audits.junit.xml").getroot()
    cases = root.findall("testsuite/testcase")
    assert {case.get("name") for case in cases} >= {visible(stored(name)) for name in HOSTILE}
    assert {case.find("failure").text for case in cases} >= {visible(stored(name)) for name in HOSTILE}
    blank = dict.fromkeys(("value", "fail"), 0.0) | {"dataset": "", "verdict": "WARN", "reproduce": ""}
    odd = pd.DataFrame(
        [blank | {"family": n, "audit": n, "subject": n, "reason": n} for n in map(stored, CONTROLS)]
    )
    assert len(ElementTree.fromstring(junit(odd)).findall("testsuite")) == len(CONTROLS)


def test_html_of_a_run(metrics, tmp_path):
    datasets = [{"name": stored(name), "kind": "images"} for name in HOSTILE]
    study = {"title": "".join(HOSTILE), "datasets": datasets, "config": {"x": HOSTILE}}
    write_report(metrics, [], [], tmp_path / "report.html", study=study, pages=tmp_path / "report")
    for file in (tmp_path / "report.html", tmp_path / "report" / "own.html"):
        text = file.read_text(encoding="utf-8")
        assert visible(text, keep="\n") == text
        read = Page(text)
        assert not {tag for tag, _ in read.tags} & {"script", "img", "b", "iframe", "object"}
        assert not [key for _, attrs in read.tags for key in attrs if key.startswith("on")]
        links = [attrs["href"] for tag, attrs in read.tags if "href" in attrs]
        assert all(re.match(r"#|data:,|report/\w+\.html|\.\./report\.html|\w+\.html", link) for link in links)
        words = "".join(read.words)
        shown = sum(visible(stored(name), keep="\n") in words for name in HOSTILE)
        assert shown == len(HOSTILE)


def test_a_drawing_is_told_in_text():
    name = " ".join(HOSTILE)
    text = figures.finish(figures.new_figure()[0], "k", f"Singular values of {name}")
    assert ElementTree.fromstring(text).get("aria-label") == f"Singular values of {visible(name)}"


def test_the_last_lines_of_a_run(metrics):
    out = io.StringIO()
    verdict(metrics, stream=out)
    lines = out.getvalue().splitlines()
    assert all(visible(line) == line for line in lines) and len(lines) < 15


def test_a_template_escapes_what_it_is_given(tmp_path, monkeypatch):
    (tmp_path / "t.j2").write_text("<p title='{{ x }}'>{{ x }}</p>")
    (tmp_path / "document.css").write_text("")
    monkeypatch.setattr(page, "__file__", str(tmp_path / "page.py"))
    for name in HOSTILE:
        element = ElementTree.fromstring(page.page("t.j2", {"x": name.replace("\n", "")}))
        assert element.text == element.get("title") == visible(name.replace("\n", ""))


def test_a_log_steers_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "_only_ours", lambda _: None)
    log = tmp_path / "job.log"

    def work(runtime):
        logging.getLogger("svdflow").warning("".join(CONTROLS))
        raise ValueError("".join(CONTROLS))

    monkeypatch.setattr(runtime, "imported", lambda _: work)
    snakemake = SimpleNamespace(
        scriptdir=".",
        log=[str(log)],
        params={"run": "somewhere:work"},
        input={},
        output={},
        threads=1,
        config={"runtime": {"backend": "auto"}},
        resources=SimpleNamespace(mem_mb=100),
        rule="ingest",
    )

    handlers = logging.root.handlers[:]
    try:
        with pytest.raises(SystemExit):
            runtime.run_job(snakemake)
    finally:
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers[:] = handlers
        logging.captureWarnings(False)
    for text in (log.read_text(), capsys.readouterr().err):
        assert r"\x1b[2Jred.png" in text and visible(text, keep="\n\t") == text


def test_plan_prints_names_that_it_found_and_no_more(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[2]
    (tmp_path / "data").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "b.\x1b[2J\u202ex").write_bytes(b"")
    (tmp_path / "config").mkdir()
    for name in ("Snakefile", "rules", "scripts"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "config" / "config.yaml").write_text("datasets: sheet.tsv\n")
    (tmp_path / "sheet.tsv").write_text("name\tkind\tsource\nmine\timages\tdata\n")
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert "mine" in said and visible(said, keep="\n") == said

"""What is read off modules is kept between processes, and never out of date."""

import ast

import pytest

from svdflow.study import syntax
from svdflow.study.syntax import Kept

TEXT = b'"""Words."""\nfrom svdflow.store import files\nX = 1\n'


@pytest.fixture
def unparsed(monkeypatch):
    """From here on, parsing fails the test."""
    return lambda: monkeypatch.setattr(ast, "parse", lambda *_, **__: pytest.fail("a module was parsed"))


def test_a_second_process_parses_nothing(tmp_path, unparsed):
    first = Kept(tmp_path / "cache" / "syntax.json")
    tree = first.module(TEXT, "svdflow")
    assert tree.imports == ("svdflow.store", "svdflow.store.files")
    first.write()
    unparsed()
    assert Kept(tmp_path / "cache" / "syntax.json").module(TEXT, "svdflow") == tree


def test_a_changed_text_has_its_own_tree(tmp_path):
    kept = Kept(tmp_path / "syntax.json")
    first = kept.module(TEXT, "svdflow")
    kept.write()
    again = Kept(tmp_path / "syntax.json")
    assert again.module(TEXT.replace(b"1", b"2"), "svdflow") != first
    assert again.module(TEXT.replace(b"Words", b"Other"), "svdflow") == first  # docstrings do not count


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_or_changed_holds_nothing(tmp_path, part):
    path = tmp_path / "syntax.json"
    kept = Kept(path)
    tree = kept.module(TEXT, "svdflow")
    kept.write()
    whole = path.read_bytes()
    place = int(part * len(whole))
    for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
        path.write_bytes(damaged)
        assert Kept(path).module(TEXT, "svdflow") == tree


def test_a_place_that_cannot_be_written_or_is_none_costs_time_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    trees = set()
    for path in (tmp_path / "file" / "syntax.json", None, tmp_path / "syntax.json"):
        kept = Kept(path)
        trees.add(kept.module(TEXT, "svdflow"))
        kept.write()
    assert len(trees) == 1 and (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "syntax.json"]


def test_what_is_kept_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(syntax, "MOST", 3)
    path = tmp_path / "syntax.json"
    for number in range(5):
        kept = Kept(path)
        kept.module(b"X = %d" % number, "svdflow")
        kept.write()
    assert 1 <= len(Kept(path)._known) <= 3


def test_a_checkout_in_a_folder_called_svdflow_is_read_like_any_other(tmp_path):
    found = set()
    for folder in ("svdflow", "elsewhere"):
        path = tmp_path / folder / "scripts" / "svdflow" / "ranks" / "__init__.py"
        path.parent.mkdir(parents=True)
        path.write_text('FACE = {"shrink": "shrinkage"}\ndef __getattr__(name): ...\n')
        found.add(syntax.syntax(path))
    (one,) = found
    assert one.lazy and "svdflow.ranks.shrinkage" in one.places

"""docs/api.md is what the modules offer, each name of it explained."""

import importlib.util
import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

UNWRITTEN = object()
DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")])
spec = importlib.util.spec_from_file_location("api_page", DOCS / "api_page.py")
api_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api_page)


def test_the_page_is_in_step():
    pytest.importorskip("sklearn", reason="svdflow.compat.TruncatedSVD is an estimator of scikit-learn")
    assert (DOCS / "api.md").read_text(encoding="utf-8") == api_page.markdown(), "run 'make docs'"


@pytest.mark.parametrize("name", api_page.MODULES)
def test_every_public_name_is_there_and_says_what_it_is(name):
    module = import_module(name)
    names = [n for n in api_page.public_names(module) if n != "TruncatedSVD"]  # scikit-learn may be missing
    things = {public: getattr(module, public) for public in names}
    silent = [
        public
        for public, thing in things.items()
        if not isinstance(thing, Mapping)
        and not (thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing))
    ]
    assert silent == []
    assert len(set(dir(module)) & set(names)) == len(names)


def test_a_signature_holds_no_address_and_no_annotation():
    def f(x: int, *, key=len, kind=dict, other=UNWRITTEN) -> int:
        """Do it. And more."""

    assert api_page.heading(f, "f") == "f(x, *, key=len, kind=dict, other=...)"
    assert api_page.sentence(f) == "Do it."


def test_types_ship():
    assert (Path(import_module("svdflow").__file__).parent / "py.typed").is_file()


def lost(text: str) -> list[str]:
    """Dotted names of svdflow in a text that are no module and no attribute of one."""
    return sorted({name for name in re.findall(r"\bsvdflow(?:\.[A-Za-z_]\w*)+", text) if not found(name)})


def found(name: str) -> bool:
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:depth]))
        except ImportError:
            continue
        for part in parts[depth:]:
            thing = getattr(thing, part, None)
        return thing is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_names_on_the_pages_exist(page):
    assert lost(page.read_text(encoding="utf-8")) == []


def test_a_name_that_is_gone_is_found():
    text = "`svdflow.linalg.lstsq` and svdflow.truncated_svd(A), svdflow.svd.SVDResult, svdflow.svd.Nothing."
    assert lost(text) == ["svdflow.linalg.lstsq", "svdflow.svd.Nothing"]

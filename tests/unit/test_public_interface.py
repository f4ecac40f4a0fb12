"""docs/api.md is what the modules offer, each name of it explained."""

import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import svdflow

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
    """Dotted names of svdflow in the prose of a page that are no module and no attribute of one; blocks are run."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return sorted({name for name in re.findall(r"\bsvdflow(?:\.[A-Za-z_]\w*)+", text) if not found(name)})


def found(name: str) -> bool:
    parts = name.split(".")
    if (Path(svdflow.__file__).parent / "registry" / parts[1]).is_dir():
        return True  # a group of entry points
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


def test_every_public_name_works_after_every_module_was_imported(tmp_path):
    """Importing a module puts it where a function of its name would be looked for."""
    for module in pkgutil.walk_packages(svdflow.__path__, "svdflow."):
        if module.name not in ("svdflow.__main__", "svdflow.compat.estimator"):  # scikit-learn may be missing
            import_module(module.name)
    A = np.outer(np.arange(1.0, 40), np.arange(1.0, 30)) + np.eye(39, 29)
    np.save(tmp_path / "a.npy", A)
    with svdflow.store.publish(tmp_path / "metrics.h5", "metrics") as file:
        svdflow.store.write_table(file, "compress", [])
    calls = {
        "truncated_svd": lambda f: f(A, 2).s[0] > 1,
        "OperatorSource": lambda f: f.of(A).norm_squared > 1,
        "SVDResult": lambda f: isinstance(svdflow.truncated_svd(A, 2), f),
        "open_matrix": lambda f: f(tmp_path / "a.npy").shape == A.shape,
        "read_image": lambda f: f(tmp_path / "a.npy").pages[0].array.shape == A.shape,
        "read_table": lambda f: "rank" in f(tmp_path / "metrics.h5", "compress").columns,
        "encode": lambda f: f(A, tmp_path / "a.h5", rel_error=1e-3).rel_error <= 1e-3,
        "decode": lambda f: np.linalg.norm(f(tmp_path / "a.h5") - A) <= 1e-3 * np.linalg.norm(A),
        "denoise": lambda f: np.linalg.norm(np.asarray(f(A, "shrink")) - A) < np.linalg.norm(A),
        "ConvergenceWarning": lambda f: issubclass(f, svdflow.errors.SvdflowWarning),
        "errors": lambda m: issubclass(m.ItemError, m.SvdflowError),
        "__version__": lambda text: text.count(".") == 2,
    }
    assert set(calls) == set(svdflow.__all__)
    assert [name for name, works in calls.items() if not works(getattr(svdflow, name))] == []

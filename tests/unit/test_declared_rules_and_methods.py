"""Rank rules and SVD methods declare themselves: two files add one, and a job imports the code of its own only."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from svdflow import ranks, truncated_svd
from svdflow.errors import ConfigError
from svdflow.registry import RANK_RULES, SHRINKERS, SVD_METHODS, svd_methods_for
from svdflow.study.config import complete_config
from svdflow.svd import costs
from svdflow.svd.algorithm import Algorithm

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"

RULE = {
    "declaration": """
        from svdflow.registry import RankRule

        DECLARED = RankRule(
            name="above_one", summary="components above 1", load="tiny_rule.code:above_one"
        )
    """,
    "code": """
        import numpy as np

        def above_one(evidence):
            return int(np.count_nonzero(evidence.s > 1))
    """,
}
METHOD = {
    "declaration": """
        from svdflow.registry import SVDMethod

        DECLARED = SVDMethod(
            name="two_steps",
            summary="two steps of subspace iteration",
            advice="tests",
            load="tiny_method.code:TwoSteps",
        )
    """,
    "code": """
        from svdflow.svd.algorithm import Algorithm
        from svdflow.svd.orthonormal import orthonormalize
        from svdflow.svd.subspace import Draw

        class TwoSteps(Algorithm):
            reads = 3

            def find(self, plan, reader, seed):
                X = orthonormalize(Draw(seed, plan.tall.shape[1], plan.wide)(plan.widths[0]))
                for _ in plan.widths:
                    X = orthonormalize(reader.gram_times(X))
                return reader.found(X, "two_steps", "max_reads", exact=False, estimate=float("nan"))
    """,
}


def distribution(folder, name, group, files):
    """A distribution of two files, as pip would install it: found by its metadata, on the path."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    for stem, text in files.items():
        (package / f"{stem}.py").write_text(dedent(text))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nit = {name}.declaration:DECLARED\n")


def python(code, *paths):
    """Standard output of code in a process of its own, whose path has these folders too."""
    path = ":".join(map(str, (SCRIPTS, *paths)))
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env={"PYTHONPATH": path, "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_rank_rule_is_added_by_two_files(tmp_path):
    distribution(tmp_path, "tiny_rule", "svdflow.rank_rules", RULE)
    found = python(
        """
        from svdflow.ranks import optimal_rank
        from svdflow.registry import RANK_RULES
        from svdflow.study.config import complete_config
        config = complete_config({"compress": {"rank_rules": ["above_one"]}})
        print(*config["compress"]["rank_rules"])
        print(optimal_rank(s=[3.0, 2.0, 0.5], shape=(4, 3), rule="above_one"), *RANK_RULES)
        """,
        tmp_path,
    )
    assert found == ["above_one", "2", *RANK_RULES, "above_one"]


def test_an_svd_method_is_added_by_two_files(tmp_path):
    distribution(tmp_path, "tiny_method", "svdflow.svd_methods", METHOD)
    method, reads, right, last = python(
        """
        import numpy as np
        from svdflow import truncated_svd
        from svdflow.registry import SVD_METHODS
        from svdflow.study.config import complete_config
        assert complete_config({"factorize": {"method": "two_steps"}})["factorize"]["method"] == "two_steps"
        U, s, Vt = result = truncated_svd(np.diag([4.0, 2.0, 1e-3, 1e-4]), 2, method="two_steps")
        print(result.info.method, result.info.reads, np.allclose(s, [4, 2], rtol=1e-9), list(SVD_METHODS)[-1])
        """,
        tmp_path,
    )
    assert (method, reads, right, last) == ("two_steps", "3", "True", "two_steps")


def test_without_its_distribution_the_name_is_unknown():
    with pytest.raises(ValueError, match="'two_steps' is not one of auto, full"):
        truncated_svd(np.eye(3), 2, method="two_steps")
    with pytest.raises(ConfigError, match="two_steps"):
        complete_config({"factorize": {"method": "two_steps"}})
    with pytest.raises(ConfigError, match="above_one"):
        complete_config({"compress": {"rank_rules": ["above_one"]}})


@pytest.mark.parametrize("name", SVD_METHODS)
def test_a_job_imports_the_code_of_its_method_only(name):
    imported = python(
        f"""
        import sys
        import numpy as np
        from svdflow import truncated_svd
        truncated_svd(np.diag(np.arange(9.0, 0, -1)), 2, method={name!r})
        print(*(module for module in sys.modules if module.startswith("svdflow.svd.methods.")))
        """
    )
    own = SVD_METHODS[name].module
    parts = {"krylov": "krylov_blocks", "lanczos": "lanczos_basis"}
    allowed = {own, f"svdflow.svd.methods.{parts.get(name, name)}"}
    assert own in imported and set(imported) <= allowed


@pytest.mark.parametrize("name", RANK_RULES)
def test_a_rule_imports_no_other_file_of_rules(name):
    imported = python(
        f"""
        import sys
        from svdflow.registry import RANK_RULES
        RANK_RULES[{name!r}].code()
        print(*(module for module in sys.modules if module.startswith("svdflow.ranks.")))
        """
    )
    files = {declared.module for declared in RANK_RULES.values()}
    assert set(imported) & files == {RANK_RULES[name].module}


def test_declarations_import_nothing_heavy():
    imported = python(
        """
        import sys
        from svdflow.registry import RANK_RULES, SHRINKERS, SVD_METHODS
        len(RANK_RULES), len(SHRINKERS), len(SVD_METHODS)
        print(*{name.split(".")[0] for name in sys.modules})
        """
    )
    assert "svdflow" in imported and not {"numpy", "scipy", "h5py", "dask"} & set(imported)


@pytest.mark.parametrize("declared", [*RANK_RULES.values(), *SHRINKERS.values(), *SVD_METHODS.values()])
def test_every_declaration_names_code_and_source(declared):
    assert callable(declared.code())
    assert declared.summary and declared.source


def test_auto_may_run_what_declares_its_cost():
    # `lanczos` for sparse matrices in memory alone: its steps are many, and cheap where products are.
    assert {declared.name for declared in svd_methods_for("auto")} == {"full", "gram", "krylov", "lanczos"}
    assert [declared.name for declared in svd_methods_for("shift")] == ["shift"]
    problem = costs.Problem(3000, 200, 20, False, 1e-2, False, False, False, False, 4.8e6, 6e5)
    assert all(declared.seconds(problem) > 0 for declared in svd_methods_for("auto"))
    dense = {one.name for one in svd_methods_for("auto") if one.seconds(problem) < np.inf}
    assert dense == {"full", "gram", "krylov"}
    sparse = replace(problem, sparse=True, stored=4.8e4, entries=6e3)
    assert "lanczos" in {one.name for one in svd_methods_for("auto") if one.seconds(sparse) < np.inf}


def test_methods_are_algorithms():
    assert all(issubclass(declared.code(), Algorithm) for declared in SVD_METHODS.values())


def test_shrinkers_are_ordered_as_their_losses_say():
    s = np.array([9.0, 5.0, 4.0, 2.0])
    shrunk = {loss: ranks.shrunk_values(s, (4, 4), 1.0, loss) for loss in SHRINKERS}
    # Gavish and Donoho 2017: the operator loss keeps the length before noise, the others turn it down for the angle.
    assert (shrunk["operator"] >= shrunk["frobenius"]).all() and (
        shrunk["frobenius"] >= shrunk["nuclear"]
    ).all()


def rows_of(page, heading):
    """Cells of the first table below a heading of a page of docs, by the text of the first one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    table = text[text.index("|") :].split("\n\n")[0].splitlines()[2:]
    return {
        cells[0].strip("`"): cells[1:]
        for cells in ([c.strip() for c in line.strip("| ").split(" | ")] for line in table)
    }


def test_the_table_of_methods_is_what_they_declare():
    rows = rows_of("choosing.md", "Methods")
    assert (
        rows.pop("auto")[0] == "the cheapest of `full`, `gram`, `krylov` and, for sparse matrices, `lanczos`"
    )
    assert rows == {one.name: [one.summary, one.advice] for one in SVD_METHODS.values()}


def test_the_table_of_rank_rules_is_what_they_declare():
    words = {"sigma": "noise level", "all_values": "all singular values", "matrix": "the matrix"}
    expected = {
        one.name: [
            ", ".join(words[need] for need in words if need in one.needs) or "values",
            one.summary,
            one.source,
        ]
        for one in RANK_RULES.values()
    }
    assert rows_of("denoising.md", "Rank rules") == expected


def test_no_module_asks_a_lazy_package_for_names():
    """Digests of code follow imports: one through a package that imports late would not be followed."""
    lazy = {"svdflow.ranks": set(ranks.__all__), "svdflow.svd": {"SinglePassSVD"}, "svdflow": {"ranks"}}
    asked = {
        (node.module or "", alias.name): path
        for path in (SCRIPTS / "svdflow").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert asked["svdflow.svd.factorization", "truncated_svd"], "imports are seen"
    assert {pair: path for pair, path in asked.items() if pair[1] in lazy.get(pair[0], ())} == {}

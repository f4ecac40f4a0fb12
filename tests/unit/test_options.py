"""Options are declared once: config, sheet, page and schema take them from there, also those of other packages."""

import json
import subprocess
import sys
from importlib import invalidate_caches
from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field, field_validator

from svdflow.errors import ConfigError, RegistryError
from svdflow.registry import DENOISERS, RANK_RULES, TASKS, Denoiser, Options
from svdflow.registry.options import UNIQUE, OneOf
from svdflow.registry.refusals import faults
from svdflow.study.config import complete_config, load_config
from svdflow.study.options_page import config_schema, markdown
from svdflow.study.sections.row import parameters_model
from svdflow.study.study import Study

ROOT = Path(__file__).parents[2]
SHEET = "name\tkind\tsource\ttasks\tparameters\nh\tsynthetic\thilbert\tdenoise\t{}\n"
PLUGIN = """
from pydantic import Field, field_validator
from svdflow.registry import Denoiser, Options

class Strength(Options):
    strength: float = Field(default=0.5, gt=0, le=1, description="How much is taken off.")
    rounds: int = Field(default=3, ge=1, description="How often.")

DECLARED = Denoiser(
    name="halve2", summary="halves", applies_to=("synthetic",), works_on="picture", options=Strength, cost=2.0,
    load="halving:halve",
)
"""


class Sample(Options):
    """One field of each kind, as another package would write it."""

    real: float = Field(default=1.0, gt=0, le=9)
    whole: int = Field(default=1, ge=1, lt=10)
    flag: bool = False
    word: str = ""
    many: Annotated[list[int], Field(min_length=1), UNIQUE] = Field(default=[1])
    law: Literal["normal", "uniform"] = "normal"
    name: Annotated[str, OneOf(RANK_RULES, lambda rule: rule.by_spectrum)] = "elbow"

    @field_validator("word")
    @classmethod
    def _letters(cls, word):
        if word == "#":
            raise ValueError("a word has letters; write some")
        return word


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"real": "1e-3", "whole": "+7", "flag": "True", "many": ["2", 3]}, None),
        ({"real": 2, "name": "screenot"}, None),
        (
            {"real": True},
            "'real' is True; it must be of type number: write a finite number such as 0.5 or 1e-3",
        ),
        ({"real": float("nan")}, "'real' is nan; it must be of type number"),
        ({"real": float("inf")}, "'real' is inf; it must be of type number"),
        ({"real": 10**400}, "'real' is 1000"),
        ({"real": 0}, "'real' is 0; it must be above 0"),
        ({"real": "9.5"}, "'real' is 9.5; it must be at most 9"),
        ({"whole": 5.0}, "'whole' is 5.0; it must be of type integer: write a whole number such as 5"),
        ({"whole": True}, "'whole' is True; it must be of type integer"),
        ({"whole": "5.0"}, "'whole' is '5.0'; it must be of type integer"),
        ({"whole": "1_0"}, "'whole' is '1_0'; it must be of type integer"),
        ({"whole": 10}, "'whole' is 10; it must be below 10"),
        ({"flag": 1}, "'flag' is 1; it must be of type boolean: write true or false"),
        ({"flag": "yes"}, "'flag' is 'yes'; it must be of type boolean"),
        ({"word": 3}, "'word' is 3; it must be of type string: put a word in quotes"),
        ({"many": 3}, "'many' is 3; it must be of type array: write a list such as [1, 2]"),
        ({"many": []}, "'many' is empty; name at least one"),
        ({"many": [2, 5, "2"]}, "'many' names something twice: [2, 5, 2]; keep one of each"),
        ({"many": [1, "x"]}, "'many[1]' is 'x'; it must be of type integer"),
        ({"law": "norml"}, "'law' is 'norml'; did you mean 'normal'? (valid: normal, uniform)"),
        ({"law": 3}, "'law' is 3; valid: normal, uniform"),
        ({"word": "#"}, "'word': a word has letters; write some"),
        ({"name": "elbo"}, "'name' is 'elbo'; did you mean 'elbow'? (valid: "),
        ({"name": "sure"}, "'name' is 'sure'; "),  # it needs a noise level
        (
            {"reel": 1},
            "unknown key 'reel'; did you mean 'real'? (valid: real, whole, flag, word, many, law, name)",
        ),
        ({1: 1}, "unknown key '1'; valid: real"),
        (None, "'' is None; it must be of type object"),
    ],
)
def test_options_are_read_strictly_and_told_in_words(given, said):
    found = faults(given, Sample)
    if said is None:
        assert found == []
    else:
        ((_, words),) = found
        assert words.startswith(said)


def test_what_is_spelled_is_kept_as_the_number():
    sample = Sample.model_validate({"real": "1e-3", "whole": "+7", "flag": "True", "many": ["2", 3]})
    assert (sample.real, sample.whole, sample.flag, sample.many) == (1e-3, 7, True, [2, 3])


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Another package, installed, that declares a denoiser."""
    (tmp_path / "halving.py").write_text(PLUGIN)
    info = tmp_path / "halving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[svdflow.denoisers]\nhalve2 = halving:DECLARED\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    invalidate_caches()
    DENOISERS.__dict__.pop("_found", None)
    yield "halve2"
    DENOISERS.__dict__.pop("_found", None)
    sys.modules.pop("halving", None)


def study(parameters="-", **denoise):
    Path("sheet.tsv").write_text(SHEET.format(parameters))
    Path("study.yaml").write_text(yaml.safe_dump({"datasets": "sheet.tsv", "denoise": denoise}))
    return Study(load_config(["study.yaml"]), ROOT, ["study.yaml"])


def test_a_denoiser_of_another_package_is_one_like_ours(plugin):
    one = study(methods=[plugin, "shrink"], options={plugin: {"strength": "2e-1"}})
    assert one.methods(TASKS["denoise"], "h") == [plugin, "shrink"]
    settings = one.settings("denoise", "h", "00000", plugin)
    assert settings["options"] == {"strength": 0.2, "rounds": 3} and settings["ranks"] == []
    assert "options" not in one.settings("denoise", "h", "00000", "shrink")
    assert study(f"methods={plugin}").settings("denoise", "h", "00000", plugin)["options"]["strength"] == 0.5
    assert plugin in config_schema()["$defs"]["DenoiseOptions"]["properties"]["methods"]["items"]["enum"]
    assert (
        f"| denoise.options.{plugin}.strength | number > 0 <= 1 | `0.5` | How much is taken off. |"
        in markdown()
    )


def test_passes_of_the_section_is_passes_of_patch_svd_for_one_version_more():
    with pytest.warns(FutureWarning, match=r"denoise.passes goes with .*; write denoise: {options"):
        old = complete_config({"denoise": {"passes": "2"}})
    assert old == complete_config({"denoise": {"options": {"patch_svd": {"passes": 2}}}})
    with pytest.warns(FutureWarning):
        both = complete_config({"denoise": {"passes": 2, "options": {"patch_svd": {"passes": 3}}}})
    assert both["denoise"]["options"] == {"patch_svd": {"passes": 3}}
    with (
        pytest.warns(FutureWarning),
        pytest.raises(ConfigError, match=r"patch_svd.passes' is 0; .* at least 1"),
    ):
        complete_config({"denoise": {"passes": 0}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"halve2": {"strength": 2}},
            "study.yaml: 'denoise.options.halve2.strength' is 2; it must be at most 1",
        ),
        (
            {"halve2": {"strenght": 1}},
            "unknown key 'denoise.options.halve2.strenght'; did you mean 'strength'?",
        ),
        ({"halve": {}}, "unknown key 'denoise.options.halve'; did you mean 'halve2'?"),
        ({"shrink": {"x": 1}}, "unknown key 'denoise.options.shrink.x'; valid: none"),
        ({"halve2": None}, "'denoise.options.halve2' is None; it must be of type object"),
        ([], "'denoise.options' is []; it must be of type object"),
    ],
)
def test_options_of_another_package_are_checked_by_it(plugin, options, said):
    with pytest.raises(ConfigError) as caught:
        study(options=options)
    assert said in str(caught.value)


def test_it_runs_where_it_applies(plugin):
    Path("sheet.tsv").write_text(
        SHEET.format(f"methods={plugin}").replace("synthetic\thilbert", "matrix\tm.npy")
    )
    Path("study.yaml").write_text("datasets: sheet.tsv\n")
    with pytest.raises(ConfigError, match="method 'halve2' is for kind synthetic, not matrix"):
        Study(load_config(["study.yaml"]), ROOT, ["study.yaml"])


@pytest.mark.parametrize("name", ["", "Halve", "2halve", "hal ve", "../halve", "halve\n"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(name):
    with pytest.raises(RegistryError, match="rename it"):
        Denoiser(name=name, summary="", applies_to=(), works_on="picture", load="")


def test_a_row_may_say_what_is_marked():
    assert set(parameters_model().model_fields) == {
        "replicates", "sigma", "poisson", "crop", "fill", "data_range", "grid",
        "method", "tol", "max_rank", "center",
        "ranks", "energies", "powers_of_two", "images",
        "methods", "target",
    }  # fmt: skip
    ranks = parameters_model().model_fields["ranks"]
    assert ranks.description == "In place of `compress.ranks` and `denoise.ranks`."


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("**/*.yaml")), ids=lambda p: p.stem)
def test_the_schema_for_editors_takes_our_configs(path):
    schema = json.loads((ROOT / "config" / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"audit": {"thresholds": {"rank": {"fale": 1}}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"denoise": {"methods": ["trunkate"]}}, schema)


def test_an_empty_config_is_complete_by_the_schema_too():
    schema = jsonschema.Draft202012Validator(config_schema())
    whole = complete_config({})
    assert [error.message for error in schema.iter_errors(whole)] == []
    assert [error.path[0] for error in schema.iter_errors({**whole, "seed": "x"})] == ["seed"]


def test_parsing_takes_little_time_beyond_snakemake(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; import snakemake.cli; start = time.perf_counter(); "
        "from svdflow.study.study import Study; Study.load(Path(sys.argv[1])); print(time.perf_counter() - start)"
    )
    taken = [
        float(
            subprocess.run(
                [sys.executable, "-c", code, ROOT], check=True, capture_output=True, cwd=ROOT
            ).stdout
        )
        for _ in range(2)
    ]
    assert min(taken) < 1.5

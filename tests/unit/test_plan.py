"""A study is refused before any job with file, key and remedy; what it plans is stable."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from svdflow.errors import ConfigError
from svdflow.registry import GENERATORS, TASKS
from svdflow.study import manifest_file, syntax
from svdflow.study.config import complete_config, load_config
from svdflow.study.digest import Reached, code_digest, digest
from svdflow.study.options_page import config_schema, markdown
from svdflow.study.sections import sections
from svdflow.study.sections.audit import THRESHOLDS
from svdflow.study.sheet import read_datasets
from svdflow.study.sizes import parse_size
from svdflow.study.study import Study

ROOT = Path(__file__).parents[2]
HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with ten files that pass for images."""
    (tmp_path / "data").mkdir()
    for i in range(10):
        (tmp_path / "data" / f"p{i}.png").write_bytes(bytes([i]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(folder, *rows, **config):
    (folder / "sheet.tsv").write_text(HEAD + "".join("\t".join(row.split("|")) + "\n" for row in rows))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"datasets": "sheet.tsv", **config}))
    return Study(load_config([path]), ROOT, [path])


IMAGES = "mine|images|data|gray|-|compress|4|-"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"compres": {}}, ["study.yaml", "unknown key 'compres'", "did you mean 'compress'"]),
        ({"audit": {"full_upto": 3}}, ["unknown key 'audit.full_upto'", "did you mean 'full_up_to'"]),
        ({"compress": {"ranks": [1, 0]}}, ["'compress.ranks[1]' is 0", "at least 1"]),
        ({"compress": {"ranks": []}}, ["'compress.ranks' is empty"]),
        ({"compress": {"ranks": ["a"]}}, ["'compress.ranks[0]' is 'a'", "integer"]),
        ({"denoise": {"methods": ["trunkate"]}}, ["'denoise.methods[0]'", "did you mean 'truncate'"]),
        ({"factorize": {"tol": 0}}, ["'factorize.tol' is 0", "above 0"]),
        ({"runtime": {"memory_limit": "lots"}}, ["'runtime.memory_limit' is 'lots'", "1GiB"]),
        ({"pathvars": {"results": "a; rm -rf b"}}, ["'pathvars.results'"]),
        ({"datasets": "nowhere.tsv"}, ["nowhere.tsv: no such sheet"]),
        ({"compress": {"ranks": [5.0]}}, ["'compress.ranks[0]' is 5.0", "integer"]),
        ({"compress": {"ranks": [5, 5]}}, ["'compress.ranks' names something twice"]),
        ({"compress": {"energies": [float("nan")]}}, ["'compress.energies[0]' is nan"]),
        ({"factorize": {"tol": float("nan")}}, ["'factorize.tol' is nan"]),
        ({"runtime": {"memory_limit": 0}}, ["'runtime.memory_limit' is 0"]),
        ({"runtime": {"memory_limit": "0GiB"}}, ["'runtime.memory_limit' is '0GiB'"]),
        ({"pathvars": {"results": "elsewhere/"}}, ["'pathvars.results' is 'elsewhere/'"]),
        ({"pathvars": {"results": "/"}}, ["'pathvars.results' is '/'"]),
    ],
)
def test_wrong_config_is_refused_by_name(folder, config, words):
    with pytest.raises(ConfigError) as caught:
        study(folder, IMAGES, **config)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("mine|images|data|gray|-|compress|0|-", ["sheet.tsv: dataset 'mine'", "'shard_size' is 0"]),
        ("mine|image|data|gray|-|compress|4|-", ["'kind' is 'image'", "did you mean 'images'"]),
        ("mine|images|data|grey|-|compress|4|-", ["'colour' is 'grey'", "did you mean 'gray'"]),
        ("mine|images|data|gray|-|compres|4|-", ["'tasks[0]'", "did you mean 'compress'"]),
        ("mine|images|data|gray|x|denoise|4|-", ["'noise_sigma[0]' is 'x'", "number"]),
        ("../x|images|data|gray|-|compress|4|-", ["'name' is '../x'"]),
        ("mine|images|data|gray|-|compress|4|rank=3", ["unknown parameter 'rank'", "did you mean 'ranks'"]),
        ("mine|images|data|gray|-|compress|4|ranks=0", ["'parameters.ranks[0]' is 0"]),
        ("mine|images|data|gray|-|compress|4|ranks", ["'ranks' has no value"]),
        ("mine|images|data|gray|25|compress|4|-", ["noise_sigma is given", "'denoise' is not among"]),
        ("mine|images|data/*.gif|gray|-|compress|4|-", ["no image matches data/*.gif"]),
        ("mine|images|Dta|gray|-|compress|4|-", ["no image matches Dta", "nearest folder: data"]),
        ("mine|images|manifest:sample|gray|-|compress|4|-", ["no manifest 'sample'", "samples"]),
        ("mine|synthetic|hilbrt|-|-|compress|-|-", ["unknown family 'hilbrt'", "did you mean 'hilbert'"]),
        ("mine|synthetic|hilbert|-|-|compress|-|sze=3", ["sze"]),
        ("mine|matrix|data/none.h5:/A|-|-|compress|-|-", ["no file matches data/none.h5"]),
        ("mine|images|data|gray|-|compress|4|replicates=2", ["only a generator has replicates"]),
        ("mine|matrix|data/m.npy|-|-|compress|-|crop=8", ["only images are cropped"]),
        ("mine|matrix|data/m.npy|-|-|compress|-|fill=mean", ["name a number for a matrix file"]),
        ("mine|images|data|gray|-|compress|4|grid=2x3", ["only a matrix file needs a grid"]),
        ("mine|images|data|gray|-|encode|4|target=psnr", ["'parameters.target' is 'psnr'"]),
        ("mine|images|data|gray|-|encode|4|target=bytes=0", ["'parameters.target' is 'bytes=0'"]),
        ("mine|images|data|gray|-|denoise|4|methods=ssa", ["method 'ssa' is for kind synthetic or matrix"]),
        ("mine|images|data|gray|-|denoise|4|methods=patchsvd", ["did you mean 'patch_svd'"]),
        ("mine|images|data|gray|5;5|denoise|4|-", ["'noise_sigma' names something twice"]),
        ("mine|images|data|gray|inf|denoise|4|-", ["'noise_sigma[0]' is 'inf'"]),
        ("mine|images|data|gray|-|compress|4|-|more", ["'mine' has more cells than columns"]),
    ],
)
def test_wrong_row_is_refused_by_name(folder, row, words):
    with pytest.raises(ConfigError) as caught:
        study(folder, row)
    for word in words:
        assert word in str(caught.value)


def test_sheets_that_are_no_sheets_are_named(folder):
    path = folder / "s.tsv"
    path.write_text("name kind source\nmine images data\n")
    with pytest.raises(ConfigError, match="columns are separated by tabs"):
        read_datasets(path)
    path.write_bytes("name\tkind\tsource\nmine\timages\tdät\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"s\.tsv: not UTF-8"):
        read_datasets(path)
    path.write_bytes(b"\xef\xbb\xbfname\tkind\tsource\r\nmine\timages\tdata\r\n")
    assert list(read_datasets(path)) == ["mine"]


def test_a_damaged_manifest_is_named(folder):
    one = study(folder, IMAGES)
    path = one.manifest_path("mine")
    manifest_file.write(one.manifest("mine"), path)
    path.write_text(path.read_text().replace('"1"\t"p1.png"\t"1"', '"1"\t"p1.png"\t"x"'))
    with pytest.raises(ConfigError, match="a damaged manifest"):
        study(folder, IMAGES)


def test_a_manifest_that_names_a_file_twice_is_refused(folder):
    one = study(folder, IMAGES)
    path = one.manifest_path("mine")
    manifest_file.write(one.manifest("mine"), path)
    path.write_text(path.read_text().replace('"p1.png"', '"p2.png"'))
    with pytest.raises(ConfigError, match=r"a damaged manifest \('p2\.png' stands twice\)"):
        study(folder, IMAGES)


def test_methods_of_the_config_run_where_they_apply(folder):
    rows = ["mine|images|data|gray|9|denoise|4|-", "own|images|data|gray|9|denoise|4|methods=wnnm"]
    rows.append("waves|synthetic|waves|-|-|denoise|-|-")
    one = study(folder, *rows, denoise={"methods": ["ssa", "shrink", "patch_svd"]})
    assert one.methods(TASKS["denoise"], "mine") == ["shrink", "patch_svd"]
    assert one.methods(TASKS["denoise"], "own") == ["wnnm"]
    assert one.methods(TASKS["denoise"], "waves") == ["ssa", "shrink"]
    assert one.all_methods(TASKS["denoise"]) == ["patch_svd", "shrink", "ssa", "wnnm"]
    with pytest.raises(ConfigError, match=r"none of denoise\.methods applies to kind synthetic"):
        study(folder, rows[2], denoise={"methods": ["tv"]})


def test_a_rank_beyond_the_cap_is_said(folder):
    assert study(folder, IMAGES).notes() == []
    (note,) = study(folder, IMAGES, compress={"ranks": [5, 500]}).notes()
    assert "rank 500" in note and "max_rank caps it at 256" in note


def test_files_that_are_not_read_are_counted_and_named(folder):
    before = study(folder, IMAGES)
    assert before.left_out() == []
    for name in ("a.dcm", "b.DCM", "c.pgm", "README", ".hidden", "d.x\x1b[31m", "e.nii.gz"):
        (folder / "data" / name).write_bytes(b"x")
    (folder / "data" / "more").mkdir()
    after = study(folder, IMAGES)
    words = "2 .dcm, 1 .gz, 1 .pgm, 1 folder, 1 with other suffixes, 1 without a suffix (not read)"
    assert after.left_out() == [f"left out of mine: {words}"]
    assert after.notes() == after.left_out()
    # Only the two stages that say so run again.
    stages = ["ingest_images", "factorize", "compress", "aggregate", "report", "verdict"]
    differ = [x for x in stages if before.settings(x, "mine", "00000") != after.settings(x, "mine", "00000")]
    assert differ == ["report", "verdict"]


def test_a_pattern_leaves_out_what_it_is_meant_to(folder):
    (folder / "data" / "a.dcm").write_bytes(b"x")
    assert study(folder, "mine|images|data/*.png|gray|-|compress|4|-").left_out() == []


def test_a_folder_without_images_says_what_it_holds(folder):
    (folder / "scans").mkdir()
    (folder / "scans" / "a.dcm").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"scans holds none, but 1 \.dcm \(not read\)"):
        study(folder, "scans|images|scans|gray|-|compress|4|-")


def test_all_faults_are_told_at_once(folder):
    with pytest.raises(ConfigError) as caught:
        study(folder, IMAGES, compres={}, denois={})
    said = str(caught.value)
    assert said.count("unknown key") == 2 and "'compres'" in said and "'denois'" in said


def test_unknown_column_and_double_name(folder):
    (folder / "s.tsv").write_text("name\tkind\tsorce\n")
    with pytest.raises(ConfigError, match="unknown column 'sorce'; did you mean 'source'"):
        read_datasets(folder / "s.tsv")
    with pytest.raises(ConfigError, match="'mine' stands twice"):
        study(folder, IMAGES, IMAGES)


def test_defaults_are_those_of_the_sections(folder):
    config = complete_config({})
    assert config["compress"]["ranks"] == [1, 2, 5, 10, 20, 50, 100]
    assert config["denoise"]["ranks"] == [1, 3, 5, 10, 20, 50, 100]
    assert config["compress"]["energies"] == [0.9, 0.95, 0.99]
    assert config["allow_errors"] == 0


def test_the_order_of_lines_does_not_show(folder):
    config = {"seed": 7, "audit": {"strict": True, "sample": 3}, "compress": {"images": "none", "ranks": [1]}}
    turned = {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in reversed(config.items())}
    assert repr(complete_config(config)) == repr(complete_config(turned))


def test_config_yaml_shows_the_defaults():
    """What config.yaml spells out is what would hold without it."""
    spelled = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    spelled.pop("title")
    assert complete_config(spelled) == complete_config({})


def test_every_config_key_is_commented():
    lines = (ROOT / "config" / "config.yaml").read_text().splitlines()
    keys = [line for line in lines if ":" in line and not line.lstrip().startswith("#")]
    uncommented = [k for k in keys if "#" not in k and k.split(":")[0] not in {*sections(), "pathvars"}]
    told_elsewhere = {"  ranks", "  methods", "  rank_rules", "  energies"}
    assert {k.split(":")[0] for k in uncommented} <= told_elsewhere


def test_options_page_is_in_step():
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == markdown(), "run 'make docs'"


def test_schema_for_editors_is_in_step():
    written = (ROOT / "config" / "schemas" / "config.schema.json").read_text(encoding="utf-8")
    assert json.loads(written) == config_schema(), "run 'make docs'"


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_example_studies_are_valid(path, tmp_path, monkeypatch):
    """Each example plans, once the files that it asks the user for are there."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "config" / "examples", "config/examples")
    (tmp_path / "data/raw/mine").mkdir(parents=True)
    (tmp_path / "data/raw/mine/one.png").write_bytes(b"x")
    (tmp_path / "data/raw/big.h5").write_bytes(b"x")
    assert Study(load_config([path]), ROOT, [path]).jobs > 0


def test_shards_are_slices_and_new_images_only_extend(folder):
    before = study(folder, IMAGES)
    assert before.shards("mine") == ["00000", "00001", "00002"]
    manifest_file.write(before.manifest("mine"), before.manifest_path("mine"))
    (folder / "data" / "a-new-one.png").write_bytes(b"new")
    after = study(folder, IMAGES)
    for shard in ("00000", "00001"):
        assert after.settings("ingest_images", "mine", shard) == before.settings(
            "ingest_images", "mine", shard
        )
    assert after.settings("ingest_images", "mine", "00002")["names"] == ["p8.png", "p9.png", "a-new-one.png"]


def test_a_touch_changes_nothing_a_replacement_its_shard(folder):
    before = study(folder, IMAGES)
    manifest_file.write(before.manifest("mine"), before.manifest_path("mine"))
    for path in (folder / "data").iterdir():
        os.utime(path, ns=(1, 1))
    touched = study(folder, IMAGES)
    assert all(
        touched.settings("ingest_images", "mine", s) == before.settings("ingest_images", "mine", s)
        for s in before.shards("mine")
    )
    (folder / "data" / "p5.png").write_bytes(b"other")
    replaced = study(folder, IMAGES)
    changed = [
        s
        for s in before.shards("mine")
        if replaced.settings("ingest_images", "mine", s) != before.settings("ingest_images", "mine", s)
    ]
    assert changed == ["00001"]


def test_a_removed_image_leaves_its_place_empty(folder):
    before = study(folder, IMAGES)
    manifest_file.write(before.manifest("mine"), before.manifest_path("mine"))
    (folder / "data" / "p1.png").unlink()
    after = study(folder, IMAGES)
    assert after.settings("ingest_images", "mine", "00000")["names"] == ["p0.png", None, "p2.png", "p3.png"]
    assert after.settings("ingest_images", "mine", "00001") == before.settings(
        "ingest_images", "mine", "00001"
    )


def test_a_manifest_that_is_written_twice_is_left_alone(folder):
    one = study(folder, IMAGES)
    path = one.manifest_path("mine")
    manifest_file.write(one.manifest("mine"), path)
    os.utime(path, ns=(1, 1))
    manifest_file.write(study(folder, IMAGES).manifest("mine"), path)
    assert path.stat().st_mtime_ns == 1


def test_hostile_file_names_stay_in_the_manifest(folder):
    names = [
        "a b.png",
        "carriage\rreturn.png",
        "not text \udcff.png",
        "$(touch x).png",
        "; rm -rf *.png",
        "line\nbreak.png",
        "tab\there.png",
        "図.png",
        '"q".png',
    ]
    for name in names:
        (folder / "data" / name).write_bytes(name.encode(errors="surrogateescape"))
    first = study(folder, IMAGES)
    manifest_file.write(first.manifest("mine"), first.manifest_path("mine"))
    second = study(folder, IMAGES)
    assert second.manifest("mine") == first.manifest("mine")
    assert set(names) <= {e.name for e in second.manifest("mine").entries}
    assert all(s.isdigit() for s in second.shards("mine"))


def test_too_many_jobs_name_the_shard_size_that_would_do(folder):
    row = "many|synthetic|hilbert|-|-|compress|1|replicates=4000"
    with pytest.raises(ConfigError, match="12000 jobs are more than 5000") as caught:
        study(folder, row)
    size = int(str(caught.value).rsplit("shard_size 1, ", 1)[1].split()[0])
    assert study(folder, row.replace("|1|", f"|{size}|")).jobs <= 5000


def test_ranks_within_the_stored_one_factorize_nothing(folder):
    few, more = (
        study(folder, IMAGES),
        study(folder, IMAGES, compress={"ranks": [1, 2, 5, 10, 20, 30, 50, 100]}),
    )
    assert few.settings("factorize", "mine", "00000") == more.settings("factorize", "mine", "00000")
    assert few.settings("compress", "mine", "00000") != more.settings("compress", "mine", "00000")
    beyond = study(folder, IMAGES, compress={"ranks": [1, 200]})
    assert beyond.settings("factorize", "mine", "00000")["item_rank"] == 200
    capped = study(folder, IMAGES, compress={"ranks": [1, 900]})
    assert capped.settings("factorize", "mine", "00000")["item_rank"] == 256


def test_precision_reaches_the_job_and_the_default_leaves_no_trace(folder):
    """So that digests of studies made before there was a choice hold."""
    plain, asked = study(folder, IMAGES), study(folder, IMAGES, factorize={"precision": "mixed"})
    settings = [one.settings("factorize", "mine", "00000") for one in (plain, asked)]
    assert settings[1] == {**settings[0], "precision": "mixed"} and "precision" not in settings[0]
    digests = {
        one.settings("aggregate")["config_digest"]
        for one in (plain, asked, study(folder, IMAGES, factorize={"precision": "full"}))
    }
    assert len(digests) == 2
    with pytest.raises(ConfigError, match=r"factorize\.precision"):
        study(folder, IMAGES, factorize={"precision": "half"})


def test_settings_hold_plain_builtins_only(folder):
    """Snakemake does not track anything else."""

    def plain(value):
        if isinstance(value, dict):
            return all(plain(v) for pair in value.items() for v in pair)
        if isinstance(value, list):
            return all(map(plain, value))
        return type(value) in (int, float, str, bool, type(None))

    one = study(
        folder,
        "mine|images|data|rgb|15;25|compress;denoise;audit|4|ranks=1,2;tol=1e-3",
        "made|synthetic|low_rank_plus_noise|-|-|compress;denoise;audit|-|replicates=2;rows=50;columns=40;rank=3",
    )
    for name, stages in {
        "mine": ["ingest_images", "factorize", "compress", "denoise", "conditioning"],
        "made": ["ingest_synthetic", "factorize", "compress", "denoise", "conditioning"],
    }.items():
        for stage in stages:
            assert plain(one.settings(stage, name, "00000", "truncate")), stage
    for stage in ("selfcheck", "aggregate", "report", "verdict"):
        assert plain(one.settings(stage)), stage
    assert not plain({"a": Path("x")}), "the check itself must notice a path"


def test_runtime_is_nowhere_in_the_settings(folder):
    one = study(folder, IMAGES)
    other = study(folder, IMAGES, runtime={"backend": "numpy", "memory_limit": "1GiB"})
    for stage in (
        "ingest_images",
        "factorize",
        "compress",
        "conditioning",
        "aggregate",
        "report",
        "verdict",
    ):
        assert one.settings(stage, "mine", "00000") == other.settings(stage, "mine", "00000"), stage


def write_package(root, body, other="X = 1\n"):
    (root / "svdflow").mkdir(exist_ok=True)
    (root / "svdflow" / "__init__.py").write_text("")
    (root / "svdflow" / "a.py").write_text(body)
    (root / "svdflow" / "b.py").write_text(other)
    (root / "svdflow" / "unrelated.py").write_text("Y = 1\n")
    syntax._of.cache_clear()
    return code_digest(["svdflow.a:f"], root)


def reached(root):
    found = Reached(root, {})
    found.follow("svdflow.a")
    return {path.name for path in found.files}


def test_code_digest_sees_algorithms_and_not_comments(tmp_path):
    body = "from svdflow import b\ndef f(x):\n    return x + b.X\n"
    first = write_package(tmp_path, body)
    assert reached(tmp_path) == {"__init__.py", "a.py", "b.py"}
    comment = body.replace("return x", '"""Add."""\n    # why\n    return  x')
    assert write_package(tmp_path, comment) == first
    assert write_package(tmp_path, body.replace("x +", "x -")) != first
    assert write_package(tmp_path, body, "X = 2\n") != first, "a module reached through another counts"
    assert write_package(tmp_path, body) == first
    (tmp_path / "svdflow" / "unrelated.py").write_text("Y = 2\n")
    syntax._of.cache_clear()
    assert code_digest(["svdflow.a:f"], tmp_path) == first, "a module that nothing imports does not count"


def test_imports_for_type_checkers_do_not_count(tmp_path):
    body = "def f(x):\n    return x\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from svdflow import b\n" + body
    write_package(tmp_path, typed)
    assert "b.py" not in reached(tmp_path)


def test_digest_is_that_of_the_value():
    assert digest({"a": 1, "b": [1.5]}) == digest({"b": [1.5], "a": 1}) != digest({"a": 1, "b": [1.25]})


@pytest.mark.parametrize(("text", "size"), [("1GiB", 2**30), ("500 MB", 5e8), ("123", 123), ("1.5KiB", 1536)])
def test_bytes_in_words(text, size):
    assert parse_size(text) == size


def test_families_are_plain_data():
    assert all(
        type(p.default) in (int, float, str)
        for f in GENERATORS.values()
        for p in f.options.model_fields.values()
    )


def test_thresholds_of_the_config_are_those_of_the_audits():
    from svdflow.registry.limits import KEYS, declared_limits

    known = THRESHOLDS.model().model_fields
    assert set(known) == set(declared_limits())
    assert all(set(field.annotation.model_fields) == set(KEYS) for field in known.values())


def test_a_misspelt_threshold_is_refused(folder):
    with pytest.raises(ConfigError, match="did you mean 'svd_residual'"):
        study(folder, IMAGES, audit={"thresholds": {"svd_residuals": {"fail": 3}}})
    one = study(folder, IMAGES, audit={"thresholds": {"svd_residual": {"fail": 3}}})
    assert one.settings("selfcheck")["thresholds"] == {"svd_residual.fail": 3}


def test_own_functions_and_baselines_are_named_with_their_files(folder):
    (folder / "own.py").write_text("")
    with pytest.raises(ConfigError, match=r"audit.functions_file.*nearest: .*own.py"):
        study(folder, IMAGES, audit={"functions_file": str(folder / "onw.py"), "functions": ["f"]})
    with pytest.raises(ConfigError, match="go together"):
        study(folder, IMAGES, audit={"functions": ["f"]})
    with pytest.raises(ConfigError, match=r"audit\.baseline"):
        study(folder, IMAGES, audit={"baseline": "nowhere.h5"})
    with pytest.raises(ConfigError, match=r"functions\[0\]"):
        study(folder, IMAGES, audit={"functions_file": str(folder / "own.py"), "functions": ["os.system"]})


def test_the_sheet_of_datasets_names_no_code(folder):
    with pytest.raises(ConfigError, match="functions_file"):
        study(folder, "mine|images|data|gray|-|compress|4|functions_file=own.py")


def test_audits_without_a_dataset_follow_the_config(folder):
    audited = "made|synthetic|low_rank_plus_noise|-|-|audit|-|-"
    assert study(folder, audited).audit_files == ["selfcheck.h5"]
    assert study(folder, audited, audit={"mutants": False}).settings("selfcheck")["mutants"] is False
    plain = "made|synthetic|low_rank_plus_noise|-|-|compress|-|-"
    assert study(folder, plain).audit_files == []
    (folder / "own.py").write_text("")
    own = {"functions_file": str(folder / "own.py"), "functions": ["f"]}
    assert study(folder, plain, audit=own).audit_files == ["audit/own.h5"]


def test_audits_page_is_in_step():
    from svdflow.registry.audits_page import markdown

    assert (ROOT / "docs" / "audits.md").read_text(encoding="utf-8") == markdown(), "run 'make docs'"


def test_a_disk_that_would_not_do_is_refused(folder, monkeypatch):
    from svdflow.study.estimate import check_disk, estimate, table

    one = study(folder, "made|synthetic|low_rank_plus_noise|-|-|compress|-|rows=5000;columns=3000")
    estimates = estimate(one)
    assert (
        5000 * 3000 * 4 < estimates[0].bytes < 3 * 5000 * 3000 * 4
    )  # the matrix in float32, and its factors
    assert "made" in table(one, estimates)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10**7))
    with pytest.raises(ConfigError, match=r"10\.0 MB free"):
        check_disk(one, estimates)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10**9))
    check_disk(one, estimates)

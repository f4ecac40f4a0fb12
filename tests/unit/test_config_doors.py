"""Whatever is written wrongly in config, sheet or command is refused by file, key, value and remedy."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from svdflow.__main__ import main
from svdflow.codec import encode
from svdflow.errors import ConfigError, FamilyError, YamlError
from svdflow.registry.limits import declared_limits, resolve
from svdflow.registry.numerals import real, whole
from svdflow.registry.tasks.encode import parse_target
from svdflow.study.config import load_config
from svdflow.study.families import parse_parameters
from svdflow.study.sizes import parse_size
from svdflow.study.study import Study
from svdflow.study.yaml_file import parse_yaml

ROOT = Path(__file__).parents[2]
HEAD = "name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters\n"
GOOD = "mine\timages\tdata\tgray\t-\tcompress\t4\t-\n"

# What the study's file says -> key, value and remedy as the message names them.
CONFIGS = {
    "duplicate key": ("seed: 1\nseed: 2\n", "'seed'", "twice", "keep one"),
    "duplicate section": (
        "compress: {ranks: [1]}\ncompress: {ranks: [2]}\n",
        "'compress'",
        "line 2",
        "keep one",
    ),
    "duplicate inner key": ("factorize:\n  tol: 0.1\n  tol: 0.2\n", "'factorize.tol'", "line 3", "keep one"),
    "duplicate third level": (
        "audit: {thresholds: {rank: {fail: 1, fail: 2}}}\n",
        "'audit.thresholds.rank.fail'",
        "twice",
        "keep one",
    ),
    "duplicate in quotes": ("seed: 1\n'seed': 2\n", "'seed'", "twice", "keep one"),
    "unknown key": ("compres: {}\n", "'compres'", "unknown", "did you mean 'compress'"),
    "unknown inner key": ("encode: {form: [svd]}\n", "'encode.form'", "unknown", "did you mean 'forms'"),
    "template": ("__use_yte__: true\n", "'__use_yte__'", "template", "write the values"),
    "yes": ("compress: {powers_of_two: yes}\n", "'compress.powers_of_two'", "yes", "true or false"),
    "Off": ("audit: {strict: Off}\n", "'audit.strict'", "Off", "true or false"),
    "no for a word": ("title: no\n", "'title'", "no", "in quotes"),
    "bool for a word": ("title: true\n", "'title'", "True", "in quotes"),
    "octal": ("factorize: {max_rank: 010}\n", "'factorize.max_rank'", "010", "plain decimal"),
    "octal as 1.2 has it": (
        "factorize: {max_rank: 0o10}\n",
        "'factorize.max_rank'",
        "'0o10'",
        "whole number",
    ),
    "hexadecimal": ("seed: 0x2A\n", "'seed'", "0x2A", "plain decimal"),
    "sexagesimal": ("factorize: {max_rank: 1:30}\n", "'factorize.max_rank'", "1:30", "plain decimal"),
    "sexagesimal float": ("factorize: {tol: 0:0.5}\n", "'factorize.tol'", "0:0.5", "plain decimal"),
    "underscores": ("ingest: {pixel_limit: 1_000}\n", "'ingest.pixel_limit'", "1_000", "plain decimal"),
    "date": ("title: 2026-11-30\n", "'title'", "2026-11-30", "in quotes"),
    "date that is none": ("title: 2026-99-99\n", "'title'", "2026-99-99", "in quotes"),
    "bool for int": ("factorize: {max_rank: true}\n", "'factorize.max_rank'", "True", "whole number"),
    "bool for number": ("factorize: {tol: true}\n", "'factorize.tol'", "True", "finite number"),
    "float for int": ("compress: {ranks: [5.0]}\n", "'compress.ranks[0]'", "5.0", "whole number"),
    "word for int": ("compress: {ranks: [five]}\n", "'compress.ranks[0]'", "'five'", "whole number"),
    "digits of another script": ("compress: {ranks: [١]}\n", "'compress.ranks[0]'", "'١'", "whole number"),
    "word for list": ("compress: {ranks: 5}\n", "'compress.ranks'", "5", "list such as"),
    "null for keys": ("compress:\n", "'compress'", "None", "keys below"),
    "null for number": ("seed: ~\n", "'seed'", "None", "whole number"),
    "list for keys": ("compress: [1]\n", "'compress'", "[1]", "keys below"),
    "empty list": ("compress: {ranks: []}\n", "'compress.ranks'", "empty", "name at least one"),
    "twice in a list": ("denoise: {ranks: [3, 3]}\n", "'denoise.ranks'", "[3, 3]", "keep one"),
    "nan": ("factorize: {tol: .nan}\n", "'factorize.tol'", "nan", "finite number"),
    "infinity": ("factorize: {tol: .inf}\n", "'factorize.tol'", "inf", "finite number"),
    "nan as a word": ("factorize: {tol: nan}\n", "'factorize.tol'", "'nan'", "finite number"),
    "too small for doubles to tell": (
        "compress: {energies: [1e999]}\n",
        "'compress.energies[0]'",
        "'1e999'",
        "finite",
    ),
    "negative": ("compress: {ranks: [-5]}\n", "'compress.ranks[0]'", "-5", "at least 1"),
    "zero": (
        "denoise: {options: {patch_svd: {passes: 0}}}\n",
        "'denoise.options.patch_svd.passes'",
        "0",
        "at least 1",
    ),
    "huge rank": (
        f"compress: {{ranks: [{10**12}]}}\n",
        "'compress.ranks[0]'",
        str(10**12),
        "at most 2147483647",
    ),
    "beyond 64 bits": (f"allow_errors: {2**70}\n", "'allow_errors'", str(2**70), "at most"),
    "above one": ("compress: {energies: [1.5]}\n", "'compress.energies[0]'", "1.5", "at most 1"),
    "seed beyond 32 bits": (f"seed: {2**32}\n", "'seed'", str(2**32), "at most 4294967295"),
    "huge memory": (
        "runtime: {memory_limit: 99999999999999999999TB}\n",
        "'runtime.memory_limit'",
        "9999",
        "such as",
    ),
    "nothing of memory": ("runtime: {memory_limit: 0GiB}\n", "'runtime.memory_limit'", "'0GiB'", "such as"),
    "line break at the end": (
        'pathvars: {results: "out\\n"}\n',
        "'pathvars.results'",
        r"'out\n'",
        "letters, digits",
    ),
    "line break after a target": (
        'encode: {target: "psnr=40\\n"}\n',
        "'encode.target'",
        r"'psnr=40\n'",
        "number",
    ),
    "line break after a size": (
        'runtime: {memory_limit: "1GiB\\n"}\n',
        "'runtime.memory_limit'",
        r"'1GiB\n'",
        "1GiB",
    ),
    "line break in a title": ("title: |\n  two\n  lines\n", "'title'", r"'two\nlines\n'", "take it out"),
    "escape in a title": ('title: "a\\e[31mb"\n', "'title'", r"'a\x1b[31mb'", "take it out"),
    "NUL in a path": ('datasets: "sheet\\0.tsv"\n', "'datasets'", r"'sheet\x00.tsv'", "take it out"),
    "function that is none": ('audit: {functions: ["f\\n"]}\n', "'audit.functions[0]'", r"'f\n'", "function"),
    "no error at all": ("encode: {target: rel_error=0}\n", "'encode.target'", "rel_error=0", "ask for"),
    "all of the error": ("encode: {target: rel_error=1}\n", "'encode.target'", "rel_error=1", "ask for"),
    "nothing largest": ("encode: {target: max_abs=0}\n", "'encode.target'", "max_abs=0", "ask for"),
    "one byte": ("encode: {target: bytes=1}\n", "'encode.target'", "bytes=1", "allow more"),
    "decibels beyond doubles": (
        "encode: {target: psnr=1e9}\n",
        "'encode.target'",
        "psnr=1e9",
        "at most at 320",
    ),
    "warn above fail": (
        "audit: {thresholds: {rank: {warn: 9, fail: 3}}}\n",
        "'rank.warn'",
        "9",
        "at most what fail is",
    ),
    "warn above the default of fail": (
        "audit: {thresholds: {svd_residual: {warn: 60}}}\n",
        "'svd_residual.warn'",
        "60",
        "at most what fail is",
    ),
    "limit that is nan": (
        "audit: {thresholds: {rank: {fail: .nan}}}\n",
        "'audit.thresholds.rank.fail'",
        "nan",
        "finite number",
    ),
    "limit that is infinite": (
        "audit: {thresholds: {rank: {warn: .inf}}}\n",
        "'audit.thresholds.rank.warn'",
        "inf",
        "finite number",
    ),
    "limit that always fails": (
        "audit: {thresholds: {rank: {fail: -1}}}\n",
        "'audit.thresholds.rank.fail'",
        "-1",
        "at least 0",
    ),
    "folder that differs in case": (
        "pathvars: {results: DATA}\n",
        "'pathvars.results'",
        "'DATA'",
        "name the folder",
    ),
    "tab": ("compress:\n\tranks: [1]\n", "line 2", "YAML", "cannot start any token"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "line 2", "YAML", "single document"),
    "control character": ("seed: 1 #\x07\n", "YAML", "special characters", "x0007"),
    "alias within itself": ("compress: &a {ranks: *a}\n", "line 1", "alias", "write it out"),
    "a list for a key": ("? [a, b]\n: 1\n", "line 1", "list", "write a word"),
    "no keys": ("- 1 # instead of datasets:\n", "list", "keys and values", "write 'key: value'"),
    "a tag of code": ("title: !!python/object:os.system x\n", "line 1", "python/object", "YAML"),
}

# Rows of the sheet below its head.
ROWS = {
    "empty ranks": ("ranks=", "'ranks'", "empty", "leave it out"),
    "a hole in ranks": ("ranks=1,,5", "'ranks'", "'1,,5'", "take one out"),
    "parameter twice": ("ranks=1;ranks=2", "'ranks'", "'1' and '2'", "keep one"),
    "a hole among parameters": ("ranks=1;;crop=8", "'parameters'", "ranks=1;;crop=8", "take one out"),
    "no value": ("ranks", "'ranks'", "no value", "key=value"),
    "unknown": ("rank=1", "'rank'", "unknown", "did you mean 'ranks'"),
    "rank 0": ("ranks=0", "'parameters.ranks[0]'", "0", "at least 1"),
    "negative rank": ("ranks=-1", "'parameters.ranks[0]'", "-1", "at least 1"),
    "huge rank": (f"ranks={10**12}", "'parameters.ranks[0]'", str(10**12), "at most"),
    "no rank": ("ranks=1.0", "'parameters.ranks[0]'", "'1.0'", "whole number"),
    "underscores": ("ranks=1_0", "'parameters.ranks[0]'", "'1_0'", "whole number"),
    "digits of another script": ("ranks=١", "'parameters.ranks[0]'", "'١'", "whole number"),
    "leading zero": ("crop=010", "'parameters.crop'", "'010'", "whole number"),
    "yes": ("powers_of_two=yes", "'parameters.powers_of_two'", "'yes'", "true or false"),
    "nan": ("tol=nan", "'parameters.tol'", "'nan'", "finite number"),
    "infinite": ("tol=inf", "'parameters.tol'", "'inf'", "finite number"),
    "beyond doubles": ("tol=1e999", "'parameters.tol'", "'1e999'", "finite number"),
    "grid of a picture": ("grid=4x4", "grid", "matrix file", "generator"),
    "one byte": ("target=bytes=1", "'target'", "bytes=1", "allow more"),
    "no error": ("target=rel_error=0.0", "'target'", "rel_error=0.0", "ask for"),
    "fill that is no number": ("fill=nan", "'parameters.fill'", "'nan'", "mean"),
    "fill beyond doubles": ("fill=1e999", "fill=1e999", "doubles", "smaller number"),
    "no range": ("data_range=0", "'parameters.data_range'", "0", "above 0"),
    "range that is infinite": ("data_range=inf", "'parameters.data_range'", "'inf'", "finite number"),
    "a list with one twice": ("ranks=5,5", "'parameters.ranks'", "[5, 5]", "keep one"),
}

# Whole sheets.
SHEETS = {
    "empty": ("", "empty", "", "line of columns"),
    "head alone": (HEAD, "no dataset", "", "add a row"),
    "column twice": ("name\tkind\tsource\tsource\nmine\timages\tdata\tother\n", "'source'", "twice", "keep one"),
    "column that is none": ("name\tkind\tsourse\n", "'sourse'", "unknown", "did you mean 'source'"),
    "column missing": ("name\tkind\nmine\timages\n", "'source'", "missing", "add it"),
    "no tabs": ("name kind source\nmine images data\n", "tabs", "first line", "separated by"),
    "no name": (HEAD + GOOD.replace("mine", "-"), "line 2", "'name'", "fill it in"),
    "name twice": (HEAD + GOOD + GOOD, "'mine'", "twice", "another"),
    "case": (HEAD + GOOD + GOOD.replace("mine", "Mine"), "'Mine'", "'mine' differ in case", "rename one"),
    "name with a path": (HEAD + GOOD.replace("mine", "../x"), "'name'", "'../x'", "letters, digits"),
    "name of another script": (HEAD + GOOD.replace("mine", "mіne"), "'name'", "'mіne'", "letters, digits"),
    "open quote": (HEAD + '"' + GOOD + GOOD, "line 2", "quote", "close it"),
    "control character": (HEAD + GOOD.replace("data", "da\x1bta"), "line 2", r"'\x1b'", "take it out"),
    "NUL": (HEAD + GOOD.replace("data", "da\0ta"), "line 2", r"'\x00'", "take it out"),
    "a break that is none": (HEAD + GOOD.replace("data", "da\x85ta"), "line 2", r"'\x85'", "take it out"),
    "line ends of another age": ((HEAD + GOOD).replace("\n", "\r"), "line 1", r"'\r'", "take it out"),
    "more cells": (HEAD + GOOD.strip() + "\tmore\n", "'mine'", "more cells", "a tab too many"),
    "kind": (HEAD + GOOD.replace("images", "image"), "'kind'", "'image'", "did you mean 'images'"),
    "tasks": (HEAD + GOOD.replace("compress", "compress;compress"), "'tasks'", "twice", "keep one"),
    "hole in tasks": (HEAD + GOOD.replace("compress", "compress;;audit"), "'tasks'", "compress;;audit", "take one"),
    "shard size": (HEAD + GOOD.replace("\t4\t", "\t1e2\t"), "'shard_size'", "'1e2'", "whole number"),
    "shard size of nothing": (HEAD + GOOD.replace("\t4\t", "\t0\t"), "'shard_size'", "0", "at least 1"),
    "noise": (HEAD + GOOD.replace("gray\t-", "gray\tnan"), "'noise_sigma[0]'", "'nan'", "finite number"),
    "less than no noise": (HEAD + GOOD.replace("gray\t-", "gray\t-5"), "'noise_sigma[0]'", "-5", "above 0"),
    "noise beyond doubles": (HEAD + GOOD.replace("gray\t-", "gray\t1e400"), "'noise_sigma[0]'", "1e400", "finite"),
    "a generator's rows": (
        HEAD + "g\tsynthetic\thilbert\t-\t-\tcompress\t-\trows=1_0\n", "rows", "'1_0'", "whole number",
    ),
    "a generator's huge rows": (
        HEAD + f"g\tsynthetic\thilbert\t-\t-\tcompress\t-\trows={10**20}\n", "rows", str(10**20), "whole number",
    ),
    "a generator's nan": (
        HEAD + "g\tsynthetic\twaves\t-\t-\tcompress\t-\tnoise=nan\n", "noise", "'nan'", "finite number",
    ),
}  # fmt: skip

# Words of the command line.
COMMANDS = {
    "rank 0": (["compress", "a.png", "out", "--ranks", "0"], "--ranks", "'0'", "at least 1"),
    "rank of another script": (["compress", "a.png", "out", "--ranks", "١"], "--ranks", "'١'", "at least 1"),
    "raised rank": (["compress", "a.png", "out", "--ranks", "²"], "--ranks", "'²'", "at least 1"),
    "huge rank": (
        ["compress", "a.png", "out", "--ranks", str(10**12)],
        "--ranks",
        str(10**12),
        "whole number",
    ),
    "rank with a break": (
        ["compress", "a.png", "out", "--ranks", "1\n"],
        "--ranks",
        r"'1\n'",
        "whole number",
    ),
    "sigma nan": (["denoise", "a.png", "out", "--sigma", "nan"], "--sigma", "'nan'", "at least 0"),
    "sigma infinite": (["denoise", "a.png", "out", "--sigma", "inf"], "--sigma", "'inf'", "at least 0"),
    "sigma negative": (["denoise", "a.png", "out", "--sigma=-1"], "--sigma", "'-1'", "at least 0"),
    "no passes": (["denoise", "a.png", "out", "--passes", "0"], "--passes", "'0'", "at least 1"),
    "no error": (["encode", "a.npy", "a.h5", "--rel-error", "0"], "--rel-error", "rel_error=0", "ask for"),
    "error nan": (["encode", "a.npy", "a.h5", "--max-abs", "nan"], "--max-abs", "'nan'", "such as"),
    "one byte": (["encode", "a.npy", "a.h5", "--bytes", "1"], "--bytes", "bytes=1", "allow more"),
    "half a byte": (["encode", "a.npy", "a.h5", "--bytes", "5e3"], "--bytes", "'5e3'", "whole number"),
    "negative psnr": (["encode", "a.npy", "a.h5", "--psnr=-3"], "--psnr", "psnr=-3", "above 0"),
    "no data range": (["encode", "a.npy", "a.h5", "--data-range", "0"], "--data-range", "'0'", "above 0"),
    "data range nan": (
        ["compress", "a.png", "out", "--data-range", "nan"],
        "--data-range",
        "'nan'",
        "above 0",
    ),
    "fill": (["denoise", "a.png", "out", "--fill", "inf"], "--fill", "'inf'", "number"),
    "fill to decode": (["decode", "a.h5", "a.npy", "--fill", "1_0"], "--fill", "'1_0'", "finite number"),
    "rank to decode": (["decode", "a.h5", "a.npy", "--rank", "1.5"], "--rank", "'1.5'", "whole number"),
    "seed": (["audit", "rank", "--seed=-1"], "--seed", "'-1'", "from 0"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with images and a sheet of one row."""
    (tmp_path / "data").mkdir()
    for i in range(3):
        (tmp_path / "data" / f"p{i}.png").write_bytes(bytes([i]))
    (tmp_path / "sheet.tsv").write_text(HEAD + GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(text="", merged=None):
    """The study of a file with this text; `merged` is what Snakemake made of it, where that differs."""
    path = Path("study.yaml")
    path.write_bytes((text if "datasets:" in text else f"{text}datasets: sheet.tsv\n").encode())
    return Study(load_config([path]) if merged is None else merged, ROOT, [path])


def test_the_table_is_long_enough_and_the_good_study_passes(folder):
    assert len(CONFIGS) + len(ROWS) + len(SHEETS) + len(COMMANDS) >= 40
    assert parsed().count("mine") == 3
    assert parsed("factorize: {tol: 0.5, max_rank: 64}\ncompress: {powers_of_two: true}\n").count("mine") == 3


@pytest.mark.parametrize("case", CONFIGS)
def test_a_wrong_config_names_file_key_value_and_remedy(folder, case):
    text, *words = CONFIGS[case]
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    for word in ("study.yaml", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("case", ROWS)
def test_a_wrong_parameter_names_sheet_row_value_and_remedy(folder, case):
    cell, *words = ROWS[case]
    (folder / "sheet.tsv").write_text(
        HEAD + GOOD.replace("\t-\n", f"\t{cell}\n").replace("compress\t", "encode\t")
    )
    with pytest.raises(ConfigError) as caught:
        parsed()
    for word in ("sheet.tsv", "dataset 'mine'", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("case", SHEETS)
def test_a_wrong_sheet_names_itself_place_value_and_remedy(folder, case):
    text, *words = SHEETS[case]
    (folder / "sheet.tsv").write_bytes(text.encode())
    with pytest.raises(ConfigError) as caught:
        parsed()
    for word in ("sheet.tsv", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("case", COMMANDS)
def test_a_wrong_command_names_option_value_and_remedy(case, capsys):
    words, *said = COMMANDS[case]
    with pytest.raises(SystemExit) as caught:
        main(words)
    told = capsys.readouterr().err
    assert caught.value.code == 2
    for word in said:
        assert word in told


def test_what_snakemake_merged_in_silence_is_seen_in_the_text(folder):
    text = "compress: {ranks: [1]}\ncompress: {ranks: [2]}\ndatasets: sheet.tsv\n"
    merged = yaml.safe_load(text)
    assert merged["compress"] == {"ranks": [2]}  # as Snakemake loads it: the first line is gone
    with pytest.raises(
        ConfigError, match=r"study\.yaml: line 2: key 'compress' stands twice, first in line 1"
    ):
        parsed(text, merged)
    with pytest.raises(ConfigError, match="stands twice"):  # before anything else is looked at
        parsed(text, {**merged, "datasets": "nowhere.tsv"})


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", ".1e-2", "'1e-3'", "0.001"])
def test_a_number_is_read_as_it_is_spelled(folder, text):
    assert parsed(f"factorize: {{tol: {text}}}\n").config["factorize"]["tol"] == 1e-3


def test_numbers_of_snakemakes_command_line_are_numbers(folder):
    # Its --config 'factorize={tol: 1e-3, max_rank: 5}' gives text below the key.
    given = {"datasets": "sheet.tsv", "factorize": {"tol": "1e-3", "max_rank": "5", "center": "true"}}
    config = parsed(merged=given).config["factorize"]
    assert (config["tol"], config["max_rank"], config["center"]) == (1e-3, 5, True)
    with pytest.raises(ConfigError, match=r"--config on the command line: 'factorize\.tol' is 'much'"):
        parsed(merged={"datasets": "sheet.tsv", "factorize": {"tol": "much"}})


def test_numbers_of_the_sheet_are_read_as_spelled(folder):
    (folder / "sheet.tsv").write_text(HEAD + GOOD.replace("\t-\n", "\ttol=1e-3;target=rel_error=1e-2\n"))
    assert parsed().datasets["mine"].overrides == {"tol": 1e-3, "target": "rel_error=1e-2"}


def test_windows_line_ends_marks_and_quotes_are_no_fault(folder):
    (folder / "sheet.tsv").write_bytes(
        b"\xef\xbb\xbf" + (HEAD + '"mine"' + GOOD[4:]).replace("\n", "\r\n").encode()
    )
    path = folder / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfdatasets: sheet.tsv\r\nseed: 7\r\n")
    assert Study(load_config([path]), ROOT, [path]).config["seed"] == 7


def test_a_nest_of_aliases_is_refused_before_it_unfolds():
    nest = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for one, two in zip("abcdefg", "bcdefgh", strict=True):
        nest += f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n"
    with pytest.raises(YamlError, match="aliases unfold to more than"):
        parse_yaml(nest)
    assert parse_yaml("a: &a {b: 1}\nc: {<<: *a, b: 2}\n") == {"a": {"b": 1}, "c": {"b": 2}}


def test_deep_nests_are_refused_in_words():
    with pytest.raises(YamlError, match="nested too deeply"):
        parse_yaml("[" * 5000 + "]" * 5000)


def test_what_is_no_regular_file_is_not_opened(folder):
    import os

    os.mkfifo("pipe.yaml")
    (folder / "dir.yaml").mkdir()
    for name, words in (("pipe.yaml", "not a regular file"), ("dir.yaml", "not a regular file")):
        with pytest.raises(ConfigError, match=rf"{name}: {words}"):
            load_config([name])
    Path("study.yaml").touch()
    with pytest.raises(ConfigError, match=r"studi\.yaml: no such file \(nearest: study\.yaml\)"):
        load_config(["studi.yaml"])


def test_messages_hold_no_control_character(folder):
    with pytest.raises(ConfigError) as caught:
        load_config(["no\x1b[31msuch.yaml"])
    assert r"no\x1b[31msuch.yaml" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, "3"])
def test_limits_of_audits_that_are_no_limits_are_refused(value):
    with pytest.raises(ValueError, match=r"'svd_residual\.fail' is .*finite number of at least 0"):
        resolve({"svd_residual.fail": value})


def test_a_stricter_fail_takes_the_default_warning_with_it():
    assert (declared_limits()["svd_residual"].warn, declared_limits()["svd_residual"].fail) == (10, 50)
    limit = resolve({"svd_residual.fail": 3})["svd_residual"]
    assert (limit.warn, limit.fail) == (3, 3)
    with pytest.raises(ValueError, match=r"warn' is 4 and 'svd_residual\.fail' 3"):
        resolve({"svd_residual.fail": 3, "svd_residual.warn": 4})


def test_no_default_limit_would_be_refused():
    given = {
        f"{name}.{key}": getattr(t, key) for name, t in declared_limits().items() for key in ("warn", "fail")
    }
    assert resolve({k: v for k, v in given.items() if v == v})


@pytest.mark.parametrize(
    "text", ["1_0", "١", "0x1", "", " 1", "1\n", "+", "1.5", "1e3", "--1", "9" * 5000, str(2**63)]
)
def test_text_that_spells_no_integer(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        whole(text)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e999", "1_0", "٣", "0x1p3", "1e", ".", "", "1\n", "9" * 5000]
)
def test_text_that_spells_no_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        real(text)


def test_text_that_spells_numbers():
    assert [whole(t) for t in ("0", "+7", "-12", str(2**63 - 1))] == [0, 7, -12, 2**63 - 1]
    assert [real(t) for t in ("1e-3", ".5", "5.", "-2.5E+2", "0")] == [1e-3, 0.5, 5.0, -250.0, 0.0]


@pytest.mark.parametrize("limit", ["9" * 400 + "TB", "١GiB", "1_0MB", float("inf"), 10**30, "nanMB"])
def test_sizes_that_no_machine_has(limit):
    with pytest.raises(ValueError, match="memory_limit"):
        parse_size(limit)


@pytest.mark.parametrize("value", [10**20, True, "1_0", "١", float("nan"), 1e300])
def test_sides_of_a_generator_that_no_array_has(value):
    with pytest.raises(FamilyError, match="hilbert: 'rows'"):
        parse_parameters("hilbert", {"rows": value})


def test_targets_that_can_be_met():
    asked = ("rel_error=1e-3", "psnr=35", "max_abs=.5", "bytes=4096")
    assert [parse_target(text) for text in asked] == [
        ("rel_error", 1e-3), ("psnr", 35.0), ("max_abs", 0.5), ("bytes", 4096),
    ]  # fmt: skip


def test_the_command_line_ends_in_one_line_whatever_it_is_given(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': 'O', ")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    (tmp_path / "bad\x1b[31m.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    commands = [
        ["encode", "bad.npy", "out.h5", "--psnr", "40"],
        ["encode", ".", "out.h5", "--psnr", "40"],
        ["encode", "none.npy", "out.h5", "--psnr", "40"],
        ["decode", "bad.h5", "out.npy"],
        ["decode", ".", "out.npy"],
        ["compress", "bad\x1b[31m.png", "new"],
        ["denoise", "none.png", "new"],
        ["plan"],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for words in commands:
            assert main(words) == 1, words
            told = capsys.readouterr().err
            assert (
                told.startswith("svdflow: ")
                and "Traceback" not in told
                and told.replace("\n", "").isprintable()
            )


@pytest.mark.parametrize(("dtype", "fill"), [("u1", "-9999"), ("u1", "300"), ("i2", "0.5"), ("f4", "1e300")])
def test_a_fill_that_its_type_does_not_hold_is_refused(tmp_path, monkeypatch, capsys, dtype, fill):
    monkeypatch.chdir(tmp_path)
    values = np.arange(64).reshape(8, 8).astype(dtype)
    encode(np.ma.MaskedArray(values, values == 9), "a.h5", max_abs=2.0)
    assert main(["decode", "a.h5", "a.npy", f"--fill={fill}"]) == 1
    assert f"--fill {float(fill):g} is no value of" in capsys.readouterr().err
    assert main(["decode", "a.h5", "a.npy", "--fill=7"]) == 0
    assert np.load("a.npy")[1, 1] == 7

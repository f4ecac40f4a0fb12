"""Selfcheck: run once in an environment, kept outside every study, believed only where it verifies."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from svdflow.__main__ import main
from svdflow.registry import AUDITS
from svdflow.registry.limits import declared_limits, resolve
from svdflow.selfcheck import cache as cache_module
from svdflow.selfcheck import run
from svdflow.selfcheck.audits import examine, families, publish_selfcheck
from svdflow.selfcheck.cache import environment
from svdflow.selfcheck.findings import Findings
from svdflow.store import read_table
from svdflow.store.user_cache import cache_folder

ROOT = Path(__file__).parents[2]
QUICK = {"stability": [AUDITS["precision"], AUDITS["kronecker"]], "gradients": [AUDITS["taylor_order"]]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SVDFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "selfcheck"


@pytest.fixture
def ran(monkeypatch):
    """Names of the audits that were run, and not found in the cache."""
    names, of = [], Findings.of

    def counted(audit, seed, limits):
        names.append(audit.name)
        return of(audit, seed, limits)

    monkeypatch.setattr(Findings, "of", counted)
    return names


def rows(chosen=QUICK, seed=3, thresholds=None):
    return [repr(row) for found in examine(chosen, seed, resolve(thresholds)) for row in found.records]


def test_the_second_time_nothing_is_run_and_nothing_differs(folder, ran):
    first = rows()
    assert sorted(ran) == ["kronecker", "precision", "taylor_order"]
    ran.clear()
    assert rows() == first
    assert not ran
    assert len(list(folder.iterdir())) == 3


def test_a_study_gets_the_same_bytes_from_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("svdflow.selfcheck.audits.families", lambda mutants: QUICK)
    for name in ("computed", "kept"):
        publish_selfcheck(tmp_path / f"{name}.h5", seed=3, thresholds={})
    assert (tmp_path / "computed.h5").read_bytes() == (tmp_path / "kept.h5").read_bytes()
    assert set(read_table(tmp_path / "kept.h5", "audit")["family"]) == {"stability", "gradients"}
    assert set(read_table(tmp_path / "kept.h5", "curves")["curve"]) == {"error_against_step"}


def test_without_mutants_none_is_planted(folder):
    assert "mutants" in families()
    assert "mutants" not in families(mutants=False)
    assert list(families())[-1] == "mutants"


@pytest.mark.parametrize("place", [0, 20, 33, 100, 2000, -2])
def test_a_flipped_bit_is_not_believed(folder, ran, place):
    first = rows()
    for file in folder.iterdir():
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)
    ran.clear()
    assert rows() == first
    assert len(ran) == 3
    ran.clear()
    assert rows() == first
    assert not ran, "what was damaged is made anew"


def spoil_cut(file):
    file.write_bytes(file.read_bytes()[:50])


def spoil_other_environment(file):
    body = json.loads(file.read_text().partition("\n")[2])
    body["facts"]["environment"]["machine"] = ["another"]
    text = json.dumps(body)
    file.write_text(f"{cache_module._checksum(text)}\n{text}")


def spoil_not_text(file):
    file.write_bytes(b"\xff\xfe" * 100)


def spoil_other_shape(file):
    text = "[]"
    file.write_text(f"{cache_module._checksum(text)}\n{text}")


def spoil_huge(file):
    with file.open("r+b") as opened:
        opened.truncate(cache_module.LARGEST + 1)


@pytest.mark.parametrize(
    "spoil", [spoil_cut, spoil_other_environment, spoil_not_text, spoil_other_shape, spoil_huge]
)
def test_what_is_damaged_or_foreign_is_ignored_and_made_anew(folder, ran, spoil):
    first = rows()
    for file in folder.iterdir():
        spoil(file)
    ran.clear()
    assert rows() == first
    assert len(ran) == 3
    ran.clear()
    assert rows() == first
    assert not ran


@pytest.mark.parametrize("made", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_left_alone(folder, ran, made):
    first = rows()
    for file in list(folder.iterdir()):
        file.unlink()
        made(file)
    ran.clear()
    assert rows() == first
    assert len(ran) == 3


@pytest.mark.parametrize("blocked", ["read-only", "a file", "no home"])
def test_a_cache_that_cannot_be_written_is_a_line_of_the_log(tmp_path, monkeypatch, caplog, blocked):
    place = tmp_path / "cache"
    monkeypatch.setenv("SVDFLOW_CACHE", str(place))
    if blocked == "a file":
        place.write_text("mine")
    elif blocked == "read-only":
        monkeypatch.setattr(Path, "write_text", refuse)
    else:
        monkeypatch.delenv("SVDFLOW_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", no_home)
    with caplog.at_level(logging.WARNING, "svdflow"):
        found = rows()
    assert len(found) > 10
    assert len(caplog.records) == 1, "said once"
    assert "cannot be written" in caplog.text
    assert blocked != "a file" or place.read_text() == "mine"


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SVDFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "svdflow"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # its specification: such a path is to be ignored
    assert cache_folder().is_absolute()
    monkeypatch.setenv("SVDFLOW_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_changed_limit_runs_only_what_asked_for_it(folder, ran):
    plain = rows()
    ran.clear()
    strict = {"taylor_order.fail": 1e-9, "svd_residual.fail": 30}
    changed = rows(thresholds=strict)
    assert ran == ["taylor_order"]
    differing = [new for old, new in zip(plain, changed, strict=True) if old != new]
    assert differing and all("'taylor_order'" in row for row in differing)
    ran.clear()
    assert rows(thresholds=strict) == changed
    assert rows() == plain
    assert not ran, "both are kept"


@pytest.mark.parametrize("fact", ["seed", "python", "libraries", "blas", "simd", "machine", "format", "code"])
def test_every_fact_counts(folder, ran, monkeypatch, fact):
    rows()
    ran.clear()
    if fact == "code":
        monkeypatch.setattr(cache_module, "audit_digest", lambda *_: "another")
    elif fact != "seed":
        assert environment()[fact], "an empty fact tells nothing apart"
        monkeypatch.setattr(cache_module, "environment", lambda: {**environment(), fact: ["another"]})
    rows(seed=4 if fact == "seed" else 3)
    assert len(ran) == 3


def test_an_error_is_not_kept(folder, ran):
    broken = replace(AUDITS["precision"], name="broken", load="svdflow.selfcheck.precision:nothing")
    for _ in range(2):
        [row] = next(iter(examine({"stability": [broken]}, 3, declared_limits()))).records
        assert row.verdict == "ERROR"
    assert ran == ["broken", "broken"]


def test_old_files_make_way_for_new_ones(folder, monkeypatch):
    monkeypatch.setattr(cache_module, "KEPT", 2)
    one = {"stability": [AUDITS["precision"]]}
    for seed in range(4):
        rows(one, seed=seed)
        [newest] = [p for p in folder.iterdir() if p.stat().st_mtime > seed]
        os.utime(newest, (seed, seed))
    (folder / "precision-mine.json").write_text("mine")
    rows(one, seed=9)
    assert len(list(folder.glob("precision-*.json"))) == 3, "two of ours, and what is not"


def test_two_that_start_together_both_finish(folder, tmp_path):
    words = "from svdflow.selfcheck import run; print(*map(repr, run(['stability'], seed=5)), sep='\\n')"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, env=own_environment()
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert said[0] == said[1]
    assert "PASS" in said[0]
    assert sorted(p.name.rpartition("-")[0] for p in folder.iterdir()) == sorted(
        audit.name for audit in families()["stability"]
    )


def own_environment(*paths):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), str(ROOT / "scripts")])}


# -- what another distribution declares

DECLARED = """
from svdflow.registry import Audit, Threshold

DECLARED = [
    Audit(
        name="halves",
        summary="Halves add up",
        family="stability",
        limits={"halves": Threshold(0.5, 1, 0, source="law: equality")},
        load="tiny_audit:audit_halves",
    )
]
"""
CODE = """
from svdflow.audit.records import Judge


def audit_halves(seed, limits):
    yield Judge("stability", "halves", seed, limits)("halves", "0.5 + 0.5", abs(0.5 + 0.5 - 1), 0.0)
"""


@pytest.fixture
def installed(tmp_path):
    """A distribution that declares an audit: a file with the declaration, a file with the code."""
    place = tmp_path / "site"
    (place / "tiny-1.0.dist-info").mkdir(parents=True)
    (place / "tiny-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    )
    (place / "tiny-1.0.dist-info" / "entry_points.txt").write_text(
        "[svdflow.audits]\ntiny = tiny_declared:DECLARED\n"
    )
    (place / "tiny_declared.py").write_text(DECLARED)
    (place / "tiny_audit.py").write_text(CODE)
    return place


def told(place, words):
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env=own_environment(place), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_audit_of_another_distribution_is_two_files(folder, installed):
    code = "from svdflow.selfcheck import run; [r] = run(['halves'], thresholds={}); print(r.verdict, float(r.fail))"
    assert told(installed, code) == "PASS 1.0\n"
    strict = code.replace("{}", "{'halves.fail': 7}")
    assert told(installed, strict) == "PASS 7.0\n", "the config may change its limits"
    page = told(installed, "from svdflow.registry.audits_page import markdown; print(markdown())")
    assert "| stability | halves | Halves add up |" in page
    assert "| halves | 0.5 | 1 | 0 | law: equality |" in page


def test_an_edited_audit_of_another_distribution_runs_again(folder, installed):
    code = "from svdflow.selfcheck import run; [r] = run(['halves']); print(r.verdict)"
    assert told(installed, code) == "PASS\n"
    (installed / "tiny_audit.py").write_text(CODE.replace("0.5 + 0.5 - 1", "0.5 + 0.5 - 3"))
    assert told(installed, code) == "FAIL\n"
    assert len(list(folder.glob("halves-*.json"))) == 2


OF_A_MATRIX = """
from svdflow.audit.records import judged


def audit_trace(full, limits, subject, truth):
    if full.A.shape[0] != full.A.shape[1]:
        raise ValueError("not square")
    error = abs(full.A.trace() - (full.U * full.s @ full.Vt).trace()) / full.s[0]
    yield judged("conditioning", "trace", subject, float(error), limits["trace"], 1e-15)
"""


def test_an_audit_of_matrices_is_asked_of_every_one(folder, installed):
    declared = DECLARED.replace('"halves"', '"trace"').replace("halves", "trace")
    declared = declared.replace('family="stability"', 'family="conditioning", examines="matrix"')
    declared = declared.replace("1, 0, source", "1, 1e-12, source")
    (installed / "tiny_declared.py").write_text(declared)
    (installed / "tiny_audit.py").write_text(OF_A_MATRIX)
    words = (
        "import numpy as np; from svdflow.audit import audit_matrix\n"
        "for A in (np.diag([3.0, 2.0]), np.ones((3, 2))):\n"
        "    rows = audit_matrix(A)\n"
        "    print(len(rows) > 10, [(r.verdict, r.reason) for r in rows if r.audit == 'trace'])"
    )
    square, other = told(installed, words).splitlines()
    assert square == "True [(<Verdict.PASS: 'PASS'>, '')]"
    assert other == "True [(<Verdict.ERROR: 'ERROR'>, 'ValueError: not square')]"


def test_the_command_says_the_verdicts_of_each_family(folder, monkeypatch, capsys, ran):
    monkeypatch.setattr("svdflow.selfcheck.audits.families", lambda mutants=True: QUICK)
    assert main(["selfcheck"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["gradients", "stability"]
    assert all("PASS" in line for line in said)
    ran.clear()
    assert main(["selfcheck"]) == 0
    assert not ran
    assert main(["selfcheck", "--no-cache"]) == 0
    assert len(ran) == 3


def test_a_row_that_another_audit_declares_is_refused(folder, installed):
    (installed / "tiny_declared.py").write_text(DECLARED.replace('"halves": T', '"softmax": T'))
    words = "from svdflow.registry.limits import resolve\ntry: resolve()\nexcept Exception as e: print(e)"
    assert "audit 'halves': its row 'softmax' is another audit's" in told(installed, words)


def test_rows_of_data_have_limits_of_their_own():
    """Editing an audit of this installation changes nothing for users' data."""
    own = {row for audit in AUDITS.values() if not audit.selfcheck for row in audit.limits}
    source = "".join(p.read_text() for p in (ROOT / "scripts" / "svdflow" / "audit").glob("*.py"))
    used = {row for row in declared_limits() if f'limits["{row}"]' in source}
    assert used and used <= own


def test_run_refuses_what_there_is_not():
    with pytest.raises(ValueError, match="nearest: 'precision'"):
        run(["precisoin"])
    with pytest.raises(ValueError, match="nothing would be checked"):
        run([])

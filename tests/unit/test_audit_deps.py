"""The dependency audit says what it looked up, and says it aloud where that is nothing."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("audit_deps", ROOT / "requirements" / "audit.py")
audit_deps = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit_deps)


def answer(*packages):
    return json.dumps({"dependencies": list(packages), "fixes": []})


SOUND = {"name": "good", "version": "1.0", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found and could not be audited"}
BAD = {
    "name": "bad",
    "version": "0.1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.2", "1.0"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def test_sound_packages_pass():
    assert audit_deps.judged("x.txt", answer(SOUND)) == (0, "x.txt: 1 packages looked up, 0 vulnerable")


def test_a_vulnerable_package_fails_with_the_version_that_mends_it():
    status, words = audit_deps.judged("x.txt", answer(SOUND, BAD))
    assert status == 1
    assert "VULNERABLE: bad 0.1: PYSEC-1, mended in 0.2, 1.0" in words
    assert "VULNERABLE: bad 0.1: PYSEC-2, mended in no version yet" in words
    assert words.endswith("x.txt: 2 packages looked up, 1 vulnerable")


def test_what_was_not_looked_up_is_said_and_is_no_pass():
    status, words = audit_deps.judged("x.txt", answer(*[SKIPPED] * 9))
    assert status == 0
    assert words.startswith("NOT AUDITED: x.txt: 9 of 9 packages") and "and 4 more" in words
    assert words.endswith("0 packages looked up, 0 vulnerable")
    assert audit_deps.judged("x.txt", answer(SKIPPED, BAD))[0] == 1


def test_no_answer_is_said_aloud():
    for output in ("", "[]", "{}", "oops"):
        status, words = audit_deps.judged("x.txt", output, "Traceback\nno route to host\n")
        assert (status, words) == (0, "NOT AUDITED: x.txt: no answer (no route to host)")


def test_all_that_runs_is_among_what_is_audited():
    pins = [set(re.findall(r"^[a-z0-9.-]+==[^ ;\\]+", (ROOT / "requirements" / name).read_text(), re.M)) for name in
            ("run.txt", audit_deps.ALL.name)]  # fmt: skip
    assert pins[0] and pins[0] <= pins[1]

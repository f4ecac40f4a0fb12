"""The filter of ``make lint`` accepts the finding that it names, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

FILTER = Path(__file__).with_name("snakemake_lint.py")
ACCEPTED = "Specify a conda environment or container for each rule."
RULE = """
rule a:
    output:
        "a.txt",
    log:
        "a.log",
    shell:
        "echo a > {output} 2> {log}"
"""
WITHOUT_LOG = RULE.replace('    log:\n        "a.log",\n', "").replace(" 2> {log}", "")


@pytest.mark.parametrize(
    ("snakefile", "accept", "passes"),
    [
        (RULE, [ACCEPTED], True),
        (RULE, [], False),
        (WITHOUT_LOG, [ACCEPTED], False),
        ("rule a: this is no Snakefile\n", [ACCEPTED], False),
    ],
    ids=["accepted", "not accepted", "another finding", "syntax error"],
)
def test_only_the_accepted_finding_passes(tmp_path, snakefile, accept, passes):
    (tmp_path / "Snakefile").write_text(snakefile, encoding="utf-8")
    command = [sys.executable, str(FILTER), *(word for title in accept for word in ("--accept", title))]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == passes, result.stderr

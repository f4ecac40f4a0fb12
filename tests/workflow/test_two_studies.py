"""Whole studies that share a cache of selfcheck: two that start together, and one that comes after them."""

import re
from concurrent.futures import ThreadPoolExecutor

from small_study import SMALLEST_SHEET, Workflow, small_workflow
from svdflow import read_table

SHEET = (
    SMALLEST_SHEET.splitlines()[0]
    + "\nwaves\tsynthetic\twaves\t-\t-\tcompress;denoise;audit\t-\trows=24;columns=20\n"
)


def study(folder) -> Workflow:
    """One small matrix, compressed, denoised and audited; no faults are planted, which would take most of the time."""
    workflow = small_workflow(folder)
    (folder / "sheet.tsv").write_text(SHEET)
    workflow.configure(audit={"mutants": False, "functions_file": "", "functions": []})
    return workflow


def selfcheck(workflow: Workflow) -> tuple[bytes, int]:
    """The file of selfcheck, and how many audits its log says were run for it."""
    results = workflow.folder / "results"
    log = (results / "logs" / "selfcheck.log").read_text()
    return (results / "selfcheck.h5").read_bytes(), int(re.findall(r"(\d+) audits run", log)[0])


def test_two_that_start_together_on_an_empty_cache_both_finish(tmp_path, monkeypatch):
    monkeypatch.setenv("SVDFLOW_CACHE", str(tmp_path / "cache"))
    studies = [study(tmp_path / name) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda workflow: workflow.run("--cores", "1"), studies))
    for workflow, done in zip(studies, ran, strict=True):
        assert done.returncode == 0, done.stdout + done.stderr
        assert (workflow.folder / "results" / "summary.txt").is_file()
    (first, ran_first), (second, ran_second) = map(selfcheck, studies)
    assert first == second
    assert max(ran_first, ran_second) > 0
    assert set(read_table(studies[0].folder / "results" / "selfcheck.h5", "audit")["verdict"]) >= {"PASS"}

    later = study(tmp_path / "three")
    done = later.run("--cores", "1", "results/selfcheck.h5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert selfcheck(later) == (first, 0)

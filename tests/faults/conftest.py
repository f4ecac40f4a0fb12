"""Faults are injected and judged here; what became of them is counted, printed and written to docs/reliability.md."""

import time
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from injection import contents, svdflow
from small_study import Workflow, smallest_workflow

BEGIN, END = "<!-- score: begin, written by make faults -->", "<!-- score: end -->"
JUDGED = ("silently wrong", "your files touched", "not the same after resume")


@dataclass
class Counts:
    """What became of the faults of one kind."""

    injected: int = 0
    wrong: int = 0
    touched: int = 0
    different: int = 0
    lost: int = 0  # finished shards that had to be made again, the most of any one fault


class Score:
    """The counts by kind of fault. One that never comes to `judge` fails its test, and is not among the good ones."""

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = defaultdict(Counts)
        self.skipped: dict[str, str] = {}

    def judge(self, kind, *, faults=1, wrong=False, touched=(), different=(), lost=0):
        """Count faults of a kind, and fail the test where one is bad."""
        counts = self.counts[kind]
        counts.injected += faults
        counts.wrong += bool(wrong)
        counts.touched += bool(touched)
        counts.different += bool(different)
        counts.lost = max(counts.lost, lost)
        assert not wrong, f"silently wrong: {wrong}"
        assert not touched, f"files of the user's were touched: {sorted(touched)}"
        assert not different, f"not the same after resume: {sorted(different)[:10]}"
        assert lost <= 1, f"{lost} finished shards were made again"

    def keep(self, table):
        """Take over the rows of an earlier table of which nothing was injected this time."""
        for line in table.splitlines():
            kind, *figures = (cell.strip() for cell in line.strip("| ").split("|"))
            if len(figures) == len(fields(Counts)) and all(f.isdigit() for f in figures):
                self.counts.setdefault(kind, Counts(*map(int, figures)))
        self.skipped = {kind: why for kind, why in self.skipped.items() if kind not in self.counts}

    def table(self):
        head = ["fault", "injected", *JUDGED, "finished shards lost, at most"]
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for kind, c in sorted(self.counts.items()):
            lines.append(f"| {kind} | {c.injected} | {c.wrong} | {c.touched} | {c.different} | {c.lost} |")
        total = [
            sum(getattr(c, n) for c in self.counts.values())
            for n in ("injected", "wrong", "touched", "different")
        ]
        most = max((c.lost for c in self.counts.values()), default=0)
        lines.append(
            f"| **all** | **{total[0]}** | **{total[1]}** | **{total[2]}** | **{total[3]}** | **{most}** |"
        )
        lines += [f"\nNot injected here: {kind} ({why})." for kind, why in sorted(self.skipped.items())]
        return "\n".join(lines)


SCORE = Score()


@pytest.fixture
def score():
    return SCORE


def pytest_addoption(parser):
    parser.addoption("--score", help="page whose block of scores is written")


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        SCORE.skipped[report.nodeid.rpartition("::test_")[2].replace("_", " ")] = report.longrepr[2]


def pytest_sessionfinish(session, exitstatus):
    page = session.config.getoption("--score")
    if page and SCORE.counts:
        path = Path(page)
        text = path.read_text()
        head, block, tail = text.partition(BEGIN)[0], text.partition(BEGIN)[2], text.partition(END)[2]
        SCORE.keep(block.partition(END)[0])
        path.write_text(f"{head}{BEGIN}\n{SCORE.table()}\n{END}{tail}")


def pytest_terminal_summary(terminalreporter):
    if SCORE.counts:
        terminalreporter.write_line(SCORE.table())


@dataclass
class Reference:
    """The smallest study after a clean run."""

    workflow: Workflow
    contents: dict
    seconds: float


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    workflow = smallest_workflow(tmp_path_factory.mktemp("faults") / "reference")
    start = time.monotonic()
    done = svdflow(workflow, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return Reference(workflow, contents(workflow), time.monotonic() - start)


@pytest.fixture
def finished(reference, tmp_path):
    """A copy of the finished study, free to be damaged."""
    return reference.workflow.copy(tmp_path / "study")


@pytest.fixture
def fresh(tmp_path):
    """The study before its first run, with files of the user's beside what a run will write."""
    return smallest_workflow(tmp_path / "study")

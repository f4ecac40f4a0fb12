"""Workers as many as cores, and a budget a test file.

Each test file has a budget of processor time: `--budget 60` fails the run, by name, where one takes more.

A file that needs more says so itself, with its reason beside it: `pytestmark = pytest.mark.budget(120)`.
Time is that of the processor, that of finished child processes included, so that a busy machine costs little.
"""

import os
from collections import defaultdict
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or to draw one, says how busy the machine is and nothing of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

WORKER_BYTES = (
    2**30
)  # a worker grows to half of this (libraries, and the largest test): twice as much room is kept
SHOWN = 10  # the costliest files, named at the end of a run with --budget


class Budgets:
    """Adds up the processor time of each test file, over all workers, and fails the run where one is too slow."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent: dict[str, float] = defaultdict(float)
        self.allowed: dict[str, float] = {}
        self._last = processor_time()

    def pytest_runtest_logstart(self) -> None:
        self._last = processor_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        """What a phase of a test took travels with its report, from a worker to the process that counts."""
        report = yield
        own = item.get_closest_marker("budget")
        now = processor_time()
        report.processor_time, self._last = now - self._last, now
        report.budget = own.args[0] if own else self.seconds
        return report

    def pytest_runtest_logreport(self, report) -> None:
        file = report.nodeid.partition("::")[0]
        self.spent[file] += getattr(report, "processor_time", 0.0)  # a worker that died has sent none
        self.allowed[file] = getattr(report, "budget", self.seconds)

    def exceeded(self) -> list[str]:
        return [
            f"{file} took {spent:.1f} s of processor time; its budget is {self.allowed[file]:g} s"
            for file, spent in sorted(self.spent.items())
            if spent > self.allowed[file]
        ]

    def pytest_sessionfinish(self, session) -> None:
        if self.exceeded() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        costly = sorted(self.spent.items(), key=lambda pair: -pair[1])[:SHOWN]
        terminalreporter.section("processor time by file")
        terminalreporter.line(f"{sum(self.spent.values()):8.1f} s  all {len(self.spent)} files")
        for file, spent in costly:
            terminalreporter.line(f"{spent:8.1f} s  {file}")
        for sentence in self.exceeded():
            terminalreporter.line(f"OVER BUDGET {sentence}", red=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder of this run of the tests, the same one in all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _cache(shared) -> None:
    """What svdflow keeps between runs, it keeps for this run of the tests: nothing of the user's is read or written."""
    os.environ["SVDFLOW_CACHE"] = str(shared / "cache")


def processor_time() -> float:
    """Seconds that this process and its finished children have computed."""
    return sum(os.times()[:4])


@pytest.hookimpl(optionalhook=True)  # where xdist is not installed, nobody asks
def pytest_xdist_auto_num_workers(config) -> int:
    """One a core that this process may use, fewer where memory is short."""
    return max(1, min(len(os.sched_getaffinity(0)), psutil.virtual_memory().total // WORKER_BYTES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Workers share the cores, and threads of BLAS that wait for each other spin: QR of 500 x 300 took 580 ms, not 20.

    Tests of what svdflow does about these threads ask for two.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser) -> None:
    words = "fail where a test file takes more seconds of processor time than this, or than its mark says"
    parser.addoption("--budget", type=float, metavar="SECONDS", help=words)


def pytest_configure(config) -> None:
    config.addinivalue_line("markers", "budget(seconds): processor time that this file may take")
    if config.getoption("budget") is not None:
        config.pluginmanager.register(Budgets(config.getoption("budget")), "budgets")

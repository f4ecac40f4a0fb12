"""A process that fuzzes one target until its time is over, with bounds of its own on memory and time.

Each fault is a line of JSON on standard output, once a kind. Before an example runs, its file lies in the folder and
its description in `example.txt`, so that what ends the process is known.
"""

import argparse
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from planted import PLANTED

MEMORY = 2 * 2**30  # bytes of address space beside what the imports took
BATCH = 50


class TimeIsUp(BaseException):
    """An example took longer than it may; no handler of a parser catches it."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--limit", type=float, help="seconds of one example")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if args.target in PLANTED:
        run, refusals = PLANTED[args.target]
    else:
        from targets import TARGETS  # with all that svdflow reads

        run, refusals = TARGETS[args.target]
    _bound_memory()
    signal.signal(signal.SIGALRM, _time_is_up)
    seen: set[str] = set()
    count, end, seed = 0, time.monotonic() + args.seconds, args.seed

    def example(draw) -> None:
        nonlocal count
        if time.monotonic() > end:
            # Nothing else ends a test of hypothesis in the middle without its taking that for a failure.
            os._exit(0)
        count += 1
        (args.folder / "count.txt").write_text(str(count))
        fault = _try(run, refusals, args.folder / "example", draw, args.limit)
        if fault and fault["kind"] not in seen:
            seen.add(fault["kind"])
            kept = args.folder / "faults" / f"{len(seen):03d}-{args.seed}"
            shutil.copytree(args.folder / "example", kept)
            print(json.dumps({**fault, "kept": str(kept)}), flush=True)

    while True:
        _batch(example, seed)
        seed += 1


def _batch(example, seed: int) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def batch(data) -> None:
        example(data.draw)

    batch()


def _try(run, refusals, folder: Path, draw, limit: float) -> dict[str, str] | None:
    """Run one example; what is wrong with what it did, if anything is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    steps = run(folder, draw)
    done = next(steps)
    (folder / "example.txt").write_text(done, encoding="utf-8", errors="backslashreplace")
    try:
        signal.setitimer(signal.ITIMER_REAL, limit)
        with contextlib.redirect_stdout(sys.stderr):
            next(steps, None)
    except refusals as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return None if str(error).strip() else _fault("refused without a word", error, done)
    except TimeIsUp as error:
        return _fault(f"took more than {limit:g} s", error, done)
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return _fault(type(error).__name__, error, done)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _fault(what: str, error: BaseException, done: str) -> dict[str, str]:
    """A fault is known by what it is and the line of svdflow where it left."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/svdflow/" in f.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return {"kind": f"{what} at {place}", "message": str(error)[:300], "example": done[:600]}


def _bound_memory() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _time_is_up(*_) -> None:
    raise TimeIsUp


if __name__ == "__main__":
    main()

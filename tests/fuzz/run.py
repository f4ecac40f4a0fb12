"""`make fuzz`: bend what every parser reads, and see that it is refused by name or read soundly.

Each target runs in a process of its own with bounds on memory and time. A fault of ours (another exception than a
named refusal, a value that cannot be right, too long, too much memory) makes the status 1. A process that dies, in a
library of others, is reported with what it was given, and the rest goes on. Nothing stays but the folder of faults,
outside the repository; what ends or holds up software of others belongs in no repository at all.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from planted import PLANTED

ROUND = 60.0  # seconds that a process lives at most: what it leaks does not count against the next


@dataclass
class Found:
    """What came of one target."""

    name: str
    examples: int = 0
    faults: dict[str, dict[str, str]] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together (default 10)")
    parser.add_argument(
        "--jobs", type=int, default=max(1, min(2, os.cpu_count() or 1)), help="targets side by side"
    )
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that one example may take")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; another one, other examples")
    parser.add_argument("targets", nargs="*", help="names or beginnings of names; all where none is given")
    args = parser.parse_args()
    names = chosen(args.targets)
    if not names:
        parser.error(f"no target begins with {' or '.join(args.targets)}; there are {', '.join(chosen([]))}")
    seconds = 60 * args.minutes * args.jobs / len(names)
    folder = Path(tempfile.mkdtemp(prefix="svdflow-fuzz-"))
    print(
        f"{len(names)} targets, {seconds:.0f} s each, {args.jobs} side by side; faults are kept in {folder}",
        flush=True,
    )
    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda name: fuzz(name, folder / name, seconds, args), names))
    return summed_up(results, folder)


def chosen(beginnings: list[str]) -> list[str]:
    """Names of targets that begin so; all but the planted ones where nothing is given."""
    planted = [name for name in PLANTED if any(name.startswith(b) for b in beginnings)]
    if beginnings and all(b.startswith("planted") for b in beginnings):
        return planted
    from targets import TARGETS

    return [
        name for name in TARGETS if not beginnings or any(name.startswith(b) for b in beginnings)
    ] + planted


def fuzz(name: str, folder: Path, seconds: float, args: argparse.Namespace) -> Found:
    """Fuzz one target, in as many processes as it takes."""
    found, end, round_ = Found(name), time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0 or not round_:
        _round(found, folder, min(max(left, 0.5), ROUND), args, args.seed + 1000 * round_)
        round_ += 1
    words = (
        f"{len(found.faults)} faults, {len(found.deaths)} deaths" if found.faults or found.deaths else "ok"
    )
    print(f"{name:<24} {found.examples:>7,} examples  {words}", flush=True)
    return found


def _round(found: Found, folder: Path, seconds: float, args: argparse.Namespace, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), found.name, str(folder)]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--limit", str(args.limit)]
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("w") as said, err.open("w") as complained:
        child = subprocess.Popen(command, stdout=said, stderr=complained, start_new_session=True)
        stuck = _wait(child, folder / "example" / "example.txt", args.limit)
    for line in out.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        found.faults.setdefault(entry["kind"], entry)
    count = folder / "count.txt"
    found.examples += int(count.read_text() or 0) if count.is_file() else 0
    count.unlink(missing_ok=True)
    if child.returncode:
        found.deaths.append(_death(folder, child.returncode, stuck, len(found.deaths)))


def _wait(child: subprocess.Popen, example: Path, limit: float) -> bool:
    """Wait for a process; True where its example took so long that nothing but its end helped."""
    begun = time.time()
    while child.poll() is None:
        time.sleep(0.1)
        try:
            last = example.stat().st_mtime
        except FileNotFoundError:  # between two examples, or before the first
            continue
        if last > begun and time.time() - last > 2 * limit + 2:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return True
    return False


def _death(folder: Path, status: int, stuck: bool, number: int) -> str:
    given = folder / "example" / "example.txt"
    what = given.read_text(encoding="utf-8")[:600] if given.is_file() else "(before its first example)"
    kept = folder / "deaths" / f"{number:03d}"
    if given.is_file():
        shutil.copytree(given.parent, kept)
    if stuck:
        return f"no signal ended it in time: {what} (kept in {kept})"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}: {what} (kept in {kept})"
    last = (folder / "err.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"ended with status {status}, {''.join(last)}: {what} (kept in {kept})"


def summed_up(results: list[Found], folder: Path) -> int:
    """Say what was found; the status that the run ends with."""
    for found in results:
        for fault in found.faults.values():
            print(f"\nFAULT {found.name}: {fault['kind']}: {fault['message']}")
            print(f"  {fault['example']}\n  kept: {fault['kept']}")
        for death in found.deaths:
            print(f"\nDIED  {found.name}: {death}")
    faults, deaths = (sum(len(getattr(f, kind)) for f in results) for kind in ("faults", "deaths"))
    examples = sum(found.examples for found in results)
    print(
        f"\n{examples:,} examples of {len(results)} targets: {faults} faults of ours, {deaths} processes died"
    )
    if not faults and not deaths:
        shutil.rmtree(folder)
    return int(faults > 0 or not examples)


if __name__ == "__main__":
    sys.exit(main())

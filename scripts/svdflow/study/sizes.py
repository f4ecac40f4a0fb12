"""Sizes in bytes: as people write them, and of this machine.

humanfriendly, which Snakemake installs, takes ``1 mebi`` for a million bytes (findings/humanfriendly-sizes.sh).
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from svdflow.registry.numerals import LARGEST, real

# Where Linux says which control groups a process is in, and where their limits stand: cgroups(7).
CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def parse_size(limit: Any) -> int | None:
    """Bytes from an int, or from text such as ``"1GiB"`` or ``"800 MB"``; None and ``"auto"`` mean no limit."""
    if limit is None or limit == "auto":
        return None
    if isinstance(limit, str):
        number = limit.strip().rstrip("iIbBkKmMgGtT ")
        unit = limit.strip()[len(number) :].strip().lower()
        powers = {"": 1, "b": 1}
        for power, letter in enumerate("kmgt", start=1):
            powers |= {letter: 1024**power, f"{letter}ib": 1024**power, f"{letter}b": 1000**power}
        try:
            limit = real(number.strip()) * powers[unit]
        except (KeyError, ValueError):
            raise ValueError(
                f"memory_limit {limit!r}: expected a number of bytes or text such as '1GiB'"
            ) from None
    if not 1 <= limit <= LARGEST:
        raise ValueError(f"memory_limit must be between 1 byte and {LARGEST} bytes, not {limit}")
    return int(limit)


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container that the process runs in, has in all."""
    import psutil

    return min([psutil.virtual_memory().total, *container_limits()])


def container_limits() -> Iterator[int]:
    """Limits of the control groups that hold this process: version 2, where each of those above counts, or 1."""
    try:
        groups = CGROUP.read_text(encoding="utf-8")
    except OSError:
        return
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root = CGROUPS / ("memory" if controllers else "")
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            place = root / group.lstrip("/")
            for folder in (place, *place.parents):
                if folder.is_relative_to(root):
                    with suppress(OSError, ValueError):  # "max" is no number, and no limit
                        yield int((folder / name).read_text())

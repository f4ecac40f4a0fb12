"""How many cores this process may use."""

import os


def default_threads() -> int:
    """Cores this process may use, or OMP_NUM_THREADS where that is set and smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores

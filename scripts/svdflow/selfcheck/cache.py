"""What the audits of this installation said, kept outside any study for the next one in the same environment.

A file an audit, in ``$SVDFLOW_CACHE``, else ``svdflow`` in the user's folder for caches. Its name is a digest of all
that the audit's rows hang on: its code, Python, the libraries, the BLAS kernels, the type of machine, and the seed. It
is believed only where its checksum, these facts and the limits that the audit asked for are right; else the audit runs.
"""

import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from svdflow.registry import Audit
from svdflow.registry.limits import declared_limits
from svdflow.selfcheck.findings import Findings, Limits, numbers
from svdflow.store.files import sweep_dead
from svdflow.store.user_cache import cache_folder
from svdflow.study.digest import audit_digest, digest

log = logging.getLogger("svdflow")

FORMAT = 1  # layout of the files; raised when it changes, and then nothing older is found
KEPT = 16  # files an audit before the oldest are removed: versions of code, seeds, machines that share a home
LARGEST = 2**24  # bytes of a file that is read; a larger one is none of ours
LIBRARIES = ("numpy", "scipy", "dask", "h5py", "threadpoolctl")  # whose versions the rows may hang on
SCRIPTS = Path(__file__).parents[2]


@cache
def environment() -> Mapping[str, Any]:
    """What the rows of an audit hang on beside its code: interpreter, libraries, BLAS kernels, machine type."""
    import numpy as np
    import scipy.linalg  # noqa: F401 - its BLAS is to be loaded when threadpoolctl looks
    from threadpoolctl import threadpool_info

    kernels = ("internal_api", "version", "architecture", "threading_layer")
    return {
        "format": FORMAT,
        "python": [platform.python_implementation(), platform.python_version()],
        "libraries": {name: _version(name) for name in LIBRARIES},
        "blas": sorted(
            [str(library.get(key)) for key in kernels]
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ),
        "simd": np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", []),
        "machine": [platform.system(), platform.machine(), _processor(), *platform.libc_ver()],
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The model of the processor, as the system names it."""
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor()


class Cache:
    """Findings by audit, seed and limits.

    Parameters
    ----------
    folder : Path, optional
        Default: `cache_folder` / ``selfcheck``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._told = False
        try:
            self.folder = folder or cache_folder() / "selfcheck"
        except RuntimeError as error:
            self.folder = Path(os.devnull)  # nothing is below it, and nothing can be made there
            self._tell(error)

    def find(self, audit: Audit, seed: int, limits: Limits) -> Findings | None:
        """What was found with these limits, or None."""
        for facts in self._facts(audit, seed, limits):
            found = _read(self._path(audit, facts), facts)
            if found and found.holds_for(limits):
                return found
        return None

    def keep(self, audit: Audit, seed: int, limits: Limits, findings: Findings) -> None:
        """Write a file; one that cannot be written is a line of the log."""
        if findings.broken:
            return
        declared, own = self._facts(audit, seed, limits)
        facts = declared if findings.holds_for(declared_limits()) else own
        path = self._path(audit, facts)
        body = json.dumps(
            {"facts": facts, "rows": findings.rows, "curves": findings.curves, "asked": findings.asked}
        )
        temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sweep_dead(self.folder)
            temporary.write_text(f"{_checksum(body)}\n{body}", encoding="utf-8")
            os.replace(temporary, path)
            self._prune(path)
        except OSError as error:
            self._tell(error)

    def _facts(self, audit: Audit, seed: int, limits: Limits) -> tuple[dict[str, Any], dict[str, Any]]:
        """All that a file is named for: with the declared limits, and with those that differ from them."""
        code = audit_digest(audit, SCRIPTS)
        facts = {"audit": audit.name, "seed": seed, "code": code, "environment": environment()}
        declared = {row: numbers(limit) for row, limit in declared_limits().items()}
        given = {row: numbers(limit) for row, limit in limits.items()}
        return facts, {
            **facts,
            "limits": {r: x for r, x in given.items() if repr(x) != repr(declared.get(r))},
        }

    def _path(self, audit: Audit, facts: Mapping[str, Any]) -> Path:
        return self.folder / f"{re.sub(r'[^A-Za-z0-9_]', '_', audit.name)[:64]}-{digest(facts)}.json"

    def _prune(self, path: Path) -> None:
        """Remove the oldest files of the audit that `path` is of."""
        alike = re.compile(re.escape(path.stem.rpartition("-")[0]) + "-[0-9a-f]{16}.json")
        files = [p for p in self.folder.iterdir() if alike.fullmatch(p.name)]
        for old in sorted(files, key=lambda p: p.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)

    def _tell(self, error: Exception) -> None:
        """Say once why nothing is kept."""
        if not self._told:
            log.warning(
                "the cache of selfcheck cannot be written, so the next study computes it again: %s", error
            )
        self._told = True


def _read(path: Path, facts: Mapping[str, Any]) -> Findings | None:
    """The findings of a file, where it is whole and of these facts."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:  # a pipe would be waited for
            return None
        checksum, _, body = path.read_text(encoding="utf-8").partition("\n")
        if checksum != _checksum(body):
            raise ValueError("its checksum is not that of its content")
        held = json.loads(body)
        if json.dumps(held.pop("facts")) != json.dumps(facts):
            raise ValueError("it is of another environment")
        return Findings(**held)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.info("%s is not believed: %s", path, error)
        return None


def _checksum(body: str) -> str:
    return hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
